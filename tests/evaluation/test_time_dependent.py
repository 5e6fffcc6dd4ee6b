from __future__ import annotations

import numpy as np
import pytest
from drawn_outcomes import draw_outcome
from sksurv.metrics import brier_score, cumulative_dynamic_auc, integrated_brier_score

import survimg.evaluation as ev
from survimg.survival import status_at
from survimg.target import make_outcome


@pytest.fixture(params=[False, True])
def case(request):
    """Training and test outcome, risk, curves and times; tied or not."""
    rng = np.random.default_rng(0)
    train, y = (draw_outcome(rng, n, tied=request.param) for n in (300, 80))
    inside = y["time"] < train["time"].max()
    y = y[inside]
    risk = rng.normal(size=len(y)).round(1)
    times = np.array([0.3, 0.6, 0.9]) * (4 if request.param else 1)
    curves = np.exp(-np.exp(0.3 * risk)[:, np.newaxis] * times / times[-1])
    return train, y, risk, curves, times


def test_auc_equals_scikit_survival(case):
    train, y, risk, _, times = case
    expected, mean = cumulative_dynamic_auc(train, y, risk, times)
    result = ev.cumulative_dynamic_auc(train, y, risk, times, censoring_limit="right")
    np.testing.assert_allclose(result.auc, expected, rtol=1e-12)
    assert result.mean_auc == pytest.approx(mean, rel=1e-12)
    many = np.column_stack([risk, -risk, risk**2])
    expected, _ = cumulative_dynamic_auc(train, y, many, times)
    result = ev.cumulative_dynamic_auc(train, y, many, times, censoring_limit="right")
    np.testing.assert_allclose(result.auc, expected, rtol=1e-12)


def test_brier_scores_equal_scikit_survival(case):
    train, y, _, curves, times = case
    _, expected = brier_score(train, y, curves, times)
    scores = ev.brier_score(train, y, curves, times, censoring_limit="right")
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    value = ev.integrated_brier_score(train, y, curves, times, censoring_limit="right")
    assert value == pytest.approx(integrated_brier_score(train, y, curves, times), rel=1e-12)


def test_brier_score_at_the_last_event_is_defined_without_survivors():
    y = make_outcome([1, 0, 1], [2, 3, 4])
    survival = np.full((3, 1), 0.5)
    assert ev.brier_score(y, y, survival, [4.0])[0] == pytest.approx((1 + 2) / 3 * 0.25)


def test_roc_curve_at_a_horizon_has_the_auc(case):
    train, y, risk, _, times = case
    curve = ev.roc_curve_at_horizon(train, y, risk, times[1])
    expected = ev.cumulative_dynamic_auc(train, y, risk, times[1]).auc[0]
    assert curve.auc == pytest.approx(expected, abs=1e-12)
    assert curve.true_positive_rate[[0, -1]] == pytest.approx([0, 1])
    assert np.all(np.diff(curve.false_positive_rate) >= 0)


def test_auc_without_censoring_is_the_mann_whitney_share():
    rng = np.random.default_rng(1)
    y = make_outcome(np.ones(60, bool), rng.exponential(size=60))
    risk = rng.normal(size=60).round(1)
    case, control = risk[y["time"] <= 0.5], risk[y["time"] > 0.5]
    wins = np.mean((case[:, None] > control) + 0.5 * (case[:, None] == control))
    assert ev.cumulative_dynamic_auc(y, y, risk, 0.5).auc[0] == pytest.approx(wins)
    at = ev.classification_at_horizon(y, y, risk, 0.5, 0.2)
    high, early = risk > 0.2, y["time"] <= 0.5
    assert at.sensitivity == pytest.approx(high[early].mean())
    assert at.specificity == pytest.approx((~high)[~early].mean())
    assert at.ppv == pytest.approx(early[high].mean())
    assert at.npv == pytest.approx((~early)[~high].mean())
    assert (at.n_cases, at.n_controls, at.n_censored) == (early.sum(), (~early).sum(), 0)


def test_weights_restore_the_share_of_events():
    """Weighted cases sum to n (1 - S(h)) of Kaplan-Meier: the estimates are one and the same."""
    y = draw_outcome(np.random.default_rng(2), 200, tied=True)
    cases, controls = ev.horizon_weights(y, y, 2.0)
    survival = ev.kaplan_meier(y).at(2.0)[0]
    assert cases.sum() / 200 == pytest.approx(1 - survival, rel=1e-12)
    assert controls.sum() / 200 == pytest.approx(survival, rel=1e-12)


def test_auc_interval_accounts_for_the_estimated_censoring():
    rng = np.random.default_rng(3)
    n = 300
    risk = rng.normal(size=n)
    event_time, censoring = rng.exponential(size=n) * np.exp(-risk), rng.exponential(size=n)
    y = make_outcome(event_time <= censoring, np.minimum(event_time, censoring))
    result = ev.cumulative_dynamic_auc(y, y, risk, [1.0])
    keep = [np.delete(np.arange(n), i) for i in range(n)]
    left_out = np.array(
        [ev.cumulative_dynamic_auc(y[k], y[k], risk[k], [1.0]).auc[0] for k in keep]
    )
    jackknife = np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2))
    assert result.standard_error[0] == pytest.approx(jackknife, rel=0.03)
    assert result.lower[0] < result.auc[0] < result.upper[0]
    wide = ev.cumulative_dynamic_auc(y, y, risk, [1.0], level=0.99)
    assert wide.lower[0] < result.lower[0]


def test_perfect_separation_has_no_interval():
    y = make_outcome(np.ones(6, bool), np.arange(1.0, 7.0))
    result = ev.cumulative_dynamic_auc(y, y, -y["time"], [2.5, 3.5])
    np.testing.assert_array_equal(result.auc, 1)
    assert np.isnan(result.lower).all()
    assert np.isnan(result.standard_error).all()


def test_undefined_horizons_raise():
    y = make_outcome([1, 0, 1, 0], [2, 3, 4, 5])
    risk = [4.0, 3.0, 2.0, 1.0]
    with pytest.raises(ValueError, match="No patient had the event by time 1"):
        ev.cumulative_dynamic_auc(y, y, risk, [1.0])
    with pytest.raises(ValueError, match="beyond time 5"):
        ev.cumulative_dynamic_auc(y, y, risk, [5.0])
    with pytest.raises(ValueError, match="followed up to 5"):
        ev.brier_score(y, y, np.full((4, 1), 0.5), [6.0])
    with pytest.raises(ValueError, match="no survivor would count"):
        ev.brier_score(y, y, np.full((4, 1), 0.5), [5.0])
    with pytest.raises(ValueError, match="no survivor would count"):
        ev.index_of_prediction_accuracy(y, y, np.full((4, 1), 0.5), [5.0])
    with pytest.raises(ValueError, match="PPV is undefined"):
        ev.classification_at_horizon(y, y, risk, 3.5, 99.0)
    with pytest.raises(ValueError, match="NPV is undefined"):
        ev.classification_at_horizon(y, y, risk, 3.5, -99.0)
    with pytest.raises(ValueError, match="two times"):
        ev.integrated_brier_score(y, y, np.full((4, 1), 0.5), [2.0])
    with pytest.raises(ValueError, match="positive time"):
        ev.horizon_weights(y, y, 0.0)
    short = make_outcome([1, 0], [1, 2])
    with pytest.raises(ValueError, match=r"Truncate|beyond the horizon"):
        ev.cumulative_dynamic_auc(short, y, risk, [4.5])


def test_probabilities_out_of_range_are_refused():
    y = make_outcome([1, 0], [1, 2])
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        ev.brier_score(y, y, [[1.4], [0.2]], [1.0])
    with pytest.raises(ValueError, match="n_patients, n_times"):
        ev.brier_score(y, y, [[0.4, 0.3]], [1.0])


def test_status_auc_by_definition_and_its_errors():
    rng = np.random.default_rng(4)
    y, risk = draw_outcome(rng, 50), rng.normal(size=50).round(1)
    case, control = risk[y["event"]], risk[~y["event"]]
    wins = np.mean((case[:, None] > control) + 0.5 * (case[:, None] == control))
    auc = ev.status_auc(y, risk)
    assert auc.value == pytest.approx(wins)
    assert ev.status_roc_curve(y, risk).auc == pytest.approx(wins)
    logit = ev.status_auc(y, risk, interval="logit")
    assert 0 < logit.lower < wins < logit.upper < 1
    assert logit.lower != auc.lower
    with pytest.raises(ValueError, match="all 2 are censored"):
        ev.status_auc(make_outcome([0, 0], [1, 2]), [1, 2])
    with pytest.raises(ValueError, match="all 2 had the event"):
        ev.status_roc_curve(make_outcome([1, 1], [1, 2]), [1, 2])
    with pytest.raises(ValueError, match="two patients in either class"):
        ev.status_auc(make_outcome([1, 0, 0], [1, 2, 3]), [1, 2, 3])
    perfect = make_outcome([1] * 10 + [0] * 10, np.arange(20) + 1)
    with pytest.raises(ValueError, match="variation"):
        ev.status_auc(perfect, -np.arange(20))
    for n_events, what in ((9, "9 events"), (10, "9 patients without the event")):
        few = make_outcome([1] * n_events + [0] * 9, np.arange(n_events + 9) + 1)
        one, two = rng.normal(size=(2, n_events + 9))
        with pytest.raises(ValueError, match=f"With {what} there is no interval and no test"):
            ev.status_auc(few, one)
        with pytest.raises(ValueError, match=f"With {what} there is no interval and no test"):
            ev.compare_status_auc(few, one, two)
    with pytest.raises(ValueError, match="alike"):
        ev.compare_status_auc(y, risk, 2 * risk)


@pytest.mark.parametrize("tied", [False, True])
def test_the_known_status_is_weighted_to_that_of_all_patients(tied):
    y = draw_outcome(np.random.default_rng(5), 120, tied=tied)
    horizon = float(np.sort(y["time"])[60])  # somebody is last seen there
    weights = ev.status_weights(y, horizon)
    positive, known = status_at(y, horizon)
    assert ((weights > 0) == known).all()
    assert weights.sum() == pytest.approx(120, rel=1e-12)
    share = np.average(positive, weights=weights)
    assert share == pytest.approx(1 - ev.kaplan_meier(y).at(horizon)[0], rel=1e-12)
    with pytest.raises(ValueError, match="choose one up to"):
        ev.status_weights(y, 2 * y["time"].max())


def test_weights_of_an_auc_stand_for_repeated_patients():
    rng = np.random.default_rng(6)
    y, one, two = draw_outcome(rng, 60), *rng.normal(size=(2, 60)).round(1)
    weights = rng.integers(0, 4, 60)
    repeated = np.repeat(np.arange(60), weights)
    for plain, weighted in (
        (ev.status_auc(y[repeated], one[repeated]), ev.status_auc(y, one, sample_weight=weights)),
        (ev.compare_status_auc(y[repeated], one[repeated], two[repeated]),
         ev.compare_status_auc(y, one, two, sample_weight=weights)),
    ):  # fmt: skip
        at = "value" if hasattr(plain, "value") else "difference"
        assert getattr(weighted, at) == pytest.approx(getattr(plain, at), rel=1e-12)
        assert weighted.standard_error > plain.standard_error  # copies are no further patients
    expected = ev.status_roc_curve(y[repeated], one[repeated]).auc
    assert ev.status_roc_curve(y, one, weights).auc == pytest.approx(expected, rel=1e-12)
    alike = ev.status_auc(y, one, sample_weight=np.full(60, 2.5))
    assert alike.standard_error == pytest.approx(ev.status_auc(y, one).standard_error, rel=1e-12)


def test_the_error_of_a_weighted_auc_is_that_of_the_jackknife():
    rng = np.random.default_rng(7)
    y, risk, weights = draw_outcome(rng, 200), rng.normal(size=200), rng.uniform(0.5, 3, 200)
    result = ev.status_auc(y, risk, sample_weight=weights)
    keep = [np.delete(np.arange(200), i) for i in range(200)]
    left_out = np.array(
        [ev.status_auc(y[k], risk[k], sample_weight=weights[k]).value for k in keep]
    )
    jackknife = np.sqrt(199 / 200 * np.sum((left_out - left_out.mean()) ** 2))
    assert result.standard_error == pytest.approx(jackknife, rel=0.02)
