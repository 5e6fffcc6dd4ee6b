"""First-order features: statistics of the values in the region, without their positions."""

from __future__ import annotations

import math

import numpy as np

from survimg.jit import reducing_kernel

__all__ = ["first_order"]


def first_order(
    values: np.ndarray, level_counts: np.ndarray, voxel_volume: float, shift: float = 0.0
) -> dict[str, float]:
    """Compute the first-order features of one image.

    Parameters
    ----------
    values : ndarray of shape (n,), float64
        Voxels of the region.
    level_counts : ndarray of shape (n_levels + 1,), int
        Voxels per grey level; level 0 is unused.
    voxel_volume : float
        In mm^3.
    shift : float, default=0.0
        Added to the values before Energy, TotalEnergy and RootMeanSquared.

    Returns
    -------
    dict
        Feature name -> value; variance and moments divide by n. A region of one value has
        Skewness and Kurtosis 0.
    """
    ordered = np.sort(values)
    p10, p25, median, p75, p90 = (_percentile(ordered, q) for q in (0.1, 0.25, 0.5, 0.75, 0.9))
    total, energy = _sums(values)
    if shift:
        energy = _sums(values + shift)[1]
    mean = total / values.size
    deviation, m2, m3, m4 = _central_moments(values, mean)
    # The values between the two percentiles, both included, are a stretch of the ordered ones.
    inner = ordered[
        np.searchsorted(ordered, p10, side="left") : np.searchsorted(ordered, p90, side="right")
    ]
    inner_mean = _sums(inner)[0] / inner.size
    counts = level_counts[level_counts > 0]
    probability = counts / values.size
    return {
        "Energy": energy,
        "TotalEnergy": energy * voxel_volume,
        "Entropy": -float(np.sum(probability * np.log2(probability))),
        "Minimum": float(ordered[0]),
        "10Percentile": p10,
        "90Percentile": p90,
        "Maximum": float(ordered[-1]),
        "Mean": mean,
        "Median": median,
        "InterquartileRange": p75 - p25,
        "Range": float(ordered[-1] - ordered[0]),
        "MeanAbsoluteDeviation": deviation,
        "RobustMeanAbsoluteDeviation": _central_moments(inner, inner_mean)[0],
        "RootMeanSquared": math.sqrt(energy / values.size),
        "StandardDeviation": math.sqrt(m2),
        "Skewness": m3 / m2**1.5 if m2 > 0 else 0.0,
        "Kurtosis": m4 / m2**2 if m2 > 0 else 0.0,
        "Variance": m2,
        "Uniformity": float(np.sum(probability**2)),
    }


def _percentile(ordered: np.ndarray, q: float) -> float:
    # Linear interpolation between order statistics, rounded as numpy.percentile rounds it.
    position = q * (ordered.size - 1)
    below = math.floor(position)
    above = min(below + 1, ordered.size - 1)
    a, b, t = float(ordered[below]), float(ordered[above]), position - below
    return b - (b - a) * (1 - t) if t >= 0.5 else a + (b - a) * t


@reducing_kernel
def _sums(values: np.ndarray) -> tuple[float, float]:
    total = 0.0
    squares = 0.0
    for n in range(values.size):
        total += values[n]
        squares += values[n] * values[n]
    return total, squares


@reducing_kernel
def _central_moments(values: np.ndarray, mean: float) -> tuple[float, float, float, float]:
    deviation = 0.0
    second = 0.0
    third = 0.0
    fourth = 0.0
    for n in range(values.size):
        d = values[n] - mean
        square = d * d
        deviation += abs(d)
        second += square
        third += square * d
        fourth += square * square
    size = values.size
    return deviation / size, second / size, third / size, fourth / size
