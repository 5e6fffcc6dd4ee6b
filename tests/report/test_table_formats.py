"""Tables in LaTeX and Markdown: what users type stays text and stays in its cell."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from survimg.evaluation import Comparison, Estimate
from survimg.report.table_formats import (
    Table,
    escape_latex,
    escape_markdown,
    interval_text,
    mean_and_sd,
    p_text,
    to_latex,
    to_markdown,
    write_documents,
)

NASTY = "50%_A & B \\ $x^2$ #1 {~} <b>|\n`c` [0]"


def made(*rows, name="t"):
    return Table(name, "Title", tuple(f"h{k}" for k in range(len(rows[0]))), rows, "A note.")


def latex_cells(row):
    assert row.endswith(r" \\")
    return re.split(r"(?<!\\)&", row[:-3])


def markdown_cells(row):
    return re.split(r"(?<!\\)\|", row)[1:-1]


def test_a_latex_table_has_rules_of_booktabs_and_one_cell_per_column():
    text = to_latex(made(("a", "0.7 ± 0.1"), (NASTY, "–")))
    lines = text.splitlines()
    for part in ("\\toprule", "\\midrule", "\\bottomrule", "\\begin{tabular}{ll}"):
        assert part in lines
    rows = lines[lines.index("\\midrule") + 1 : lines.index("\\bottomrule")]
    assert [len(latex_cells(row)) for row in rows] == [2, 2]
    assert rows[0] == r"a & 0.7 $\pm$ 0.1 \\"
    assert "A note." in text


@pytest.mark.parametrize(
    ("given_text", "latex"),
    [
        ("a_b", r"a\_b"),
        ("5 %", r"5 \%"),
        ("x & y", r"x \& y"),
        ("\\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("$\\alpha$", r"\$\textbackslash{}alpha\$"),
        ("#1^2~", r"\#1\textasciicircum{}2\textasciitilde{}"),
        ("[x]", "{[}x{]}"),
        ("a\nb\x00c", "a b c"),
        ("−0.1", "$-$0.1"),
        ("Käthe", "Käthe"),
    ],
)
def test_latex_escapes(given_text, latex):
    assert escape_latex(given_text) == latex


@given(st.text(max_size=40))
def test_no_text_leaves_its_latex_cell(text):
    row = to_latex(made((text, "x"))).splitlines()
    cells = latex_cells(row[row.index("\\midrule") + 1])
    assert len(cells) == 2
    # Every backslash starts one of our own commands; no comment, group or formula is left open.
    ours = r"\\text[a-z]+\{\}|\\ldots\{\}|\\[{}$&#%_]|\$\\?[a-z-]+\$|\{[\[\]]\}"
    rest = re.sub(ours, "", cells[0])
    assert not re.search(r"[\\{}$&#%_^~]", rest)


@given(st.text(max_size=40))
def test_no_text_leaves_its_markdown_cell(text):
    lines = to_markdown(made((text, "x"))).splitlines()
    cells = [
        cell for cell in re.split(r"(?<!\\)(?:\\\\)*\|", lines[4]) if cell.strip() or cell == " "
    ]
    assert lines[4].endswith("| x |")
    assert len(cells) <= 2 + (not text.strip())
    assert not re.search(r"[<>]", lines[4])


def test_markdown_escapes():
    assert escape_markdown("<b>a|b</b>") == r"&lt;b&gt;a\|b&lt;/b&gt;"
    assert escape_markdown("a_b*c*`d`[e](f)") == r"a\_b\*c\*\`d\`\[e\](f)"
    assert escape_markdown("&amp;") == "&amp;amp;"
    assert escape_markdown("a\r\nb") == "a b"
    text = to_markdown(made((NASTY, "1"), ("b", "2")))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [len(markdown_cells(row)) for row in rows] == [2] * 4


def test_rows_have_the_columns_of_the_header():
    with pytest.raises(ValueError, match="2 columns; a row has 1"):
        Table("t", "T", ("a", "b"), (("x",),))


def test_tables_that_are_no_more_are_removed(tmp_path):
    write_documents(tmp_path, [made(("a", "b")), made(("a", "b"), name="old")])
    paths = write_documents(tmp_path, [made(("a", "b"))])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.md", "t.tex"]
    assert {path.name for path in paths} == {"t.md", "t.tex"}


def test_numbers_in_words():
    nan = float("nan")
    assert interval_text(Estimate(0.7, 0.6, 0.8, 0.1, 0.95, "")) == "0.700 (0.600 to 0.800)"
    assert interval_text(Estimate(1.0, nan, nan, 0.0, 0.95, "")) == "1.000 (no interval)"
    gap = Comparison(0.6, 0.7, -0.1, -0.2, 0.0, 0.1, 0.04, 0.95, "")
    assert interval_text(gap) == "−0.100 (−0.200 to +0.000)"
    assert (p_text(0.0), p_text(0.0423), p_text(None)) == ("< 0.001", "0.042", "–")
    assert (mean_and_sd(0.7, None), mean_and_sd(None, None)) == ("0.700", "–")
