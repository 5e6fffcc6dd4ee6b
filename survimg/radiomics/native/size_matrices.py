"""Features of run-length, size-zone and dependence matrices: the same formulas for all three.

A matrix is a list of its non-empty cells (level, size) and their counts, ordered by size. Sources
of the formulas: Galloway (1975), Chu et al. (1990), Dasarathy and Holder (1991) for run lengths;
Thibault et al. (2014) for zones; Sun and Wee (1983) for dependences.
"""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel

__all__ = [
    "count_equal_neighbours",
    "run_features",
    "windowed_dependences",
    "windowed_runs",
    "windowed_zones",
    "zone_features",
]


@kernel
def _features(
    cells: np.ndarray, counts: np.ndarray, n_cells: int, per_level: np.ndarray, out: np.ndarray
) -> None:
    # Adds the 16 features of one matrix to `out`.
    total = 0.0
    entropy = 0.0
    for k in range(n_cells):
        count = counts[k]
        total += count
        if count != 1.0:
            entropy += count * np.log2(count)
    out[9] += np.log2(total) - entropy / total
    _add_emphases(cells, counts, n_cells, total, out)
    _add_size_margin(cells, counts, n_cells, total, out)
    _add_level_margin(cells, counts, n_cells, total, per_level, out)


@kernel
def _add_emphases(
    cells: np.ndarray, counts: np.ndarray, n_cells: int, total: float, out: np.ndarray
) -> None:
    short, long, low, high = 0.0, 0.0, 0.0, 0.0
    short_low, short_high, long_low, long_high = 0.0, 0.0, 0.0, 0.0
    for k in range(n_cells):
        g2 = np.float64(cells[k, 0] * cells[k, 0])
        s2 = np.float64(cells[k, 1] * cells[k, 1])
        share, by_g2, by_s2 = counts[k] / total, 1.0 / g2, 1.0 / s2
        short += share * by_s2
        long += share * s2
        low += share * by_g2
        high += share * g2
        short_low += share * by_g2 * by_s2
        short_high += share * g2 * by_s2
        long_low += share * s2 * by_g2
        long_high += share * g2 * s2
    out[0] += short
    out[1] += long
    out[10] += low
    out[11] += high
    out[12] += short_low
    out[13] += short_high
    out[14] += long_low
    out[15] += long_high


@kernel
def _add_size_margin(
    cells: np.ndarray, counts: np.ndarray, n_cells: int, total: float, out: np.ndarray
) -> None:
    voxels = 0.0
    for k in range(n_cells):
        voxels += cells[k, 1] * counts[k]
    mean = voxels / total
    variance = 0.0
    squares = 0.0
    of_size = 0.0
    for k in range(n_cells):
        if k > 0 and cells[k, 1] != cells[k - 1, 1]:
            squares += of_size * of_size
            of_size = 0.0
        of_size += counts[k]
        variance += counts[k] * (cells[k, 1] - mean) ** 2
    squares += of_size * of_size
    out[4] += squares / total
    out[5] += squares / total**2
    out[6] += total / voxels
    out[8] += variance / total


@kernel
def _add_level_margin(
    cells: np.ndarray,
    counts: np.ndarray,
    n_cells: int,
    total: float,
    per_level: np.ndarray,
    out: np.ndarray,
) -> None:
    per_level[:] = 0.0
    first, last = per_level.size, 0
    levels = 0.0
    for k in range(n_cells):
        level = cells[k, 0]
        first, last = min(first, level), max(last, level)
        per_level[level] += counts[k]
        levels += level * counts[k]
    mean = levels / total
    squares = 0.0
    variance = 0.0
    for g in range(first, last + 1):
        squares += per_level[g] * per_level[g]
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
    weights: np.ndarray,
) -> np.ndarray:
    """Return the 16 run-length features, averaged over directions or of their weighted sum.

    Directions along which every line holds at most one voxel of the region are left out, as in
    PyRadiomics; NaN when none is left.

    Parameters
    ----------
    level_counts : ndarray of shape (levels + 1,), int64
        Voxels per level.
    pairs : ndarray of shape (13, levels + 1, levels + 1), int32
        From `count_pairs`; its diagonals count the voxels at position 2 of a run, or later.
    reached : ndarray of shape (13, longest + 1, levels + 1), int32
        From `trace_same`; position 1 is filled in.
    longest : int
    has_runs : ndarray of shape (13,), bool
        See `RegionGeometry.has_runs`.
    weights : ndarray of shape (13,) or (0,), float64
        Weights with which the matrices of the directions are added up; empty to average the
        features of the directions.
    """
    n_levels = level_counts.size - 1
    table = np.zeros((longest + 2, n_levels + 1), dtype=np.float64)
    cells = np.empty((longest * n_levels, 2), dtype=np.int64)
    counts = np.empty(longest * n_levels, dtype=np.float64)
    per_level = np.empty(n_levels + 1, dtype=np.float64)
    out = np.zeros(16, dtype=np.float64)
    used = 0
    for a in range(pairs.shape[0]):
        if not has_runs[a]:
            continue
        used += 1
        for g in range(1, n_levels + 1):
            reached[a, 1, g] = level_counts[g] - pairs[a, g, g]
        weight = 1.0 if weights.size == 0 else weights[a]
        for length in range(1, longest + 1):
            for g in range(1, n_levels + 1):
                # Runs that reach this length less those that reach the next one.
                count = np.int64(reached[a, length, g])
                if length < longest:
                    count -= reached[a, length + 1, g]
                table[length, g] += weight * count
        if weights.size == 0:
            n_cells = _list_cells(table, cells, counts, 0)
            _features(cells, counts, n_cells, per_level, out)
            table[:] = 0.0
    if weights.size == 0 or used == 0:
        return out / used
    _features(cells, counts, _list_cells(table, cells, counts, 0), per_level, out)
    return out


@kernel
def _list_cells(table: np.ndarray, cells: np.ndarray, counts: np.ndarray, n_cells: int) -> int:
    for size in range(1, table.shape[0]):
        for g in range(1, table.shape[1]):
            if table[size, g] > 0:
                cells[n_cells, 0] = g
                cells[n_cells, 1] = size
                counts[n_cells] = table[size, g]
                n_cells += 1
    return n_cells


@kernel
def zone_features(small: np.ndarray, large: np.ndarray) -> np.ndarray:
    """Return the 16 features of a matrix of sizes: zones, or dependences.

    Parameters
    ----------
    small : ndarray of shape (sizes, levels + 1), int32
        From `collect_zones`, `count_equal_neighbours` or `count_dependences`.
    large : ndarray of shape (n, 3), int64
        Cells (level, size, count) of the larger zones, ordered by size.
    """
    cells = np.empty((small.size + large.shape[0], 2), dtype=np.int64)
    counts = np.empty(small.size + large.shape[0], dtype=np.float64)
    n_cells = _list_cells(small, cells, counts, 0)
    for k in range(large.shape[0]):
        cells[n_cells] = large[k, :2]
        counts[n_cells] = large[k, 2]
        n_cells += 1
    out = np.zeros(16, dtype=np.float64)
    _features(cells, counts, n_cells, np.empty(small.shape[1], dtype=np.float64), out)
    return out


@kernel
def count_equal_neighbours(
    dependence: np.ndarray, grey: np.ndarray, in_block: np.ndarray, table: np.ndarray
) -> None:
    """Count voxels by number of equal neighbours and level.

    Parameters
    ----------
    dependence : ndarray of shape (block,), uint8
        Number of equal neighbours, from `trace_same`; the size of a dependence is one more.
    grey, in_block
        As there.
    table : ndarray of shape (28, levels + 1), int32
        Zeros; receives voxels by size of their dependence and level.
    """
    for n in range(in_block.size):
        i = np.int64(in_block[n])
        table[np.int64(dependence[i]) + 1, grey[i]] += 1


@kernel
def windowed_runs(
    blocks: np.ndarray,
    offsets: np.ndarray,
    lines: np.ndarray,
    longest: int,
    n_levels: int,
    weights: np.ndarray,
    out: np.ndarray,
) -> None:
    """Compute the 16 run-length features in the window around each voxel.

    Parameters
    ----------
    blocks : ndarray of shape (n, block), uint16
        Grey levels of each window, with a margin of zeros; see `gather_windows`.
    offsets : ndarray of shape (n_directions,), int64
    lines : ndarray of shape (n_directions, block), int64
        Number of the line along each direction that a position lies on.
    longest : int
        Longest side of the window.
    n_levels : int
    weights : ndarray of shape (n_directions,) or (0,), float64
        As in `run_features`.
    out : ndarray of shape (n, 16)
        Zeros; receives the features. NaN for windows without two voxels on a line.
    """
    n_cells_block = blocks.shape[1]
    cells = np.empty((n_cells_block * offsets.size, 2), dtype=np.int64)
    counts = np.empty(n_cells_block * offsets.size, dtype=np.float64)
    per_level = np.empty(n_levels + 1, dtype=np.float64)
    table = np.zeros((longest + 1, n_levels + 1), dtype=np.float64)
    seen = np.full(lines.max() + 1, -1, dtype=np.int64)
    positions = np.empty(n_cells_block, dtype=np.int64)
    for n in range(blocks.shape[0]):
        block = blocks[n]
        first, last, size = n_levels, 1, 0
        for i in range(block.size):
            if block[i] > 0:
                first, last = min(first, int(block[i])), max(last, int(block[i]))
                positions[size] = i
                size += 1
        inside = positions[:size]
        used = 0
        for a in range(offsets.size):
            if not _share_a_line(inside, lines[a], n * offsets.size + a, seen):
                continue
            used += 1
            weight = 1.0 if weights.size == 0 else weights[a]
            _add_runs(block, inside, offsets[a], weight, table)
            if weights.size == 0:
                n_cells = _list_part(table, first, last, cells, counts)
                _features(cells, counts, n_cells, per_level, out[n])
        if weights.size > 0 and used > 0:
            n_cells = _list_part(table, first, last, cells, counts)
            _features(cells, counts, n_cells, per_level, out[n])
            used = 1
        for k in range(16):
            out[n, k] = out[n, k] / used if used > 0 else np.nan


@kernel
def _share_a_line(inside: np.ndarray, lines: np.ndarray, stamp: int, seen: np.ndarray) -> bool:
    # Whether two voxels of the window lie on one line, adjacent or not.
    for i in inside:
        if seen[lines[i]] == stamp:
            return True
        seen[lines[i]] = stamp
    return False


@kernel
def _add_runs(
    block: np.ndarray, inside: np.ndarray, offset: int, weight: float, table: np.ndarray
) -> None:
    for i in inside:
        level = block[i]
        if block[i - offset] != level:
            length = 1
            while block[i + length * offset] == level:
                length += 1
            table[length, level] += weight


@kernel
def _list_part(
    table: np.ndarray, first: int, last: int, cells: np.ndarray, counts: np.ndarray
) -> int:
    # As `_list_cells`, of some levels, and empties the table.
    n_cells = 0
    for size in range(1, table.shape[0]):
        for g in range(first, last + 1):
            if table[size, g] > 0:
                cells[n_cells, 0] = g
                cells[n_cells, 1] = size
                counts[n_cells] = table[size, g]
                n_cells += 1
                table[size, g] = 0.0
    return n_cells


@kernel
def windowed_zones(
    blocks: np.ndarray, offsets: np.ndarray, largest: int, n_levels: int, out: np.ndarray
) -> None:
    """Compute the 16 size-zone features in the window around each voxel.

    Parameters
    ----------
    blocks, offsets, n_levels
        As in `windowed_runs`; one of each pair of opposite directions.
    largest : int
        Number of voxels of the window.
    out : ndarray of shape (n, 16)
        Zeros; receives the features.
    """
    cells = np.empty((largest, 2), dtype=np.int64)
    counts = np.empty(largest, dtype=np.float64)
    per_level = np.empty(n_levels + 1, dtype=np.float64)
    table = np.zeros((largest + 1, n_levels + 1), dtype=np.float64)
    stack = np.empty(largest, dtype=np.int64)
    for n in range(blocks.shape[0]):
        block = blocks[n].copy()
        first, last = n_levels, 1
        for i in range(block.size):
            level = block[i]
            if level == 0:
                continue
            first, last = min(first, int(level)), max(last, int(level))
            # Voxels that have been counted are set to zero.
            block[i] = 0
            stack[0] = i
            n_open, size = 1, 0
            while n_open > 0:
                n_open -= 1
                here = stack[n_open]
                size += 1
                for a in range(offsets.size):
                    for side in (-1, 1):
                        j = here + side * offsets[a]
                        if block[j] == level:
                            block[j] = 0
                            stack[n_open] = j
                            n_open += 1
            table[size, level] += 1.0
        n_cells = _list_part(table, first, last, cells, counts)
        _features(cells, counts, n_cells, per_level, out[n])


@kernel
def windowed_dependences(
    blocks: np.ndarray, offsets: np.ndarray, tolerance: int, n_levels: int, out: np.ndarray
) -> None:
    """Compute 16 features of the dependence matrix in the window around each voxel.

    Parameters
    ----------
    blocks, offsets, n_levels
        As in `windowed_runs`; one of each pair of opposite steps.
    tolerance : int
        Largest difference of levels.
    out : ndarray of shape (n, 16)
        Zeros; receives the features, in the order of the run-length features.
    """
    n_sizes = 2 * offsets.size + 2
    cells = np.empty((blocks.shape[1], 2), dtype=np.int64)
    counts = np.empty(blocks.shape[1], dtype=np.float64)
    per_level = np.empty(n_levels + 1, dtype=np.float64)
    table = np.zeros((n_sizes, n_levels + 1), dtype=np.float64)
    for n in range(blocks.shape[0]):
        block = blocks[n]
        first, last = n_levels, 1
        for i in range(block.size):
            level = int(block[i])
            if level > 0:
                first, last = min(first, level), max(last, level)
                size = 1
                for a in range(offsets.size):
                    for side in (-1, 1):
                        other = np.int64(block[i + side * offsets[a]])
                        if other > 0 and abs(other - level) <= tolerance:
                            size += 1
                table[size, level] += 1.0
        n_cells = _list_part(table, first, last, cells, counts)
        _features(cells, counts, n_cells, per_level, out[n])
