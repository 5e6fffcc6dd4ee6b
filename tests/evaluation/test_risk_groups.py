from __future__ import annotations

import numpy as np
import pytest
from drawn_outcomes import draw_outcome
from lifelines.statistics import multivariate_logrank_test

import survimg.evaluation as ev
from survimg.target import make_outcome


def prognostic(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    event_time, censoring = rng.exponential(size=n) * np.exp(-risk), rng.exponential(2, size=n)
    return make_outcome(event_time <= censoring, np.minimum(event_time, censoring)), risk


def test_lifelines_agrees_on_the_logrank_test():
    rng = np.random.default_rng(0)
    y, group = draw_outcome(rng, 90, tied=True), rng.integers(0, 3, size=90)
    expected = multivariate_logrank_test(y["time"], group, y["event"])
    result = ev.logrank_test(y, group)
    assert result.statistic == pytest.approx(expected.test_statistic, rel=1e-9)
    assert result.p_value == pytest.approx(expected.p_value, rel=1e-9)
    assert result.observed.sum() == pytest.approx(result.expected.sum())


def test_logrank_is_the_score_test_of_the_cox_model():
    y, risk = prognostic(80)
    high = risk > 0
    score = ev.fit_cox(y, high.astype(float)).score_test[0]
    assert ev.logrank_test(y, high).statistic == pytest.approx(score, rel=1e-9)


def test_undefined_logrank_tests_raise():
    y = make_outcome([1, 1, 0, 0], [3, 4, 1, 2])
    with pytest.raises(ValueError, match="two groups"):
        ev.logrank_test(y, [1, 1, 1, 1])
    with pytest.raises(ValueError, match="never at risk"):
        ev.logrank_test(y, [0, 0, 1, 1])
    with pytest.raises(ValueError, match="censored"):
        ev.logrank_test(make_outcome([0, 0], [1, 2]), [0, 1])
    with pytest.raises(ValueError, match="groups has 1 missing value"):
        ev.logrank_test(y, [0, 1, np.nan, 1])
    with pytest.raises(ValueError, match="strata has 1 missing value"):
        ev.logrank_test(y, [0, 1, 0, 1], strata=["a", None, "a", "a"])


def test_median_halves_the_cohort_even_with_ties():
    y, risk = prognostic(101)
    cutoff = ev.learn_cutoff(y, risk)
    assert cutoff.high_risk(risk).sum() == 50
    assert float(cutoff) == np.median(risk)
    tied = np.where(risk > -0.5, 1.0, 0.0)
    high = ev.learn_cutoff(y, tied).high_risk(tied)
    assert 0 < high.sum() < 101


def test_youden_finds_the_best_cut_by_search():
    y, risk = prognostic(80)
    risk = risk.round(1)
    cutoff = ev.learn_cutoff(y, risk, "youden")
    j = [
        (risk > c)[y["event"]].mean() - (risk > c)[~y["event"]].mean() for c in np.unique(risk)[:-1]
    ]
    assert cutoff.statistic == pytest.approx(max(j))
    high = cutoff.high_risk(risk)
    assert high[y["event"]].mean() - high[~y["event"]].mean() == pytest.approx(max(j))
    at = ev.learn_cutoff(y, risk, "youden", horizon=0.5)
    cases, controls = ev.horizon_weights(y, y, 0.5)
    j = [
        cases @ (risk > c) / cases.sum() - controls @ (risk > c) / controls.sum()
        for c in np.unique(risk)[:-1]
    ]
    assert at.statistic == pytest.approx(max(j))
    assert at.statistic != cutoff.statistic


def test_logrank_cut_has_the_largest_statistic_and_a_corrected_p():
    y, risk = prognostic(120)
    cutoff = ev.learn_cutoff(y, risk, "logrank")
    high = cutoff.high_risk(risk)
    plain = ev.logrank_test(y, high)
    assert cutoff.p_value > plain.p_value
    # By search, with log-rank scores from an independent Nelson-Aalen estimate.
    at_risk = (y["time"] >= y["time"][:, np.newaxis]).sum(axis=1)
    passed = (y["time"] <= y["time"][:, np.newaxis]) & y["event"]
    scores = y["event"] - (passed / at_risk).sum(axis=1)
    statistics = []
    for c in np.unique(risk):
        m = np.sum(risk > c)
        if 12 <= m <= 108:
            variance = m * (120 - m) / 120 * scores.var(ddof=1)
            statistics.append(
                abs(scores[risk > c].sum() - m * scores.mean()) / np.sqrt(variance)
            )
    assert cutoff.statistic == pytest.approx(max(statistics), rel=1e-12)
    narrow = ev.learn_cutoff(y, risk, "logrank", min_share=0.4).high_risk(risk)
    assert 0.4 <= narrow.mean() <= 0.6


def test_corrected_p_keeps_its_level_where_the_plain_one_does_not():
    rng = np.random.default_rng(1)
    corrected, plain = [], []
    for _ in range(200):
        y, risk = draw_outcome(rng, 80), rng.normal(size=80)
        cutoff = ev.maximally_selected_logrank(y, risk)
        corrected.append(cutoff.p_value < 0.05)
        plain.append(ev.logrank_test(y, cutoff.high_risk(risk)).p_value < 0.05)
    assert np.mean(corrected) < 0.09
    assert np.mean(plain) > 0.2


def test_cut_offs_that_cannot_be_learned_raise():
    y, risk = prognostic(40)
    with pytest.raises(ValueError, match="All risks equal"):
        ev.learn_cutoff(y, np.ones(40))
    with pytest.raises(ValueError, match="one class"):
        ev.learn_cutoff(make_outcome(np.ones(40, bool), y["time"]), risk, "youden")
    with pytest.raises(ValueError, match="horizon applies"):
        ev.learn_cutoff(y, risk, "median", horizon=1.0)
    with pytest.raises(ValueError, match="method must be"):
        ev.learn_cutoff(y, risk, "tertile")
    with pytest.raises(ValueError, match="tied"):
        ev.learn_cutoff(y, np.eye(40)[0], "logrank")
    with pytest.raises(ValueError, match="log-rank scores are equal"):
        ev.learn_cutoff(make_outcome([1, 0], [5, 0]), [0.4, 1.2], "logrank")
    with pytest.raises(ValueError, match="min_share"):
        ev.learn_cutoff(y, risk, "logrank", min_share=0.5)


def test_hazard_ratio_of_groups():
    y, risk = prognostic(200)
    high = risk > 0
    ratio = ev.hazard_ratio(y, high)
    assert 1 < ratio.lower < ratio.value < ratio.upper
    inverse = ev.hazard_ratio(y, ~high)
    assert inverse.value == pytest.approx(1 / ratio.value)
    assert inverse.p_value == pytest.approx(ratio.p_value)
    assert ev.hazard_ratio(y, high, level=0.5).lower > ratio.lower
    with pytest.raises(ValueError, match="high group has 0 patients"):
        ev.hazard_ratio(y, np.zeros(200, bool))
    with pytest.raises(ValueError, match="one True/False"):
        ev.hazard_ratio(y, risk)
