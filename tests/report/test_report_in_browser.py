"""The pages in a real browser, as wide as a desktop and as narrow as a telephone."""

from __future__ import annotations

import numpy as np
import pytest
from contestants import Failing, Segmenter, StageCox, make_cohort, with_centres
from headless_browser import (
    AXE,
    PRINTED,
    WIDTHS,
    axe_question,
    complaints,
    find_chromium,
    measure,
)

from survimg.benchmark import run_benchmark
from survimg.benchmark.storage import read_json
from survimg.files import write_json
from survimg.model_selection import EventStratifiedKFold
from survimg.report import render
from survimg.report.comparison import compare_runs
from survimg.report.comparison_page import render_comparison

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium or Chrome on this machine"),
]
LONG = "a_model_with_a_name_that_is_much_longer_than_any_telephone_is_wide_and_has_no_space"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A run with every section of the report, and its comparison with another."""
    folder = tmp_path_factory.mktemp("runs")
    cohort, log_hazard = make_cohort(n=40, size=8)
    cohort = with_centres(cohort, np.array(["Aarhus & <b>Bern</b>", LONG])[np.arange(40) % 2])
    folds = EventStratifiedKFold(5, shuffle=True, random_state=0)
    splits = list(folds.split(cohort, cohort.outcome))
    models = {"stage": StageCox(), LONG: Segmenter(2.5), "s": Segmenter(2.0), "bad": Failing()}
    models["stage (permuted)"] = StageCox(alpha=9.0)
    for name, alpha in (("a", 0.1), ("b", 5.0)):
        run_benchmark(
            {**models, "stage": StageCox(alpha=alpha)}, cohort, cohort.outcome, splits=splits,
            out=folder / name, reference="stage", oracle_risk=log_hazard, progress=False,
        )
    plan = read_json(folder / "a" / "run.json")
    plan["published"] = {LONG: {"c_index": 0.7, "sd": None, "dice": 0.7, "source": f"{LONG} 2022"}}
    write_json(folder / "a" / "run.json", plan)
    compared = compare_runs([folder / "a", folder / "b"])
    return {
        "report": render(folder / "a"),
        "comparison": render_comparison(compared, folder / "comparison.html"),
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("name", ["report", "comparison"])
def test_a_page_is_whole_and_fits(pages, name, width, dark):
    found = measure(pages[name], width, dark=dark)
    assert complaints(found) == []
    assert found["figures"] >= (10 if name == "report" else 0)


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_a_page_fits_on_paper(pages, name):
    assert complaints(measure(pages[name], PRINTED, media="print")) == []


def test_a_page_is_whole_without_scripts(pages):
    found = measure(pages["report"], 1280, scripts=False)
    assert complaints(found) == []
    assert found["figures"] >= 10


TABLE = "[...document.querySelectorAll('#patients tbody tr')].map(r => r.cells[2].textContent)"


def test_a_click_on_a_heading_sorts_its_table(pages):
    click = (
        "(() => {const head = document.querySelectorAll('#patients thead th')[2];"
        f"const b = head.querySelector('button'); b.click(); const up = {TABLE};"
        f"b.click(); return [up, {TABLE}, head.getAttribute('aria-sort')];}})()"
    )
    rising, falling, state = measure(pages["report"], 1280, ask=click)["answer"]
    numbers = [float(text) for text in rising]
    assert numbers == sorted(numbers)
    assert [float(text) for text in falling] == sorted(numbers, reverse=True)
    assert state == "descending"


def test_a_model_that_is_switched_off_disappears(pages):
    count = (
        "[...document.querySelectorAll('tr, figure, svg g')].filter(e => "
        "e.classList.contains(name) && getComputedStyle(e).display !== 'none').length"
    )
    switch = (
        "(() => {const box = document.querySelector('.models input'), name = box.id.slice(5);"
        f"const before = {count}; box.click(); return [before, {count}];}})()"
    )
    before, after = measure(pages["report"], 1280, ask=switch)["answer"]
    assert before > 5
    assert after == 0


@pytest.mark.skipif(AXE is None, reason="AXE does not name axe.min.js (npm install axe-core)")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("name", ["report", "comparison"])
def test_axe_finds_no_barrier(pages, name, width, dark):
    assert measure(pages[name], width, dark=dark, ask=axe_question())["answer"] == []


@pytest.mark.skipif(AXE is None, reason="AXE does not name axe.min.js (npm install axe-core)")
def test_axe_sees_a_barrier(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<html><body><img src='data:,'><p style='color:#ddd'>pale</p></body></html>")
    words = " ".join(measure(page, 390, ask=axe_question())["answer"])
    assert "image-alt" in words
    assert "color-contrast" in words


def test_the_measurement_sees_what_is_wrong(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<html><body><figure style='display:none'><svg width='90' height='90'></svg>hidden</figure>"
        "<div style='width:2000px'>wide</div><img src='data:image/png;base64,AAAA'>"
        "<script>throw new Error('broken')</script></body></html>"
    )
    words = "; ".join(complaints(measure(page, 390)))
    for part in ("error", "figure without an area", "1 images do not load", "scrolls sideways"):
        assert part in words
