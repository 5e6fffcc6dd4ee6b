"""Moran's I and Geary's C: how alike intensities are, weighted by their inverse distance."""

from __future__ import annotations

import math

import numpy as np
from scipy import fft

__all__ = ["moran_and_geary"]


def moran_and_geary(
    values: np.ndarray, mask: np.ndarray, spacing: np.ndarray
) -> tuple[float, float]:
    """Return both measures over all pairs of voxels, without approximation.

    With weights ``w = 1 / distance``, the sums over pairs are sums over the Fourier transforms of
    the weights, the intensities and the mask: ``n log n`` instead of ``n^2`` steps.

    Parameters
    ----------
    values : ndarray of shape (n,), float64
        In the order of ``mask``'s voxels.
    mask : ndarray of shape (z, y, x), bool
        The intensity mask in its bounding box.
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).

    Returns
    -------
    moran, geary : float
        NaN for fewer than two voxels or a single intensity.

    References
    ----------
    Moran P.A.P., "Notes on continuous stochastic phenomena", Biometrika 37:17-23, 1950; Geary R.C.,
    "The contiguity ratio and statistical mapping", Inc. Statistician 5:115-145, 1954.
    """
    n = values.size
    deviations = values - values.mean()
    variation = float((deviations**2).sum())
    if n < 2 or variation == 0:
        return math.nan, math.nan
    # Twice the box, so that no distance wraps around.
    shape = tuple(fft.next_fast_len(2 * size - 1, real=True) for size in mask.shape)
    weights = _transform(_inverse_distances(shape, spacing), shape).real
    inside = _transform(mask.astype(np.float64), shape)
    image = np.zeros(mask.shape)
    image[mask] = deviations
    products = _pair_sum(weights, _transform(image, shape), None, shape)
    image[mask] = deviations**2
    squares = _pair_sum(weights, _transform(image, shape), inside, shape)
    total = _pair_sum(weights, inside, None, shape)
    moran = n / total * products / variation
    # (a - b)^2 summed over ordered pairs: twice the squares less twice the products.
    geary = (n - 1) / total * (squares - products) / variation
    return moran, geary


def _inverse_distances(shape: tuple[int, ...], spacing: np.ndarray) -> np.ndarray:
    squared = np.zeros(shape)
    for axis, (size, step) in enumerate(zip(shape, spacing, strict=True)):
        steps = np.minimum(np.arange(size), size - np.arange(size)) * step
        squared += (steps**2).reshape([-1 if k == axis else 1 for k in range(3)])
    squared[0, 0, 0] = np.inf
    return 1 / np.sqrt(squared)


def _transform(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(fft.rfftn(image, shape))


def _pair_sum(
    weights: np.ndarray, a: np.ndarray, b: np.ndarray | None, shape: tuple[int, ...]
) -> float:
    # Parseval: sum over pairs of w(i - j) a(i) b(j); the transform holds half of the last axis.
    product = np.abs(a) ** 2 if b is None else a.real * b.real + a.imag * b.imag
    product *= weights
    doubled = 2 * product.sum() - product[..., 0].sum()
    if shape[-1] % 2 == 0:
        doubled -= product[..., -1].sum()
    return float(doubled / math.prod(shape))
