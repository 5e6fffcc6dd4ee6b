"""Tables of a report as HTML, Markdown and LaTeX.

Names of models and patients come from users, so text is escaped when a table is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from survimg.evaluation.estimates import Comparison, Estimate
from survimg.files import write_atomically

__all__ = [
    "ABSENT",
    "Table",
    "escape_latex",
    "escape_markdown",
    "interval_text",
    "mean_and_sd",
    "number",
    "p_text",
    "signed",
    "to_latex",
    "to_markdown",
    "write_documents",
]

#: Content of a cell without a value.
ABSENT = "–"

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "’": "'",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "[": r"{[}",  # after a line's end, \\[ would begin its optional argument
    "]": r"{]}",
}
_MARKDOWN = frozenset("\\`*_[]|~$")


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    name : str
        Name of its files, without extension.
    title : str
    header : tuple of str
        The first column names the rows.
    rows : tuple of tuple of str
        `ABSENT` in cells without a value.
    note : str
        Explanations: intervals, tests, sources.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.header)]
        if wrong:
            raise ValueError(
                f"Table {self.name!r} has {len(self.header)} columns; a row has {len(wrong[0])}."
            )


def number(value: float | None, digits: int = 3) -> str:
    """Write a number; `ABSENT` for None and NaN."""
    return ABSENT if value is None or math.isnan(value) else f"{value:.{digits}f}"


def mean_and_sd(mean: float | None, sd: float | None, digits: int = 3) -> str:
    """Write ``mean ± sd``, or the mean only if `sd` is None."""
    if mean is None or sd is None:
        return number(mean, digits)
    return f"{number(mean, digits)} ± {number(sd, digits)}"


def interval_text(estimate: Estimate | Comparison | None) -> str:
    """Write a value, or a difference with its sign, and the limits of its interval."""
    if estimate is None:
        return ABSENT
    if isinstance(estimate, Comparison):
        limits = f"{signed(estimate.lower)} to {signed(estimate.upper)}"
        return f"{signed(estimate.difference)} ({limits})"
    if math.isnan(estimate.lower):
        return f"{estimate.value:.3f} (no interval)"
    return f"{estimate.value:.3f} ({estimate.lower:.3f} to {estimate.upper:.3f})"


def signed(value: float) -> str:
    """Write a difference with its sign."""
    return f"{value:+.3f}".replace("-", "−")


def p_text(p_value: float | None) -> str:
    """Write a p value; never 0."""
    if p_value is None or math.isnan(p_value):
        return ABSENT
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def escape_latex(text: str) -> str:
    """Escape text for LaTeX; a line break or another control character becomes a space."""
    return "".join(_LATEX.get(sign, sign) for sign in _one_line(text))


def escape_markdown(text: str) -> str:
    """Escape text for a cell of a Markdown table, raw HTML included."""
    escaped = (f"\\{sign}" if sign in _MARKDOWN else sign for sign in _one_line(text))
    return "".join(escaped).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def to_latex(table: Table) -> str:
    """Write a table for LaTeX with the package booktabs.

    Parameters
    ----------
    table : Table

    Returns
    -------
    str
        A ``table`` environment with caption, label and, below, the note.
    """
    lines = [
        "% \\usepackage{booktabs}; for quotation marks also \\usepackage[T1]{fontenc} and textcomp",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape_latex(table.title)}}}",
        f"\\label{{tab:{table.name}}}",
        f"\\begin{{tabular}}{{{'l' * len(table.header)}}}",
        "\\toprule",
        _latex_row(table.header),
        "\\midrule",
        *(_latex_row(row) for row in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    if table.note:
        lines.append(f"\\par\\smallskip\\footnotesize {escape_latex(table.note)}")
    return "\n".join([*lines, "\\end{table}", ""])


def to_markdown(table: Table) -> str:
    """Write a table for Markdown (GitHub's pipe tables).

    Parameters
    ----------
    table : Table

    Returns
    -------
    str
        Title in bold, table, note.
    """
    lines = [
        f"**{escape_markdown(table.title)}**",
        "",
        _markdown_row(table.header),
        "|" + " --- |" * len(table.header),
        *(_markdown_row(row) for row in table.rows),
    ]
    if table.note:
        lines += ["", escape_markdown(table.note)]
    return "\n".join([*lines, ""])


def write_documents(folder: Path, tables: Sequence[Table]) -> list[Path]:
    """Write each table as ``.tex`` and ``.md``; other ``.tex`` and ``.md`` files are removed.

    Parameters
    ----------
    folder : Path
        Made if needed; it contains only such tables.
    tables : sequence of Table

    Returns
    -------
    list of Path
    """
    paths = []
    for table in tables:
        for ending, text in ((".tex", to_latex(table)), (".md", to_markdown(table))):
            path = folder / f"{table.name}{ending}"
            write_atomically(path, text.encode())
            paths.append(path)
    for path in [*folder.glob("*.tex"), *folder.glob("*.md")]:
        if path not in paths:
            path.unlink()
    return paths


def _one_line(text: str) -> str:
    """Replace line breaks and characters that are not printable by spaces."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(escape_latex(cell) for cell in cells) + r" \\"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"
