"""Ranks in which equal values share their mean rank."""

from __future__ import annotations

import numpy as np

__all__ = ["midranks"]


def midranks(values: np.ndarray) -> np.ndarray:
    """Rank from 1; equal values get the mean of their ranks.

    As `scipy.stats.rankdata`, which takes longer to load than a report takes to be written.

    Parameters
    ----------
    values : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,), float64
    """
    _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[level]
