"""The calibration slope: a Cox coefficient, alone and drawn towards 1."""

from __future__ import annotations

import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.survival import RiskSets
from survimg.survival.slope import calibration_slope, cautious_slope
from survimg.target import make_outcome


def patients(n=80, seed=0):
    rng = np.random.default_rng(seed)
    log_hazard = rng.normal(size=n)
    death, end = rng.exponential(np.exp(-log_hazard)), rng.exponential(2, n)
    return log_hazard, death <= end, np.minimum(death, end)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.2, 30.0), (40.0, -7.0)])
def test_it_is_the_coefficient_of_a_cox_model(scale, offset):
    log_hazard, event, time = patients()
    risk = scale * log_hazard + offset
    y = make_outcome(event, time)
    reference = CoxPHSurvivalAnalysis(ties="breslow", tol=1e-12).fit(log_hazard[:, None], y)
    expected = reference.coef_[0] / scale
    assert calibration_slope(risk, event, time) == pytest.approx(expected, rel=1e-5)


def test_risks_of_no_use_have_no_slope():
    log_hazard, event, time = patients()
    assert calibration_slope(-log_hazard, event, time) == 0
    assert calibration_slope(np.full(80, 0.1), event, time) == 0
    assert calibration_slope(1e6 + 1e-11 * log_hazard, event, time) == 0  # rounding


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_a_perfect_order_stays_finite(scale):
    _, _, time = patients()
    risk = -scale * np.argsort(np.argsort(time)).astype(float)
    slope = calibration_slope(risk, np.ones(80, bool), time)
    assert slope == pytest.approx(5 / risk.std())


def penalised(slope, risk, event, time):
    sets = RiskSets(event, time, ties="breslow")
    return sets.log_likelihood((slope * risk)[:, None])[0] - (slope - 1) ** 2 / (2 * 0.3**2)


@pytest.mark.parametrize("scale", [0.3, 0.8, 3.0])
@pytest.mark.parametrize("n", [8, 80])
def test_the_cautious_slope_is_the_best_near_1(n, scale):
    log_hazard, event, time = patients(n)
    risk = scale * log_hazard + 4.0
    slope = cautious_slope(risk, event, time)
    best = penalised(slope, risk, event, time)
    assert all(best >= penalised(slope + away, risk, event, time) for away in (-0.01, 0.01))
    plain = calibration_slope(risk, event, time)
    assert min(plain, 1.0) <= slope <= max(plain, 1.0)


def test_many_events_outweigh_the_prior_and_none_leave_it():
    log_hazard, event, time = patients(4000)
    risk = 0.5 * log_hazard
    plain = calibration_slope(risk, event, time)
    assert cautious_slope(risk, event, time) == pytest.approx(plain, rel=0.03)
    assert cautious_slope(risk, np.zeros(4000, bool), time) == 1.0
    assert cautious_slope(-3 * log_hazard, event, time) == pytest.approx(0, abs=1e-12)
    assert cautious_slope(np.full(80, 7.0), event[:80], time[:80]) == pytest.approx(1)
