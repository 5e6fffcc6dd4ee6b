"""Breslow's baseline agrees with scikit-survival's, and survives what overflows there."""

from __future__ import annotations

import numpy as np
import pytest
from sksurv.linear_model.coxph import BreslowEstimator

from survimg.survival.breslow import BreslowBaseline


def data(n: int = 60, seed: int = 0):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    time = rng.integers(0, 20, n).astype(float)  # many ties, and time 0
    return risk, rng.random(n) < 0.5, time


@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_survival(seed):
    risk, event, time = data(seed=seed)
    ours, theirs = BreslowBaseline(risk, event, time), BreslowEstimator().fit(risk, event, time)
    new = np.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(ours.unique_times_, theirs.unique_times_)
    expected = np.stack([f(ours.unique_times_) for f in theirs.get_survival_function(new)])
    np.testing.assert_allclose(ours.survival(new), expected, rtol=1e-10)
    expected = np.stack([f(ours.unique_times_) for f in theirs.get_cumulative_hazard_function(new)])
    np.testing.assert_allclose(ours.cumulative_hazard(new), expected, rtol=1e-10)


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


def test_step_functions_hold_the_values():
    risk, event, time = data()
    baseline = BreslowBaseline(risk, event, time)
    survival = baseline.survival(risk[:3])
    functions = baseline.as_functions(survival)
    np.testing.assert_array_equal(functions[1](baseline.unique_times_), survival[1])
