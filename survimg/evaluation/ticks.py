"""Round values for the axes of figures and nomograms."""

from __future__ import annotations

import numpy as np

__all__ = ["round_ticks"]


def round_ticks(low: float, high: float, n: int) -> np.ndarray:
    """Return about `n` round values within [low, high]."""
    from matplotlib.ticker import MaxNLocator  # `import survimg.evaluation` draws nothing

    locator = MaxNLocator(nbins=n, steps=[1, 2, 2.5, 5, 10])
    ticks = np.asarray(locator.tick_values(low, high), dtype=np.float64)
    slack = 1e-9 * (high - low)
    inside = ticks[(ticks >= low - slack) & (ticks <= high + slack)]
    return np.round(inside, 12) + 0.0  # no negative zero
