from __future__ import annotations

import numpy as np
import pytest
from drawn_outcomes import draw_outcome
from sksurv.linear_model import CoxPHSurvivalAnalysis

import survimg.evaluation as ev


def test_noise_looks_good_and_is_corrected():
    rng = np.random.default_rng(0)
    y = draw_outcome(rng, 80)
    X = rng.normal(size=(80, 8))
    model = CoxPHSurvivalAnalysis(alpha=0.01)
    result = ev.optimism_corrected_concordance(model, X, y, n_resamples=60, random_state=0)
    assert result.apparent == model.fit(X, y).score(X, y)
    assert result.apparent > 0.6
    assert abs(result.corrected - 0.5) < 0.08
    assert result.corrected == result.apparent - result.resampled_optimism.mean()
    assert result.resampled_optimism.size == 60
    again = ev.optimism_corrected_concordance(model, X, y, n_resamples=60, random_state=0)
    other = ev.optimism_corrected_concordance(model, X, y, n_resamples=60, random_state=1)
    assert again.optimism == result.optimism != other.optimism
    with pytest.raises(ValueError, match="at least 2"):
        ev.optimism_corrected_concordance(model, X, y, n_resamples=1)


def test_one_strong_covariate_needs_little_correction():
    rng = np.random.default_rng(1)
    y = draw_outcome(rng, 200)
    X = -y["time"][:, np.newaxis] + 0.5 * rng.normal(size=(200, 1))
    result = ev.optimism_corrected_concordance(
        CoxPHSurvivalAnalysis(), X, y, n_resamples=30, random_state=0
    )
    assert abs(result.optimism) < 0.02
