"""Features of the neighbouring grey tone difference matrix (Amadasun and King, 1989)."""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel

__all__ = ["tone_difference_features", "windowed_tone_differences"]


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


@kernel
def windowed_tone_differences(
    blocks: np.ndarray, offsets: np.ndarray, n_levels: int, out: np.ndarray
) -> None:
    """Compute the five features in the window around each voxel.

    Parameters
    ----------
    blocks : ndarray of shape (n, block), uint16
        Grey levels of each window, with a margin of zeros; see `gather_windows`.
    offsets : ndarray of shape (n_steps,), int64
        Position differences of one of each pair of opposite steps.
    n_levels : int
    out : ndarray of shape (n, 5)
        Receives the features.
    """
    counts = np.zeros(n_levels + 1, dtype=np.int64)
    differences = np.zeros(n_levels + 1, dtype=np.float64)
    for n in range(blocks.shape[0]):
        block = blocks[n]
        counts[:] = 0
        differences[:] = 0.0
        for i in range(block.size):
            level = np.int64(block[i])
            if level == 0:
                continue
            counts[level] += 1
            total = np.int64(0)
            neighbours = np.int64(0)
            for a in range(offsets.size):
                before = np.int64(block[i - offsets[a]])
                after = np.int64(block[i + offsets[a]])
                total += before + after
                neighbours += np.int64(before > 0) + np.int64(after > 0)
            if neighbours > 0:
                differences[level] += abs(level - total / neighbours)
        out[n] = tone_difference_features(counts, differences)
