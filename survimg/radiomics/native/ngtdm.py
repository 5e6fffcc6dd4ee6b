"""Features of the neighbouring grey tone difference matrix (Amadasun and King, 1989)."""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel

__all__ = ["tone_difference_features"]


@kernel
def tone_difference_features(level_counts: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Return Coarseness, Contrast, Busyness, Complexity and Strength.

    Parameters
    ----------
    level_counts : ndarray of shape (levels + 1,), int64
        Voxels per level. Unlike in IBSI, voxels without a neighbour count, as in PyRadiomics.
    differences : ndarray of shape (levels + 1,), float64
        Sums of absolute differences by level, from `neighbour_sums`.

    Returns
    -------
    ndarray of shape (5,)
        Without any difference: Coarseness 1e6, the others 0.
    """
    voxels = level_counts.sum()
    present = np.flatnonzero(level_counts)
    p = level_counts[present] / voxels
    s = differences[present]
    coarse = np.sum(p * s)
    total = np.sum(s)
    contrast = 0.0
    spread = 0.0
    complexity = 0.0
    strength = 0.0
    for i in range(present.size):
        for j in range(present.size):
            step = np.float64(present[i] - present[j])
            contrast += p[i] * p[j] * step * step
            spread += abs(present[i] * p[i] - present[j] * p[j])
            complexity += abs(step) * (p[i] * s[i] + p[j] * s[j]) / (p[i] + p[j])
            strength += (p[i] + p[j]) * step * step
    out = np.zeros(5, dtype=np.float64)
    n = present.size
    out[0] = 1.0 / coarse if coarse != 0 else 1e6
    out[1] = contrast * total / voxels / (n * (n - 1)) if n > 1 else 0.0
    out[2] = coarse / spread if spread != 0 else 0.0
    out[3] = complexity / voxels
    out[4] = strength / total if total != 0 else 0.0
    return out
