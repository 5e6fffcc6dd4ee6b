"""The interactive nomogram, run in a browser: what it shows is what the model predicts."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from headless_browser import complaints, find_chromium, measure

from survimg.evaluation import Nomogram, fit_cox
from survimg.report.nomogram_page import write_nomogram_page
from survimg.target import make_outcome

RANGES = {
    "age": (35.0, 85.0),
    "AutoRadio-Score": (-2.5, 2.5),
    "Stage": {"III": {}, "IVa": {"stage_IVa": 1}},
}
# Patients, as (age, score, stage); None is left as it was.
MOVES = [(47.5, -1.25, "IVa"), (80.0, 2.0, "III"), (61.0, 0.5, "IVa")]

# Moves sliders and select as a user would, and writes what the page then says into itself.
PROBE = """
<pre id="probe"></pre>
<script>
const said = [];
const note = () => said.push({
  total: document.getElementById("total").dataset.value,
  shown: Array.from(document.querySelectorAll("td.value"), c => c.textContent),
  survival: Array.from(document.querySelectorAll("td.value"), c => c.dataset.value),
  lower: Array.from(document.querySelectorAll("td.interval"), c => c.dataset.lower),
  upper: Array.from(document.querySelectorAll("td.interval"), c => c.dataset.upper),
  points: Array.from(document.querySelectorAll(".points"), c => c.textContent),
  problem: document.getElementById("problem").textContent,
  curve: document.querySelector("#curve path:last-of-type") !== null,
});
const move = (id, value, kind) => {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event(kind, { bubbles: true }));
};
note();
for (const [age, score, stage] of MOVES) {
  move("axis-0", age, "input");
  move("axis-1", score, "input");
  move("axis-2", stage === "IVa" ? "1" : "0", "change");
  note();
}
const typed = document.querySelector("input[type=number]");
typed.value = "120";
typed.dispatchEvent(new Event("input", { bubbles: true }));
note();
document.getElementById("probe").textContent = JSON.stringify(said);
</script>
</body>"""


@pytest.fixture(scope="module")
def patients():
    rng = np.random.default_rng(0)
    n = 200
    stage = rng.integers(0, 2, n)
    X = pd.DataFrame(
        {
            "age": rng.normal(60, 9, n),
            "AutoRadio-Score": rng.normal(size=n),
            "stage_IVa": stage.astype(float),
        }
    )
    log_hazard = -0.02 * X["age"] + 0.7 * X["AutoRadio-Score"] + 0.6 * stage
    event_time = rng.exponential(60 * np.exp(-(log_hazard - log_hazard.mean())))
    censored = rng.uniform(10, 120, n)
    return X, make_outcome(event_time <= censored, np.minimum(event_time, censored))


@pytest.fixture(scope="module")
def nomogram(patients):
    X, y = patients
    return Nomogram(fit_cox(y, X), RANGES, X, y)


@pytest.fixture(scope="module")
def page(nomogram, tmp_path_factory):
    path = tmp_path_factory.mktemp("nomogram") / "nomogram.html"
    hostile = "</script><img src=x onerror=alert(1)>"
    return write_nomogram_page(
        nomogram,
        path,
        horizons=[36, 60],
        time_unit="months",
        title=f"Nomogram {hostile}",
        event="progression",
        labels={"age": f"Age (years) {hostile}"},
        notes=[f"Note {hostile}"],
    )


@pytest.fixture(scope="module")
def browser():
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium to open the page in")
    return path


@pytest.fixture(scope="module")
def said(page, browser):
    """What the page says: as opened, after each of `MOVES`, and for an age of 120."""
    probe = PROBE.replace("of MOVES", f"of {json.dumps(MOVES)}")
    copy = page.with_name("probed.html")
    copy.write_text(page.read_text("utf-8").replace("</body>", probe), "utf-8")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        f"--user-data-dir={page.parent / 'profile'}",
        "--dump-dom",
        copy.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    return json.loads(re.search(r'<pre id="probe">(.+?)</pre>', dom, re.DOTALL).group(1))


def test_moving_the_sliders_shows_what_the_model_predicts(said, nomogram):
    for (age, score, stage), shown in zip(MOVES, said[1:4], strict=True):
        row = [[age, score, float(stage == "IVa")]]
        assert float(shown["total"]) == pytest.approx(nomogram.total_points(row)[0], abs=1e-8)
        for k, horizon in enumerate((36, 60)):
            expected = nomogram.predict(row, horizon).iloc[0]
            model = nomogram.fit.survival(row, [horizon])[0, 0]
            assert float(shown["survival"][k]) == pytest.approx(model, abs=1e-6)
            assert float(shown["lower"][k]) == pytest.approx(expected["lower"], abs=1e-6)
            assert float(shown["upper"][k]) == pytest.approx(expected["upper"], abs=1e-6)
            assert shown["shown"][k] == f"{100 * model:.1f} %"
        assert shown["points"][2] == f"{float(nomogram.points('Stage', stage)):.1f} points"
        assert shown["curve"]
    assert len({shown["survival"][0] for shown in said[:4]}) == 4


def test_a_value_outside_its_axis_gives_no_prediction(said):
    assert said[4]["survival"] == ["NaN", "NaN"]
    assert "outside the range" in said[4]["problem"]
    assert said[0]["problem"] == ""


@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_desktop_and_phone_without_errors(page, browser, width):
    assert complaints(measure(page, width, path=browser)) == []


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_page_refers_to_nothing_outside_and_escapes_every_text(page):
    text = page.read_text("utf-8")
    tags = Tags(text).found
    assert not [tag for tag, _ in tags if tag in {"img", "link", "iframe", "object"}]
    assert not [attrs for _, attrs in tags if {"src", "href", "onerror"} & set(attrs)]
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []
    policy = next(a["content"] for t, a in tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    assert "Note &lt;/script&gt;&lt;img" in text


def test_every_control_has_a_name_and_results_are_announced(page):
    text = page.read_text("utf-8")
    tags = Tags(text).found
    labelled = {attrs["for"] for tag, attrs in tags if tag == "label"}
    controls = [attrs for tag, attrs in tags if tag in {"input", "select"}]
    assert len(controls) == 5
    assert all(c.get("id") in labelled or c.get("aria-label") for c in controls)
    assert any(attrs.get("aria-live") == "polite" for _, attrs in tags)
    assert ("html", {"lang": "en"}) in tags


def test_page_without_training_patients_has_no_interval(patients, tmp_path):
    X, y = patients
    nomogram = Nomogram(fit_cox(y, X), RANGES)
    text = write_nomogram_page(nomogram, tmp_path / "n.html", horizons=[36]).read_text("utf-8")
    assert "no interval, because the model came without its training patients" in text
    assert 'class="interval"' not in text


def test_horizons_must_be_known_to_the_model(nomogram, tmp_path):
    with pytest.raises(ValueError, match="not estimable"):
        write_nomogram_page(nomogram, tmp_path / "n.html", horizons=[1e4])
    with pytest.raises(ValueError, match="at least one horizon"):
        write_nomogram_page(nomogram, tmp_path / "n.html", horizons=[])
    assert not list(tmp_path.iterdir())
