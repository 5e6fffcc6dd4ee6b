"""The page and the figures say what a reader would otherwise take wrongly."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from contestants import Clairvoyant, Segmenter, StageCox, make_cohort, with_centres
from PIL import Image
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline

from survimg.benchmark import run_benchmark, score_run
from survimg.benchmark.risk_groups import RiskGroups
from survimg.evaluation import CalibrationGroups
from survimg.model_selection import EventStratifiedKFold
from survimg.report import export_figures, page, render
from survimg.report.convergence import history_figures
from survimg.report.figures import concordance_figure
from survimg.report.parameters import in_words
from survimg.report.probabilities import Probabilities
from survimg.report.probability_figures import calibration_figure
from survimg.report.ranks import RankSummary


class Trained(Segmenter):
    """A model with a length of training."""

    def __init__(self, n_iterations=15000, random_state=None):
        super().__init__(random_state=random_state)
        self.n_iterations = n_iterations


@pytest.fixture(scope="module")
def patients():
    cohort, _ = make_cohort(n=30)
    return cohort


def make_run(out, cohort, models, splits=None, **options):
    folds = EventStratifiedKFold(2, shuffle=True, random_state=0)
    splits = list(folds.split(cohort, cohort.outcome)) if splits is None else splits
    return run_benchmark(models, cohort, cohort.outcome, splits=splits, out=out, **options)


def text_of(folder):
    html = render(folder).read_text(encoding="utf-8")
    apart = r"<script>.*?</script>|<style>.*?</style>|<svg.*?</svg>"
    html = re.sub(apart, "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_a_training_that_was_cut_short_is_named(tmp_path, patients):
    inside = make_pipeline("passthrough", Trained(n_iterations=200))
    models = {"net": Trained(n_iterations=100), "whole": Trained(), "pipeline": inside}
    make_run(tmp_path, patients, models)
    text = text_of(tmp_path)
    assert text.count("training cut short: n_iterations = 100 (default 15000)") == 1
    assert text.count("training cut short: n_iterations = 200 (default 15000)") == 1
    assert "What net can reach: its training was shortened to n_iterations = 100" in text
    named = "shortened to trained__n_iterations = 200; the default of Trained is 15000."
    assert named in text  # not the default of the pipeline around it
    assert "What whole can reach" not in text
    assert "Trained with its defaults" in text


def test_parameters_that_differ_come_first(tmp_path, patients):
    run = make_run(tmp_path, patients, {"s": Segmenter(noise=7.0)})
    parameters = page.model_parameters(run)["s"].parameters
    assert [p.text for p in parameters[:2]] == ["noise = 7 (default 20)", "pause = 0"]
    assert "random_state" not in {p.name for p in parameters}


def test_a_run_of_an_earlier_version_is_rendered(tmp_path, patients):
    make_run(tmp_path, patients, {"net": Trained(n_iterations=100)})
    for file in (tmp_path / "records").rglob("*.json"):
        record = json.loads(file.read_text())
        del record["details"]["estimator"]["defaults"], record["details"]["memory_increase_bytes"]
        record["details"] |= {"peak_memory_bytes": 7e8, "peak_memory_scope": "task"}
        del record["sha256"]
        file.write_text(json.dumps(record))
    stored = json.loads((tmp_path / "patients.json").read_text())
    del stored["group"], stored["sha256"]
    (tmp_path / "patients.json").write_text(json.dumps(stored))
    text = text_of(tmp_path)
    assert "which parameters differ from their defaults was not recorded" in text
    assert "n_iterations = 100" in text
    assert "Memory added" not in text


def test_centres_mixed_by_the_folds_are_named(tmp_path, patients):
    centres = np.arange(30) % 3
    cohort = with_centres(patients, centres)
    make_run(tmp_path / "mixed", cohort, {"cox": StageCox()})
    text = text_of(tmp_path / "mixed")
    assert "centres 3" in text
    assert "in 2 of 2 folds patients of one centre are in both" in text
    apart = list(GroupKFold(3).split(np.zeros(30), groups=centres))
    make_run(tmp_path / "apart", cohort, {"cox": StageCox()}, apart)
    assert "patients of one centre" not in text_of(tmp_path / "apart")


def test_a_perfect_order_has_no_interval(tmp_path, patients):
    times = list(zip(patients.ids.tolist(), patients.outcome["time"].tolist(), strict=True))
    make_run(tmp_path, patients, {"clairvoyant": Clairvoyant(times)})
    text = text_of(tmp_path)
    assert "1.000 ( no interval )" in text.replace("(no interval)", "( no interval )")
    assert "so there is no interval" in text
    assert "better than chance" not in text


def test_follow_up_is_the_reverse_kaplan_meier_median(tmp_path, patients):
    from sksurv.nonparametric import kaplan_meier_estimator

    time, survival = kaplan_meier_estimator(~patients.outcome["event"], patients.outcome["time"])
    make_run(tmp_path, patients, {"cox": StageCox()})
    expected = f"{time[np.argmax(survival <= 0.5)]:.3g} months"
    assert f"median follow-up (reverse Kaplan–Meier) {expected}" in text_of(tmp_path)


def test_an_undefined_log_rank_test_is_called_undefined(tmp_path, patients, monkeypatch):
    make_run(tmp_path, patients, {"cox": StageCox()})
    groups = RiskGroups(np.arange(30), np.arange(30) % 2 == 0, np.zeros(30), None)
    monkeypatch.setattr(page, "risk_groups", lambda run, model: groups)
    text = text_of(tmp_path)
    assert "Log-rank test stratified by fold: p undefined" in text
    assert "p is below 0.05 about one time in ten" in text  # under no relation, by simulation


@pytest.mark.parametrize("groups", [(("a", "b"),), ()])
def test_lines_between_ranks_are_explained_where_they_are_drawn(
    tmp_path, patients, monkeypatch, groups
):
    make_run(tmp_path, patients, {name: StageCox() for name in "abc"})
    ranks = RankSummary({"a": 1.0, "b": 2.0, "c": 3.0}, {("a", "c"): 0.01}, groups, 5)
    monkeypatch.setattr(page, "rank_models", lambda run, models: ranks)
    text = text_of(tmp_path)
    assert ("Vertical lines join models" in text) == bool(groups)
    assert ("a line does not prove" in text) == bool(groups)
    assert ("All neighbours differ at 5 %" in text) == (not groups)


@pytest.mark.parametrize(
    ("n_estimable", "label"),
    [(3, "3 groups, 95 % CI"), (2, "3 groups, 95 % CI of 2"), (0, "3 groups")],
)
def test_the_legend_of_calibration_names_the_intervals_that_are_drawn(n_estimable, label):
    level = np.array([0.2, 0.5, 0.8])
    limit = np.where(np.arange(3) < n_estimable, 0.1, np.nan)
    groups = CalibrationGroups(level, level, level - limit, level + limit, limit, level, level, 1.0)
    drawn = Probabilities("m", 9, 3, 0.1, 0.1, groups, None, None, None, ())
    figure = calibration_figure(drawn, "1 year")
    assert f">{label}</text>" in figure
    assert figure.count("(no interval)") == 2 * (3 - n_estimable)  # of the bar and of its point


def test_settings_of_a_preparation_are_rows_to_read(tmp_path, patients):
    prepared = {"shape": [16, 16, 16], "spacing": None, "label": None, "normalise": {"PET": "none"}}
    make_run(tmp_path, patients, {"cox": StageCox()}, settings={"prepared": prepared})
    text = text_of(tmp_path)
    assert "prepared: shape 16 × 16 × 16 prepared: spacing each patient&#39;s own voxel" in text
    assert "PET: none" in text
    assert "prepared: label" not in text
    assert "{" not in text


def test_example_captions_say_which_patient_is_shown(tmp_path, patients):
    run = make_run(tmp_path, patients, {"s": Segmenter()})
    dice = np.concatenate([record.arrays["dice"] for record in run.records.values()])
    text = text_of(tmp_path)
    assert f"Dice {dice.min():.3f}, lowest." in text
    assert f"close to the median ({np.median(dice):.3f})." in text
    assert f"Dice {dice.max():.3f}, highest." in text


def test_a_negative_dice_column_is_called_a_loss(tmp_path, patients):
    record = make_run(tmp_path, patients, {"s": Segmenter()}).records["s", 0, 0]
    record.details["history"] = {"dice": [-0.2, -0.5], "valid_dice": [0.1, 0.4], "loss": [3.0, 2.0]}
    names = [name for name, _ in history_figures([record])]
    assert names == ["Dice loss (−Dice)", "valid dice", "loss"]


def test_values_stand_outside_the_axes(tmp_path, patients):
    scores = score_run(make_run(tmp_path, patients, {"cox": StageCox(), "s": Segmenter()}))
    root = ET.fromstring(concordance_figure(scores))
    places = {text.text: float(text.get("x")) for text in root.iter("text")}
    ticks = [x for text, x in places.items() if re.fullmatch(r"[\d.]+", text)]
    for score in scores:
        value = f"{score.within_folds.value:.3f}"
        assert next(x for text, x in places.items() if text.startswith(value)) > max(ticks)
        assert places[score.model] < min(ticks)


def test_figures_can_be_had_as_images(tmp_path, patients):
    models = {"cox/a": StageCox(), "Cox a": StageCox(), "s": Segmenter()}
    make_run(tmp_path / "run", patients, models)
    paths = export_figures(tmp_path / "run", tmp_path / "new" / "images")
    assert {path.name for path in paths} == {
        "concordance.png",
        "kaplan_meier_cox_a.png",
        "kaplan_meier_Cox_a_2.png",
        "kaplan_meier_s.png",
    }
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert pixels.shape[1] > 500
        assert (pixels[0] == 255).all()  # white margin, also on a dark page
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1, 2.5], "1 × 2.5"),
        (["original", "wavelet"], "original, wavelet"),
        ({"PET": "zscore", "CT": ["window", -200, 300]}, "PET: zscore; CT: window, -200, 300"),
        ({"type": "numpy.ndarray", "digest": "0123456789ab"}, "numpy.ndarray 01234567"),
        (None, "None"),
        (True, "True"),
    ],
)
def test_values_in_words(value, words):
    assert in_words(value) == words
