"""Grey levels as IBSI defines them: a fixed number of bins, or a fixed width from an edge."""

from __future__ import annotations

import numpy as np

from survimg.radiomics.native.discretise import MOST_LEVELS

__all__ = ["ibsi_grey_levels"]


def ibsi_grey_levels(
    values: np.ndarray, bin_width: float | None, bin_count: int | None, first_edge: float | None
) -> tuple[np.ndarray, int]:
    """Discretise the intensities of a region.

    Parameters
    ----------
    values : ndarray of shape (n,), float64
    bin_width : float or None
        Level ``floor((x - edge) / width) + 1``.
    bin_count : int or None
        Level ``floor(count * (x - min) / (max - min)) + 1``; the maximum belongs to the last one.
        All levels are 1 where the region has one intensity.
    first_edge : float or None
        Lower edge of level 1 of bins of a given width; None: the smallest intensity.

    Returns
    -------
    levels : ndarray of shape (n,), int64
        From 1 up.
    n_levels : int
        The largest level.

    Raises
    ------
    ValueError
        A value below the first edge, or too many levels.
    """
    low, high = float(values.min()), float(values.max())
    if bin_width is None:
        count = bin_count or 0
        scale = (high - low) or 1.0
        levels = np.minimum(np.floor(count * (values - low) / scale) + 1, count)
        n_levels = float(count)
    else:
        edge = low if first_edge is None else first_edge
        if low < edge:
            raise ValueError(
                f"the smallest intensity of the region, {low:g}, lies below the first edge of the "
                f"bins, {edge:g}. Give a lower first_edge, or leave such voxels out with "
                "intensity_range"
            )
        levels = np.floor((values - edge) / bin_width) + 1
        n_levels = float(levels.max())
    if n_levels > MOST_LEVELS:
        raise ValueError(
            f"the discretisation gives {n_levels:.0f} grey levels; at most {MOST_LEVELS} are "
            "supported. Choose a larger bin_width or a smaller bin_count"
        )
    return levels.astype(np.int64), int(levels.max())
