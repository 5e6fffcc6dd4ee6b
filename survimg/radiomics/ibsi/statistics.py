"""Intensity statistics and the intensity histogram."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["histogram_features", "intensity_statistics"]


def intensity_statistics(values: np.ndarray) -> np.ndarray:
    """Return the 18 statistics of the intensities in a region.

    Percentiles interpolate linearly between the sorted values; moments divide by n; the kurtosis is
    the excess kurtosis. Of one intensity, skewness and kurtosis are 0. Coefficients whose
    denominator is 0 (the mean, the sum of the quartiles) are NaN.

    Parameters
    ----------
    values : ndarray of shape (n,), float64

    Returns
    -------
    ndarray of shape (18,)
        In the order of `FAMILIES`.
    """
    mean, median = values.mean(), np.median(values)
    low, first, third, high = np.percentile(values, [10, 25, 75, 90])
    deviations = values - mean
    squares = deviations**2
    variance = squares.mean()
    robust = values[(values >= low) & (values <= high)]
    energy = (values**2).sum()
    return np.array(
        [
            mean,
            variance,
            (squares * deviations).mean() / variance**1.5 if variance > 0 else 0.0,
            (squares**2).mean() / variance**2 - 3 if variance > 0 else 0.0,
            median,
            values.min(),
            low,
            high,
            values.max(),
            third - first,
            values.max() - values.min(),
            np.abs(deviations).mean(),
            np.abs(robust - robust.mean()).mean(),
            np.abs(values - median).mean(),
            math.sqrt(variance) / mean if mean != 0 else math.nan,
            (third - first) / (third + first) if third + first != 0 else math.nan,
            energy,
            math.sqrt(energy / values.size),
        ]
    )


def histogram_features(levels: np.ndarray, n_levels: int) -> np.ndarray:
    """Return the 23 features of the histogram of grey levels.

    Parameters
    ----------
    levels : ndarray of shape (n,), int
        From 1 up.
    n_levels : int
        Number of levels of the discretisation: the histogram ends there.

    Returns
    -------
    ndarray of shape (23,)
        In the order of `FAMILIES`. Of equally frequent levels the mode is the one nearest to the
        mean. The gradient is of one-sided differences at the ends; of one level it is 0.
    """
    # The statistics, less energy and root mean square, which the histogram does not have.
    statistics = intensity_statistics(levels.astype(np.float64))[:16]
    counts = np.bincount(levels, minlength=n_levels + 1)[1:]
    tied = np.flatnonzero(counts == counts.max()) + 1
    mode = tied[np.argmin(np.abs(tied - statistics[0]))]
    p = counts[counts > 0] / levels.size
    gradient = np.gradient(counts.astype(float)) if counts.size > 1 else np.zeros(1)
    return np.concatenate(
        [
            statistics[:9],
            [mode],
            statistics[9:],
            [-(p * np.log2(p)).sum(), (p**2).sum()],
            [gradient.max(), gradient.argmax() + 1, gradient.min(), gradient.argmin() + 1],
        ]
    )
