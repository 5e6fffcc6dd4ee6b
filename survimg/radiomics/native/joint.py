"""Features of co-occurrence matrices that are weighted or not symmetric.

The formulas of `survimg.radiomics.native.cooccurrence` without its assumption that rows and columns
are alike. Sources: Haralick et al. (1973), Soh and Tsatsoulis (1999).
"""

from __future__ import annotations

import numpy as np

__all__ = ["joint_features"]


def joint_features(matrices: np.ndarray, n_present: int, with_mcc: bool) -> np.ndarray:
    """Return the 24 features of class glcm, averaged over matrices.

    Parameters
    ----------
    matrices : ndarray of shape (n, levels + 1, levels + 1), float64
        Counts or weighted counts of (level, level of the neighbour after it); row and column 0
        are unused.
    n_present : int
        Number of different grey levels in the region.
    with_mcc : bool
        Whether to compute MCC; NaN without.

    Returns
    -------
    ndarray of shape (24,)
        Matrices without a pair are left out; NaN when none is left.
    """
    n_levels = matrices.shape[1] - 1
    used = [counts[1:, 1:] for counts in matrices if counts[1:, 1:].sum() > 0]
    if not used:
        return np.full(24, np.nan)
    values = [
        _features(counts / counts.sum(), n_levels, n_present, with_mcc) for counts in used
    ]
    return np.asarray(np.mean(values, axis=0))


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return -float(np.sum(p * np.log2(p)))


def _features(p: np.ndarray, n_levels: int, n_present: int, with_mcc: bool) -> np.ndarray:
    i, j = (axis.ravel() for axis in np.indices(p.shape) + 1.0)
    joint = p.ravel()
    of_row, of_column = p.sum(axis=1), p.sum(axis=0)
    levels = np.arange(1.0, n_levels + 1)
    row_mean, column_mean = float(levels @ of_row), float(levels @ of_column)
    row_variance = float((levels - row_mean) ** 2 @ of_row)
    column_variance = float((levels - column_mean) ** 2 @ of_column)
    covariance = float(((i - row_mean) * (j - column_mean)) @ joint)
    deviation = np.sqrt(row_variance * column_variance)
    sums = np.bincount((i + j).astype(np.intp), weights=joint)
    differences = np.bincount(np.abs(i - j).astype(np.intp), weights=joint)
    k = np.arange(differences.size, dtype=np.float64)
    average = float(k @ differences)
    spread = i + j - row_mean - column_mean
    return np.array(
        [
            float((i * j) @ joint),
            row_mean,
            float(spread**4 @ joint),
            float(spread**3 @ joint),
            float(spread**2 @ joint),
            float(k**2 @ differences),
            covariance / deviation if deviation > 0 else 1.0,
            average,
            _entropy(differences),
            float((k - average) ** 2 @ differences),
            float(joint @ joint),
            _entropy(joint),
            *_information(p, of_row, of_column),
            float((1 / (1 + k**2)) @ differences),
            _maximal_correlation(p, n_present) if with_mcc else np.nan,
            float((1 / (1 + k**2 / n_levels**2)) @ differences),
            float((1 / (1 + k)) @ differences),
            float((1 / (1 + k / n_levels)) @ differences),
            float((1 / k[1:] ** 2) @ differences[1:]),
            float(joint.max()),
            float(np.arange(sums.size) @ sums),
            _entropy(sums),
            row_variance,
        ]
    )


def _information(
    p: np.ndarray, of_row: np.ndarray, of_column: np.ndarray
) -> tuple[float, float]:
    # The entropy of the product of the margins is the sum of theirs, and so is the cross entropy.
    rows, columns, joint = _entropy(of_row), _entropy(of_column), _entropy(p.ravel())
    information = rows + columns - joint
    largest = max(rows, columns)
    first = -information / largest if largest > 0 else 0.0
    return first, float(np.sqrt(1 - np.exp(-2 * information))) if information > 0 else 0.0


def _maximal_correlation(p: np.ndarray, n_present: int) -> float:
    if n_present < 2:
        return 1.0
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    q = p[np.ix_(rows > 0, columns > 0)]
    # Eigenvalues of PyRadiomics' Q are the squared singular values of p scaled by its margins.
    scaled = q / np.sqrt(np.outer(rows[rows > 0], columns[columns > 0]))
    singular = np.linalg.svd(scaled, compute_uv=False)
    return float(singular[1]) if singular.size > 1 else 0.0
