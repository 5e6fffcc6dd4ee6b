"""Laplacian of Gaussian by recursion along each axis, in the box around a region.

The Gaussian and its second derivative are each the sum of two damped cosines, so that a filter of
four previous outputs computes them in one pass forth and one back, in a time that does not depend
on their width (Deriche, 1993). Widths, constants, continuation at the border, order of the passes
and rounding to float32 between them are those of ITK's recursive Gaussian, with which PyRadiomics
makes its images: values differ from its at most in the last digit of float32.

References
----------
Deriche R. Recursively implementing the Gaussian and its derivatives. INRIA report 1893, 1993.
Farneback G, Westin CF. Improving Deriche-style recursive Gaussian filters. J Math Imaging Vis
26:293-299, 2006 (which normalise the discrete filter so that constants and parabolas are exact).
"""

from __future__ import annotations

from functools import lru_cache
from math import cos, exp, sin

import numpy as np

from survimg.jit import kernel
from survimg.radiomics.native.geometry import Box, with_margin

__all__ = ["laplacian_of_gaussian"]

# Amplitudes of cosine and sine of the two terms, by the order of the derivative.
_AMPLITUDES = {
    0: ((1.3530, 1.8151), (-0.3531, 0.0902)),
    2: ((-1.3563, 5.2318), (0.3446, -2.2355)),
}
# Frequency and damping of the two terms, for a width of 1.
_FREQUENCIES = (0.6681, 2.0787)
_DAMPINGS = (-1.3932, -1.3732)
# Beyond this many widths the response is below 1e-11 of its peak, far below float32.
_REACH = 18
# Lines that are filtered together.
_TOGETHER = 32


def laplacian_of_gaussian(
    volume: np.ndarray, window: Box, spacing: np.ndarray, sigma: float
) -> np.ndarray:
    """Filter a volume with a scale-normalised Laplacian of Gaussian.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
    window : tuple of slice
        Box of the volume in which values are needed.
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).
    sigma : float
        Width in mm.

    Returns
    -------
    ndarray of the shape of the box, float32

    Raises
    ------
    ValueError
        The volume has fewer than 4, or fewer than sigma/spacing + 1, voxels along an axis.
    """
    size = np.array(volume.shape)
    needed = np.maximum(4, np.ceil(sigma / spacing) + 1).astype(int)
    if (size < needed).any():
        raise ValueError(
            f"a Laplacian of Gaussian of {sigma:g} mm needs at least {needed.tolist()} voxels "
            f"along (z, y, x); the volume has {size.tolist()}. Take a smaller sigma or leave this "
            "image out"
        )
    margins = np.ceil(_REACH * sigma / spacing).astype(int)
    wide, inner = with_margin(window, margins, volume.shape)
    whole = np.ascontiguousarray(volume[wide], np.result_type(volume, np.float32))
    smooth = [_coefficients(0, sigma / step) for step in spacing]
    total = np.zeros([extent.stop - extent.start for extent in inner], dtype=np.float32)
    for axis in (2, 1, 0):
        # Weights of inputs are scaled, those of outputs are not.
        bend = _coefficients(2, sigma / spacing[axis]) * [[sigma**2], [sigma**2], [1.0]]
        part = _along(whole, axis, inner[axis], bend)
        for other in (2, 1, 0):
            if other != axis:
                part = _along(part, other, inner[other], smooth[other])
        total = (total + part.astype(np.float64) / spacing[axis] ** 2).astype(np.float32)
    return total


@lru_cache(maxsize=64)
def _coefficients(order: int, width: float) -> np.ndarray:
    # Rows: weights of this and 3 previous inputs; of 4 following inputs; of 4 outputs.
    outputs = _denominator(width)
    powers = np.arange(5)
    d0, d1, d2 = (float((powers**k * outputs).sum()) for k in range(3))
    inputs = _numerator(0, width)
    if order == 0:
        inputs = inputs / (2 * inputs.sum() / d0 - inputs[0])
    else:
        bend = _numerator(2, width)
        # Of a constant the second derivative is 0, of x^2 it is 2.
        share = -(2 * bend.sum() - d0 * bend[0]) / (2 * inputs.sum() - d0 * inputs[0])
        inputs = bend + share * inputs
        n0, n1, n2 = (float((powers[:4] ** k * inputs).sum()) for k in range(3))
        scale = (n2 * d0**2 - d2 * n0 * d0 - 2 * n1 * d1 * d0 + 2 * d1**2 * n0) / d0**3
        inputs = inputs / scale
    following = np.append(inputs[1:], 0.0) - outputs[1:] * inputs[0]
    return np.stack([inputs, following, outputs[1:]])


def _numerator(order: int, width: float) -> np.ndarray:
    (a1, b1), (a2, b2) = _AMPLITUDES[order]
    (c1, c2), (s1, s2), (e1, e2) = _waves(width)
    return np.array(
        [
            a1 + a2,
            e2 * (b2 * s2 - (a2 + 2 * a1) * c2) + e1 * (b1 * s1 - (a1 + 2 * a2) * c1),
            2 * e1 * e2 * ((a1 + a2) * c2 * c1 - b1 * c2 * s1 - b2 * c1 * s2)
            + a2 * e1**2
            + a1 * e2**2,
            e2 * e1**2 * (b2 * s2 - a2 * c2) + e1 * e2**2 * (b1 * s1 - a1 * c1),
        ]
    )


def _denominator(width: float) -> np.ndarray:
    (c1, c2), _, (e1, e2) = _waves(width)
    return np.array(
        [
            1.0,
            -2 * (e2 * c2 + e1 * c1),
            4 * c2 * c1 * e1 * e2 + e1**2 + e2**2,
            -2 * c1 * e1 * e2**2 - 2 * c2 * e2 * e1**2,
            e1**2 * e2**2,
        ]
    )


def _waves(width: float) -> tuple[list[float], list[float], list[float]]:
    cosines = [cos(frequency / width) for frequency in _FREQUENCIES]
    sines = [sin(frequency / width) for frequency in _FREQUENCIES]
    return cosines, sines, [exp(damping / width) for damping in _DAMPINGS]


def _along(values: np.ndarray, axis: int, kept: slice, coefficients: np.ndarray) -> np.ndarray:
    # Filter along an axis and keep a stretch of it.
    shape = list(values.shape)
    shape[axis] = kept.stop - kept.start
    target = np.empty(shape, dtype=np.float32)
    before, after = values.shape[:axis], values.shape[axis + 1 :]
    n, outer, inner = values.shape[axis], int(np.prod(before)), int(np.prod(after))
    _filter_lines(
        values.reshape(outer, n, inner),
        target.reshape(outer, shape[axis], inner),
        kept.start,
        coefficients,
    )
    return target


@kernel
def _filter_lines(
    source: np.ndarray, target: np.ndarray, start: int, coefficients: np.ndarray
) -> None:
    # Lines of the last axis are neighbours along the one before, all others along the last axis.
    n_outer, _, n_inner = source.shape
    n_blocks = n_outer if n_inner > 1 else 1
    n_lines = n_inner if n_inner > 1 else n_outer
    for block in range(n_blocks):
        for first in range(0, n_lines, _TOGETHER):
            _filter_together(source, block, first, start, coefficients, target)


@kernel
def _filter_together(
    source: np.ndarray,
    block: int,
    first: int,
    start: int,
    coefficients: np.ndarray,
    target: np.ndarray,
) -> None:
    # Position p of the lines is row p + 4. The tiles are made here because their width is then
    # known to the compiler, which can use vector registers.
    n = source.shape[1]
    data = np.zeros((n + 8, _TOGETHER))
    forth = np.empty((n + 8, _TOGETHER))
    back = np.empty((n + 8, _TOGETHER))
    _gather(source, block, first, data)
    n0, n1, n2, n3 = coefficients[0]
    m1, m2, m3, m4 = coefficients[1]
    d1, d2, d3, d4 = coefficients[2]
    # Beyond their ends the lines are continued by their ends, and outputs by their limits there.
    total = 1 + coefficients[2].sum()
    data[:4], data[n + 4 :] = data[4], data[n + 3]
    forth[:4] = coefficients[0].sum() / total * data[4]
    back[n + 4 :] = coefficients[1].sum() / total * data[n + 3]
    for p in range(4, start + target.shape[1] + 4):
        for x in range(_TOGETHER):
            before = (
                data[p, x] * n0
                + data[p - 1, x] * n1
                + data[p - 2, x] * n2
                + data[p - 3, x] * n3
            )
            forth[p, x] = before - (
                forth[p - 1, x] * d1
                + forth[p - 2, x] * d2
                + forth[p - 3, x] * d3
                + forth[p - 4, x] * d4
            )
    for p in range(n + 3, start + 3, -1):
        for x in range(_TOGETHER):
            after = (
                data[p + 1, x] * m1
                + data[p + 2, x] * m2
                + data[p + 3, x] * m3
                + data[p + 4, x] * m4
            )
            back[p, x] = after - (
                back[p + 1, x] * d1
                + back[p + 2, x] * d2
                + back[p + 3, x] * d3
                + back[p + 4, x] * d4
            )
    _scatter(forth, back, start, block, first, target)


@kernel
def _gather(source: np.ndarray, block: int, first: int, data: np.ndarray) -> None:
    n_outer, n, n_inner = source.shape
    if n_inner > 1:
        stop = min(first + _TOGETHER, n_inner)
        for p in range(n):
            row, out = source[block, p, first:stop], data[p + 4]
            for k in range(row.size):
                out[k] = row[k]
    else:
        for k in range(min(_TOGETHER, n_outer - first)):
            line = source[first + k, :, 0]
            for p in range(n):
                data[p + 4, k] = line[p]


@kernel
def _scatter(
    forth: np.ndarray, back: np.ndarray, start: int, block: int, first: int, target: np.ndarray
) -> None:
    n_outer, n_kept, n_inner = target.shape
    if n_inner > 1:
        stop = min(first + _TOGETHER, n_inner)
        for p in range(n_kept):
            row, a, b = target[block, p, first:stop], forth[start + p + 4], back[start + p + 4]
            for k in range(row.size):
                row[k] = a[k] + b[k]
    else:
        for k in range(min(_TOGETHER, n_outer - first)):
            line = target[first + k, :, 0]
            for p in range(n_kept):
                q = start + p + 4
                line[p] = forth[q, k] + back[q, k]
