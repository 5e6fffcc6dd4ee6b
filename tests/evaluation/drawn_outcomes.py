"""Random outcomes for tests."""

from __future__ import annotations

import numpy as np

from survimg.target import make_outcome


def draw_outcome(rng: np.random.Generator, n: int, *, tied: bool = False) -> np.ndarray:
    """Outcome with about half of the patients censored; with ties, also at time 0."""
    time = rng.exponential(size=n)
    if tied:
        time = np.floor(4 * time)
    return make_outcome(rng.random(n) < 0.5, time)
