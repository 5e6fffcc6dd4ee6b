"""The leaderboard: the same scores as a frame, as print, and at the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from contestants import Failing, Reversed, StageCox
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.benchmark import (
    compare_models,
    fold_table,
    leaderboard,
    read_run,
    run_benchmark,
    score_run,
    score_table,
)
from survimg.cli import main
from survimg.model_selection import EventStratifiedKFold, k_fold_protocol
from survimg.survival.stratified_folds import deal
from survimg.target import make_outcome

MODELS = {"wrong": Reversed(), "failing": Failing(), "stage": StageCox()}


@pytest.fixture(scope="module")
def result(cohort, tmp_path_factory):
    return compare_models(
        MODELS, cohort, cv=3, out=tmp_path_factory.mktemp("run"), reference="stage", progress=False
    )


def test_the_frame_holds_the_scores_with_the_best_model_first(result):
    table = leaderboard(result.folder)
    assert table.index.tolist() == ["stage", "wrong", "failing"]
    assert table.loc["stage", "c_mean"] > 0.5 > table.loc["wrong", "c_mean"]
    assert np.isnan(table.loc["failing", "c_mean"])
    assert "FAILED in 3 of 3" in table.loc["failing", "verdict"]
    scores = score_table(score_run(read_run(result.folder))).set_index("model")
    for name in ("c_mean", "c_within_folds", "c_lower95", "difference", "p_holm", "folds_done"):
        np.testing.assert_array_equal(table[name], scores.loc[table.index, name])
    by_fold = fold_table(result).groupby("model")["c_index"].mean()
    assert table.loc["stage", "c_mean"] == pytest.approx(by_fold["stage"])
    assert result.leaderboard().equals(table)


def test_print_and_the_command_show_the_same_table(result, capsys):
    assert main(["summary", str(result.folder)]) == 0
    shown = capsys.readouterr().out
    assert shown == str(result)
    lines = shown.splitlines()
    assert lines[0] == f"{result.folder}: 36 patients, {_events(result)} events; 3 splits, 1 seed"
    assert [line.split()[0] for line in lines[2:]] == ["model", "stage", "wrong", "failing"]
    assert "<table" in result._repr_html_()


def test_the_command_answers_in_json(result, capsys):
    assert main(["summary", str(result.folder), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["events"] == _events(result)
    assert answer["reference"] == "stage"
    assert [model["model"] for model in answer["models"]] == ["stage", "wrong", "failing"]
    assert answer["models"][0]["c_mean"] == leaderboard(result)["c_mean"].iloc[0]


def test_a_number_of_folds_is_that_of_the_command_line(cohort, result, tmp_path):
    folds = EventStratifiedKFold(3, shuffle=True, random_state=0).split(cohort, cohort.outcome)
    for (train, test), (expected_train, expected_test) in zip(result.folds, folds, strict=True):
        np.testing.assert_array_equal(train, expected_train)
        np.testing.assert_array_equal(test, expected_test)
    assert result.protocol["n_folds"] == 3


@pytest.mark.parametrize("kind", ["splitter", "protocol", "splits"])
def test_other_folds(cohort, tmp_path, kind):
    splitter = EventStratifiedKFold(2)
    cv = {
        "splitter": splitter,
        "protocol": k_fold_protocol(cohort, cohort.outcome, n_folds=2),
        "splits": list(splitter.split(cohort, cohort.outcome)),
    }[kind]
    models = {"stage": StageCox()}
    result = compare_models(models, cohort, cv=cv, out=tmp_path / "a", progress=False)
    by_hand = run_benchmark(
        models, cohort, cohort.outcome, splits=list(splitter.split(cohort, cohort.outcome)),
        out=tmp_path / "b", progress=False,
    )  # fmt: skip
    assert leaderboard(result)["c_mean"].equals(leaderboard(by_hand)["c_mean"])
    assert result.reference == "stage"


def test_arrays_and_groups(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    y = make_outcome(np.ones(40, bool), rng.exponential(np.exp(-X[:, 0])) + 0.1)
    models = {"cox": CoxPHSurvivalAnalysis(alpha=0.1)}
    result = compare_models(models, X, y, cv=4, out=tmp_path / "a", progress=False)
    assert leaderboard(result).loc["cox", "c_mean"] > 0.6
    with pytest.raises(ValueError, match="does not keep groups together"):
        compare_models(models, X, y, cv=4, out=tmp_path / "b", groups=np.arange(40) // 2)
    with pytest.raises(ValueError, match="There is no outcome"):
        compare_models(models, X, cv=4, out=tmp_path / "b")
    with pytest.raises(ValueError, match="at least 2 and at most as many as events; there are 40"):
        compare_models(models, X, y, cv=41, out=tmp_path / "b")
    with pytest.raises(ValueError, match="cv must be"):
        compare_models(models, X, y, cv="five", out=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_an_interrupted_run_says_what_is_missing(cohort, tmp_path):
    models = {"stage": StageCox()}
    result = compare_models(models, cohort, cv=3, out=tmp_path, progress=False)
    for path in tmp_path.rglob("fold01-*"):
        path.unlink()
    rest = type(result).read(tmp_path)
    assert "; 1 fit is missing" in str(rest)
    assert leaderboard(rest).loc["stage", "verdict"] == "not finished: 2 of 3 fits"


def test_strata_are_dealt_evenly():
    labels = np.array([2, 0, 1, 0, 2, 1, 0, 0, 1, 2])
    fold = deal(labels, 3, np.random.default_rng(0).permutation(10))
    for part in (labels == 0, labels == 1, labels == 2, labels > 0, labels >= 0):
        counts = np.bincount(fold[part], minlength=3)
        assert np.ptp(counts) <= 1


def _events(result):
    return int(result.outcome["event"].sum())
