"""The page: self-contained, escaped, complete, honest about what is missing."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from contestants import Failing, Reversed, Segmenter, StageCox, make_cohort

from survimg.benchmark import read_run, run_benchmark, score_run
from survimg.model_selection import EventStratifiedKFold
from survimg.report import render, style
from survimg.report.style import model_class, templates
from survimg.report.svg import Plot

NASTY = '<script>alert("x")</script>&'
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Collects tags, their attributes and the text, and checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    cohort, log_hazard = make_cohort(n=36, ids=[f"{NASTY}{i}" for i in range(36)])
    out = tmp_path_factory.mktemp("run")
    folds = EventStratifiedKFold(3, shuffle=True, random_state=0)
    splits = list(folds.split(cohort, cohort.outcome))
    models = {"segmenter": Segmenter(2.5), NASTY: StageCox(), "wrong": Reversed(), "bad": Failing()}
    run_benchmark(
        models, cohort, cohort.outcome, splits=splits, out=out, reference=NASTY,
        oracle_risk=log_hazard, settings={"cohort": NASTY, "endpoint": "death"},
        caveats=["This is a test."], command=f"survimg benchmark --out {NASTY}",
    )
    render(out)
    return out


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_nothing_outside_the_run_is_referred_to(html, page, folder):
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            value = attributes.get(name) or "#"
            if tag == "a" and not value.startswith(("#", "data:")):
                assert (folder / value).is_file()
                continue
            allowed = "data:text/csv;base64," if tag == "a" else "data:image/png;base64,"
            assert value.startswith((allowed, "#")), (tag, value)
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\s\"'<>]+", html)) <= namespaces


def test_names_from_tables_are_escaped(html, page):
    assert not {tag for tag, _ in page.tags} & {"iframe", "object", "embed"}
    assert NASTY not in html
    text = "".join(page.text)
    assert f"{NASTY}" in text  # shown as it is written in the table
    assert "the <b>gradient</b> exploded" in text
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_one_script_runs_and_the_policy_names_it_by_its_content(html):
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy.split("; ") == [
        "default-src 'none'", "style-src 'unsafe-inline'", "img-src data:",
        f"script-src 'sha256-{digest}'",
    ]


def test_tables_of_the_run_are_linked_and_the_small_ones_are_in_the_page(folder, page):
    links = {a["href"]: a for tag, a in page.tags if tag == "a" and "href" in a}
    for name in ("scores.csv", "folds.csv", "predictions.parquet", "tables/scores.tex"):
        assert name in links
    inside = {a["download"]: href for href, a in links.items() if "download" in a}
    assert inside.keys() == {"scores.csv", "folds.csv"}  # predictions name patients
    for name, href in inside.items():
        assert base64.b64decode(href.partition(",")[2]) == (folder / name).read_bytes()


def test_each_model_can_be_switched_off(html, page):
    boxes = [a["id"] for tag, a in page.tags if tag == "input" and "checked" in a]
    assert len(boxes) == 4
    for box in boxes:
        name = box.removeprefix("show-")
        assert f"body:has(#{box}:not(:checked)) .{name} {{ display: none; }}" in html
        parts = [tag for tag, a in page.tags if name in (a.get("class") or "").split()]
        assert "tr" in parts
    tags = {tag for tag, a in page.tags if (a.get("class") or "").startswith("m-")}
    assert {"g", "figure", "td"} <= tags


def test_an_entry_of_a_legend_disappears_with_its_model():
    plot = Plot(100, 100, (0, 1), (0, 1))
    plot.legend(0, 0, [("a", "blue", ""), ("b", "pink", ""), ("chance", "ink", "")], ["a", "b"])
    root = ET.fromstring(str(plot.svg("lines")))
    for name in ("a", "b"):
        parts = [g for g in root.iter("g") if g.get("class") == model_class(name)]
        assert ["".join(part.itertext()) for part in parts] == ["", name]
    assert [text.text for text in root.findall("text")] == ["chance"]


def test_durations_are_sorted_by_their_seconds(page, folder):
    scores = score_run(read_run(folder))
    shown = [a["data-value"] for _, a in page.tags if "data-value" in a]
    expected = ["" if s.fit_seconds is None else str(s.fit_seconds) for s in scores]
    assert shown == expected


def test_values_are_shown_to_the_pointer(html, folder):
    import pandas as pd

    titles = re.findall(r"<title>([^<]*)</title>", html)
    scores = pd.read_csv(folder / "scores.csv").set_index("model")
    assert f"wrong: C = {scores.c_within_folds['wrong']:.3f}" in " ".join(titles)
    assert f"wrong, fold 2, seed 0: C = {scores.c_fold2_seed0['wrong']:.3f}" in titles
    assert any(title.startswith("high risk, ") for title in titles)


def test_patients_are_listed_worst_first_with_their_pictures(page):
    text = " ".join("".join(page.text).split())
    section = text[text.index("whose predicted risk is lower") :]
    shown = [float(share) for share in re.findall(r"(\d+) % of pairs wrong", section)]
    assert len(shown) == 8
    assert shown == sorted(shown, reverse=True)
    assert "All 36 patients" in section
    pictures = [a["alt"] for tag, a in page.tags if tag == "img" and "predicted by" in a["alt"]]
    assert len(pictures) == 8


def test_messages_of_failures_are_whole(page):
    text = " ".join("".join(page.text).split())
    alarm = text[text.index("fits failed.") : text.index("Which model ranks")]
    assert "RuntimeError: the <b>gradient</b> exploded" in alarm


def test_every_figure_is_there_and_well_formed(html):
    figures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    # A forest plot (wide and narrow), Kaplan-Meier curves of three models, calibration of the two
    # that have curves, their decision curves, Dice, two quantities of one history.
    assert len(figures) == 2 + 3 + 2 + 1 + 1 + 2
    for figure in figures:
        root = ET.fromstring(figure)
        assert "viewBox" in root.attrib
        assert "width" not in root.attrib
        assert root.attrib["role"] == "img"
        assert root[0].tag.endswith("title")
        assert root[0].text.strip()
    assert html.count("data:image/png;base64,") == 3 + 8  # examples, worst ranked patients


def test_the_page_says_what_was_run_and_what_is_not_shown(page):
    text = " ".join("".join(page.text).split())
    for part in (
        "36", "survimg benchmark --out", "numpy", "scikit-learn", "endpoint", "death",
        "3 of 12 fits failed", "BELOW", "That wrong ranks patients better than chance",
        "This is a test.", "another hospital", "one seed was used", "UserWarning",
    ):
        assert part in text, part


def test_the_table_holds_the_scores_of_the_csv(folder, page):
    import pandas as pd

    text = " ".join("".join(page.text).split())
    for _, row in pd.read_csv(folder / "scores.csv").iterrows():
        if row["folds_done"]:
            assert f"{row['c_mean']:.3f} ± {row['c_sd']:.3f}" in text
            assert f"({row['c_lower95']:.3f} to {row['c_upper95']:.3f})" in text


def test_tables_and_predictions_lie_beside_the_page(folder):
    import pandas as pd

    names = {path.name for path in (folder / "tables").iterdir()}
    wanted = {"scores", "reference", "dice", "probabilities"}
    assert {f"{name}{end}" for name in wanted for end in (".tex", ".md")} == names
    latex = (folder / "tables" / "scores.tex").read_text(encoding="utf-8")
    assert r"\textless{}script\textgreater{}alert(\textquotedbl{}x\textquotedbl{})" in latex
    assert r"\&" in latex
    markdown = (folder / "tables" / "scores.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown
    assert "&lt;script&gt;" in markdown
    frame = pd.read_parquet(folder / "predictions.parquet")
    assert len(frame) == 3 * 36
    assert set(frame["patient_id"]) == {f"{NASTY}{i}" for i in range(36)}


def test_equal_errors_are_shown_once(page):
    text = " ".join("".join(page.text).split())
    assert text.count("Traceback (most recent call last)") == 1
    assert "bad, 3 fits (folds 1, 2, 3; seeds 0): RuntimeError" in text


def test_rendering_again_gives_the_same_page(folder, html):
    files = [folder / "predictions.parquet", *(folder / "tables").iterdir()]
    before = [file.read_bytes() for file in files]
    render(folder)
    assert (folder / "report.html").read_text(encoding="utf-8") == html
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize("length", [12, 20, 200])
def test_a_damaged_or_unwritable_cache_of_templates_is_done_without(tmp_path, monkeypatch, length):
    cache = style.CompiledTemplates(str(tmp_path))
    monkeypatch.setattr(style, "_bytecode_cache", lambda: cache)
    environment = templates()
    environment.get_template("page.html")
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:length])
    environment.cache.clear()
    environment.get_template("page.html")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("jinja2.bccache.Bucket.write_bytecode", full)
    file.unlink()
    environment.cache.clear()
    environment.get_template("page.html")
    assert not list(tmp_path.iterdir())


def test_an_unfinished_run_is_called_unfinished(tmp_path, patients_of_two_folds):
    cohort, splits = patients_of_two_folds
    run_benchmark({"cox": StageCox()}, cohort, cohort.outcome, splits=splits, out=tmp_path)
    for file in (tmp_path / "records").rglob("fold01*"):
        file.unlink()
    text = render(tmp_path).read_text(encoding="utf-8")
    assert "This run is not finished." in text
    assert "not finished: 1 of 2 fits" in text


def test_a_run_in_which_everything_fails_still_has_a_page(tmp_path, patients_of_two_folds):
    cohort, splits = patients_of_two_folds
    run_benchmark({"bad": Failing()}, cohort, cohort.outcome, splits=splits, out=tmp_path)
    text = render(tmp_path).read_text(encoding="utf-8")
    assert "No model has predicted anything" in text
    assert "2 of 2 fits failed" in text


@pytest.fixture(scope="module")
def patients_of_two_folds():
    cohort, _ = make_cohort(n=20)
    return cohort, list(EventStratifiedKFold(2).split(cohort, cohort.outcome))


def test_no_run_no_page(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no benchmark run"):
        render(tmp_path)


def test_measuring_needs_no_network_library():
    code = (
        "import sys, survimg.report, survimg.benchmark, survimg.evaluation\n"
        "print([m for m in ('torch', 'monai', 'radiomics', 'skorch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
