"""Breslow's baseline agrees with scikit-survival's, and survives what overflows there."""

from __future__ import annotations

import numpy as np
import pytest
from sksurv.linear_model.coxph import BreslowEstimator

from survimg.survival import BreslowBaseline


def data(n: int = 60, seed: int = 0):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    time = rng.integers(1, 20, n).astype(float)  # many ties
    return risk, rng.random(n) < 0.5, time


@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_survival_from_the_first_time_on(seed):
    risk, event, time = data(seed=seed)
    ours, theirs = BreslowBaseline(risk, event, time), BreslowEstimator().fit(risk, event, time)
    new = np.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(ours.times, [0, *theirs.unique_times_])
    expected = np.stack([f(ours.times[1:]) for f in theirs.get_survival_function(new)])
    np.testing.assert_allclose(ours.survival(new)[:, 1:], expected, rtol=1e-10)
    expected = np.stack([f(ours.times[1:]) for f in theirs.get_cumulative_hazard_function(new)])
    np.testing.assert_allclose(ours.cumulative_hazard(new)[:, 1:], expected, rtol=1e-10)


def test_nobody_has_had_the_event_at_time_0():
    risk, event, time = data()
    baseline = BreslowBaseline(risk, event, time)
    assert (baseline.survival(risk)[:, 0] == 1).all()
    assert (baseline.cumulative_hazard(risk)[:, 0] == 0).all()


def test_an_event_at_time_0_counts_there_once():
    risk, event, time = data()
    time[:3], event[:3] = 0, True
    baseline = BreslowBaseline(risk, event, time)
    assert baseline.times[:2].tolist() == [0, 1]
    hazard = baseline.cumulative_hazard(risk)
    np.testing.assert_allclose(hazard[:, 0], 3 / np.exp(risk).sum() * np.exp(risk))


def test_adding_a_constant_to_every_risk_changes_nothing():
    risk, event, time = data()
    for shift in (800.0, -800.0):
        moved = BreslowBaseline(risk + shift, event, time)
        np.testing.assert_allclose(
            moved.survival(risk + shift), BreslowBaseline(risk, event, time).survival(risk)
        )


def test_risks_of_many_orders_of_magnitude_stay_finite():
    risk, event, time = data()
    baseline = BreslowBaseline(100 * risk, event, time)
    hazard = baseline.cumulative_hazard(100 * risk)
    assert np.isfinite(hazard).all()
    assert (np.diff(hazard, axis=1) >= 0).all()
    assert (np.diff(baseline.survival(100 * risk), axis=1) <= 0).all()
