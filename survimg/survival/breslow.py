"""Curves of a proportional-hazards model, from risks by Breslow's baseline hazard."""

from __future__ import annotations

import numpy as np

from survimg.survival.curves import from_zero
from survimg.survival.risk_sets import RiskSets

__all__ = ["BreslowBaseline"]

# exp beyond it overflows; a cumulative hazard of e^700 is a survival of exactly 0 anyway.
_LARGEST_LOG_HAZARD = 700.0


class BreslowBaseline:
    """Cumulative baseline hazard of a proportional-hazards model, by `RiskSets`.

    Risks of a network may spread over many orders of magnitude, so that all is computed on
    logarithms.

    Parameters
    ----------
    risk : ndarray of shape (n,)
        Log-hazard ratios of the training patients.
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,)

    Attributes
    ----------
    unique_times_ : ndarray of shape (n_times,)
        Distinct observed times, increasing.
    log_cumulative_hazard_ : ndarray of shape (n_times,)
        log H0; minus infinity before the first event.
    """

    def __init__(self, risk: np.ndarray, event: np.ndarray, time: np.ndarray) -> None:
        sets = RiskSets(event, time, ties="breslow")
        log_hazard = np.concatenate(([-np.inf], sets.log_baseline_hazard(risk)))
        self.unique_times_ = np.unique(time)
        position = np.searchsorted(sets.event_times, self.unique_times_, side="right")
        self.log_cumulative_hazard_ = log_hazard[position]

    @property
    def times(self) -> np.ndarray:
        """Times at which curves are given: 0 and the observed ones."""
        return np.union1d([0.0], self.unique_times_)

    def cumulative_hazard(self, risk: np.ndarray) -> np.ndarray:
        """Return H(t | x) = H0(t) exp(risk) at `times`, shape (n, n_times)."""
        exponent = self.log_cumulative_hazard_ + np.asarray(risk)[:, np.newaxis]
        hazard = np.exp(np.minimum(exponent, _LARGEST_LOG_HAZARD))
        return from_zero(self.unique_times_, hazard, 0.0)[1]

    def survival(self, risk: np.ndarray) -> np.ndarray:
        """Return S(t | x) = exp(-H(t | x)) at `times`, shape (n, n_times)."""
        survival: np.ndarray = np.exp(-self.cumulative_hazard(risk))
        return survival
