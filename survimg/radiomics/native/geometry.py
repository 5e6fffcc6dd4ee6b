"""What the region alone determines, shared by all images of a case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from survimg.radiomics.native.jit import kernel

__all__ = ["DIRECTIONS", "RegionGeometry", "bounding_box", "region_geometry"]

#: One of each pair of opposite directions to the 26 neighbours, (z, y, x).
DIRECTIONS = np.array(
    [
        (dz, dy, dx)
        for dz in (0, 1)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if (dz, dy, dx) > (0, 0, 0)
    ],
    dtype=np.int64,
)


@dataclass(frozen=True)
class RegionGeometry:
    """Positions of the region's voxels and of their neighbours.

    Grey levels lie in a *block*: the bounding box with a margin of one voxel of grey level 0, so
    that every neighbour has a position and no kernel tests for borders.

    Parameters
    ----------
    window : tuple of slice
        The bounding box in the volume, (z, y, x).
    block_shape : tuple of int
        Bounding box plus 2 along each axis.
    in_box : ndarray of shape (n,), int64
        Positions of the voxels in the flattened bounding box, ascending.
    in_block : ndarray of shape (n,), int32
        Positions of the voxels in the flattened block, ascending.
    offsets : ndarray of shape (13,), int64
        Position differences of the 13 `DIRECTIONS` in the block.
    n_neighbours : ndarray of shape (n,), float64
        How many of the 26 neighbours belong to the region.
    has_runs : ndarray of shape (13,), bool
        Whether some line along the direction holds two voxels of the region, adjacent or not; runs
        along other directions do not exist.
    """

    window: tuple[slice, slice, slice]
    block_shape: tuple[int, int, int]
    in_box: np.ndarray
    in_block: np.ndarray
    offsets: np.ndarray
    n_neighbours: np.ndarray
    has_runs: np.ndarray


def bounding_box(region: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the smallest box that holds the region, which must not be empty."""
    slices = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        positions = np.flatnonzero(region.any(axis=others))
        slices.append(slice(int(positions[0]), int(positions[-1]) + 1))
    return slices[0], slices[1], slices[2]


def region_geometry(region: np.ndarray) -> RegionGeometry:
    """Index the voxels of a region.

    Parameters
    ----------
    region : ndarray of shape (z, y, x), bool
        Not empty.
    """
    window = bounding_box(region)
    box = region[window]
    nz, ny, nx = (size + 2 for size in box.shape)
    in_box = np.flatnonzero(box)
    z, rest = np.divmod(in_box, box.shape[1] * box.shape[2])
    y, x = np.divmod(rest, box.shape[2])
    in_block = (((z + 1) * ny + y + 1) * nx + x + 1).astype(np.int32)
    offsets = DIRECTIONS @ np.array([ny * nx, nx, 1])
    inside = np.zeros(nz * ny * nx, dtype=np.uint8)
    inside[in_block] = 1
    n_neighbours, pairs = _count_neighbours(inside, in_block, offsets)
    has_runs = pairs > 0
    for a in np.flatnonzero(~has_runs):
        has_runs[a] = _shares_a_line(np.stack([z, y, x]), DIRECTIONS[a])
    return RegionGeometry(window, (nz, ny, nx), in_box, in_block, offsets, n_neighbours, has_runs)


def _shares_a_line(positions: np.ndarray, direction: np.ndarray) -> bool:
    # Two positions lie on one line when they differ by a multiple of the direction.
    axis = int(np.flatnonzero(direction)[0])
    start = positions - direction[:, np.newaxis] * positions[axis] * direction[axis]
    return bool(np.unique(start, axis=1).shape[1] < positions.shape[1])


@kernel
def _count_neighbours(
    inside: np.ndarray, in_block: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n_neighbours = np.zeros(in_block.size, dtype=np.float64)
    pairs = np.zeros(offsets.size, dtype=np.int64)
    for n in range(in_block.size):
        i = np.int64(in_block[n])
        count = 0
        for a in range(offsets.size):
            before = np.int64(inside[i - offsets[a]])
            pairs[a] += before
            count += before + inside[i + offsets[a]]
        n_neighbours[n] = count
    return n_neighbours, pairs
