"""Interpolation to a grid that shares its centre with the image's, as IBSI prescribes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from survimg.radiomics.native.geometry import bounding_box

__all__ = ["Grid", "resampled_grid"]

# Beyond this many voxels a cubic spline's coefficients weigh less than 1e-13.
_SPLINE_REACH = 24
# A side that is longer than a whole number of voxels by less than this is rounded down.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Grid:
    """Voxels of a new size over an image, the centres of both aligned.

    Parameters
    ----------
    shape, spacing : ndarray of shape (3,)
        Of the new grid, (z, y, x), in voxels and mm.
    step, first : ndarray of shape (3,)
        New voxel k lies at ``first + k * step`` in voxels of the image.
    """

    shape: np.ndarray
    spacing: np.ndarray
    step: np.ndarray
    first: np.ndarray

    @property
    def is_original(self) -> bool:
        """Whether the new voxels are the image's."""
        return bool((self.step == 1).all())

    def sample(self, image: np.ndarray, window: tuple[slice, ...], order: int) -> np.ndarray:
        """Interpolate an image on a part of the grid.

        Parameters
        ----------
        image : ndarray of shape (z, y, x)
        window : tuple of slice
            Part of the new grid.
        order : {0, 1, 3}
            Of the spline: nearest neighbour, linear, cubic. Beyond the image its border goes on.

        Returns
        -------
        ndarray of shape (z, y, x), float64

        Raises
        ------
        ValueError
            Voxels within reach are not finite.
        """
        if self.is_original:
            return image[window].astype(np.float64)
        source = self._source(image.shape, window, _SPLINE_REACH if order > 1 else 2)
        voxels = image[source].astype(np.float64)
        if not np.isfinite(voxels).all():
            raise ValueError(
                f"{np.count_nonzero(~np.isfinite(voxels))} voxel(s) within the reach of the "
                "interpolation are not finite"
            )
        starts = np.array([part.start for part in window])
        offset = self.first + starts * self.step - np.array([part.start for part in source])
        shape = tuple(part.stop - part.start for part in window)
        return np.asarray(
            ndimage.affine_transform(
                voxels, self.step, offset=offset, output_shape=shape, order=order, mode="nearest"
            )
        )

    def around(self, region: np.ndarray) -> tuple[slice, slice, slice]:
        """Return the part of the grid that covers a region of the image, and a voxel more."""
        slices = []
        for part, step, first, size in zip(
            bounding_box(region), self.step, self.first, self.shape, strict=True
        ):
            low = int(np.floor((part.start - 1 - first) / step))
            high = int(np.ceil((part.stop - first) / step)) + 1
            slices.append(slice(max(low, 0), min(high, int(size))))
        return slices[0], slices[1], slices[2]

    def _source(
        self, shape: tuple[int, ...], window: tuple[slice, ...], margin: int
    ) -> tuple[slice, ...]:
        slices = []
        for part, step, first, size in zip(window, self.step, self.first, shape, strict=True):
            low = int(np.floor(first + part.start * step)) - margin
            high = int(np.ceil(first + (part.stop - 1) * step)) + margin + 1
            low = min(max(low, 0), size - 1)
            slices.append(slice(low, max(min(high, size), low + 1)))
        return tuple(slices)


def resampled_grid(shape: tuple[int, ...], spacing: np.ndarray, wanted: np.ndarray) -> Grid:
    """Return the grid of a new voxel size over an image.

    Parameters
    ----------
    shape : tuple of int
        Of the image, (z, y, x).
    spacing : ndarray of shape (3,)
        Its voxel size in mm.
    wanted : ndarray of shape (3,)
        New voxel size in mm; 0 keeps an axis as it is.
    """
    old = np.asarray(spacing, dtype=np.float64)
    new = np.where(wanted > 0, wanted, old)
    sizes = np.array(shape)
    step = new / old
    new_shape = np.where(step == 1, sizes, np.ceil(sizes / step - _ROUNDING)).astype(np.int64)
    first = (sizes - 1) / 2 - (new_shape - 1) / 2 * step
    return Grid(new_shape, new, step, first)
