"""Decision curves: whether acting on a model does more good than harm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from survimg.evaluation.kaplan_meier import kaplan_meier
from survimg.evaluation.predictions import check_horizon, check_risk
from survimg.target import as_outcome, check_outcome

__all__ = ["DecisionCurve", "decision_curve"]


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit over threshold probabilities.

    Attributes
    ----------
    thresholds : ndarray of shape (m,)
        Probability of the event from which one would act.
    net_benefit : ndarray of shape (m,)
        Of treating patients by the model; treating nobody has net benefit 0.
    treat_all : ndarray of shape (m,)
        Net benefit of acting on everybody.
    share_treated : ndarray of shape (m,)
        Patients above the threshold.
    horizon : float
    """

    thresholds: np.ndarray
    net_benefit: np.ndarray
    treat_all: np.ndarray
    share_treated: np.ndarray
    horizon: float


def decision_curve(
    y: npt.ArrayLike,
    probability: npt.ArrayLike,
    horizon: float,
    thresholds: npt.ArrayLike,
) -> DecisionCurve:
    r"""Net benefit at a horizon under censoring.

    .. math:: NB(p) = \{1 - \hat S(h | \pi > p)\} P(\pi > p)
              - \hat S(h | \pi > p) P(\pi > p) \frac{p}{1 - p}

    with the Kaplan-Meier survival of the patients whose predicted probability exceeds p: true
    positives less false positives, weighted by the odds of the threshold.

    Parameters
    ----------
    y : structured array of shape (n,)
    probability : array-like of shape (n,)
        Predicted probability of the event by the horizon, 1 - S(h | x).
    horizon : float
    thresholds : array-like of shape (m,)
        Strictly between 0 and 1.

    Returns
    -------
    DecisionCurve
        Where nobody exceeds the threshold, the net benefit is that of treating nobody, 0.

    Raises
    ------
    ValueError
        Probabilities or thresholds out of range; the patients above a threshold were not followed
        up to the horizon.

    References
    ----------
    .. [1] Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-574.
    .. [2] Vickers AJ, Cronin AM, Elkin EB, Gonen M. BMC Med Inform Decis Mak 2008;8:53.
    """
    horizon = check_horizon(horizon)
    outcome = as_outcome(y)
    event, _ = check_outcome(outcome)
    predicted = check_risk(probability, event.size, name="probability", y=y)
    if np.any(predicted < 0) or np.any(predicted > 1):
        raise ValueError("probability must lie in [0, 1]; pass 1 - S(horizon), not a risk score.")
    grid = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    if grid.ndim != 1 or np.any(~((grid > 0) & (grid < 1))):
        raise ValueError("thresholds must lie strictly between 0 and 1.")
    odds = grid / (1 - grid)
    overall = float(kaplan_meier(outcome).at(horizon)[0])
    benefit, share = np.zeros(grid.size), np.zeros(grid.size)
    for k, threshold in enumerate(grid):
        above = predicted > threshold
        share[k] = above.mean()
        if above.any():
            try:
                survival = float(kaplan_meier(outcome[above]).at(horizon)[0])
            except ValueError as problem:
                raise ValueError(f"Patients above threshold {threshold:g}: {problem}") from None
            benefit[k] = share[k] * ((1 - survival) - survival * odds[k])
    return DecisionCurve(grid, benefit, (1 - overall) - overall * odds, share, horizon)
