"""The calibration slope: a Cox coefficient between 0 and 5 per standard deviation."""

from __future__ import annotations

import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.survival.slope import calibration_slope
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
