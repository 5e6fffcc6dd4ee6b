"""First-order features: statistics of the values in the region, without their positions."""

from __future__ import annotations

import math

import numpy as np

from survimg.jit import kernel, reducing_kernel
from survimg.radiomics.names import IBSI_IDENTIFIERS

__all__ = ["first_order", "windowed_statistics"]

_NAMES = tuple(IBSI_IDENTIFIERS["firstorder"])


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
    out = np.empty(len(_NAMES), dtype=np.float64)
    _statistics(values, np.sort(values), level_counts, voxel_volume, shift, out)
    return dict(zip(_NAMES, out.tolist(), strict=True))


@kernel
def windowed_statistics(
    values: np.ndarray,
    blocks: np.ndarray,
    n_levels: int,
    voxel_volume: float,
    shift: float,
    out: np.ndarray,
) -> None:
    """Compute the first-order features in the window around each voxel.

    Parameters
    ----------
    values : ndarray of shape (n, block), float64
        The image in each window.
    blocks : ndarray of shape (n, block), uint16
        Grey levels there, 0 where there is nothing to measure; see `gather_windows`.
    n_levels : int
    voxel_volume, shift : float
        As in `first_order`.
    out : ndarray of shape (n, 19)
        Receives the features, in the order of `survimg.radiomics.names`.
    """
    counts = np.zeros(n_levels + 1, dtype=np.int64)
    inside = np.empty(blocks.shape[1], dtype=np.float64)
    for n in range(blocks.shape[0]):
        counts[:] = 0
        size = 0
        for i in range(blocks.shape[1]):
            if blocks[n, i] > 0:
                counts[blocks[n, i]] += 1
                inside[size] = values[n, i]
                size += 1
        part = inside[:size]
        _statistics(part, np.sort(part), counts, voxel_volume, shift, out[n])


@kernel
def _statistics(
    values: np.ndarray,
    ordered: np.ndarray,
    level_counts: np.ndarray,
    voxel_volume: float,
    shift: float,
    out: np.ndarray,
) -> None:
    size = values.size
    p10, p90 = _percentile(ordered, 0.1), _percentile(ordered, 0.9)
    total, energy = _sums(values, shift)
    mean = total / size
    deviation, m2, m3, m4 = _central_moments(values, mean)
    # The values between the two percentiles, both included, are a stretch of the ordered ones.
    inner = ordered[
        np.searchsorted(ordered, p10, side="left") : np.searchsorted(ordered, p90, side="right")
    ]
    inner_mean = _sums(inner, 0.0)[0] / inner.size
    entropy, uniformity = 0.0, 0.0
    for g in range(level_counts.size):
        if level_counts[g] > 0:
            p = level_counts[g] / size
            entropy -= p * math.log2(p)
            uniformity += p * p
    out[0] = energy
    out[1] = energy * voxel_volume
    out[2] = entropy
    out[3] = ordered[0]
    out[4] = p10
    out[5] = p90
    out[6] = ordered[-1]
    out[7] = mean
    out[8] = _percentile(ordered, 0.5)
    out[9] = _percentile(ordered, 0.75) - _percentile(ordered, 0.25)
    out[10] = ordered[-1] - ordered[0]
    out[11] = deviation
    out[12] = _central_moments(inner, inner_mean)[0] if inner.size > 0 else np.nan
    out[13] = math.sqrt(energy / size)
    out[14] = math.sqrt(m2)
    out[15] = m3 / m2**1.5 if m2 > 0 else 0.0
    out[16] = m4 / m2**2 if m2 > 0 else 0.0
    out[17] = m2
    out[18] = uniformity


@kernel
def _percentile(ordered: np.ndarray, q: float) -> float:
    # Linear interpolation between order statistics, rounded as numpy.percentile rounds it.
    position = q * (ordered.size - 1)
    below = math.floor(position)
    above = min(below + 1, ordered.size - 1)
    a, b, t = ordered[below], ordered[above], position - below
    return b - (b - a) * (1 - t) if t >= 0.5 else a + (b - a) * t


@reducing_kernel
def _sums(values: np.ndarray, shift: float) -> tuple[float, float]:
    total = 0.0
    squares = 0.0
    for n in range(values.size):
        total += values[n]
        squares += (values[n] + shift) * (values[n] + shift)
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
