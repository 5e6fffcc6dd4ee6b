"""Grey levels of a region, laid out so that no kernel tests for borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from survimg.radiomics.native.geometry import DIRECTIONS

__all__ = ["IN_PLANE", "Block", "make_block"]

#: `DIRECTIONS` begins with the four that stay in a slice.
IN_PLANE = 4


@dataclass(frozen=True)
class Block:
    """The bounding box of a region with a margin of one voxel of grey level 0.

    Parameters
    ----------
    grey : ndarray of shape (block,), uint16
        Grey levels from 1 up; 0 outside the region.
    in_block : ndarray of shape (n,), int32
        Positions of the region's voxels, ascending.
    slices : tuple of slice
        Parts of `in_block` that are one slice (z) each; slices without a voxel are left out.
    offsets : ndarray of shape (13,), int64
        Position differences of `DIRECTIONS`.
    n_levels : int
        Largest grey level that the discretisation can give the region.
    longest : int
        Longest side of the box, in voxels.
    """

    grey: np.ndarray
    in_block: np.ndarray
    slices: tuple[slice, ...]
    offsets: np.ndarray
    n_levels: int
    longest: int


def make_block(levels: np.ndarray, region: np.ndarray, n_levels: int) -> Block:
    """Lay out the grey levels of a region.

    Parameters
    ----------
    levels : ndarray of shape (n,), int
        Levels of the region's voxels, in the order of ``np.flatnonzero(region)``.
    region : ndarray of shape (z, y, x), bool
        Not empty.
    n_levels : int
    """
    nz, ny, nx = (size + 2 for size in region.shape)
    positions = np.argwhere(region)
    in_block = ((positions + 1) @ np.array([ny * nx, nx, 1])).astype(np.int32)
    grey = np.zeros(nz * ny * nx, dtype=np.uint16)
    grey[in_block] = levels
    ends = np.searchsorted(positions[:, 0], np.arange(region.shape[0] + 1))
    pairs = zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    slices = tuple(slice(first, end) for first, end in pairs if end > first)
    offsets = DIRECTIONS @ np.array([ny * nx, nx, 1])
    return Block(grey, in_block, slices, offsets, n_levels, max(region.shape))
