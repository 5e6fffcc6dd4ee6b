"""The intensity-volume histogram: which part of a region has at least which intensity."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import trapezoid

__all__ = ["DEFAULT_IVH_BINS", "volume_histogram_features"]

#: Bins of intensities that are neither whole numbers nor given a width, as IBSI recommends.
DEFAULT_IVH_BINS = 1000

_MOST_STEPS = 10_000_000


def volume_histogram_features(
    values: np.ndarray,
    bounds: tuple[float, float] | None,
    bin_width: float | None,
    bin_count: int | None,
) -> np.ndarray:
    """Return the 7 features of the intensity-volume histogram.

    Parameters
    ----------
    values : ndarray of shape (n,), float64
    bounds : (low, high) or None
        Range of resegmentation, over which the fraction of intensity runs from 0 to 1; None: from
        the smallest to the largest value.
    bin_width : float or None
        Intensities are the centres of bins of this width.
    bin_count : int or None
        Intensities are the numbers of as many bins between smallest and largest value. Without
        width and count: the values themselves, in steps of 1, where they are whole numbers, and
        1000 bins where they are not.

    Returns
    -------
    ndarray of shape (7,)
        In the order of `FAMILIES`; NaN of volume fractions and area for a range of one intensity.
    """
    if bin_width is None and bin_count is None:
        whole = not (values % 1).any()
        bin_count = None if whole else DEFAULT_IVH_BINS
    low, high = (float(values.min()), float(values.max())) if bounds is None else bounds
    first, step = low, 1.0
    if bin_width is not None:
        first, step = low + bin_width / 2, bin_width
        number = np.floor((values - low) / bin_width)
        last = max(math.ceil((high - low) / bin_width) - 1, int(number.max()))
    elif bin_count is not None:
        first = 1.0
        low, high = float(values.min()), float(values.max())
        position = bin_count * (values - low) / ((high - low) or 1.0)
        number = np.minimum(np.floor(position), bin_count - 1)
        last = bin_count - 1
    else:
        number = values - low
        last = int(high - low)
    if last > _MOST_STEPS:
        raise ValueError(
            f"the intensity-volume histogram would have {last + 1} steps; at most {_MOST_STEPS} "
            "are supported. Give it fewer bins (ivh_bin_width, ivh_bin_count) or a smaller range"
        )
    # Volume fraction at or above each step.
    counts = np.bincount(np.maximum(number, 0).astype(np.int64), minlength=last + 1)
    at_least = counts[::-1].cumsum()[::-1] / values.size
    return _features(at_least, first + step * np.arange(last + 1))


def _features(at_least: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    n = intensity.size
    if n < 2:
        return np.array([math.nan, math.nan, intensity[0], intensity[0], math.nan, 0.0, math.nan])
    fraction = np.arange(n) / (n - 1)
    v10, v90 = (at_least[np.searchsorted(fraction, x)] for x in (0.1, 0.9))
    # Beyond the largest intensity the volume is 0, so that there is always an intensity.
    reaches = np.append(at_least, 0.0)
    beyond = np.append(intensity, 2 * intensity[-1] - intensity[-2])
    i10, i90 = (beyond[np.argmax(reaches <= x)] for x in (0.1, 0.9))
    return np.array([v10, v90, i10, i90, v10 - v90, i10 - i90, trapezoid(at_least, fraction)])
