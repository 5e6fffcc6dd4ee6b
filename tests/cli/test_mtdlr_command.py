"""The MTDLR analysis from the command line: tables, figures, nomogram, and what is refused."""

from __future__ import annotations

import argparse
import json
import warnings

import numpy as np
import pandas as pd
import pytest

from survimg import Cohort
from survimg.cli import main
from survimg.cli.cohorts import Study
from survimg.cli.mtdlr import _pet_parameters, _range, _write_settings
from survimg.datasets import make_phantom_cohort
from survimg.evaluation import concordance_index
from survimg.files import lock_folder, unlock, write_json
from survimg.suites.mtdlr_tables import SCORES
from survimg.target import make_outcome

TINY = ("--iterations", 2, "--folds", 2, "--lasso-folds", 3, "--threads", 1)
SHAPE = (16, 16, 16)


def mtdlr(*arguments):
    with warnings.catch_warnings():  # networks of two steps find no tumour, and no feature helps
        warnings.simplefilter("ignore", UserWarning)
        return main(["mtdlr", "--no-progress", *map(str, arguments)])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """In SUV and HU, as PET parameters need them."""
    folder = tmp_path_factory.mktemp("mtdlr") / "store"
    make_phantom_cohort(n=48, shape=SHAPE, random_state=3, normalise=False).cohort.save(folder)
    return folder


@pytest.fixture(scope="module")
def analysis(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("analysis") / "out"
    given = ("--cohort", store, "--internal", 16, "--horizons", 24, 12, "--out", out)
    assert mtdlr(*given, *TINY) == 0
    return out


class TestAnalysis:
    def test_every_table_and_figure_is_written(self, analysis):
        files = {path.name for path in analysis.iterdir()}
        assert {
            "table1.csv", "cox_training.csv", "table3_internal.csv", "performance.csv",
            "calibration.csv", "risk_groups.csv", "nomogram.html", "nomogram.png",
            "nomogram_points.csv", "nomogram_survival.csv", "roc_internal.png",
            "scores_internal.csv", "settings.json",
        } <= files  # fmt: skip
        performance = pd.read_csv(analysis / "performance.csv", index_col=["cohort", "score"])
        assert set(performance.index.get_level_values("score")) == set(SCORES)
        assert set(performance.index.get_level_values("cohort")) == {"training", "internal"}

    def test_settings_agree_with_the_tables_and_name_no_place(self, analysis, store):
        text = (analysis / "settings.json").read_text("utf-8")
        assert str(store.parent) not in text
        settings = json.loads(text)
        assert settings["patients"] == {"training": 32, "internal": 16}
        scores = pd.read_csv(analysis / "scores_internal.csv")
        assert settings["events"]["internal"] == scores["event"].sum()
        y = make_outcome(scores["event"].astype(bool), scores["time"])
        assert 0 <= settings["dice"]["internal"] <= 1
        for name in SCORES:
            assert settings["c_index"]["internal"][name] == concordance_index(y, scores[name])

    def test_the_parts_have_their_share_of_events(self, analysis, store):
        outcome = Cohort.load(store).outcome
        events = json.loads((analysis / "settings.json").read_text("utf-8"))["events"]
        assert sum(events.values()) == outcome["event"].sum()
        assert events["internal"] == pytest.approx(outcome["event"].sum() / 3, abs=1)

    def test_pet_parameters_stand_in_tables_1_and_2_only(self, analysis):
        settings = json.loads((analysis / "settings.json").read_text("utf-8"))
        assert "SUVmax" in settings["pet_parameters"]
        for name in ("table1.csv", "cox_training.csv"):
            assert "SUVmax" in (analysis / name).read_text("utf-8")
        assert "SUVmax" not in (analysis / "table3_training.csv").read_text("utf-8")

    def test_a_run_that_was_cut_goes_on_from_its_networks(self, analysis, store, monkeypatch):
        from survimg.estimators import DeepMTS, SingleTaskSurvival

        def trained(*_args, **_kwargs):
            raise AssertionError("trained again")

        before = {path: path.read_bytes() for path in analysis.glob("*.csv")}
        for kind in (DeepMTS, SingleTaskSurvival):
            monkeypatch.setattr(kind, "fit", trained)
        given = ("--cohort", store, "--internal", 16, "--horizons", 24, 12, "--out", analysis)
        assert mtdlr(*given, *TINY) == 0
        assert before == {path: path.read_bytes() for path in analysis.glob("*.csv")}


@pytest.mark.slow
def test_phantoms_with_an_external_cohort(tmp_path, capsys):
    out = tmp_path / "out"
    assert mtdlr(
        "--cohort", "phantom", "--patients", 30, "--shape", *SHAPE, "--internal", 0,
        "--external", "phantom:16", "--out", out, *TINY, "--horizons", 12,
    ) == 0  # fmt: skip
    assert "PET parameters in tables 1 and 2: none" in capsys.readouterr().out
    settings = json.loads((out / "settings.json").read_text("utf-8"))
    assert settings["patients"] == {"training": 30, "external": 16}
    assert settings["c_index_of_true_risk"]["external"] > 0.6


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "--horizons is needed: times of calibration and nomogram, in months"),
        (("--horizons", 1e6), "not beyond the last event of the training patients"),
        (("--horizons", 12, "--internal", 47), "--internal 47: 48 patients"),
        (("--horizons", 12, "--columns", "grade"), "no clinical column 'grade'; it has stage"),
        (("--horizons", 12, "--external", "absent"), "--external absent: no such folder"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_fitted(given, words, store, tmp_path, capsys):
    out = tmp_path / "out"
    assert mtdlr("--cohort", store, "--out", out, *given) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("earlier", "stale"),
    [
        ({"patients": {"training": 9, "external": 9}, "horizons": [12.0]}, "(external)"),
        ({"patients": {"training": 9}, "horizons": [12.0, 30.0]}, "(horizon 30)"),
    ],
)
def test_results_of_another_command_do_not_stay_beside_new_ones(
    earlier, stale, store, tmp_path, capsys
):
    write_json(tmp_path / "settings.json", earlier)
    assert mtdlr("--cohort", store, "--out", tmp_path, "--horizons", 12) == 2
    assert f"holds results of another command {stale}" in capsys.readouterr().err


def test_two_commands_do_not_write_into_one_folder(store, tmp_path, capsys):
    lock = lock_folder(tmp_path)
    try:
        assert mtdlr("--cohort", store, "--out", tmp_path, "--horizons", 12) == 2
    finally:
        unlock(lock)
    assert str(tmp_path) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_settings_name_no_patient(tmp_path):
    cohort = make_phantom_cohort(n=6, shape=SHAPE, random_state=3).cohort  # PET as z-scores
    _, reason = _pet_parameters({"training": cohort})
    assert f"patient {cohort.ids[0]!r} is no SUV" in reason
    study = Study(cohort, "", settings={"n": 1, "preparation_warning": f"{cohort.ids[1]}: coarse"})
    record = {"pet_parameters": [], "no_pet_parameters": reason}
    _write_settings(argparse.Namespace(command_line="survimg mtdlr"), study, record, tmp_path)
    text = (tmp_path / "settings.json").read_text("utf-8")
    assert json.loads(text)["settings"] == {"n": 1}
    assert not [name for name in cohort.ids if name in text]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_axis_of_a_score_rises_whatever_its_scale(scale):
    values = pd.Series(np.random.default_rng(0).normal(size=80) * scale, name="AutoRadio-Score")
    low, high = _range(values)
    assert (low, high) == pytest.approx(tuple(np.quantile(values, [0.01, 0.99])), rel=0.01)


def test_the_axis_of_a_value_that_nearly_all_have_covers_the_others():
    values = pd.Series([*range(8), *[0] * 992], name="nodes", dtype=float)
    assert _range(values) == (0.0, 7.0)


def test_a_cohort_without_clinical_columns_is_refused(tmp_path, capsys):
    rng = np.random.default_rng(0)
    y = make_outcome(np.arange(8) % 2 == 0, np.arange(1.0, 9.0))
    masks = np.zeros((8, *SHAPE), np.uint8)
    masks[:, 6:10, 6:10, 6:10] = 1
    volumes = rng.normal(size=(8, 1, *SHAPE)).astype(np.float32)
    Cohort(volumes, masks=masks, outcome=y, spacing=4.0).save(tmp_path / "store")
    assert mtdlr("--cohort", tmp_path / "store", "--out", tmp_path / "out", "--horizons", 2) == 2
    assert "the cohort has none" in capsys.readouterr().err
