"""Round values for the axes of figures and nomograms."""

from __future__ import annotations

import numpy as np

__all__ = ["round_ticks"]

_STEPS = np.array([1, 2, 2.5, 5, 10])


def round_ticks(low: float, high: float, n: int) -> np.ndarray:
    """Return round values within [low, high], at most `n` steps apart."""
    rough = (high - low) / n
    magnitude = 10.0 ** np.floor(np.log10(rough))
    step = magnitude * _STEPS[np.searchsorted(_STEPS, rough / magnitude * (1 - 1e-9))]
    slack = 1e-9 * (high - low) / step
    first, last = np.ceil(low / step - slack), np.floor(high / step + slack)
    return np.round(np.arange(first, last + 1) * step, 12) + 0.0  # no negative zero
