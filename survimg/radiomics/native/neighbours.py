"""The passes over a region's voxels and their neighbours, from which all textures follow.

Indices are unsigned where time matters: of a signed one Numba asks each time whether it counts from
the end, which takes longer than the pass itself.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from survimg.jit import kernel
from survimg.radiomics.native.geometry import half_of_the_steps

__all__ = [
    "collect_zones",
    "count_pairs",
    "neighbour_sums",
    "neighbour_tables",
    "trace_same",
]


@cache
def neighbour_tables(flat_axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return what a set of equal neighbours, as bits by direction, is looked up in.

    Parameters
    ----------
    flat_axis : int or None
        Axis along which no direction leads.

    Returns
    -------
    lowest : ndarray of shape (2**n_directions,), uint8
        The lowest direction in the set.
    others : ndarray of shape (2**n_directions,), uint16
        The set without that direction and without all but one of the neighbours that touch each
        other, directly or through others: these are in one zone already.
    """
    steps = half_of_the_steps((1,), flat_axis)
    apart = np.abs(steps[:, np.newaxis] - steps).max(axis=2)
    touching = ((apart <= 1) << np.arange(len(steps))).sum(axis=1)
    lowest = np.zeros(1 << len(steps), dtype=np.uint8)
    others = np.zeros(1 << len(steps), dtype=np.uint16)
    _fill_tables(touching, lowest, others)
    return lowest, others


@kernel
def _fill_tables(touching: np.ndarray, lowest: np.ndarray, others: np.ndarray) -> None:
    for bits in range(1, lowest.size):
        while not (bits >> np.int64(lowest[bits])) & 1:
            lowest[bits] += 1
        rest = bits
        while rest != 0:
            one = rest & -rest
            others[bits] |= one
            group, before = one, 0
            while group != before:
                before = group
                for a in range(touching.size):
                    if (before >> a) & 1:
                        group |= touching[a] & bits
            rest &= ~group
        others[bits] &= bits - 1


@kernel
def count_pairs(
    grey: np.ndarray,
    in_block: np.ndarray,
    offsets: np.ndarray,
    pairs: np.ndarray,
    same: np.ndarray,
) -> None:
    """Count grey-level pairs along the 13 directions, and note which neighbours are equal.

    Parameters
    ----------
    grey : ndarray of shape (block,), uint16
        Grey levels, 0 outside the region.
    in_block, offsets
        See `RegionGeometry`.
    pairs : ndarray of shape (13, levels + 1, levels + 1), int32
        Zeros; receives counts of (level, level of the neighbour before it). Column 0 receives
        neighbours outside the region, which spares a test per neighbour.
    same : ndarray of shape (block,), uint16
        Zeros; receives one bit per direction whose neighbour before has the voxel's level.
    """
    width = np.uint64(pairs.shape[1])
    flat = pairs.reshape(-1)
    steps = offsets.astype(np.uint64)
    for n in range(in_block.size):
        i = np.uint64(in_block[n])
        level = grey[i]
        row = np.uint64(level) * width
        bits = np.int64(0)
        for a in range(steps.size):
            neighbour = grey[i - steps[a]]
            flat[row + np.uint64(neighbour)] += 1
            row += width * width
            bits |= np.int64(neighbour == level) << a
        same[i] = bits


@kernel
def trace_same(
    same: np.ndarray,
    grey: np.ndarray,
    in_block: np.ndarray,
    offsets: np.ndarray,
    lowest: np.ndarray,
    others: np.ndarray,
    position: np.ndarray,
    reached: np.ndarray,
    root: np.ndarray,
    dependence: np.ndarray,
) -> int:
    """Follow equal neighbours: positions within runs, zones, and dependence counts.

    A run of length L has voxels at positions 1 to L, so the number of voxels at position p is the
    number of runs of length p or more. Most voxels are at position 1, which follows from the counts
    of voxels; only later positions are counted here.

    Parameters
    ----------
    same : ndarray of shape (block,), uint16
        From `count_pairs`.
    grey, in_block, offsets
        As there.
    lowest, others : ndarray
        From `neighbour_tables`.
    position : ndarray of shape (block, 16), uint16
        Scratch; position in the run per direction, valid where `same` has the bit.
    reached : ndarray of shape (13, longest + 1, levels + 1), int32
        Zeros; receives voxels by position (2 and up) and level.
    root : ndarray of shape (block,), int32
        Receives a voxel of the zone that holds each voxel (26-connected, equal level).
    dependence : ndarray of shape (block,), uint8
        Zeros at the region; receives the number of equal neighbours.

    Returns
    -------
    int
        The longest run, at least 1.
    """
    one, longest = np.uint64(1), np.uint64(1)
    width = np.uint64(reached.shape[2])
    plane = np.uint64(reached.shape[1]) * width
    counts, places = reached.reshape(-1), position.reshape(-1)
    lanes = np.uint64(position.shape[1])
    steps = offsets.astype(np.uint64)
    for n in range(in_block.size):
        i = np.uint64(in_block[n])
        bits = np.uint64(same[i])
        root[i] = i
        if bits == 0:
            continue
        root[i] = _zone_of(root, i, bits, steps, lowest, others)
        level = np.uint64(grey[i])
        while bits != 0:
            a = np.uint64(lowest[bits])
            bits &= bits - one
            j = i - steps[a]
            # Position 2, or one after that of a neighbour which has an equal one before it.
            later = (np.uint64(same[j]) >> a) & one
            place = one + one + later * (np.uint64(places[j * lanes + a]) - one)
            places[i * lanes + a] = place
            counts[a * plane + place * width + level] += 1
            longest = max(longest, place)
            dependence[i] += 1
            dependence[j] += 1
    return int(longest)


@kernel
def _zone_of(
    root: np.ndarray,
    i: np.uint64,
    bits: np.uint64,
    steps: np.ndarray,
    lowest: np.ndarray,
    others: np.ndarray,
) -> np.uint64:
    # Unite the zones of the equal neighbours of voxel i and return the first voxel of them.
    one = np.uint64(1)
    mine = _first_of(root, i - steps[np.uint64(lowest[bits])])
    bits = np.uint64(others[bits])
    while bits != 0:
        j = i - steps[np.uint64(lowest[bits])]
        bits &= bits - one
        if np.uint64(root[j]) != mine:
            other = _first_of(root, j)
            first = min(mine, other)
            root[mine], root[other], root[j] = first, first, first
            mine = first
    return mine


@kernel
def _first_of(root: np.ndarray, i: np.uint64) -> np.uint64:
    while np.uint64(root[i]) != i:
        i = np.uint64(root[i])
    return i


@kernel
def collect_zones(
    root: np.ndarray,
    grey: np.ndarray,
    in_block: np.ndarray,
    size: np.ndarray,
    small: np.ndarray,
    large: np.ndarray,
) -> int:
    """Count zones by size and level.

    Parameters
    ----------
    root : ndarray of shape (block,), int32
        From `trace_same`; a root lies before the voxels that point to it.
    grey, in_block
        As there.
    size : ndarray of shape (block,), int32
        Zeros at the region; receives the size of each zone at its root.
    small : ndarray of shape (largest small size + 1, levels + 1), int32
        Zeros; receives the number of zones by size and level.
    large : ndarray of shape (n,), int64
        Receives ``size * 65536 + level`` of each larger zone.

    Returns
    -------
    int
        Number of larger zones.
    """
    for n in range(in_block.size):
        i = np.uint64(in_block[n])
        # Roots come first, so the parent has found its own root already.
        top = root[np.uint64(root[i])]
        root[i] = top
        size[np.uint64(top)] += 1
    n_large = 0
    for n in range(in_block.size):
        i = np.uint64(in_block[n])
        if np.uint64(root[i]) == i:
            zone = np.int64(size[i])
            if zone < small.shape[0]:
                small[zone, grey[i]] += 1
            else:
                large[n_large] = zone * 65536 + grey[i]
                n_large += 1
    return n_large


@kernel
def neighbour_sums(
    grey: np.ndarray,
    in_block: np.ndarray,
    row: int,
    plane: int,
    n_neighbours: np.ndarray,
    along_x: np.ndarray,
    along_y: np.ndarray,
    differences: np.ndarray,
) -> None:
    """Sum, by level, the absolute difference between a voxel and the mean of its neighbours.

    Parameters
    ----------
    grey, in_block
        As in `count_pairs`.
    row, plane : int
        Lengths of a row and of a plane of the block.
    n_neighbours : ndarray of shape (n,), float64
    along_x, along_y : ndarray of shape (block,), uint16
        Scratch for the sums of 3 and of 3 x 3 neighbours.
    differences : ndarray of shape (levels + 1,), float64
        Zeros; receives the sums.
    """
    _add_three(grey, 1, along_x)
    _add_three(along_x, row, along_y)
    step = np.uint64(plane)
    for n in range(in_block.size):
        i = np.uint64(in_block[n])
        level = np.int64(grey[i])
        box = np.int64(along_y[i - step]) + np.int64(along_y[i]) + np.int64(along_y[i + step])
        if n_neighbours[n] > 0:
            differences[level] += abs(level - (box - level) / n_neighbours[n])


@kernel
def _add_three(values: np.ndarray, step: int, sums: np.ndarray) -> None:
    # Each value with those one step before and after it.
    before, after, here = values[: -2 * step], values[2 * step :], values[step:-step]
    inner = sums[step:-step]
    for i in range(inner.size):
        inner[i] = before[i] + here[i] + after[i]
