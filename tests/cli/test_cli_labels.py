"""Classifiers on the command line: `--label` and `--label-at` of benchmark, fit and predict."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from contestants import make_cohort

import survimg
from survimg import Cohort
from survimg.benchmark import read_run
from survimg.cli import main
from survimg.cli.labels import label_patients
from survimg.cli.parser import make_parser
from survimg.evaluation import status_weights
from survimg.model_files import read_manifest
from survimg.suites import ModelSettings, build_models

MODELS = "clinical-logistic,clinical-volume-logistic"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return the folder of a prepared cohort with a column of yes and no, some of it missing."""
    cohort, _ = make_cohort(n=48, size=8)
    rng = np.random.default_rng(99)
    stage = cohort.clinical["stage"].to_numpy()
    spread = np.where(rng.uniform(size=48) < stage / 5, "yes", "no").astype(object)
    spread[:3] = None
    histology = np.where(rng.uniform(size=48) < 0.5, "A", "B")
    cohort = cohort.with_clinical(pd.DataFrame({"spread": spread, "histology": histology}))
    folder = tmp_path_factory.mktemp("labels") / "store"
    cohort.save(folder)
    return folder


def benchmark(store, out, *options, models=MODELS):
    arguments = ["--cohort", str(store), "--models", models, "--out", str(out), "--no-progress"]
    return main(["benchmark", *arguments, "--folds", "3", *map(str, options)])


def arguments_of(*options):
    return make_parser().parse_args(
        ["fit", "--cohort", "x", "--model", "y", "--out", "z", *options]
    )


def test_a_column_is_learned_by_models_that_do_not_see_it(store, tmp_path, capsys):
    assert benchmark(store, tmp_path / "run", "--label", "spread") == 0
    text = capsys.readouterr()
    assert "3 patients without a label: left out" in text.err
    assert "Classification of spread" in text.out
    run = read_run(tmp_path / "run")
    cohort = Cohort.load(store)
    expected = cohort.clinical["spread"].iloc[3:] == "yes"
    assert run.outcome["event"].tolist() == expected.tolist()
    assert run.label == "spread"
    assert run.reference == "clinical-volume-logistic"
    assert run.plan["settings"]["left_out_without_label"] == 3
    assert set(run.plan["cohort"]["clinical"]) == {"stage", "histology"}


def test_the_status_at_a_time_leaves_out_who_was_censored_before(store, tmp_path, capsys):
    assert benchmark(store, tmp_path / "run", "--label-at", 12, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    run = read_run(tmp_path / "run")
    y = Cohort.load(store).outcome
    positive = y["event"] & (y["time"] <= 12)
    known = positive | (y["time"] >= 12)
    assert len(run.ids) == known.sum() < len(y)
    assert run.outcome["event"].tolist() == positive[known].tolist()
    assert any("censored before 12 months are left out" in text for text in run.plan["caveats"])
    assert run.label == "the event by 12 months"
    assert [row["model"] for row in answer["classification"]] == MODELS.split(",")
    for row in answer["classification"]:
        assert row["auc_lower95"] < row["auc"] < row["auc_upper95"]
        assert 0 <= row["sensitivity"] <= 1
    assert "auc_mean" in answer["models"][0]


def test_the_status_at_the_end_is_known_for_all():
    cohort, _ = make_cohort(n=20, size=8)
    labelled = label_patients(arguments_of("--label-at", "end"), cohort)
    assert labelled.labels.tolist() == cohort.outcome["event"].tolist()
    assert labelled.caveats


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("grade=2", [1, 2, 2, 3], [False, True, True, False]),
        ("grade=high", ["low", "high", "high", "low"], [False, True, True, False]),
        ("grade", [True, False, False, True], [True, False, False, True]),
        ("grade", ["Yes", "no", "NO", "yes"], [True, False, False, True]),
    ],
    ids=str,
)
def test_labels_are_what_the_column_says(text, column, expected):
    cohort, _ = make_cohort(n=4, size=8)
    cohort = cohort.with_clinical(pd.DataFrame({"grade": column}))
    labelled = label_patients(arguments_of("--label", text), cohort)
    assert labelled.labels.tolist() == expected
    assert list(labelled.cohort.clinical) == ["stage"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--label", "nothing"), "no such column; the cohort has stage, spread, histology"),
        (("--label", "histology"), r"which is the positive one\? Give --label histology=VALUE"),
        (("--label", "histology=C"), "Of 48 labelled patients, no one has histology = C"),
        (("--label-at", "soon"), "takes a positive time, or end"),
        (("--label-at", "0"), "--label-at takes a positive time, or end; got '0'"),
        (("--label-at", "-3"), "--label-at takes a positive time, or end; got '-3'"),
        (("--label-at", "inf"), "--label-at takes a positive time, or end; got 'inf'"),
        (("--label-at", "12", "--suite", "beyond"), "is about times, not labels"),
        (("--suite", "fusion"), "needs --label or --label-at"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_a_label_is_refused(store, tmp_path, capsys, options, message):
    assert benchmark(store, tmp_path / "run", *options) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("label", "column", "message"),
    [
        ("spread", "spread", "--subgroups spread: this is the column of --label"),
        ("spread", "size", "no clinical column 'size'; it has stage, histology, site"),
        ("spread", "site", "'site' has 45 different values"),  # three patients have no label
        (None, "site", "'site' has 48 different values"),
    ],
)
def test_subgroups_that_cannot_be_are_refused_before_any_fit(
    store, tmp_path, capsys, label, column, message
):
    cohort = Cohort.load(store)
    site = [f"site {i}" for i in range(len(cohort))]
    cohort.with_clinical(cohort.clinical.assign(site=site)).save(tmp_path / "store")
    options = ["--label", label] if label else []
    models = MODELS if label else "clinical-volume-cox"
    options += ["--subgroups", f"stage,{column}"]
    assert benchmark(tmp_path / "store", tmp_path / "run", *options, models=models) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ("radiomics-forest", (), "needs labels: give --label or --label-at"),
        ("radiomics-lasso-cox", ("--label-at", 12), "learns times, not labels"),
        ("contestants:StageCox", ("--label-at", 12), "is no classifier"),
    ],
)
def test_models_of_the_other_kind_are_refused(store, tmp_path, capsys, models, options, message):
    assert benchmark(store, tmp_path / "run", *options, models=models) == 2
    assert message in capsys.readouterr().err


def test_a_search_and_the_negative_control_work_with_labels(store, tmp_path):
    options = ("--label", "spread", "--protocol", "nested", "--inner-folds", 2,
               "--grid", "clinical-logistic:model__C=0.1,10")  # fmt: skip
    assert benchmark(store, tmp_path / "nested", *options) == 0
    run = read_run(tmp_path / "nested")
    chosen = {r.details["chosen"]["model__C"] for r in run.successful_records(
        "clinical-logistic").values()}  # fmt: skip
    assert chosen <= {0.1, 10}
    options = ("--label", "spread", "--negative-control", 1)
    assert benchmark(store, tmp_path / "control", *options) == 0
    assert read_run(tmp_path / "control").negative_control.label == "spread"


def test_another_cohort_is_labelled_alike(store, tmp_path):
    other, _ = make_cohort(n=30, size=8, seed=3, ids=[f"other {i}" for i in range(30)])
    rng = np.random.default_rng(1)
    columns = {"spread": rng.choice(["yes", "no"], 30), "histology": rng.choice(["A", "B"], 30)}
    other.with_clinical(pd.DataFrame(columns)).save(tmp_path / "other")
    out = tmp_path / "run"
    options = ["--protocol", "external", "--external", str(tmp_path / "other")]
    arguments = ["--cohort", str(store), "--models", MODELS, "--out", str(out), "--no-progress"]
    assert main(["benchmark", *arguments, "--label", "spread", *options]) == 0
    run = read_run(out)
    ((train, test),) = run.folds
    assert (len(train), len(test)) == (45, 30)
    described = run.records["clinical-logistic", 0, 0].details["estimator"]
    assert described["class"].endswith(".FoldEnsembleClassifier")
    assert run.plan["settings"]["folds"].endswith("over 5 training folds, with mean probabilities")
    assert run.outcome["event"][test].tolist() == (columns["spread"] == "yes").tolist()
    assert (out / "report.html").is_file()


def test_fit_and_predict_give_what_python_gives(store, tmp_path):
    model, out = tmp_path / "model", tmp_path / "predictions"
    arguments = ["--cohort", str(store), "--model", "clinical-volume-logistic"]
    assert main(["fit", *arguments, "--label", "spread", "--out", str(model)]) == 0
    assert main(["predict", "--model", str(model), "--cohort", str(store), "--out", str(out)]) == 0
    # pandas 2 reads floats to the last bit only from text
    table = pd.read_csv(out / "predictions.csv", dtype={"probability": str})
    loaded = survimg.load(model)
    cohort = Cohort.load(store)
    probability = loaded.predict_proba(cohort)[:, 1]
    np.testing.assert_array_equal(table["probability"].astype(float), probability)
    np.testing.assert_array_equal(table["predicted"], probability > 0.5)
    assert "risk" not in table


def test_a_saved_model_says_what_its_label_is(store, tmp_path, capsys):
    model, out = tmp_path / "model", tmp_path / "out"
    cohort = ["--cohort", str(store), "--out"]
    options = ["--model", "clinical-volume-logistic", "--label-at", "12"]
    assert main(["fit", *cohort, str(model), *options]) == 0
    label = "the event by 12 months"
    assert read_manifest(model)["notes"] == {"label": label}
    capsys.readouterr()
    assert main(["info", str(model)]) == 0
    assert re.search(rf"^label +{label}$", capsys.readouterr().out, re.MULTILINE)
    assert main(["predict", *cohort, str(out), "--model", str(model)]) == 0
    assert f"probability of {label}" in capsys.readouterr().out


def test_survival_of_a_classifier_is_refused_in_words(store, tmp_path, capsys):
    model, out = tmp_path / "model", tmp_path / "out"
    arguments = ["--cohort", str(store), "--model", "clinical-volume-logistic"]
    assert main(["fit", *arguments, "--label", "spread", "--out", str(model)]) == 0
    options = ["--cohort", str(store), "--horizons", "24", "--out", str(out)]
    assert main(["predict", "--model", str(model), *options]) == 2
    message = capsys.readouterr().err
    assert "predicts probabilities of a label, no survival" in message
    assert "risks" not in message
    assert not out.exists()


def test_fit_without_labels_refuses_a_classifier_and_the_other_way_round(store, tmp_path, capsys):
    fit = ["fit", "--cohort", str(store), "--out", str(tmp_path / "model"), "--model"]
    assert main([*fit, "radiomics-forest"]) == 2
    assert "needs labels" in capsys.readouterr().err
    assert main([*fit, "radiomics-rsf", "--label", "spread"]) == 2
    assert "learns times" in capsys.readouterr().err


def test_labels_need_no_outcome(tmp_path):
    cohort, _ = make_cohort(n=30, size=8)
    spread = np.arange(30) % 2
    plain = Cohort(
        np.stack([cohort.volume(i) for i in range(30)]), masks=np.stack(
            [cohort.mask(i) for i in range(30)]
        ),
        clinical=cohort.clinical.assign(spread=spread), spacing=4.0,
    )  # fmt: skip
    plain.save(tmp_path / "store")
    assert benchmark(tmp_path / "store", tmp_path / "run", "--label", "spread") == 0
    assert read_run(tmp_path / "run").outcome["event"].tolist() == (spread == 1).tolist()


def test_a_model_of_ones_own_is_trained_on_labels(store, tmp_path):
    status = benchmark(
        store, tmp_path / "run", "--label-at", 12, models="contestants:stage_classifier"
    )
    assert status == 0
    assert read_run(tmp_path / "run").reference is None


def test_known_labels_are_weighted_to_stand_for_all(store, tmp_path, capsys):
    options = ("--label-at", 12, "--label-censoring", "weight")
    models = f"{MODELS},contestants:stage_neighbours"
    assert benchmark(store, tmp_path / "run", *options, models=models) == 0
    assert "left out; the others are weighted to stand for them" in capsys.readouterr().err
    run = read_run(tmp_path / "run")
    y = Cohort.load(store).outcome
    expected = status_weights(y, 12.0)
    np.testing.assert_array_equal(run.sample_weight, expected[expected > 0])
    assert run.plan["settings"]["label_censoring"] == "weight"
    assert any("inverse probability of censoring" in text for text in run.plan["caveats"])
    took = {name: {r.details["sample_weight"] for r in run.successful_records(name).values()}
            for name in run.models}  # fmt: skip
    assert list(took.values()) == [{True}, {True}, {False}]
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Trained without weights: contestants:stage_neighbours." in page
    assert benchmark(store, tmp_path / "drop", "--label-at", 12) == 0
    assert read_run(tmp_path / "drop").sample_weight is None
    weighted, plain = (
        read_run(tmp_path / name).records["clinical-logistic", 0, 0].arrays["test_risk"]
        for name in ("run", "drop")
    )
    assert (weighted != plain).any()


def test_weights_of_a_negative_control_go_with_its_labels(store, tmp_path):
    options = ("--label-at", 12, "--label-censoring", "weight", "--negative-control", 1)
    assert benchmark(store, tmp_path / "run", *options, models="clinical-logistic") == 0
    run = read_run(tmp_path / "run")
    pairs = [
        sorted(zip(each.outcome["event"], each.sample_weight, strict=True))
        for each in (run, run.negative_control)
    ]
    assert pairs[0] == pairs[1]
    assert (run.sample_weight != run.negative_control.sample_weight).any()


def test_fit_weights_known_labels(store, tmp_path, capsys):
    fit = ["fit", "--cohort", str(store), "--model", "clinical-logistic", "--label-at", "12"]
    out = tmp_path / "model"
    assert main([*fit, "--label-censoring", "weight", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weighted"] is True
    cohort = Cohort.load(store)
    labelled = label_patients(
        arguments_of("--label-at", "12", "--label-censoring", "weight"), cohort
    )
    expected = build_models(["clinical-logistic"], ModelSettings(), classifiers=True)
    expected = expected["clinical-logistic"].fit(
        labelled.cohort, labelled.labels, model__sample_weight=labelled.sample_weight
    )
    np.testing.assert_allclose(
        survimg.load(out).predict_proba(cohort), expected.predict_proba(cohort), rtol=1e-9
    )


@pytest.mark.parametrize("options", [("--label", "spread"), ("--label-at", "end"), ()])
def test_weights_need_a_time(store, tmp_path, capsys, options):
    status = benchmark(store, tmp_path / "run", *options, "--label-censoring", "weight")
    assert status == 2
    assert "--label-censoring weight needs --label-at TIME" in capsys.readouterr().err
