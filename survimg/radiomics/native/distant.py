"""Passes over voxels and their neighbours at any steps, where the quick passes do not apply."""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel

__all__ = ["count_dependences", "count_distant_pairs", "distant_tone_differences"]


@kernel
def count_distant_pairs(
    grey: np.ndarray, in_block: np.ndarray, offsets: np.ndarray, pairs: np.ndarray
) -> None:
    """Count grey-level pairs at some steps.

    Parameters
    ----------
    grey : ndarray of shape (block,), uint16
        Grey levels, 0 outside the region.
    in_block : ndarray of shape (n,), int32
    offsets : ndarray of shape (n_steps,), int64
        See `RegionGeometry.far_offsets`.
    pairs : ndarray of shape (n_steps, levels + 1, levels + 1), int32
        Zeros; receives counts of (level, level of the neighbour before it), column 0 those of
        neighbours outside the region.
    """
    for n in range(in_block.size):
        i = np.int64(in_block[n])
        level = np.int64(grey[i])
        for a in range(offsets.size):
            pairs[a, level, np.int64(grey[i - offsets[a]])] += 1


@kernel
def count_dependences(
    grey: np.ndarray, in_block: np.ndarray, offsets: np.ndarray, tolerance: int, table: np.ndarray
) -> None:
    """Count voxels by number of dependent neighbours and level.

    Parameters
    ----------
    grey, in_block, offsets
        As in `count_distant_pairs`.
    tolerance : int
        Largest difference of levels.
    table : ndarray of shape (2 n_steps + 2, levels + 1), int32
        Zeros; receives voxels by size of their dependence (from 1) and level.
    """
    for n in range(in_block.size):
        i = np.int64(in_block[n])
        level = np.int64(grey[i])
        size = np.int64(1)
        for a in range(offsets.size):
            before = np.int64(grey[i - offsets[a]])
            after = np.int64(grey[i + offsets[a]])
            size += np.int64(before > 0 and abs(before - level) <= tolerance)
            size += np.int64(after > 0 and abs(after - level) <= tolerance)
        table[size, level] += 1


@kernel
def distant_tone_differences(
    grey: np.ndarray, in_block: np.ndarray, offsets: np.ndarray, differences: np.ndarray
) -> None:
    """Sum, by level, the absolute difference between a voxel and the mean of its neighbours.

    Parameters
    ----------
    grey, in_block, offsets
        As in `count_distant_pairs`.
    differences : ndarray of shape (levels + 1,), float64
        Zeros; receives the sums.
    """
    for n in range(in_block.size):
        i = np.int64(in_block[n])
        level = np.int64(grey[i])
        total = np.int64(0)
        count = np.int64(0)
        for a in range(offsets.size):
            before = np.int64(grey[i - offsets[a]])
            after = np.int64(grey[i + offsets[a]])
            total += before + after
            count += np.int64(before > 0) + np.int64(after > 0)
        if count > 0:
            differences[level] += abs(level - total / count)
