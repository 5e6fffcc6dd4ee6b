"""Means and scales of columns, and the one rule that says which columns are constant."""

from __future__ import annotations

import numpy as np

__all__ = ["column_scale", "is_constant"]

# Rounding leaves 0.1, taken from its own mean, at 1e-17: equal values differ by this part at most.
_ROUNDING = 1e-12


def is_constant(values: np.ndarray) -> np.ndarray:
    """Tell which columns hold one value, but for rounding.

    The range decides: the standard deviation of equal values need not come out as 0.

    Parameters
    ----------
    values : ndarray of shape (n, p)

    Returns
    -------
    ndarray of shape (p,), bool
    """
    return np.ptp(values, axis=0) <= _ROUNDING * np.abs(values).max(axis=0)


def column_scale(values: np.ndarray, *, keep_indicators: bool = False) -> np.ndarray:
    """Return what each column is divided by: its standard deviation, with divisor n.

    Parameters
    ----------
    values : ndarray of shape (n, p)
    keep_indicators : bool, default=False
        Leave columns of zeros and ones as they are. A penalty on log-hazard ratios per standard
        deviation would penalise rare levels least.

    Returns
    -------
    ndarray of shape (p,)
        1 for a constant column, which carries nothing, and stays finite.
    """
    as_it_is = is_constant(values)
    if keep_indicators:
        as_it_is |= ((values == 0) | (values == 1)).all(axis=0)
    return np.where(as_it_is, 1.0, values.std(axis=0))
