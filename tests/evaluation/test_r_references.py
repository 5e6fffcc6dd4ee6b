"""Agreement with R's survival, pROC, rms, riskRegression and maxstat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import survimg.evaluation as ev

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def test_concordance(cohort):
    table, y = cohort.table, cohort.y
    a = ev.concordance_index(y, table["risk_a"], confidence_interval="analytic")
    values = [a.value, ev.concordance_index(y, table["risk_b"])]
    np.testing.assert_allclose(values, cohort.reference("concordance"), **EXACT)
    weighted = ev.concordance_index(y, table["risk_a"], cohort.weight)
    np.testing.assert_allclose(weighted, cohort.reference("concordance_weighted")[0], **EXACT)
    vcov = cohort.reference("concordance_vcov").reshape(2, 2)
    np.testing.assert_allclose(a.standard_error**2, vcov[0, 0], **EXACT)
    paired = ev.compare_concordance(y, table["risk_a"], table["risk_b"])
    np.testing.assert_allclose(
        paired.standard_error**2, vcov[0, 0] + vcov[1, 1] - 2 * vcov[0, 1], **EXACT
    )
    np.testing.assert_allclose(paired.difference, values[0] - values[1], **EXACT)


def test_uno(cohort):
    value = ev.uno_concordance(cohort.y, cohort.y, cohort.table["risk_a"])
    np.testing.assert_allclose(value, cohort.reference("uno"), **EXACT)
    tau = np.nextafter(cohort.horizon, np.inf)  # R counts events at ymax, tau excludes its end
    value = ev.uno_concordance(cohort.y, cohort.y, cohort.table["risk_a"], tau)
    np.testing.assert_allclose(value, cohort.reference("uno_tau"), **EXACT)


@pytest.mark.parametrize("interval", ["log", "log-log", "plain"])
def test_kaplan_meier(cohort, interval):
    curve = ev.kaplan_meier(cohort.y, interval=interval)
    for name, values in {
        "km_time": curve.time,
        "km_survival": curve.survival,
        "km_at_risk": curve.n_at_risk,
    }.items():
        np.testing.assert_allclose(values, cohort.reference(name), **EXACT)
    inside = (curve.survival > 0) & (curve.variance > 0)  # R has NaN limits where S is 1
    for name, values in {
        f"km_lower_{interval}": curve.lower,
        f"km_upper_{interval}": curve.upper,
        "km_log_error": np.sqrt(curve.variance),
    }.items():
        np.testing.assert_allclose(values[inside], cohort.reference(name)[inside], **EXACT)
    assert curve.median == cohort.reference("km_median")
    weighted = ev.kaplan_meier(cohort.y, cohort.weight)
    np.testing.assert_allclose(weighted.survival, cohort.reference("km_weighted"), **EXACT)


def test_logrank(cohort):
    result = ev.logrank_test(cohort.y, cohort.table["stage"])
    np.testing.assert_allclose(result.statistic, cohort.reference("logrank"), **EXACT)
    np.testing.assert_allclose(result.expected, cohort.reference("logrank_expected"), **EXACT)
    stratified = ev.logrank_test(cohort.y, cohort.table["stage"], cohort.table["centre"])
    np.testing.assert_allclose(
        stratified.statistic, cohort.reference("logrank_stratified"), **EXACT
    )


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox(cohort, ties):
    X = cohort.table[["x1", "x2", "x3"]]
    fit = ev.fit_cox(cohort.y, X, ties=ties)
    likelihoods = [fit.null_log_likelihood, fit.log_likelihood]
    survival = fit.survival(X[:3], [cohort.horizon])
    for name, values in {
        "cox_coef": fit.coefficients,
        "cox_vcov": fit.covariance.ravel(),
        "cox_loglik": likelihoods,
        "cox_score": fit.score_statistic,
        "cox_survival": survival.ravel(),
    }.items():
        np.testing.assert_allclose(values, cohort.reference(f"{name}_{ties}"), **EXACT)
    for transform in ("km", "rank", "identity"):
        test = ev.proportional_hazards_test(cohort.y, X, transform=transform, ties=ties)
        expected = cohort.reference(f"zph_{transform}_{ties}")
        np.testing.assert_allclose(test["chi2"], expected, **EXACT)


def test_weighted_cox(cohort):
    fit = ev.fit_cox(cohort.y, cohort.table[["x1", "x3"]], cohort.weight)
    values = [*fit.coefficients, *fit.standard_errors]
    np.testing.assert_allclose(values, cohort.reference("cox_weighted"), **EXACT)


def test_categories_in_a_cox_table(cohort):
    table = ev.multivariate_cox_table(
        cohort.y, cohort.table[["x1", "stage"]], references={"stage": "II"}
    )
    p = table["p_likelihood_ratio"]
    # R's anova stops its iterations at 1e-9.
    np.testing.assert_allclose(
        [*table["hr"], p["stage"].iloc[0]], cohort.reference("cox_stage"), rtol=1e-7
    )
    np.testing.assert_allclose(p["x1"].iloc[0], cohort.reference("cox_stage_drop_x1"), rtol=1e-6)


def test_maximally_selected_logrank(cohort):
    if cohort.name != "continuous":
        pytest.skip("maxstat scores tied times by rank, not by risk set")
    cutoff = ev.maximally_selected_logrank(cohort.y, cohort.table["risk_a"])
    statistic, threshold, p_value = cohort.reference("maxstat")
    np.testing.assert_allclose([cutoff.statistic, cutoff.p_value], [statistic, p_value], **EXACT)
    # R names the highest risk of the low group, here it is midway to the next one.
    risk = cohort.table["risk_a"]
    assert np.array_equal(cutoff.high_risk(risk), risk > threshold)


def test_delong(cohort):
    if cohort.name == "complete":
        pytest.skip("one class")
    table, y = cohort.table, cohort.y
    auc = ev.status_auc(y, table["risk_a"])
    expected = cohort.reference("delong_ci")
    np.testing.assert_allclose([auc.lower, auc.value, auc.upper], expected, **EXACT)
    np.testing.assert_allclose(auc.standard_error**2, cohort.reference("delong_variance"), **EXACT)
    paired = ev.compare_status_auc(y, table["risk_a"], table["risk_b"])
    np.testing.assert_allclose(paired.p_value, cohort.reference("delong_p"), **EXACT)


def test_time_dependent_auc_and_brier_score(cohort):
    if cohort.name == "complete":
        pytest.skip("not computed there")
    table, y, times = cohort.table, cohort.y, [1.5, 2.5, 4.5]
    auc = ev.cumulative_dynamic_auc(y, y, table["risk_a"], times)
    np.testing.assert_allclose(auc.auc, cohort.reference("score_auc"), **EXACT)
    # With tied times the two order the censoring martingale differently, by some 1e-4.
    tolerance = 3e-4 if cohort.name == "tied" else 1e-10
    np.testing.assert_allclose(
        auc.standard_error, cohort.reference("score_auc_se"), rtol=tolerance
    )
    curves = np.column_stack([table["survival"] ** (t / 3) for t in times])
    np.testing.assert_allclose(
        ev.brier_score(y, y, curves, times), cohort.reference("score_brier"), **EXACT
    )
    null = cohort.reference("score_brier_null")
    np.testing.assert_allclose(
        ev.index_of_prediction_accuracy(y, y, curves, times),
        1 - cohort.reference("score_brier") / null,
        **EXACT,
    )


def test_calibration(cohort):
    survival = cohort.table["survival"]
    test = ev.greenwood_nam_dagostino_test(cohort.y, survival, cohort.horizon, 4, min_events=0)
    np.testing.assert_allclose(test.statistic, cohort.reference("gnd"), **EXACT)
    np.testing.assert_allclose(test.observed, cohort.reference("gnd_observed"), **EXACT)
    for knots in (3, 4, 5):
        smooth = ev.integrated_calibration_index(
            cohort.y, survival, cohort.horizon, n_knots=knots
        )
        expected = cohort.reference(f"ici_{knots}")
        np.testing.assert_allclose([smooth.ici, smooth.e50, smooth.e90], expected, **EXACT)


def test_decision_curve(cohort):
    curve = ev.decision_curve(
        cohort.y, 1 - cohort.table["survival"], cohort.horizon, [0.2, 0.4, 0.6]
    )
    np.testing.assert_allclose(curve.net_benefit, cohort.reference("net_benefit"), **EXACT)


def test_cohort_comparison(cohort):
    columns = ["risk_a", "stage", "x3", "centre"]
    table = cohort.table[columns].astype({"x3": bool})

    def p_values(rows: pd.DataFrame) -> tuple[dict, dict]:
        parts = {str(c): part.drop(columns="centre") for c, part in rows.groupby("centre")}
        result = ev.compare_cohorts(parts, random_state=0)
        first = result.groupby(level="variable").first()
        return first["p: 2"].to_dict(), first["test: 2"].to_dict()

    pair = table[table["centre"] < 3]
    p, test = p_values(pair)
    assert test == {"risk_a": "Mann-Whitney", "stage": "chi-square", "x3": "chi-square"}
    for variable, quantity in {
        "risk_a": "mann_whitney",
        "stage": "chi_square",
        "x3": "chi_square_2x2",
    }.items():
        np.testing.assert_allclose(p[variable], cohort.reference(quantity), **EXACT)
    p, test = p_values(pair[:16])
    assert test["x3"] == "Fisher"
    np.testing.assert_allclose(p["x3"], cohort.reference("fisher_2x2"), **EXACT)
    assert test["stage"] == "Fisher (Monte Carlo)"
    exact = cohort.reference("fisher_rx2")[0]
    assert abs(p["stage"] - exact) < 4 * np.sqrt(exact * (1 - exact) / 9999) + 1e-4
