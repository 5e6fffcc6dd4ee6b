"""Features of run-length, size-zone and dependence matrices: the same formulas for all three.

A matrix is a list of its non-empty cells (level, size, count), ordered by size. Sources of the
formulas: Galloway (1975), Chu et al. (1990), Dasarathy and Holder (1991) for run lengths; Thibault
et al. (2014) for zones; Sun and Wee (1983) for dependences.
"""

from __future__ import annotations

import numpy as np

from survimg.radiomics.native.jit import kernel

__all__ = ["dependence_features", "run_features", "zone_features"]


@kernel
def _features(cells: np.ndarray, n_cells: int, per_level: np.ndarray, out: np.ndarray) -> None:
    # Adds the 16 features of one matrix to `out`.
    total = 0.0
    entropy = 0.0
    for k in range(n_cells):
        count = np.float64(cells[k, 2])
        total += count
        if count > 1.0:
            entropy += count * np.log2(count)
    out[9] += np.log2(total) - entropy / total
    _add_emphases(cells, n_cells, total, out)
    _add_size_margin(cells, n_cells, total, out)
    _add_level_margin(cells, n_cells, total, per_level, out)


@kernel
def _add_emphases(cells: np.ndarray, n_cells: int, total: float, out: np.ndarray) -> None:
    for k in range(n_cells):
        level = np.float64(cells[k, 0])
        size = np.float64(cells[k, 1])
        share = cells[k, 2] / total
        g2 = level * level
        s2 = size * size
        out[0] += share / s2
        out[1] += share * s2
        out[10] += share / g2
        out[11] += share * g2
        out[12] += share / (g2 * s2)
        out[13] += share * g2 / s2
        out[14] += share * s2 / g2
        out[15] += share * g2 * s2


@kernel
def _add_size_margin(cells: np.ndarray, n_cells: int, total: float, out: np.ndarray) -> None:
    voxels = 0.0
    for k in range(n_cells):
        voxels += np.float64(cells[k, 1] * cells[k, 2])
    mean = voxels / total
    variance = 0.0
    squares = 0.0
    of_size = 0.0
    for k in range(n_cells):
        if k > 0 and cells[k, 1] != cells[k - 1, 1]:
            squares += of_size * of_size
            of_size = 0.0
        of_size += cells[k, 2]
        variance += cells[k, 2] * (cells[k, 1] - mean) ** 2
    squares += of_size * of_size
    out[4] += squares / total
    out[5] += squares / total**2
    out[6] += total / voxels
    out[8] += variance / total


@kernel
def _add_level_margin(
    cells: np.ndarray, n_cells: int, total: float, per_level: np.ndarray, out: np.ndarray
) -> None:
    per_level[:] = 0.0
    for k in range(n_cells):
        per_level[cells[k, 0]] += cells[k, 2]
    mean = 0.0
    squares = 0.0
    for g in range(per_level.size):
        mean += g * per_level[g] / total
        squares += per_level[g] * per_level[g]
    variance = 0.0
    for g in range(per_level.size):
        variance += per_level[g] * (g - mean) ** 2
    out[2] += squares / total
    out[3] += squares / total**2
    out[7] += variance / total


@kernel
def run_features(
    level_counts: np.ndarray,
    pairs: np.ndarray,
    reached: np.ndarray,
    longest: int,
    has_runs: np.ndarray,
) -> np.ndarray:
    """Return the 16 run-length features, averaged over directions.

    Directions along which every line holds at most one voxel of the region are left out, as in
    PyRadiomics; NaN when none is left.

    Parameters
    ----------
    level_counts : ndarray of shape (levels + 1,), int64
        Voxels per level.
    pairs : ndarray of shape (13, levels + 1, levels + 1), int32
        From `count_pairs`; its diagonals count the voxels at position 2 of a run, or later.
    reached : ndarray of shape (13, longest + 1, levels + 1), int32
        From `trace_same`; positions 1 and 2 are filled in.
    longest : int
    has_runs : ndarray of shape (13,), bool
        See `RegionGeometry.has_runs`.
    """
    n_levels = level_counts.size - 1
    cells = np.empty((longest * n_levels, 3), dtype=np.int64)
    per_level = np.empty(n_levels + 1, dtype=np.float64)
    out = np.zeros(16, dtype=np.float64)
    used = 0
    for a in range(pairs.shape[0]):
        if not has_runs[a]:
            continue
        used += 1
        for g in range(1, n_levels + 1):
            # An equal pair has its second voxel at position 2 or beyond; other voxels start runs.
            reached[a, 1, g] = level_counts[g] - pairs[a, g, g]
            reached[a, 2, g] = pairs[a, g, g]
            for length in range(3, longest + 1):
                reached[a, 2, g] -= reached[a, length, g]
        n_cells = 0
        for length in range(1, longest + 1):
            for g in range(1, n_levels + 1):
                # Runs that reach this length less those that reach the next one.
                count = np.int64(reached[a, length, g])
                if length < longest:
                    count -= reached[a, length + 1, g]
                if count > 0:
                    cells[n_cells, 0] = g
                    cells[n_cells, 1] = length
                    cells[n_cells, 2] = count
                    n_cells += 1
        _features(cells, n_cells, per_level, out)
    return out / used


@kernel
def zone_features(small: np.ndarray, large: np.ndarray) -> np.ndarray:
    """Return the 16 size-zone features.

    Parameters
    ----------
    small : ndarray of shape (sizes, levels + 1), int32
        From `collect_zones`.
    large : ndarray of shape (n, 3), int64
        Cells (level, size, count) of the larger zones, ordered by size.
    """
    n_levels = small.shape[1] - 1
    cells = np.empty((small.size + large.shape[0], 3), dtype=np.int64)
    n_cells = 0
    for size in range(1, small.shape[0]):
        for g in range(1, n_levels + 1):
            if small[size, g] > 0:
                cells[n_cells, 0] = g
                cells[n_cells, 1] = size
                cells[n_cells, 2] = small[size, g]
                n_cells += 1
    for k in range(large.shape[0]):
        cells[n_cells] = large[k]
        n_cells += 1
    out = np.zeros(16, dtype=np.float64)
    _features(cells, n_cells, np.empty(n_levels + 1, dtype=np.float64), out)
    return out


@kernel
def dependence_features(
    dependence: np.ndarray, grey: np.ndarray, in_block: np.ndarray, n_levels: int
) -> np.ndarray:
    """Return 16 features of the dependence matrix, in the order of the run-length features.

    Parameters
    ----------
    dependence : ndarray of shape (block,), uint8
        Number of equal neighbours, from `trace_same`; the size of a dependence is one more.
    grey, in_block
        As there.
    n_levels : int
    """
    counts = np.zeros((28, n_levels + 1), dtype=np.int64)
    for n in range(in_block.size):
        i = np.int64(in_block[n])
        counts[np.int64(dependence[i]) + 1, grey[i]] += 1
    cells = np.empty((counts.size, 3), dtype=np.int64)
    n_cells = 0
    for size in range(1, 28):
        for g in range(1, n_levels + 1):
            if counts[size, g] > 0:
                cells[n_cells, 0] = g
                cells[n_cells, 1] = size
                cells[n_cells, 2] = counts[size, g]
                n_cells += 1
    out = np.zeros(16, dtype=np.float64)
    _features(cells, n_cells, np.empty(n_levels + 1, dtype=np.float64), out)
    return out
