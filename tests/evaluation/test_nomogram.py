"""Nomograms say what the Cox model says, and what R's rms draws."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from sksurv.linear_model import CoxPHSurvivalAnalysis

mpl.use("Agg")
from survimg.evaluation import Nomogram, fit_cox
from survimg.evaluation.plots import plot_nomogram
from survimg.evaluation.ticks import round_ticks
from survimg.target import make_outcome

REFERENCES = Path(__file__).parent / "references"
RANGES = {
    "age": (30.0, 90.0),
    "score": (-4.0, 4.0),
    "Stage": {"II": {}, "III": {"stage_III": 1}, "IVa": {"stage_IVa": 1}},
}


def draw(n=150, seed=0):
    rng = np.random.default_rng(seed)
    stage = rng.integers(0, 3, n)
    X = pd.DataFrame(
        {
            "age": rng.normal(60, 9, n),
            "score": rng.normal(size=n),
            "stage_III": (stage == 1).astype(float),
            "stage_IVa": (stage == 2).astype(float),
        }
    )
    log_hazard = -0.03 * X["age"] + 0.8 * X["score"] + 0.9 * X["stage_IVa"]
    event_time = np.ceil(rng.exponential(30 * np.exp(-(log_hazard - log_hazard.mean()))))
    censored = np.ceil(rng.uniform(5, 90, n))
    return X, make_outcome(event_time <= censored, np.minimum(event_time, censored))


@pytest.fixture(scope="module")
def patients():
    return draw()


@pytest.fixture(scope="module")
def fit(patients):
    X, y = patients
    return fit_cox(y, X)


@pytest.fixture(scope="module")
def nomogram(patients, fit):
    return Nomogram(fit, RANGES, *patients)


@settings(max_examples=50, deadline=None)
@given(
    age=st.floats(20, 100),
    score=st.floats(-6, 6),
    stage=st.sampled_from(["II", "III", "IVa"]),
    time=st.floats(2, 50),
)
def test_points_of_random_patients_give_the_models_own_survival(nomogram, age, score, stage, time):
    row = [[age, score, float(stage == "III"), float(stage == "IVa")]]
    values = {"age": age, "score": score, "Stage": stage}
    total = sum(float(nomogram.points(name, value)) for name, value in values.items())
    assert total == pytest.approx(float(nomogram.total_points(row)[0]), abs=1e-9)
    expected = nomogram.fit.survival(row, [time])[0, 0]
    assert nomogram.survival(total, time)[0] == pytest.approx(expected, abs=1e-10)


def lifelines_model(X, y):
    lifelines = pytest.importorskip("lifelines")
    return lifelines.CoxPHFitter().fit(X.assign(T=y["time"], E=y["event"]), "T", "E")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_lifelines_and_scikit_survival_models_are_read(patients, fit):
    X, y = patients
    other, _ = draw(40, seed=1)
    times = [5.0, 17.0, 30.0]
    model = lifelines_model(X, y)
    drawn = Nomogram(model, RANGES, X, y)
    expected = model.predict_survival_function(other, times=times).to_numpy()
    for time, curve in zip(times, expected, strict=True):
        found = drawn.predict(other, time)
        np.testing.assert_allclose(found["survival"], curve, atol=1e-6)
        assert ((found["lower"] < found["survival"]) & (found["survival"] < found["upper"])).all()
    model = CoxPHSurvivalAnalysis().fit(X, y)
    drawn = Nomogram(model, RANGES)
    for time in times:
        expected = [curve(time) for curve in model.predict_survival_function(other)]
        np.testing.assert_allclose(drawn.predict(other, time)["survival"], expected, atol=1e-6)
    with pytest.raises(ValueError, match="Intervals need the covariance"):
        drawn.terms.log_hazard_variance(other.to_numpy(), 5.0)
    assert drawn.predict(other, 5.0)["lower"].isna().all()


def test_lifelines_strata_and_formulas_are_refused(patients):
    lifelines = pytest.importorskip("lifelines")
    X, y = patients
    table = X.assign(T=y["time"], E=y["event"])
    strata = lifelines.CoxPHFitter().fit(table, "T", "E", strata=["stage_III"])
    with pytest.raises(ValueError, match="strata"):
        Nomogram(strata, RANGES)
    formula = lifelines.CoxPHFitter().fit(table, "T", "E", formula="score + C(stage_III)")
    with pytest.raises(ValueError, match="fit without a formula"):
        Nomogram(formula, RANGES)
    with pytest.raises(TypeError, match="got DataFrame"):
        Nomogram(table, RANGES)


def test_an_estimator_with_a_cox_model_brings_its_training_patients(patients, fit, nomogram):
    X, y = patients
    model = SimpleNamespace(cox_=fit, training_covariates_=X, training_outcome_=y)
    pd.testing.assert_frame_equal(
        Nomogram(model, RANGES).predict(X[:4], 10.0), nomogram.predict(X[:4], 10.0)
    )


@pytest.mark.parametrize("name", ["tied", "continuous"])
def test_rms_draws_the_same_nomogram(name):
    reference = pd.read_csv(REFERENCES / "nomogram.csv").query("cohort == @name")

    def values(quantity):
        rows = reference.query("quantity == @quantity")
        assert len(rows)
        return rows["key"].tolist(), rows["value"].to_numpy()

    table = pd.read_csv(REFERENCES / f"{name}.csv")
    y = make_outcome(table["event"], table["time"])
    X = table[["x1", "x2"]].assign(
        II=(table["stage"] == "II").astype(float), III=(table["stage"] == "III").astype(float)
    )
    ranges = {
        "x1": (-2.0, 2.0),
        "x2": (-3.0, 3.0),
        "stage": {"I": {}, "II": {"II": 1}, "III": {"III": 1}},
    }
    nomogram = Nomogram(fit_cox(y, X), ranges, X, y)
    for axis in ("x1", "x2", "stage"):
        keys, points = values(f"points_{axis}")
        marks = keys if axis == "stage" else np.array(keys, dtype=float)
        np.testing.assert_allclose(nomogram.points(axis, marks), points, atol=1e-6)
    for quantity, time in {"total_points_early": 1.5, "total_points_late": 3.0}.items():
        keys, points = values(quantity)
        found = nomogram.points_for_survival(np.array(keys, dtype=float), time)
        # rms reads its scale off a grid of linear predictors.
        np.testing.assert_allclose(found, points, atol=0.01)
    for time in (1.5, 3.0):
        found = nomogram.predict(X[:10], time)
        by_rms = values(f"rms_survival_{time:g}")[1]
        np.testing.assert_allclose(found["survival"], by_rms, atol=1e-6)
        for ours, theirs in {"survival": "surv", "lower": "lower", "upper": "upper"}.items():
            expected = values(f"survfit_{theirs}_{time:g}")[1]
            np.testing.assert_allclose(found[ours], expected, atol=1e-6)


def test_intervals_contain_the_truth_as_often_as_they_say():
    """Coverage for one patient over cohorts of known, exponential hazard."""
    rng = np.random.default_rng(5)
    patient, time, covered = np.array([[1.2]]), 0.5, 0
    truth = np.exp(-time * np.exp(0.7 * 1.2))
    for _ in range(300):
        x = rng.normal(size=120)
        event_time = rng.exponential(np.exp(-0.7 * x))
        follow_up = rng.uniform(0.2, 3, 120)
        y = make_outcome(event_time <= follow_up, np.minimum(event_time, follow_up))
        fit = fit_cox(y, x[:, np.newaxis], names=["x"])
        found = Nomogram(fit, {"x": (-3, 3)}, x[:, np.newaxis], y).predict(patient, time)
        covered += int(found["lower"][0] <= truth <= found["upper"][0])
    assert 0.92 <= covered / 300 <= 0.98


def test_patients_of_another_cohort_are_noticed(patients, fit):
    X, y = patients
    with pytest.raises(ValueError, match="not the patients that the model was fitted on"):
        Nomogram(fit, RANGES, X.assign(score=X["score"] + 0.1 * X["age"]), y)
    with pytest.raises(ValueError, match="both covariates and y"):
        Nomogram(fit, RANGES, X)


def test_largest_axis_spans_100_points_and_every_axis_starts_at_0(nomogram):
    ends = {
        "age": nomogram.points("age", [30, 90]),
        "score": nomogram.points("score", [-4, 4]),
        "Stage": nomogram.points("Stage", ["II", "III", "IVa"]),
    }
    assert max(points.max() for points in ends.values()) == pytest.approx(100)
    assert all(points.min() == pytest.approx(0) for points in ends.values())
    assert nomogram.largest_total == pytest.approx(sum(points.max() for points in ends.values()))
    # The hazard falls with age: its axis runs backwards.
    assert ends["age"][0] > ends["age"][1]


def test_tables_hold_the_points_and_survivals(nomogram):
    points = nomogram.points_table({"age": [40, 50]})
    assert points.loc[("age", 50), "points"] == pytest.approx(float(nomogram.points("age", 50)))
    assert list(points.loc["Stage"].index) == ["II", "III", "IVa"]
    survival = nomogram.survival_table([10, 20], [0, 50, 150])
    np.testing.assert_allclose(survival[20], nomogram.survival([0, 50, 150], 20))
    assert (survival[20] < survival[10]).all()
    assert nomogram.survival_table([10]).index.max() <= nomogram.largest_total


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"age": (30, 90), "Stage": RANGES["Stage"]}, "range of covariate 'score'"),
        ({**RANGES, "age": (90, 30)}, "must rise"),
        ({**RANGES, "stage_III": (0, 1)}, "on two axes"),
        ({**RANGES, "Stage": {"II": {}}}, "two or more"),
        ({**RANGES, "Stage": {"II": {}, "III": {"stage3": 1}}}, "name covariates of the model"),
    ],
)
def test_axes_that_do_not_fit_the_model_are_refused(fit, ranges, message):
    with pytest.raises(ValueError, match=message):
        Nomogram(fit, ranges)


def test_what_the_model_does_not_know_is_refused(nomogram):
    with pytest.raises(ValueError, match="no axis 'weight'"):
        nomogram.points("weight", 70)
    with pytest.raises(ValueError, match="has the levels II, III, IVa"):
        nomogram.points("Stage", "V")
    with pytest.raises(ValueError, match="not estimable"):
        nomogram.survival(50.0, 1e4)
    with pytest.raises(ValueError, match="survival is 1"):
        nomogram.points_for_survival(0.5, 0.0)
    assert nomogram.survival(50.0, 0.0)[0] == 1.0


def test_figure_places_marks_where_the_points_are(nomogram):
    ax = Figure(figsize=(9, 5), layout="constrained").subplots()
    assert (
        plot_nomogram(nomogram, ax, horizons=[10, 20], time_unit="months", labels={"age": "Age"})
        is ax
    )
    ax.figure.canvas.draw()
    placed = {text.get_text(): text.xy for text in ax.texts}
    assert {"Points", "Age", "score", "Stage", "Total points", "Survival at 10 months"} <= set(
        placed
    )
    assert placed["IVa"][0] == pytest.approx(float(nomogram.points("Stage", "IVa")))
    row = placed["Survival at 20 months"][1]
    half = next(t for t in ax.texts if t.get_text() == "0.5" and abs(t.xy[1] - row) < 0.3)
    expected = nomogram.points_for_survival(0.5, 20) * 100 / nomogram.largest_total
    assert half.xy[0] == pytest.approx(float(expected))


def test_labels_of_the_figure_do_not_touch(nomogram):
    ax = Figure(figsize=(9, 5), layout="constrained").subplots()
    plot_nomogram(nomogram, ax, horizons=[10, 20])
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    touching = [
        (ax.texts[i].get_text(), ax.texts[j].get_text())
        for i in range(len(boxes))
        for j in range(i)
        if boxes[i].overlaps(boxes[j])
    ]
    assert not touching


def test_round_ticks_stay_inside():
    for low, high in [(30, 90), (-0.013, 0.02), (1e5, 3e5)]:
        ticks = round_ticks(low, high, 8)
        assert 3 <= ticks.size <= 12
        assert ticks.min() >= low
        assert ticks.max() <= high
