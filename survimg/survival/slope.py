"""The log-hazard ratio per standard deviation of a risk that is on no particular scale."""

from __future__ import annotations

import numpy as np

from survimg.survival.cox import maximise_partial_likelihood
from survimg.survival.risk_sets import RiskSets

__all__ = ["cox_slope"]

# Log-hazard ratio per standard deviation of a risk; Cox models in use stay far below.
_LARGEST_SLOPE = 5.0


def cox_slope(score: np.ndarray, event: np.ndarray, time: np.ndarray) -> float:
    """Cox coefficient of one score of standard deviation 1, between 0 and 5.

    Parameters
    ----------
    score : ndarray of shape (n,)
    event : ndarray of shape (n,), bool
        At least one.
    time : ndarray of shape (n,)

    Returns
    -------
    float
        0 where a higher score does not go with earlier events.
    """
    sets, X = RiskSets(event, time, ties="breslow"), score[:, np.newaxis]
    # The likelihood is concave: its derivatives at both ends say whether the maximum is inside.
    if not sets.at(X, 0 * score).score()[0] > 0:
        return 0.0
    if sets.at(X, _LARGEST_SLOPE * score).score()[0] >= 0:
        return _LARGEST_SLOPE
    return float(maximise_partial_likelihood(X, event, time, ties="breslow").coefficients[0])
