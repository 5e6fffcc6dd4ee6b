"""The MTDLR paper's table: its models by name, and the analysis of eight scores over cohorts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg import Cohort
from survimg.estimators import MTDLR, ClinicalCox, ManualRadiomicsCox, SingleTaskCox
from survimg.evaluation import (
    compare_concordance,
    concordance_index,
    fit_cox,
    learn_cutoff,
    status_auc,
)
from survimg.suites import MODELS, ModelSettings
from survimg.suites.mtdlr import MTDLR_MODELS, MTDLR_SUITES, MtdlrModels
from survimg.suites.mtdlr_tables import (
    SCORES,
    ScoredCohort,
    calibration_table,
    performance_table,
    risk_group_table,
    write_analysis,
)
from survimg.target import make_outcome

ROOT = Path(__file__).parents[2]
HORIZONS = [3.0, 6.0]


class Bright(BaseEstimator):
    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return X.to_numpy()[:, 0].mean(axis=(1, 2, 3)).astype(np.float64)

    def predict_mask_proba(self, X):
        return np.stack([X.mask(i) for i in range(len(X))]).astype(np.float32)


class Size(BaseEstimator):
    def __init__(self, mask_from=None) -> None:
        self.mask_from = mask_from

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        values = [[X.volume(i)[1].mean(), X.volume(i)[1].std()] for i in range(len(X))]
        return pd.DataFrame(values, columns=["mean", "sd"])


def draw(n, seed):
    rng = np.random.default_rng(seed)
    score, other, stage = rng.normal(size=n), rng.normal(size=n), rng.integers(0, 2, n)
    volumes = rng.normal(size=(n, 2, 4, 4, 4)).astype(np.float32)
    volumes[:, 0] += score[:, None, None, None]
    volumes[:, 1] += other[:, None, None, None]
    masks = np.zeros((n, 4, 4, 4), dtype=np.uint8)
    masks[:, :3, :3, :3] = 1
    event_time = rng.exponential(8 * np.exp(-(score + 0.6 * other + 0.5 * stage)))
    censored = rng.uniform(2, 20, n)
    return Cohort(
        volumes,
        masks=masks,
        clinical=pd.DataFrame(
            {"stage": np.where(stage, "IVa", "III"), "age": rng.normal(60, 9, n)}
        ),
        outcome=make_outcome(event_time <= censored, np.minimum(event_time, censored)),
        ids=[f"{seed}-{i}" for i in range(n)],
    )


@pytest.fixture(scope="module")
def cohorts():
    return {"training": draw(120, 0), "internal": draw(60, 1), "external": draw(60, 2)}


@pytest.fixture(scope="module")
def models(cohorts):
    radiomics = make_pipeline(SimpleImputer(), CoxPHSurvivalAnalysis(alpha=0.1))
    train = cohorts["training"]
    shared = {"clinical_columns": ["stage"], "cv": 3}
    return MtdlrModels(
        mtdlr=MTDLR(Bright(), extractor=Size(), radiomics_model=radiomics, **shared),
        manual_radiomics=ManualRadiomicsCox(extractor=Size(), radiomics_model=radiomics, **shared),
        single_task=SingleTaskCox(Bright(), **shared),
        clinical=ClinicalCox(clinical_columns=["stage"]),
    ).fit(train, train.outcome)


@pytest.fixture(scope="module")
def scored(models, cohorts):
    return [
        models.training("training", cohorts["training"], HORIZONS),
        models.validation("internal", cohorts["internal"], HORIZONS),
        models.validation("external", cohorts["external"], HORIZONS),
    ]


def test_scores_are_those_of_the_estimators(models, cohorts, scored):
    training, internal, _ = scored
    assert tuple(training.scores.columns) == SCORES
    new = cohorts["internal"]
    np.testing.assert_allclose(internal.scores["MTDLR"], models.mtdlr.predict(new))
    np.testing.assert_allclose(
        internal.scores["AutoRadio"], models.mtdlr.transform(new)["AutoRadio-Score"]
    )
    np.testing.assert_allclose(internal.scores["Clinical"], models.clinical.predict(new))
    np.testing.assert_allclose(
        internal.scores["SingleTask + clinical"], models.single_task.predict(new)
    )
    expected = models.mtdlr.predict_survival_at(new, HORIZONS)
    np.testing.assert_allclose(np.column_stack(list(internal.survival.values())), expected)
    # Training figures come from out-of-fold scores.
    np.testing.assert_allclose(training.scores["MTDLR"], models.mtdlr.training_risk_)
    assert not np.allclose(
        training.scores["AutoRadio"], models.mtdlr.transform(cohorts["training"])["AutoRadio-Score"]
    )


@pytest.mark.parametrize("horizon", [-1.0, 1e6])
def test_horizons_beyond_the_last_training_event_are_refused(horizon, models, cohorts):
    with pytest.raises(ValueError, match="last training event"):
        models.validation("internal", cohorts["internal"], [horizon])


def test_performance_table_holds_estimates_and_paired_tests(scored):
    table = performance_table(scored[1])
    y, scores = scored[1].outcome, scored[1].scores
    row = table.loc["AutoRadio"]
    c = concordance_index(y, scores["AutoRadio"], confidence_interval="analytic")
    assert (row["c_index"], row["c_lower"], row["c_upper"]) == (c.value, c.lower, c.upper)
    assert row["auc"] == status_auc(y, scores["AutoRadio"]).value
    expected = compare_concordance(y, scores["MTDLR"], scores["AutoRadio"]).p_value
    assert row["c_p"] == pytest.approx(expected)
    assert np.isnan(table.loc["MTDLR", "c_p"])
    assert (table["undefined"] == "").all()


def test_an_auc_of_few_patients_without_the_event_has_a_value_and_no_interval(scored):
    cohort = scored[1]
    event = cohort.outcome["event"].copy()
    event[np.flatnonzero(~event)[5:]] = True
    few = replace(cohort, outcome=make_outcome(event, cohort.outcome["time"]))
    row = performance_table(few).loc["AutoRadio"]
    assert row["auc"] == pytest.approx(roc_auc_score(event, few.scores["AutoRadio"]))
    assert np.isnan(row[["auc_lower", "auc_upper", "auc_p_chance"]].astype(float)).all()
    assert "With 5 patients without the event there is no interval" in row["undefined"]


def test_cutoffs_are_learned_in_training_and_applied_unchanged(scored):
    cutoffs = {"MTDLR": learn_cutoff(scored[0].outcome, scored[0].scores["MTDLR"], "youden")}
    table = risk_group_table(scored, cutoffs)
    assert np.ptp(table["threshold"]) == 0
    external = table.loc[("MTDLR", "external")]
    high = scored[2].scores["MTDLR"] > external["threshold"]
    assert external["n_high"] == high.sum()
    fit = fit_cox(scored[2].outcome, high.to_numpy(dtype=float)[:, np.newaxis])
    assert external["hr"] == pytest.approx(np.exp(fit.coefficients[0]))
    assert external["p_logrank"] < 0.05
    said = table.xs("MTDLR")["caveat"]
    assert "chosen on these patients" in said["training"]
    assert not said[["internal", "external"]].any()


def test_what_is_undefined_says_why(scored):
    few = scored[1]
    y = few.outcome[:6].copy()
    y["event"] = [True, True, True, True, True, True]
    small = ScoredCohort(
        "small",
        y,
        few.scores[:6],
        few.clinical[:6],
        {h: s[:6] for h, s in few.survival.items()},
    )
    table = performance_table(small)
    assert table["auc"].isna().all()
    assert table["undefined"].str.contains("event").all()
    assert table["c_index"].notna().all()
    calibration = calibration_table(small)
    assert calibration["p"].isna().all()
    assert (calibration["undefined"] != "").all()


def test_analysis_writes_every_table_and_figure(scored, tmp_path):
    variables = ["stage", "age"]
    folder = write_analysis(scored, tmp_path / "out", time_unit="months", variables=variables)
    names = {path.name for path in folder.iterdir()}
    for cohort in ("training", "internal", "external"):
        expected = {f"cox_{cohort}.csv", f"scores_{cohort}.csv", f"table3_{cohort}.csv"}
        assert expected | {f"roc_{cohort}.png", f"kaplan_meier_{cohort}.png"} <= names
    assert {"table1.csv", "performance.csv", "calibration.csv", "risk_groups.csv"} <= names
    assert any(name.startswith("calibration_external") for name in names)
    table = pd.read_csv(folder / "performance.csv", index_col=["cohort", "score"])
    assert len(table) == 24
    expected = concordance_index(scored[2].outcome, scored[2].scores["MTDLR"])
    assert table.loc[("external", "MTDLR"), "c_index"] == pytest.approx(expected)
    y, scores = scored[2].outcome, scored[2].scores
    test = compare_concordance(y, scores["Clinical"], scores["DeepMTS"])
    assert table.loc[("external", "DeepMTS"), "c_p_clinical"] == pytest.approx(test.p_value)
    chance = status_auc(y, scores["DeepMTS"]).p_value
    assert table.loc[("external", "DeepMTS"), "auc_p_chance"] == pytest.approx(chance)
    final = pd.read_csv(folder / "table3_training.csv", index_col=0)
    assert {"AutoRadio", "DeepMTS", "age"} <= set(final.index)
    assert "ManualRadio" not in final.index
    for model in ("Clinical", "ManualRadio_and_clinical", "SingleTask_and_clinical"):
        assert f"kaplan_meier_training_{model}.png" in names
    table1 = pd.read_csv(folder / "table1.csv")
    assert {"training", "internal", "external", "p: internal"} <= set(table1.columns)


def test_univariate_models_stay_where_there_is_no_multivariate_one(scored, tmp_path):
    folder = write_analysis(scored[:1], tmp_path, variables=["age"], significance=1e-30)
    table = pd.read_csv(folder / "cox_training.csv", header=[0, 1], index_col=[0, 1])
    assert table["univariate", "hr"].notna().all()
    assert table["multivariate", "undefined"].str.contains("No variable").all()
    assert table["multivariate", "undefined"].str.contains("p_likelihood_ratio").all()


@pytest.mark.parametrize("significance", [1.0, 1e-30])
def test_constant_variables_have_a_row_that_says_so(scored, tmp_path, significance):
    scores = scored[0].scores.assign(ManualRadio=0.25, AutoRadio=0.5)
    part = replace(scored[0], scores=scores, clinical=scored[0].clinical.assign(grade=np.nan))
    columns = ["age", "grade"]
    folder = write_analysis([part], tmp_path, variables=columns, significance=significance)
    table = pd.read_csv(folder / "cox_training.csv", header=[0, 1], index_col=0)["univariate"]
    assert "all patients have the value 0.25" in table.loc["ManualRadio", "undefined"]
    assert "no patient has a value" in table.loc["grade", "undefined"]
    assert table.loc[["ManualRadio", "AutoRadio", "grade"], "hr"].isna().all()
    assert table.loc[["age", "DeepMTS"], "hr"].notna().all()
    final = pd.read_csv(folder / "table3_training.csv", index_col=0)
    assert "all patients have the value 0.5" in final.loc["AutoRadio", "undefined"]
    assert "no patient has a value" in final.loc["grade", "undefined"]
    assert final.loc[["age", "DeepMTS"], "hr"].notna().all()


def test_figures_of_groups_say_where_the_cutoff_was_chosen_on_their_patients(
    scored, tmp_path, monkeypatch
):
    titles = {}

    def keep(figure, path):
        titles[path.name] = figure.axes[0].get_title()

    monkeypatch.setattr("survimg.suites.mtdlr_tables._draw_to", keep)
    write_analysis(scored, tmp_path)
    said = {name: "chosen on these patients" in title for name, title in titles.items()}
    training = {name for name in said if name.startswith("kaplan_meier_training")}
    assert training == {name for name, caveat in said.items() if caveat}
    assert len(training) == 4
    assert "kaplan_meier_external.png" in said


def test_every_model_of_the_suite_can_be_built(tmp_path):
    settings = ModelSettings(n_iterations=40, device="cpu", cache=tmp_path, inner_folds=3)
    known = {**MODELS, **MTDLR_MODELS}
    (suite,) = MTDLR_SUITES
    for name in suite.models:
        assert hasattr(known[name](settings), "fit")
        assert suite.published[name]["test_c_index"] > 0.5
    for name in ("manual-radiomics", "single-task-image", "deepmts-image"):
        assert known[name](settings).clinical_columns == []
    model = MTDLR_MODELS["mtdlr"](settings)
    assert model.cv == 3
    assert model.estimator.n_iterations == 40
    assert str(model.extractor.memory) == str(tmp_path)
    assert suite.reference in suite.models


#: Rows of the fact sheet's table (section 10).
ROWS = {
    "clinical-cox": "TNM",
    "manual-radiomics": "ManualRadio",
    "manual-radiomics-clinical": "ManualRadio+TNM",
    "single-task-image": "SingleTask",
    "single-task-clinical": "SingleTask+TNM",
    "deepmts-image": "DeepMTS",
    "mtdlr": "**MTDLR**",
}


@pytest.mark.parametrize("model", ROWS)
def test_published_numbers_stand_in_the_fact_sheet(model, shared_dir):
    text = (shared_dir / "reference" / "architectures.md").read_text("utf-8")
    section = text.split("## 10. MTDLR")[1].split("## 11.")[0]
    (line,) = [line for line in section.splitlines() if line.startswith(f"| {ROWS[model]} |")]
    training, internal, external = line.split("|")[2].replace("*", "").split("/")
    published = MTDLR_SUITES[0].published[model]
    assert published["test_c_index"] == float(internal)
    assert f"training {float(training)}, external {float(external)}" in published["source"]


def run_benchmark(*arguments, out):
    command = [sys.executable, str(ROOT / "benchmarks" / "mtdlr.py"), *arguments, "--out", str(out)]
    tiny = ["--size", "16", "--iterations", "2", "--batch-size", "4", "--folds", "2"]
    tiny += ["--lasso-folds", "2"]
    result = subprocess.run(
        [*command, *tiny, "--device", "cpu"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads((out / "settings.json").read_text("utf-8"))


@pytest.mark.slow
def test_benchmark_runs_on_sts51(shared_dir, tmp_path):
    settings = run_benchmark(
        "--data",
        str(shared_dir / "data" / "sts51_petgrid"),
        "--only",
        "44",
        "--outer-folds",
        "2",
        out=tmp_path,
    )
    assert settings["patients"] == 44
    assert len(pd.read_csv(tmp_path / "folds.csv")) == 16
