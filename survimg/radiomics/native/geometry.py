"""What the region alone determines, shared by all images of a case."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from survimg.jit import kernel
from survimg.radiomics.texture import TextureDefinition

__all__ = [
    "DIRECTIONS",
    "Box",
    "RegionGeometry",
    "bounding_box",
    "half_of_the_steps",
    "region_geometry",
    "with_margin",
]

#: Part of a volume, (z, y, x).
Box = tuple[slice, slice, slice]


def half_of_the_steps(distances: tuple[int, ...], flat_axis: int | None = None) -> np.ndarray:
    """Return one of each pair of opposite steps to the voxels at some distances.

    Parameters
    ----------
    distances : tuple of int
        In voxels, along the axis where a step is longest (the maximum norm).
    flat_axis : int or None
        Axis along which no step leads.

    Returns
    -------
    ndarray of shape (n, 3), int64
        (z, y, x); 13 steps for a distance of 1, and 4 in a plane.
    """
    reach = range(-max(distances), max(distances) + 1)
    steps = [
        step
        for step in product(reach, reach, reach)
        if step > (0, 0, 0)
        and max(abs(part) for part in step) in distances
        and (flat_axis is None or step[flat_axis] == 0)
    ]
    return np.array(steps, dtype=np.int64)


#: One of each pair of opposite directions to the 26 neighbours, (z, y, x).
DIRECTIONS = half_of_the_steps((1,))


@dataclass(frozen=True)
class RegionGeometry:
    """Positions of the region's voxels and of their neighbours.

    Grey levels lie in a *block*: the bounding box with a margin of grey level 0, one voxel wide or
    as wide as the largest distance, so that every neighbour has a position and no kernel tests for
    borders. Counts below are those of directions in space; there are 4 directions instead of 13,
    and 8 neighbours instead of 26, where textures are measured in planes.

    Parameters
    ----------
    window : tuple of slice
        The bounding box in the volume, (z, y, x).
    block_shape : tuple of int
        Bounding box plus twice the margin along each axis.
    directions : ndarray of shape (13, 3), int64
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
    steps : ndarray of shape (n_steps, 3), int64
        The directions, or the longer steps that pairs, dependences and tone differences are asked
        for at.
    far_offsets : ndarray of shape (n_steps,), int64, or None
        Position differences of the steps; None where they are the directions.
    """

    window: tuple[slice, slice, slice]
    block_shape: tuple[int, int, int]
    directions: np.ndarray
    in_box: np.ndarray
    in_block: np.ndarray
    offsets: np.ndarray
    n_neighbours: np.ndarray
    has_runs: np.ndarray
    steps: np.ndarray
    far_offsets: np.ndarray | None


def bounding_box(region: np.ndarray) -> Box:
    """Return the smallest box that holds the region, which must not be empty."""
    slices = [slice(None)] * 3
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        # What the axes before leave is enough to look at.
        positions = np.flatnonzero(region[tuple(slices)].any(axis=others))
        slices[axis] = slice(int(positions[0]), int(positions[-1]) + 1)
    return slices[0], slices[1], slices[2]


def with_margin(
    window: Box, margin: int | np.ndarray, shape: tuple[int, ...]
) -> tuple[Box, Box]:
    """Return the box with a margin, as far as the volume reaches, and where the box is in it."""
    wide = tuple(
        slice(max(extent.start - int(m), 0), min(extent.stop + int(m), size))
        for extent, m, size in zip(window, np.broadcast_to(margin, 3), shape, strict=True)
    )
    inner = tuple(
        slice(extent.start - out.start, extent.stop - out.start)
        for extent, out in zip(window, wide, strict=True)
    )
    return wide, inner  # type: ignore[return-value]


def region_geometry(
    region: np.ndarray, texture: TextureDefinition | None = None
) -> RegionGeometry:
    """Index the voxels of a region.

    Parameters
    ----------
    region : ndarray of shape (z, y, x), bool
        Not empty.
    texture : TextureDefinition, optional
        Distances, and the axis that textures leave out.
    """
    texture = texture or TextureDefinition()
    margin = max(texture.distances)
    window = bounding_box(region)
    box = region[window]
    nz, ny, nx = (size + 2 * margin for size in box.shape)
    strides = np.array([ny * nx, nx, 1])
    in_box = np.flatnonzero(box)
    inside = np.pad(box, margin).view(np.uint8).reshape(-1)
    in_block = np.flatnonzero(inside).astype(np.int32)
    directions = half_of_the_steps((1,), texture.flat_axis)
    offsets = directions @ strides
    n_neighbours, pairs = _count_neighbours(inside, in_block, offsets)
    has_runs = pairs > 0
    for a in np.flatnonzero(~has_runs):
        positions = np.stack(np.unravel_index(in_box, box.shape))
        has_runs[a] = _shares_a_line(positions, directions[a])
    steps = half_of_the_steps(texture.distances, texture.flat_axis)
    return RegionGeometry(
        window=window,
        block_shape=(nz, ny, nx),
        directions=directions,
        in_box=in_box,
        in_block=in_block,
        offsets=offsets,
        n_neighbours=n_neighbours,
        has_runs=has_runs,
        steps=steps,
        far_offsets=None if texture.distances == (1,) else steps @ strides,
    )


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
