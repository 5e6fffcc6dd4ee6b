"""The passes over a region's voxels and their neighbours, from which all textures follow."""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel

__all__ = ["collect_zones", "count_pairs", "neighbour_sums", "trace_same"]


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
    width = pairs.shape[1]
    plane = width * width
    flat = pairs.reshape(-1)
    n_directions = offsets.size
    for n in range(in_block.size):
        i = np.int64(in_block[n])
        level = np.int64(grey[i])
        row = level * width
        bits = np.int64(0)
        for a in range(n_directions):
            neighbour = np.int64(grey[i - offsets[a]])
            flat[row + neighbour] += 1
            row += plane
            bits |= np.int64(neighbour == level) << a
        same[i] = bits


@kernel
def trace_same(
    same: np.ndarray,
    grey: np.ndarray,
    in_block: np.ndarray,
    offsets: np.ndarray,
    position: np.ndarray,
    reached: np.ndarray,
    root: np.ndarray,
    dependence: np.ndarray,
) -> int:
    """Follow equal neighbours: positions within runs, zones, and dependence counts.

    A run of length L has voxels at positions 1 to L, so the number of voxels at position p is the
    number of runs of length p or more. Most voxels are at position 1 or 2, which follow from the
    counts of voxels and of equal pairs; only later positions are counted here.

    Parameters
    ----------
    same : ndarray of shape (block,), uint16
        From `count_pairs`.
    grey, in_block, offsets
        As there.
    position : ndarray of shape (block, 16), uint16
        Scratch; position in the run per direction, valid where `same` has the bit.
    reached : ndarray of shape (13, longest + 1, levels + 1), int32
        Zeros; receives voxels by position (3 and up) and level.
    root : ndarray of shape (block,), int32
        Receives a voxel of the zone that holds each voxel (26-connected, equal level).
    dependence : ndarray of shape (block,), uint8
        Zeros at the region; receives the number of equal neighbours.

    Returns
    -------
    int
        The longest run, at least 2.
    """
    longest = 2
    n_directions = offsets.size
    for n in range(in_block.size):
        i = int(in_block[n])
        bits = int(same[i])
        mine = int(i)
        if bits != 0:
            level = grey[i]
            for a in range(n_directions):
                if (bits >> a) & 1:
                    j = i - offsets[a]
                    dependence[i] += 1
                    dependence[j] += 1
                    if (int(same[j]) >> a) & 1:
                        length = int(position[j, a]) + 1
                        position[i, a] = length
                        reached[a, length, level] += 1
                        longest = max(longest, length)
                    else:
                        position[i, a] = 2
                    if root[j] != mine:
                        mine = _join(root, i, j, mine)
        root[i] = mine
    return longest


@kernel
def _join(root: np.ndarray, i: int, j: int, mine: int) -> int:
    # Unite the zone of voxel j with that of voxel i, whose root so far is `mine`.
    other = int(root[j])
    while root[other] != other:
        other = int(root[other])
    first = other if mine == i else min(mine, other)
    if mine != i:
        root[mine] = first
    root[other] = first
    root[j] = first
    return first


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
        i = np.int64(in_block[n])
        # Roots come first, so the parent has found its own root already.
        top = root[np.int64(root[i])]
        root[i] = top
        size[np.int64(top)] += 1
    n_large = 0
    for n in range(in_block.size):
        i = np.int64(in_block[n])
        if root[i] == i:
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
    n_block = grey.size
    for i in range(1, n_block - 1):
        along_x[i] = grey[i - 1] + grey[i] + grey[i + 1]
    for i in range(row + 1, n_block - row - 1):
        along_y[i] = along_x[i - row] + along_x[i] + along_x[i + row]
    for n in range(in_block.size):
        i = int(in_block[n])
        level = np.int64(grey[i])
        box = np.int64(along_y[i - plane]) + along_y[i] + along_y[i + plane]
        if n_neighbours[n] > 0:
            differences[level] += abs(level - (box - level) / n_neighbours[n])
