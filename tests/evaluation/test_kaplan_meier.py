from __future__ import annotations

import numpy as np
import pytest
from drawn_outcomes import draw_outcome
from sksurv.nonparametric import CensoringDistributionEstimator, kaplan_meier_estimator

import survimg.evaluation as ev
from survimg.target import make_outcome


@pytest.mark.parametrize("tied", [False, True])
def test_scikit_survival_agrees(tied):
    y = draw_outcome(np.random.default_rng(0), 100, tied=tied)
    time, survival = kaplan_meier_estimator(y["event"], y["time"])
    curve = ev.kaplan_meier(y)
    np.testing.assert_array_equal(curve.time, time)
    np.testing.assert_allclose(curve.survival, survival, rtol=1e-12)
    censoring = CensoringDistributionEstimator().fit(y)
    inner = np.linspace(y["time"].min(), y["time"].max(), 30)
    ours = ev.CensoringDistribution(y)
    np.testing.assert_allclose(ours.at(inner), censoring.predict_proba(inner), rtol=1e-12)
    np.testing.assert_allclose(ours.before(inner[:-1] + 1e-9), ours.at(inner[:-1]), rtol=1e-12)


def test_without_censoring_survival_is_the_share_of_survivors():
    time = np.array([3.0, 1.0, 2.0, 2.0])
    curve = ev.kaplan_meier(make_outcome(np.ones(4, bool), time))
    np.testing.assert_allclose(curve.at([0, 0.5, 1, 2, 2.5, 3, 99]), [1, 1, 0.75, 0.25, 0.25, 0, 0])
    np.testing.assert_array_equal(curve.number_at_risk([0, 1, 1.5, 3, 4]), [4, 4, 3, 1, 0])
    assert curve.median == 2


def test_what_is_not_estimable_raises():
    curve = ev.kaplan_meier(make_outcome([1, 0, 0], [1, 2, 3]))
    with pytest.raises(ValueError, match="beyond the last observation"):
        curve.at(4)
    with pytest.raises(ValueError, match="not reached"):
        _ = curve.median
    with pytest.raises(ValueError, match="no patient"):
        ev.kaplan_meier(make_outcome([], []))
    with pytest.raises(ValueError, match="interval"):
        ev.kaplan_meier(make_outcome([1], [1]), interval="arcsine")


def test_a_patient_of_weight_zero_is_not_there():
    y = make_outcome([1, 0, 1], [1, 2, 10])
    curve, without = ev.kaplan_meier(y, [2, 1, 0]), ev.kaplan_meier(y[:2], [2, 1])
    np.testing.assert_array_equal(curve.time, without.time)
    np.testing.assert_array_equal(curve.survival, without.survival)
    with pytest.raises(ValueError, match=r"beyond the last observation \(2\)"):
        curve.at(8)  # nobody is followed that long


def test_weights_follow_the_event_before_a_censoring_at_the_same_time():
    y = make_outcome([1, 0, 1, 1], [1, 2, 2, 3])
    left, right = (ev.CensoringDistribution(y, limit) for limit in ("left", "right"))
    np.testing.assert_allclose(left.event_weights(y["event"], y["time"]), [1, 0, 1, 2])
    np.testing.assert_allclose(right.event_weights(y["event"], y["time"]), [1, 0, 2, 2])


def test_weights_beyond_the_censoring_distribution_raise():
    g = ev.CensoringDistribution(make_outcome([1, 0], [1, 2]))
    with pytest.raises(ValueError, match="Truncate"):
        g.event_weights(np.array([True]), np.array([5.0]))
    followed = ev.CensoringDistribution(make_outcome([1, 1], [1, 2]))
    with pytest.raises(ValueError, match="exceeds the last time"):
        followed.event_weights(np.array([True]), np.array([5.0]))


def test_level_changes_the_interval():
    y = draw_outcome(np.random.default_rng(1), 50)
    narrow, wide = (ev.kaplan_meier(y, level=level) for level in (0.5, 0.99))
    inside = narrow.survival < 1
    assert np.nanmin((narrow.lower - wide.lower)[inside]) > 0
