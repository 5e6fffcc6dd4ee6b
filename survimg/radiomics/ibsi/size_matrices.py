"""IBSI's features of matrices of runs, zones, distances and dependences: the same for all four."""

from __future__ import annotations

import numpy as np

from survimg.radiomics.native.size_matrices import zone_features

__all__ = ["cell_features", "table_features"]

# IBSI's order of the features of the native engine: emphases, margins, percentage, variances,
# entropy.
_ORDER = [0, 1, 10, 11, 12, 13, 14, 15, 2, 3, 4, 5, 6, 7, 8, 9]
_PERCENTAGE = 12

_NO_CELLS = np.empty((0, 3), dtype=np.int64)


def table_features(table: np.ndarray, n_voxels: int) -> np.ndarray:
    """Return the 16 features of a matrix.

    Parameters
    ----------
    table : ndarray of shape (sizes, levels + 1), int32
        Counts; size 0 and level 0 are not used.
    n_voxels : int
        Voxels of the region, times the matrices that are merged: the percentage is counts per
        voxel, and sizes need not add up to voxels (distances do not).

    Returns
    -------
    ndarray of shape (16,)
        In the order of `FAMILIES`.
    """
    features = zone_features(table, _NO_CELLS)[_ORDER]
    features[_PERCENTAGE] = table[1:, 1:].sum() / n_voxels
    return np.asarray(features)


def cell_features(cells: np.ndarray, n_levels: int, n_voxels: int) -> np.ndarray:
    """Return the features of `table_features` of a matrix with few cells.

    Parameters
    ----------
    cells : ndarray of shape (n, 3), int64
        Level, size and count, ordered by size.
    n_levels : int
    n_voxels : int
        As in `table_features`.

    Returns
    -------
    ndarray of shape (16,)
    """
    features = zone_features(np.zeros((1, n_levels + 1), dtype=np.int32), cells)[_ORDER]
    features[_PERCENTAGE] = cells[:, 2].sum() / n_voxels
    return np.asarray(features)
