"""First-order features: statistics of the values in the region, without their positions."""

from __future__ import annotations

import math

import numpy as np

from survimg.jit import kernel, reducing_kernel

__all__ = ["first_order", "windowed_statistics"]

_SHARES = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
# So few values are sorted.
_FEW = 256
_MOST_BINS = 4096


def first_order(
    values: np.ndarray, level_counts: np.ndarray, voxel_volume: float, shift: float = 0.0
) -> np.ndarray:
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
    ndarray of shape (19,)
        In the order of `survimg.radiomics.names`; variance and moments divide by n. A region of
        one value has Skewness and Kurtosis 0.
    """
    out = np.empty(19, dtype=np.float64)
    quantiles = _quantiles(values, float(values.min()), float(values.max()))
    _statistics(values, quantiles, level_counts, voxel_volume, shift, out)
    return out


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
        quantiles = _quantiles(part, part.min(), part.max())
        _statistics(part, quantiles, counts, voxel_volume, shift, out[n])


@kernel
def _statistics(
    values: np.ndarray,
    quantiles: np.ndarray,
    level_counts: np.ndarray,
    voxel_volume: float,
    shift: float,
    out: np.ndarray,
) -> None:
    size = values.size
    p10, p90 = quantiles[1], quantiles[5]
    total, energy = _sums(values, shift)
    deviation, m2, m3, m4 = _central_moments(values, total / size)
    entropy, uniformity = 0.0, 0.0
    for g in range(level_counts.size):
        if level_counts[g] > 0:
            p = level_counts[g] / size
            entropy -= p * math.log2(p)
            uniformity += p * p
    out[0] = energy
    out[1] = energy * voxel_volume
    out[2] = entropy
    out[3] = quantiles[0]
    out[4] = p10
    out[5] = p90
    out[6] = quantiles[6]
    out[7] = total / size
    out[8] = quantiles[3]
    out[9] = quantiles[4] - quantiles[2]
    out[10] = quantiles[6] - quantiles[0]
    out[11] = deviation
    out[12] = _deviation_between(values, p10, p90)
    out[13] = math.sqrt(energy / size)
    out[14] = math.sqrt(m2)
    out[15] = m3 / m2**1.5 if m2 > 0 else 0.0
    out[16] = m4 / m2**2 if m2 > 0 else 0.0
    out[17] = m2
    out[18] = uniformity


@kernel
def _quantiles(values: np.ndarray, low: float, high: float) -> np.ndarray:
    # Linear interpolation between order statistics, rounded as numpy.percentile rounds it.
    positions = _SHARES * (values.size - 1)
    ranks = np.empty(2 * positions.size, dtype=np.int64)
    for k in range(positions.size):
        ranks[2 * k] = math.floor(positions[k])
        ranks[2 * k + 1] = min(ranks[2 * k] + 1, values.size - 1)
    ordered = _order_statistics(values, low, high, ranks)
    quantiles = np.empty(positions.size, dtype=np.float64)
    for k in range(positions.size):
        a, b, t = ordered[2 * k], ordered[2 * k + 1], positions[k] - ranks[2 * k]
        quantiles[k] = b - (b - a) * (1 - t) if t >= 0.5 else a + (b - a) * t
    return quantiles


@kernel
def _order_statistics(
    values: np.ndarray, low: float, high: float, ranks: np.ndarray
) -> np.ndarray:
    # The values at ascending ranks, without sorting more than the bins that they lie in.
    n_bins = min(values.size // 8, _MOST_BINS)
    scale = (n_bins - 1) / (high - low)
    if values.size < _FEW or not 0.0 < scale < np.inf:
        return np.sort(values)[ranks]
    counts = np.zeros(n_bins + 1, dtype=np.int64)
    for n in range(values.size):
        counts[np.uint64((values[n] - low) * scale) + np.uint64(1)] += 1
    before = np.cumsum(counts)
    bins = np.searchsorted(before, ranks, side="right") - 1
    wanted = np.zeros(n_bins, dtype=np.bool_)
    wanted[bins] = True
    part = np.empty(counts[1:][wanted].sum(), dtype=np.float64)
    size = 0
    for n in range(values.size):
        if wanted[np.uint64((values[n] - low) * scale)]:
            part[size] = values[n]
            size += 1
    part.sort()
    # Values of unwanted bins that would stand before a rank are missing before it.
    missing = np.cumsum(np.where(wanted, 0, counts[1:]))
    return part[ranks - missing[bins]]


@reducing_kernel
def _deviation_between(values: np.ndarray, low: float, high: float) -> float:
    # Mean absolute deviation of the values between two limits, both included.
    total = 0.0
    size = 0
    for n in range(values.size):
        inner = low <= values[n] <= high
        total += values[n] if inner else 0.0
        size += inner
    mean = total / size
    deviation = 0.0
    for n in range(values.size):
        deviation += abs(values[n] - mean) if low <= values[n] <= high else 0.0
    return deviation / size


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
