"""Calibration slope: what turns a risk into a log-hazard ratio."""

from __future__ import annotations

import numpy as np

from survimg.survival.cox import maximise_partial_likelihood
from survimg.survival.risk_sets import RiskSets

__all__ = ["calibration_slope", "cautious_slope"]

# Log-hazard ratio per standard deviation of a risk; Cox models in use stay far below.
_LARGEST = 5.0
# How far slopes of networks lie from 1 on new patients: 0.14 to 0.6 (benchmarks/README.md).
_SPREAD = 0.3


def calibration_slope(risk: np.ndarray, event: np.ndarray, time: np.ndarray) -> float:
    """Cox coefficient of one risk, for patients that it was not fitted on.

    1 if the risk is a log-hazard ratio, below 1 if it is too extreme, above 1 if it is too timid
    (van Houwelingen, Stat Med 19:3401-3415, 2000).

    Parameters
    ----------
    risk : ndarray of shape (n,)
        Higher = earlier event.
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,)

    Returns
    -------
    float
        Between 0, for a risk that ranks these patients no better than chance or is equal for all,
        and 5 per standard deviation of the risk: of patients that it ranks perfectly there is no
        largest likelihood.
    """
    mean, scale = float(np.mean(risk)), float(np.std(risk))
    if not scale > 1e-12 * max(1.0, abs(mean)):  # equal but for rounding
        return 0.0
    score = (risk - mean) / scale
    sets, X = RiskSets(event, time, ties="breslow"), score[:, np.newaxis]
    # The likelihood is concave: its derivatives at both ends say whether the maximum is inside.
    if not sets.at(X, 0 * score).score()[0] > 0:
        return 0.0
    if sets.at(X, _LARGEST * score).score()[0] >= 0:
        return _LARGEST / scale
    fit = maximise_partial_likelihood(X, event, time, ties="breslow")
    return float(fit.coefficients[0]) / scale


def cautious_slope(risk: np.ndarray, event: np.ndarray, time: np.ndarray) -> float:
    r"""Calibration slope of a log-hazard ratio, nearer to 1 the less the patients tell of it.

    The slope b of few patients is so uncertain that it would spoil more than it mends. It maximises

    .. math:: \ell(b) - \frac{(b - 1)^2}{2 \cdot 0.3^2}, \qquad b \ge 0,

    with the log partial likelihood :math:`\ell`: the mode under a normal prior around 1.

    Parameters
    ----------
    risk : ndarray of shape (n,)
        Finite; higher = earlier event.
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,)

    Returns
    -------
    float
        1 without an event.
    """
    if not event.any():
        return 1.0
    sets, centred = RiskSets(event, time, ties="breslow"), risk - np.mean(risk)
    X = centred[:, np.newaxis]

    def rises(slope: float) -> bool:
        return bool(sets.at(X, slope * centred).score()[0] > (slope - 1) / _SPREAD**2)

    low, high = 0.0, 1.0
    while rises(high):
        low, high = high, 2 * high
    for _ in range(60):  # the function is concave: halve the interval around its maximum
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) else (low, middle)
    return (low + high) / 2 if high > 1e-15 else 0.0
