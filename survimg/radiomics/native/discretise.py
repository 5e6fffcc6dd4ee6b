"""Grey levels: bins of fixed width or fixed count, edge for edge those of PyRadiomics."""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel

__all__ = ["MOST_LEVELS", "grey_levels", "place_levels"]

#: More levels than this would need gigabytes for co-occurrence counts and mean nothing.
MOST_LEVELS = 2048


def grey_levels(
    values: np.ndarray, bin_width: float | None, bin_count: int | None
) -> tuple[np.ndarray, int]:
    """Discretise the values of a region.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Edges are computed in the type of the values, whole numbers in int64.
    bin_width : float or None
        Bins ``[k w, (k + 1) w)``, numbered from that of the minimum.
    bin_count : int or None
        Equal bins from minimum to maximum, which belongs to the last one.

    Returns
    -------
    levels : ndarray of shape (n,), uint16
        From 1 up.
    n_levels : int
        The largest level.

    Raises
    ------
    ValueError
        More than `MOST_LEVELS` levels.
    """
    low, high = values.min(), values.max()
    if np.issubdtype(values.dtype, np.integer):
        low, high = np.int64(low), np.int64(high)
    if bin_width is not None:
        n_levels = (float(high) - float(low)) / bin_width + 1
        _check_levels(n_levels)
        # As PyRadiomics computes them, in every digit.
        edges = np.arange(low - low % bin_width, high + 2 * bin_width, bin_width)
    else:
        _check_levels(float(bin_count or 0))
        first, last = (low, high) if high > low else (low - 0.5, high + 0.5)
        kind = np.result_type(first, last, values)
        kind = kind if np.issubdtype(kind, np.floating) else np.dtype(np.float64)
        edges = np.linspace(first, last, int(bin_count or 0) + 1, dtype=kind)
        edges[-1] += 1
    levels = np.empty(values.size, dtype=np.uint16)
    as_float = values.astype(np.float64, copy=False)
    return levels, int(_assign(as_float, edges.astype(np.float64, copy=False), levels))


def _check_levels(wanted: float) -> None:
    if wanted > MOST_LEVELS:
        raise ValueError(
            f"the discretisation gives {wanted:.0f} grey levels; at most {MOST_LEVELS} are "
            "supported. Choose a larger bin_width or a smaller bin_count"
        )


@kernel
def _assign(values: np.ndarray, edges: np.ndarray, levels: np.ndarray) -> int:
    n_bins = edges.size - 1
    first = edges[0]
    # Guess by division, then settle by comparison with the edges themselves.
    per_unit = 1.0 / (edges[1] - first)
    largest = 0
    for n in range(values.size):
        value = values[n]
        k = int((value - first) * per_unit)
        k = min(max(k, 0), n_bins - 1)
        while k > 0 and value < edges[k]:
            k -= 1
        while k < n_bins - 1 and value >= edges[k + 1]:
            k += 1
        levels[n] = k + 1
        largest = max(largest, k + 1)
    return largest


@kernel
def place_levels(
    levels: np.ndarray, in_block: np.ndarray, grey: np.ndarray, counts: np.ndarray
) -> None:
    """Write grey levels into a block, and count them.

    Parameters
    ----------
    levels : ndarray of shape (n,), uint16
    in_block : ndarray of shape (n,), int32
        Their positions.
    grey : ndarray of shape (block,), uint16
        Receives the levels.
    counts : ndarray of shape (levels + 1,), int64
        Zeros; receives voxels per level.
    """
    for n in range(levels.size):
        grey[np.uint64(in_block[n])] = levels[n]
        counts[levels[n]] += 1
