"""An image or a mask on another grid, without aliasing."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from survimg.io.images.image import Image, resample_like, same_grid

__all__ = [
    "IMAGE_INTERPOLATIONS", "MASK_INTERPOLATIONS", "resample_image", "resample_mask", "with_organs",
]

#: Interpolations of images and of masks; see `Preparation`.
IMAGE_INTERPOLATIONS = ("linear", "cubic")
MASK_INTERPOLATIONS = ("volume", "linear", "nearest")

#: Gaussian weights beyond this many standard deviations count as 0.
_TRUNCATE = 4.0

#: Voxels around a grid that a cubic spline still feels (its weights fall by 0.27 a voxel).
_SPLINE_REACH = 16

#: Covered parts of a voxel that differ by less are equal: rounding decides about no voxel.
_SAME_PART = 1e-4


def resample_image(
    image: Image,
    grid: Image,
    *,
    interpolation: str = "linear",
    antialias: bool = True,
    padding: float | None = None,
) -> Image:
    """Interpolate an image at the points of a grid.

    Parameters
    ----------
    image : Image
    grid : Image
        Only its grid is used; it may be oblique, and after an affine registration sheared.
    interpolation : {"linear", "cubic"}, default="linear"
        Trilinear, or cubic B-splines through the voxels.
    antialias : bool, default=True
        Blur the image first along each axis that becomes coarser.
    padding : float, optional
        Value outside the image; by default its lowest value.

    Returns
    -------
    Image
        float32; `image` itself where the grids agree.

    Notes
    -----
    The blur is a Gaussian of standard deviation ``sqrt((new^2 - old^2) / 12)`` mm: voxels are
    boxes, whose variance is a twelfth of their squared size, so that the blurred voxel is as wide
    as the new one. Without it a grid of 4 mm takes every fourth voxel of a CT of 1 mm with its
    noise: 13 of 25 HU stay instead of 5.
    """
    if same_grid(image, grid):
        return image
    if padding is None:
        padding = float(image.array.min())
    sigma = _blur(image, grid) if antialias else np.zeros(3)
    near = _near(image, grid, sigma, _SPLINE_REACH if interpolation == "cubic" else 1)
    return resample_like(
        _blurred(near, sigma, "nearest"), grid, interpolation=interpolation, padding=padding
    )


def resample_mask(mask: Image, grid: Image, interpolation: str = "volume") -> np.ndarray:
    """Put a mask on a grid.

    Parameters
    ----------
    mask : Image
        0 and 1.
    grid : Image
        As in `resample_image`.
    interpolation : {"volume", "linear", "nearest"}, default="volume"
        ``"volume"``: as many voxels as the tumour's volume fills, those of which it covers the
        largest part. ``"linear"``: voxels at whose centre the linearly interpolated mask is 0.5 or
        more (IBSI reference manual, section 2.4). ``"nearest"``: voxels whose centre is nearest to
        one of the tumour.

    Returns
    -------
    ndarray of shape (z, y, x), uint8

    Notes
    -----
    Covered parts are the mask, blurred as in `resample_image`. Voxels of equal parts are all taken
    or all left, whichever comes closer to the volume, so that a mirrored tumour gives the mirrored
    mask; a tumour smaller than half a voxel keeps the voxels that hold most of it.
    """
    source = Image(mask.array.astype(np.float32), mask.spacing, mask.origin, mask.direction)
    if same_grid(source, grid):
        return mask.array.astype(np.uint8)
    if interpolation == "nearest":
        nearest = resample_like(source, grid, interpolation="nearest", padding=0.0)
        return nearest.array.astype(np.uint8)
    sigma = _blur(source, grid) if interpolation == "volume" else np.zeros(3)
    near = _blurred(_near(source, grid, sigma, 1), sigma, "constant")
    parts = resample_like(near, grid, padding=0.0).array
    if interpolation == "linear":
        return (parts >= 0.5).astype(np.uint8)
    parts = np.round(parts / _SAME_PART)
    levels, counts = np.unique(parts[parts > 0], return_counts=True)
    if not levels.size:
        return np.zeros(grid.shape, dtype=np.uint8)
    voxels = np.cumsum(counts[::-1])
    volume = float((levels * counts).sum()) * _SAME_PART
    threshold = levels[::-1][int(np.argmin(np.abs(voxels - volume)))]
    return (parts >= threshold).astype(np.uint8)


def with_organs(marks: np.ndarray, organs: Image, grid: Image) -> np.ndarray:
    """Mark the organs around a tumour by 2, for stores that keep both in one array.

    Parameters
    ----------
    marks : ndarray of shape (z, y, x)
        The tumour's mask on `grid`, 0 and 1.
    organs : Image
        0 and 1, anywhere.
    grid : Image
    """
    there = resample_mask(organs, grid, "linear") > 0
    return np.where((marks == 0) & there, np.uint8(2), marks)


def _blur(image: Image, grid: Image) -> np.ndarray:
    """Return the blur along each axis of an image, in its voxels (z, y, x)."""
    axes = np.asarray(image.direction, dtype=np.float64).reshape(3, 3)
    steps = np.asarray(grid.direction).reshape(3, 3) * np.asarray(grid.spacing)[::-1]
    new = np.linalg.norm(axes.T @ steps, axis=1)[::-1]  # of the new voxel along the image's axes
    old = np.asarray(image.spacing)
    coarser = new > old * 1.001  # headers are rounded: equal spacings blur nothing
    return np.where(coarser, np.sqrt(np.maximum(new**2 - old**2, 0) / 12) / old, 0.0)


def _near(image: Image, grid: Image, sigma: np.ndarray, reach: int) -> Image:
    """Cut out what the points of a grid are computed from."""
    corners = image.index(grid.corners())
    margin = np.ceil(_TRUNCATE * sigma) + reach + 1
    low = np.maximum(np.floor(corners.min(axis=0)) - margin, 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0)) + margin + 1, image.shape).astype(int)
    if (low >= high).any():
        return image  # the grid lies outside: there is nothing to compute
    block = image.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    x, y, z = image.world(low).tolist()
    return Image(block, image.spacing, (x, y, z), image.direction)


def _blurred(image: Image, sigma: np.ndarray, mode: str) -> Image:
    values = image.array
    for axis, width in enumerate(sigma):
        if width > 0:
            values = ndimage.gaussian_filter1d(
                values, width, axis=axis, mode=mode, truncate=_TRUNCATE
            )
    return Image(values, image.spacing, image.origin, image.direction)
