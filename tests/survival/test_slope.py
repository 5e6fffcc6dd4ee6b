"""The slope of a single score against scikit-survival's Cox model."""

from __future__ import annotations

import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.survival.slope import cox_slope
from survimg.target import make_outcome


def test_slope_is_that_of_a_cox_model_and_lies_between_0_and_5():
    rng = np.random.default_rng(0)
    score = rng.normal(size=60)
    event, time = rng.random(60) < 0.7, rng.exponential(np.exp(-score)) + 0.1
    y = make_outcome(event, time)
    reference = CoxPHSurvivalAnalysis(ties="breslow").fit(score[:, np.newaxis], y).coef_[0]
    assert reference > 0
    assert cox_slope(score, event, time) == pytest.approx(reference, rel=1e-4)
    assert cox_slope(-score, event, time) == 0
    assert cox_slope(np.zeros(60), event, time) == 0
    assert cox_slope(-np.argsort(np.argsort(time)) / 17.0, event, time) == 5
