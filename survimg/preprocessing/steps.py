"""The steps of a preparation, each a function of one volume; usable alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from survimg.io.images.image import Image
from survimg.io.images.resampling import resample_image

__all__ = [
    "EMPTY_MASK", "MaskError", "crop", "crop_grid", "mask_centre", "pet_peak", "resample",
    "resampled_grid", "whole_grid", "window", "zscore",
]

#: Radius of a sphere of 1 cm^3, in mm.
_PEAK_RADIUS = (3 * 1000 / (4 * np.pi)) ** (1 / 3)


#: What is said about a mask without a tumour.
EMPTY_MASK = (
    "the tumour mask is empty (correct it; if the patient has no delineated tumour, leave the mask "
    "out, which every crop but 'mask' allows)"
)


class MaskError(ValueError):
    """A tumour mask that cannot be used, for the caller to say whose it is."""


def resample(
    image: Image,
    spacing: float | Sequence[float],
    interpolation: str = "linear",
    antialias: bool = True,
) -> Image:
    """Resample a whole image to another spacing.

    Parameters
    ----------
    image : Image
    spacing : float or sequence of three floats
        mm, one number or ``(z, y, x)``.
    interpolation, antialias
        See `resample_image`; for masks see `resample_mask`.

    Returns
    -------
    Image
        On `resampled_grid`; float32.
    """
    grid = resampled_grid(image, spacing)
    return resample_image(image, grid, interpolation=interpolation, antialias=antialias)


def resampled_grid(image: Image, spacing: float | Sequence[float]) -> Image:
    """Return the grid of another spacing over the same field of view.

    The centres of both grids coincide and the number of voxels is rounded up, so that the field of
    view is covered (IBSI reference manual, section 2.4).

    Parameters
    ----------
    image : Image
    spacing : float or sequence of three floats

    Returns
    -------
    Image
        Zeros that occupy no memory; only the grid has a meaning.
    """
    new = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (3,))
    if not (np.isfinite(new) & (new > 0)).all():
        raise ValueError(f"spacing must be positive, in mm; got {spacing!r}.")
    old, size = np.asarray(image.spacing), np.asarray(image.shape)
    # without the margin, 10 voxels of 0.1 mm would make 2 of 0.5 mm or 3, as rounding has it
    count = np.maximum(np.ceil(size * old / new - 1e-6), 1).astype(int)
    return _centred_grid(image, new, count)


def whole_grid(image: Image, shape: Sequence[int]) -> Image:
    """Return the grid that stretches an image's field of view over a number of voxels.

    Parameters
    ----------
    image : Image
    shape : sequence of int
        ``(z, y, x)``.

    Returns
    -------
    Image
        As `resampled_grid`.
    """
    count = np.asarray(shape, dtype=int)
    spacing = np.asarray(image.spacing) * np.asarray(image.shape) / count
    return _centred_grid(image, spacing, count)


def crop_grid(grid: Image, centre: npt.ArrayLike, shape: Sequence[int]) -> Image:
    """Return the part of a grid around a point; it may reach beyond the grid.

    Parameters
    ----------
    grid : Image
    centre : array-like of shape (3,)
        ``(z, y, x)`` in voxels of `grid`; the nearest position at which the voxels coincide with
        those of `grid` is taken.
    shape : sequence of int

    Returns
    -------
    Image
        As `resampled_grid`.
    """
    size = np.asarray(shape, dtype=int)
    # the margin sends all halves the same way: the rounding of file headers must not decide
    # whether a crop of the same scan from another file lies one voxel further
    start = np.floor(np.asarray(centre, dtype=np.float64) - (size - 1) / 2 + 0.5 + 1e-3)
    return _empty(grid, np.asarray(grid.spacing), grid.world(start), size)


def crop(image: Image, centre: npt.ArrayLike, shape: Sequence[int], padding: float) -> Image:
    """Cut a block out of an image.

    Parameters
    ----------
    image : Image
    centre : array-like of shape (3,)
        ``(z, y, x)`` in voxels of `image`.
    shape : sequence of int
        ``(z, y, x)`` of the block.
    padding : float
        Value where the block reaches beyond the image.

    Returns
    -------
    Image
    """
    grid = crop_grid(image, centre, shape)
    start = np.rint(image.index(grid.origin)).astype(int)
    block = np.full(grid.shape, padding, dtype=image.array.dtype)
    low, high = np.maximum(start, 0), np.minimum(start + grid.shape, image.shape)
    if (low < high).all():
        source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        block[target] = image.array[source]
    return Image(block, grid.spacing, grid.origin, grid.direction)


def mask_centre(mask: Image) -> np.ndarray:
    """Return the middle of a mask's bounding box, in world coordinates.

    The middle of the box rather than the centre of mass: a tumour that fits into a crop is then
    never cut, whatever its form.

    Parameters
    ----------
    mask : Image

    Returns
    -------
    ndarray of shape (3,)
        ``(x, y, z)`` in mm.

    Raises
    ------
    MaskError
        The mask is empty; a ValueError.
    """
    marked = np.argwhere(mask.array)
    if not marked.size:
        raise MaskError(EMPTY_MASK)
    return mask.world((marked.min(axis=0) + marked.max(axis=0)) / 2)


def pet_peak(image: Image) -> np.ndarray:
    """Return the centre of the hottest 1 cm^3 sphere, in world coordinates.

    Parameters
    ----------
    image : Image
        PET.

    Returns
    -------
    ndarray of shape (3,)
        ``(x, y, z)`` in mm; the first position in ``(z, y, x)`` order where several are equal.
        Outside the image counts as no uptake.
    """
    reach = [int(_PEAK_RADIUS // step) for step in image.spacing]
    offsets = np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij")
    distance = sum((o * s) ** 2 for o, s in zip(offsets, image.spacing, strict=True))
    sphere = (np.asarray(distance) <= _PEAK_RADIUS**2).astype(np.float64)
    total = ndimage.convolve(image.array, sphere, output=np.float64, mode="constant", cval=0.0)
    return image.world(np.unravel_index(int(np.argmax(total)), total.shape))


def zscore(array: npt.ArrayLike) -> np.ndarray:
    """Shift and scale to mean 0 and standard deviation 1.

    Parameters
    ----------
    array : array-like of shape (z, y, x)

    Returns
    -------
    ndarray of shape (z, y, x), float32

    Raises
    ------
    ValueError
        The array is constant.
    """
    values = np.asarray(array, dtype=np.float64)
    if values.min() == values.max():
        raise ValueError(f"the crop holds one value only ({values.flat[0]:g}): no z-score exists")
    return ((values - values.mean()) / values.std()).astype(np.float32)


def window(array: npt.ArrayLike, low: float, high: float) -> np.ndarray:
    """Clip to a window and scale it to 0..1.

    Parameters
    ----------
    array : array-like of shape (z, y, x)
    low, high : float
        Values that become 0 and 1.

    Returns
    -------
    ndarray of shape (z, y, x), float32
    """
    values = np.clip(np.asarray(array, dtype=np.float64), low, high)
    return ((values - low) / (high - low)).astype(np.float32)


def _centred_grid(image: Image, spacing: np.ndarray, count: np.ndarray) -> Image:
    middle = (np.asarray(image.shape) - 1) / 2
    first = middle - (count - 1) / 2 * spacing / np.asarray(image.spacing)
    return _empty(image, spacing, image.world(first), count)


def _empty(like: Image, spacing: np.ndarray, origin: np.ndarray, count: np.ndarray) -> Image:
    zeros = np.broadcast_to(np.float32(0), tuple(int(size) for size in count))
    z, y, x = spacing.tolist()
    return Image(zeros, (z, y, x), tuple(origin.tolist()), like.direction)
