from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn_outcomes import draw_outcome
from lifelines import CoxPHFitter
from scipy import stats
from sksurv.linear_model import CoxPHSurvivalAnalysis

import survimg.evaluation as ev
from survimg.target import make_outcome


@pytest.fixture
def data() -> tuple[np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(0)
    n = 150
    frame = pd.DataFrame(
        {
            "age": rng.normal(60, 10, size=n),
            "sex": rng.choice(["female", "male"], size=n),
            "stage": pd.Categorical(rng.choice(["I", "II", "III"], size=n)),
            "smoker": rng.random(n) < 0.4,
        }
    )
    log_risk = 0.05 * frame["age"] + 0.8 * (frame["stage"] == "III")
    event_time = 30 * rng.exponential(size=n) * np.exp(-(log_risk - log_risk.mean()))
    censoring = rng.uniform(10, 60, size=n)
    time = np.ceil(np.minimum(event_time, censoring))
    return make_outcome(event_time <= censoring, time), frame


def test_lifelines_and_scikit_survival_agree(data):
    y, frame = data
    X = frame[["age"]].assign(male=(frame["sex"] == "male").astype(float))
    efron = ev.fit_cox(y, X)
    fitter = CoxPHFitter().fit(X.assign(t=y["time"], e=y["event"]), "t", "e")
    np.testing.assert_allclose(efron.coefficients, fitter.params_, rtol=1e-5)
    np.testing.assert_allclose(efron.standard_errors, fitter.standard_errors_, rtol=1e-5)
    np.testing.assert_allclose(efron.wald_p_values, fitter.summary["p"], rtol=1e-4)
    breslow = ev.fit_cox(y, X, ties="breslow")
    model = CoxPHSurvivalAnalysis(tol=1e-12).fit(X, y)
    np.testing.assert_allclose(breslow.coefficients, model.coef_, rtol=1e-6)
    functions = model.predict_survival_function(X[:5])
    expected = np.vstack([f([10.0, 20.0]) for f in functions])
    np.testing.assert_allclose(breslow.survival(X[:5], [10.0, 20.0]), expected, rtol=1e-6)


def test_scale_and_origin_of_a_covariate_do_not_matter(data):
    y, frame = data
    x = frame["age"].to_numpy()
    small, large = ev.fit_cox(y, x), ev.fit_cox(y, 1e6 + 1e4 * x)
    assert large.coefficients[0] * 1e4 == pytest.approx(small.coefficients[0], rel=1e-6)
    assert large.log_likelihood == pytest.approx(small.log_likelihood, rel=1e-10)


def test_whole_weights_are_repeated_patients_under_breslow(data):
    y, frame = data
    weight = np.random.default_rng(1).integers(1, 4, size=len(y))
    repeated = np.repeat(np.arange(len(y)), weight)
    weighted = ev.fit_cox(y, frame[["age"]], weight, ties="breslow")
    copies = ev.fit_cox(y[repeated], frame[["age"]].iloc[repeated], ties="breslow")
    assert weighted.coefficients == pytest.approx(copies.coefficients, rel=1e-9)
    assert weighted.standard_errors == pytest.approx(copies.standard_errors, rel=1e-9)


def test_a_weight_of_zero_leaves_a_patient_out(data):
    y, frame = data
    weight = np.ones(len(y))
    weight[np.argsort(y["time"])[-30:]] = 0
    kept = weight > 0
    weighted = ev.fit_cox(y, frame[["age"]], weight)
    rest = ev.fit_cox(y[kept], frame["age"][kept])
    assert weighted.coefficients == pytest.approx(rest.coefficients)
    assert weighted.n_patients == kept.sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X.assign(b=2.0), r"\['b'\] are constant"),
        (lambda X: X.assign(b=3 * X["a"] - 1), "collinear"),
        (lambda X: X.assign(a=X["a"].where(X.index > 0)), r"\['a'\] have missing"),
    ],
)
def test_impossible_covariates_are_named(change, message):
    y = draw_outcome(np.random.default_rng(2), 30)
    X = pd.DataFrame({"a": np.random.default_rng(3).normal(size=30)})
    with pytest.raises(ValueError, match=message):
        ev.fit_cox(y, change(X))


def test_a_covariate_that_is_constant_in_every_risk_set_has_no_hazard_ratio():
    """Rounding left information of 1e-17 behind, and with it a hazard ratio of 1 and p of 1."""
    event = [1, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    y = make_outcome(event, [6, 6, 0, 1, 8, 5, 0, 1, 6, 9])
    left_early = np.array([0, 0, 0, 1, 0, 1, 0, 0, 0, 0], dtype=float)
    with pytest.raises(ValueError, match="constant, collinear or separate"):
        ev.fit_cox(y, left_early)


def test_a_step_that_is_too_long_is_halved_without_a_word():
    y = make_outcome([1, 1, 1, 1], [0, 5, 1, 5])
    with pytest.raises(ValueError, match=r"no maximum|singular"):  # and warnings are errors here
        ev.integrated_calibration_index(y, [0.04, 0.47, 0.46, 0.48], 1.0)


def test_separation_is_reported_not_returned():
    time = np.arange(1.0, 21.0)
    y = make_outcome(time <= 10, time)
    with pytest.raises(ValueError, match="separate the events"):
        ev.fit_cox(y, pd.DataFrame({"leak": (time <= 10).astype(float)}))
    with pytest.raises(ValueError, match="censored"):
        ev.fit_cox(make_outcome(np.zeros(20, bool), time), time)


def test_univariate_table(data):
    y, frame = data
    table = ev.univariate_cox_table(y, frame, references={"stage": "III"})
    assert list(table.index) == [
        ("age", ""),
        ("sex", "male vs female"),
        ("stage", "I vs III"),
        ("stage", "II vs III"),
        ("smoker", "True vs False"),
    ]
    age = ev.fit_cox(y, frame[["age"]])
    estimate = age.hazard_ratios()[0]
    row = table.loc[("age", "")]
    assert (row["hr"], row["lower"], row["p_wald"]) == pytest.approx(
        (estimate.value, estimate.lower, estimate.p_value)
    )
    assert row["p_likelihood_ratio"] == pytest.approx(age.likelihood_ratio_test[2])
    assert np.ptp(table.loc["stage", "p_likelihood_ratio"]) == 0
    default = ev.univariate_cox_table(y, frame)
    assert default.loc[("stage", "III vs I"), "hr"] == pytest.approx(
        1 / table.loc[("stage", "I vs III"), "hr"]
    )
    wide = ev.univariate_cox_table(y, frame, level=0.99)
    assert (wide["upper"] > default["upper"]).all()
    other = ev.univariate_cox_table(y, frame, ties="breslow")
    assert not np.allclose(other["hr"], default["hr"], rtol=1e-8)


def test_multivariate_table_compares_nested_models(data):
    y, frame = data
    table = ev.multivariate_cox_table(y, frame[["age", "stage"]])
    coded = pd.get_dummies(frame[["age", "stage"]], dtype=float).drop(columns="stage_I")
    both = ev.fit_cox(y, coded)
    alone = ev.fit_cox(y, frame[["age"]])
    p = stats.chi2.sf(2 * (both.log_likelihood - alone.log_likelihood), 2)
    assert table.loc["stage", "p_likelihood_ratio"].iloc[0] == pytest.approx(p)
    np.testing.assert_allclose(table["hr"], np.exp(both.coefficients))


def test_missing_values_are_left_out_and_counted(data):
    y, frame = data
    frame = frame.copy()
    frame.loc[:19, "age"] = np.nan
    frame.loc[10:29, "sex"] = None
    univariate = ev.univariate_cox_table(y, frame[["age", "sex"]])
    assert univariate["n"].tolist() == [130, 130]
    joint = ev.multivariate_cox_table(y, frame[["age", "sex"]])
    assert joint["n"].tolist() == [120, 120]
    assert joint["events"].iloc[0] == y["event"][30:].sum()


def test_joined_table_selects_by_p_or_by_name(data):
    y, frame = data
    table = ev.cox_table(y, frame)
    chosen = table["multivariate"].dropna().index.get_level_values("variable").unique()
    p = table["univariate"]["p_likelihood_ratio"].groupby("variable").first()
    assert set(chosen) == set(p.index[p < 0.05])
    assert 0 < len(chosen) < 4
    named = ev.cox_table(y, frame, multivariate=["sex"], references={"sex": "male"})
    assert named["multivariate"].dropna().index.tolist() == [("sex", "female vs male")]
    with pytest.raises(ValueError, match="not among the variables"):
        ev.cox_table(y, frame, multivariate=["weight"])
    with pytest.raises(ValueError, match="No variable"):
        ev.cox_table(y, frame, multivariate=1e-30)
    with pytest.raises(ValueError, match="variables has no column"):
        ev.cox_table(y, frame[[]])
    with pytest.raises(ValueError, match="numeric, so it has no reference"):
        ev.univariate_cox_table(y, frame, references={"age": 60})
    with pytest.raises(ValueError, match="does not occur"):
        ev.univariate_cox_table(y, frame, references={"stage": "IV"})
    with pytest.raises(ValueError, match="single level"):
        ev.univariate_cox_table(y, frame.assign(sex="male"))


def test_ph_check_sees_a_crossing_effect_and_not_a_constant_one():
    rng = np.random.default_rng(4)
    n = 600
    x, z = rng.normal(size=n), rng.integers(0, 2, size=n).astype(float)
    # The hazard ratio of z changes from 4 to 1/4 at time 0.5.
    first = rng.exponential(size=n) / (np.exp(0.5 * x) * np.where(z == 1, 4.0, 1.0))
    later = 0.5 + rng.exponential(size=n) / (np.exp(0.5 * x) * np.where(z == 1, 0.25, 1.0))
    time = np.where(first < 0.5, first, later)
    y = make_outcome(np.ones(n, bool), time)
    table = ev.proportional_hazards_test(y, pd.DataFrame({"x": x, "z": z}), transform="log")
    assert table.loc["z", "p"] < 1e-8
    assert table.loc["x", "p"] > 0.01
    assert table.loc["GLOBAL", "df"] == 2
    with pytest.raises(ValueError, match="transform"):
        ev.proportional_hazards_test(y, x, transform="cubic")
    zero = make_outcome(np.ones(n, bool), np.where(time < 0.1, 0.0, time))
    with pytest.raises(ValueError, match="after time 0"):
        ev.proportional_hazards_test(zero, x, transform="log")
    few = make_outcome([0, 1, 1, 0, 0], [2, 4, 2, 1, 3])
    with pytest.raises(ValueError, match="Too few events"):
        ev.proportional_hazards_test(few, [0.0, -1.0, 0.0, 0.0, 1.0])


def test_survival_beyond_the_last_event_raises(data):
    y, frame = data
    fit = ev.fit_cox(y, frame[["age"]])
    with pytest.raises(ValueError, match="last event"):
        fit.survival(frame[["age"]], [1e6])
