"""Features of grey-level co-occurrence matrices (Haralick, 1973), averaged over 13 directions."""

from __future__ import annotations

import math

import numpy as np

from survimg.jit import kernel
from survimg.radiomics.native.mcc import mean_maximal_correlation

__all__ = ["cooccurrence_features", "windowed_cooccurrence"]

# x log2(x) of the counts that occur most; larger ones are computed.
_TABULATED = 4096
_COUNTS = np.arange(_TABULATED, dtype=np.float64)
_X_LOG_X = _COUNTS * np.log2(np.maximum(_COUNTS, 1.0))


def cooccurrence_features(pairs: np.ndarray, n_present: int, with_mcc: bool) -> np.ndarray:
    """Return the 24 features of class glcm in the order of `survimg.radiomics.names`.

    Parameters
    ----------
    pairs : ndarray of shape (13, levels + 1, levels + 1), int32
        Pair counts from `count_pairs`; made symmetric here.
    n_present : int
        Number of different grey levels in the region.
    with_mcc : bool
        Whether to compute MCC, which costs as much as all others; NaN without.

    Returns
    -------
    ndarray of shape (24,)
        Directions without a pair are left out; NaN when none is left.
    """
    features = np.zeros(24, dtype=np.float64)
    n_levels = pairs.shape[1] - 1
    used = _add_up(pairs, _X_LOG_X, 1, n_levels, _scratch(n_levels), features)
    features = np.divide(features, used) if used else np.full(24, np.nan)
    features[15] = mean_maximal_correlation(pairs, n_present) if with_mcc else np.nan
    return features


def _scratch(n_levels: int) -> np.ndarray:
    # Rows for the distributions of levels, of their sums, of their differences, and of those in
    # all directions.
    return np.zeros((4, 2 * n_levels + 1), dtype=np.float64)


def windowed_cooccurrence(blocks: np.ndarray, offsets: np.ndarray, n_levels: int) -> np.ndarray:
    """Return the 24 features of class glcm, without MCC, in the window around each voxel.

    Parameters
    ----------
    blocks : ndarray of shape (n, block), uint16
        Grey levels of each window, with a margin of zeros; see `gather_windows`.
    offsets : ndarray of shape (n_steps,), int64
        Position differences of one of each pair of opposite steps.
    n_levels : int
        Number of grey levels, of which a window has a few.

    Returns
    -------
    features : ndarray of shape (n, 24)
        NaN for windows without a pair. JointAverage is NaN, too, in windows that lack pairs along
        a step that other windows have pairs along: so it is in PyRadiomics.
    """
    out = np.zeros((len(blocks), 24), dtype=np.float64)
    used = np.zeros((len(blocks), offsets.size), dtype=np.bool_)
    _cooccurrence_of_windows(blocks, offsets, n_levels, _X_LOG_X, _scratch(n_levels), used, out)
    out[(used < used.any(axis=0)).any(axis=1), 1] = np.nan
    out[:, 15] = np.nan
    return out


@kernel
def _cooccurrence_of_windows(
    blocks: np.ndarray,
    offsets: np.ndarray,
    n_levels: int,
    x_log_x: np.ndarray,
    scratch: np.ndarray,
    used: np.ndarray,
    out: np.ndarray,
) -> None:
    pairs = np.zeros((offsets.size, n_levels + 1, n_levels + 1), dtype=np.int32)
    for n in range(blocks.shape[0]):
        block = blocks[n]
        first, last = n_levels, 1
        for i in range(block.size):
            level = int(block[i])
            if level > 0:
                first, last = min(first, level), max(last, level)
                for a in range(offsets.size):
                    before = np.int64(block[i - offsets[a]])
                    if before > 0:
                        pairs[a, level, before] += 1
                        used[n, a] = True
        count = _add_up(pairs, x_log_x, first, last, scratch, out[n])
        for k in range(24):
            out[n, k] = out[n, k] / count if count > 0 else np.nan
        pairs[:, first : last + 1, first : last + 1] = 0


@kernel
def _add_up(
    pairs: np.ndarray,
    x_log_x: np.ndarray,
    first: int,
    last: int,
    scratch: np.ndarray,
    out: np.ndarray,
) -> int:
    # Adds the features of all directions with pairs, whose levels are first to last.
    n_levels = pairs.shape[1] - 1
    marginal = scratch[0, : last + 1]
    sums = scratch[1, : 2 * last + 1]
    differences = scratch[2, : last - first + 1]
    shares = scratch[3, : last - first + 1]
    shares[:] = 0.0
    used = 0
    for a in range(pairs.shape[0]):
        counts = pairs[a]
        total, squares, entropy, largest = _distributions(
            counts, x_log_x, first, last, marginal, sums, differences
        )
        if total == 0:
            continue
        used += 1
        mean, variance = _add_moments(total, first, marginal, sums, differences, out)
        out[9] += _distance_variance(total, differences, shares)
        joint = math.log2(total) - entropy / total
        single = math.log2(total) - _entropy_sum(marginal[first:], x_log_x) / total
        if largest == total:
            # All pairs are alike: rounding would leave a quotient of rounding errors below.
            joint, single = 0.0, 0.0
        # Rows and columns are alike, so the entropies of the product of marginals are twice theirs.
        information = 2.0 * single - joint
        out[8] += math.log2(total) - _entropy_sum(differences, x_log_x) / total
        out[10] += squares / (total * total)
        out[11] += joint
        out[12] += -information / single if single > 0.0 else 0.0
        out[13] += math.sqrt(1.0 - math.exp(-2.0 * information)) if information > 0.0 else 0.0
        out[20] += largest / total
        out[22] += math.log2(total) - _entropy_sum(sums[2 * first :], x_log_x) / total
        out[1] += mean
        out[21] += 2.0 * mean
        out[23] += variance
    _add_distances(shares, n_levels, out)
    return used


@kernel
def _distributions(
    counts: np.ndarray,
    x_log_x: np.ndarray,
    first: int,
    last: int,
    marginal: np.ndarray,
    sums: np.ndarray,
    differences: np.ndarray,
) -> tuple[float, float, float, float]:
    marginal[first:] = 0.0
    sums[2 * first :] = 0.0
    differences[:] = 0.0
    squares = 0.0
    entropy = 0.0
    largest = np.int64(0)
    for i in range(first, last + 1):
        row = counts[i]
        of_row = 0.0
        for j in range(first, i):
            count = np.int64(row[j]) + np.int64(counts[j, i])
            if count > 0:
                value = np.float64(count)
                of_row += value
                marginal[j] += value
                sums[i + j] += value + value
                differences[i - j] += value + value
                squares += 2.0 * value * value
                entropy += 2.0 * (
                    x_log_x[count] if count < x_log_x.size else value * math.log2(value)
                )
                largest = max(largest, count)
        count = 2 * np.int64(row[i])
        if count > 0:
            value = np.float64(count)
            of_row += value
            sums[2 * i] += value
            differences[0] += value
            squares += value * value
            entropy += x_log_x[count] if count < x_log_x.size else value * math.log2(value)
            largest = max(largest, count)
        marginal[i] += of_row
    return marginal[first:].sum(), squares, entropy, np.float64(largest)


@kernel
def _entropy_sum(counts: np.ndarray, x_log_x: np.ndarray) -> float:
    total = 0.0
    for k in range(counts.size):
        count = np.int64(counts[k])
        total += x_log_x[count] if count < x_log_x.size else counts[k] * math.log2(counts[k])
    return total


@kernel
def _add_moments(
    total: float,
    first: int,
    marginal: np.ndarray,
    sums: np.ndarray,
    differences: np.ndarray,
    out: np.ndarray,
) -> tuple[float, float]:
    mean = 0.0
    for i in range(first, marginal.size):
        mean += i * marginal[i]
    mean /= total
    variance = 0.0
    for i in range(first, marginal.size):
        variance += marginal[i] * (i - mean) ** 2
    variance /= total
    prominence = 0.0
    shade = 0.0
    tendency = 0.0
    sum_squares = 0.0
    for k in range(2 * first, sums.size):
        d = k - 2.0 * mean
        square = d * d * sums[k]
        tendency += square
        shade += square * d
        prominence += square * d * d
        sum_squares += np.float64(k) * k * sums[k]
    contrast = 0.0
    for k in range(differences.size):
        contrast += np.float64(k) * k * differences[k]
    # 4 i j = (i + j)^2 - (i - j)^2, and the same for the deviations from the mean.
    out[0] += (sum_squares - contrast) / 4.0 / total
    out[2] += prominence / total
    out[3] += shade / total
    out[4] += tendency / total
    out[6] += (tendency - contrast) / 4.0 / total / variance if variance > 0.0 else 1.0
    return mean, variance


@kernel
def _distance_variance(total: float, differences: np.ndarray, shares: np.ndarray) -> float:
    average = 0.0
    for k in range(differences.size):
        average += k * differences[k]
    average /= total
    variance = 0.0
    for k in range(differences.size):
        share = differences[k] / total
        shares[k] += share
        variance += share * (k - average) ** 2
    return variance


@kernel
def _add_distances(shares: np.ndarray, n_levels: int, out: np.ndarray) -> None:
    # What is linear in the distribution of differences, of all directions at once.
    for k in range(shares.size):
        p = shares[k]
        distance = np.float64(k)
        square = distance * distance
        out[5] += p * square
        out[7] += p * distance
        out[14] += p / (1.0 + square)
        out[16] += p / (1.0 + square / np.float64(n_levels) ** 2)
        out[17] += p / (1.0 + distance)
        out[18] += p / (1.0 + distance / n_levels)
        if k > 0:
            out[19] += p / square
