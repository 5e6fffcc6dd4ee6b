"""Protocols, suites and negative controls from the command line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from contestants import make_cohort, with_centres

from survimg.benchmark import read_run
from survimg.cli import benchmark as command
from survimg.cli import main
from survimg.datasets import make_phantom_cohort
from survimg.estimators import ClinicalVolumeCox
from survimg.suites import Suite

PHANTOM = ("--cohort", "phantom", "--patients", 36, "--shape", 16, 16, 16)
OWN = "contestants:StageCox"


def benchmark(*arguments):
    return main(["benchmark", "--no-progress", *map(str, arguments)])


def estimators(run):
    return {record.details["estimator"]["class"] for record in run.records.values()}


def test_repeats(tmp_path):
    out = tmp_path / "run"
    arguments = ("--protocol", "repeated", "--repeats", 2, "--folds", 2, "--out", out)
    assert benchmark(*PHANTOM, "--models", OWN, *arguments) == 0
    run = read_run(out)
    assert run.repeats == [[0, 1], [2, 3]]
    assert run.plan["settings"]["folds"] == "2, stratified by event, repeated 2 times"


def test_a_grid_is_searched_inside_and_the_choice_recorded(tmp_path):
    out = tmp_path / "run"
    status = benchmark(
        *PHANTOM, "--models", f"{OWN},clinical-volume-cox", "--protocol", "nested", "--folds", 2,
        "--inner-folds", 2, "--grid", f"{OWN}:alpha=0.01,100", "--out", out,
    )
    assert status == 0
    run = read_run(out)
    assert {run.records[OWN, fold, 0].details["chosen"]["alpha"] for fold in (0, 1)} <= {0.01, 100}
    assert "chosen" not in run.records["clinical-volume-cox", 0, 0].details
    stored = json.loads((out / "splits.json").read_text())["folds"]
    assert [len(fold["inner"]) for fold in stored] == [2, 2]


def test_an_ensemble_can_be_scaled_by_the_external_cohort(tmp_path):
    out = tmp_path / "run"
    status = benchmark(
        *PHANTOM, "--models", "clinical-volume-cox", "--protocol", "external", "--external",
        "phantom:20", "--inner-folds", 2, "--ensemble-reference", "cohort", "--out", out,
    )
    assert status == 0
    (record,) = read_run(out).records.values()
    risk = record.arrays["test_risk"]
    assert abs(risk.mean()) < 1e-12  # the mean of z-scores of these patients
    assert "transductive" in (out / "report.html").read_text(encoding="utf-8")


def test_external_phantoms_are_judged_by_an_ensemble_of_folds(tmp_path):
    out = tmp_path / "run"
    status = benchmark(
        *PHANTOM, "--models", "clinical-volume-cox", "--protocol", "external", "--external",
        "phantom:20", "--inner-folds", 3, "--out", out,
    )
    assert status == 0
    run = read_run(out)
    assert estimators(run) == {"survimg.estimators.compose.fold_ensemble.FoldEnsemble"}
    assert run.records["clinical-volume-cox", 0, 0].details["estimator"]["params"][
        "reference"] == "training"
    ((train, test),) = run.folds
    assert (train.size, test.size) == (36, 20)
    assert not set(run.outcome["time"][train]) & set(run.outcome["time"][test])
    assert run.oracle_risk.size == 56
    assert set(run.groups[test]) == {"external cohort"}


def test_external_phantoms_are_judged_by_one_model_of_all_training_patients(tmp_path):
    out = tmp_path / "run"
    status = benchmark(
        *PHANTOM, "--models", "clinical-volume-cox", "--protocol", "external", "--external",
        "phantom:20", "--shift", 0, "--inner-folds", 1, "--out", out,
    )
    assert status == 0
    run = read_run(out)
    assert not {name for name in estimators(run) if "FoldEnsemble" in name}
    assert "another scanner" not in run.plan["settings"]["cohort"]
    assert run.plan["settings"]["folds"] == (
        "none: trained on 36 patients, tested on 20 of another cohort"
    )
    seed = run.plan["settings"]["external"]["phantom_seed"]
    training = make_phantom_cohort(36, (16, 16, 16), 0).cohort
    external = make_phantom_cohort(20, (16, 16, 16), seed).cohort
    model = ClinicalVolumeCox().fit(training, training.outcome)
    np.testing.assert_allclose(
        run.records["clinical-volume-cox", 0, 0].arrays["test_risk"], model.predict(external)
    )


def test_external_phantoms_have_the_truth_of_the_training_phantoms(tmp_path):
    effects = ("--effects", "infiltration=1,stage=-2", "--strand-gap", 12)
    status = benchmark(
        *PHANTOM, *effects, "--models", OWN, "--protocol", "external", "--external", "phantom:20",
        "--inner-folds", 2, "--out", tmp_path / "run",
    )
    assert status == 0
    run = read_run(tmp_path / "run")
    settings = run.plan["settings"]
    assert settings["phantom_effects"] == {"infiltration": 1.0, "stage": -2.0}
    assert settings["phantom_strand_gap"] == 12
    ((train, test),) = run.folds
    expected = [
        make_phantom_cohort(
            size, (16, 16, 16), seed, effects={"infiltration": 1.0, "stage": -2.0}
        ).oracle_risk
        for size, seed in ((36, 0), (20, settings["external"]["phantom_seed"]))
    ]
    np.testing.assert_array_equal(run.oracle_risk[train], expected[0])
    np.testing.assert_array_equal(run.oracle_risk[test], expected[1])


def test_a_prepared_external_cohort(tmp_path, capsys):
    for name, seed in (("a", 0), ("b", 1)):
        make_cohort(n=30, seed=seed, ids=[f"{name}{i}" for i in range(30)])[0].save(tmp_path / name)
    arguments = ("--models", OWN, "--protocol", "external", "--inner-folds", 2)
    assert benchmark("--cohort", tmp_path / "a", "--external", tmp_path / "b", *arguments,
                     "--out", tmp_path / "run") == 0
    assert read_run(tmp_path / "run").ids[-1] == "b29"
    assert benchmark("--cohort", tmp_path / "a", "--external", tmp_path / "a", *arguments,
                     "--out", tmp_path / "same") == 2
    message = capsys.readouterr().err
    assert "in both the training and the external cohort" in message
    assert "patient_id of its manifest, and prepare it again" in message  # no option renames them


def test_each_centre_is_left_out(tmp_path):
    out = tmp_path / "run"
    protocol = ("--protocol", "leave-one-centre-out", "--centres", 2, "--shift", 1)
    assert benchmark(*PHANTOM, "--models", OWN, *protocol, "--out", out) == 0
    run = read_run(out)
    assert [set(run.groups[test]) for _, test in run.folds] == [{"centre-0"}, {"centre-1"}]
    assert run.plan["settings"]["phantom_shift"] == 1


@pytest.mark.parametrize(
    ("groups", "wish", "together"),
    [("pairs", "yes", True), ("pairs", "no", False), ("one", "auto", False),
     ("thirds", "yes", True)],
)
def test_scans_of_a_patient_share_a_fold_and_centres_need_not(tmp_path, groups, wish, together):
    number = np.arange(30)
    labels = {"pairs": number // 2, "thirds": number % 3, "one": number * 0}[groups]
    with_centres(make_cohort(n=30)[0], labels).save(tmp_path / "store")
    arguments = ("--folds", 2, "--keep-groups", wish, "--out", tmp_path / "run")
    assert benchmark("--cohort", tmp_path / "store", "--models", OWN, *arguments) == 0
    run = read_run(tmp_path / "run")
    train, test = run.folds[0]
    assert (not set(labels[train]) & set(labels[test])) == together
    assert (run.clusters is not None) == together


@pytest.mark.parametrize("labels", [np.arange(30) // 5, np.arange(30) % 3])
def test_groups_that_may_be_patients_or_centres_are_asked_about(tmp_path, labels, capsys):
    with_centres(make_cohort(n=30)[0], labels).save(tmp_path / "store")
    arguments = ("--folds", 2, "--out", tmp_path / "run")
    assert benchmark("--cohort", tmp_path / "store", "--models", OWN, *arguments) == 2
    assert "Give --keep-groups yes if a group is a patient" in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_control_of_an_earlier_call_is_not_shown(tmp_path):
    out = tmp_path / "run"
    arguments = ("--models", OWN, "--folds", 2, "--out", out)
    assert benchmark(*PHANTOM, *arguments, "--negative-control", 3) == 0
    assert read_run(out).negative_control is not None
    assert benchmark(*PHANTOM, *arguments) == 0
    assert read_run(out).negative_control is None


def test_external_patients_without_groups_stand_for_themselves(tmp_path):
    out = tmp_path / "run"
    protocol = ("--protocol", "external", "--external", "phantom:30", "--centres", 10)
    assert benchmark(*PHANTOM, "--models", "clinical-volume-cox", *protocol, "--out", out) == 0
    row = pd.read_csv(out / "scores.csv").iloc[0]
    assert row["c_lower95"] < row["c_within_folds"] - 0.02


def test_permuted_outcomes_are_said_loudly(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ("--models", OWN, "--folds", 2, "--out", out)
    assert benchmark(*PHANTOM, *arguments, "--permute-outcome", 7) == 0
    assert "NEGATIVE CONTROL: the outcomes were permuted" in capsys.readouterr().out
    run = read_run(out)
    assert run.plan["settings"]["outcome"] == "PERMUTED (seed 7)"
    assert "NEGATIVE CONTROL" in run.plan["caveats"][0]
    assert run.oracle_risk is None


def test_a_negative_control_stands_beside_the_models(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ("--models", OWN, "--folds", 2, "--out", out)
    assert benchmark(*PHANTOM, *arguments, "--negative-control", 3) == 0
    assert f"{OWN} (permuted)" in capsys.readouterr().out
    scores = pd.read_csv(out / "scores.csv")
    assert scores["model"].tolist() == [OWN, "oracle", f"{OWN} (permuted)"]
    assert "interval_contains_0.5" in scores
    run = read_run(out)
    assert sorted(run.outcome.tolist()) == sorted(run.negative_control.outcome.tolist())
    assert run.outcome.tolist() != run.negative_control.outcome.tolist()


def test_a_suite_takes_ones_own_model_and_shows_the_papers_numbers(
    tmp_path, capsys, monkeypatch
):
    paper = {"clinical-volume-cox": {"c_index": 0.711, "dice": None, "source": "Paper, Table 9"}}
    suite = Suite("small", "A small table", ("clinical-volume-cox",), "clinical-volume-cox",
                  paper, "Somebody, 2020")
    monkeypatch.setattr(command, "SUITES", {"small": suite})
    out = tmp_path / "run"
    assert benchmark(*PHANTOM, "--suite", "small", "--models", OWN, "--folds", 2, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "paper, ANOTHER COHORT" in shown
    assert "C 0.711" in shown
    assert "Paper, Table 9. Not comparable" in shown
    run = read_run(out)
    assert (run.suite, run.models) == ("small", ["clinical-volume-cox", OWN])
    assert (run.reference, run.published) == ("clinical-volume-cox", paper)
    assert benchmark(*PHANTOM, "--suite", "large", "--out", out) == 2
    assert "Unknown suite 'large'; choose from small" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--repeats 3", "--repeats needs --protocol repeated"),
        ("--inner-folds 3", "--inner-folds needs --protocol nested or external"),
        ("--protocol nested", "--protocol nested needs --grid"),
        ("--protocol nested --inner-folds 1", "needs --inner-folds of at least 2; got 1"),
        ("--ensemble-reference cohort", "--ensemble-reference needs --protocol external"),
        (
            "--protocol external --inner-folds 1 --ensemble-reference cohort",
            "--ensemble-reference needs an ensemble",
        ),
        ("--protocol external", "--protocol external needs --external"),
        ("--protocol leave-one-centre-out --folds 3", "--folds needs --protocol"),
        ("--protocol leave-one-centre-out", "needs the centre of each patient"),
        ("--protocol external --external nowhere", "--external nowhere: no such folder"),
        ("--protocol nested --grid alpha=1", "--grid is MODEL:PARAMETER=V1,V2"),
        ("--protocol nested --grid other:alpha=1", "no model 'other' in this run"),
        (f"--protocol nested --grid {OWN}:depth=1,2", "has no parameter 'depth'; it has alpha"),
        ("--shift 1 --cohort nowhere", "--shift does not apply to nowhere"),
        ("--centres 2 --cohort nowhere", "--centres does not apply to nowhere"),
        ("--keep-groups yes", "the cohort has no groups"),
    ],
)
def test_what_does_not_belong_together_is_one_line(arguments, message, capsys, tmp_path):
    out = tmp_path / "run"
    assert benchmark(*PHANTOM[:2], "--models", OWN, "--out", out, *arguments.split()) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert message in shown
    assert not out.exists()
