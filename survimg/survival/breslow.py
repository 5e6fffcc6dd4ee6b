"""Breslow's baseline hazard, computed on logarithms."""

from __future__ import annotations

import numpy as np
from sksurv.functions import StepFunction

__all__ = ["BreslowBaseline"]

# exp beyond it overflows; a cumulative hazard of e^700 is a survival of exactly 0 anyway.
_LARGEST_LOG_HAZARD = 700.0


class BreslowBaseline:
    r"""Cumulative baseline hazard of a proportional-hazards model.

    .. math:: H_0(t) = \sum_{t_k \le t} \frac{d_k}{\sum_{j : t_j \ge t_k} e^{r_j}}

    with :math:`d_k` events at the distinct times :math:`t_k` and risks :math:`r_j` (Breslow,
    discussion of Cox, J R Stat Soc B 34:187-220, 1972). Sums are accumulated from the last time
    backwards and on logarithms: risks of a network may spread over many orders of magnitude, where
    subtracting from a running sum loses the last risk sets entirely.

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
        order = np.argsort(time, kind="stable")
        times, first = np.unique(time[order], return_index=True)
        log_at_risk = np.logaddexp.accumulate(risk[order][::-1])[::-1][first]
        n_events = np.add.reduceat(event[order].astype(np.float64), first)
        log_steps = np.full(len(times), -np.inf)
        log_steps[n_events > 0] = (np.log(n_events[n_events > 0])) - log_at_risk[n_events > 0]
        self.unique_times_ = times
        self.log_cumulative_hazard_ = np.logaddexp.accumulate(log_steps)

    def cumulative_hazard(self, risk: np.ndarray) -> np.ndarray:
        """Return H(t | x) = H0(t) exp(risk) at `unique_times_`, shape (n, n_times)."""
        exponent = self.log_cumulative_hazard_ + np.asarray(risk)[:, np.newaxis]
        hazard: np.ndarray = np.exp(np.minimum(exponent, _LARGEST_LOG_HAZARD))
        return hazard

    def survival(self, risk: np.ndarray) -> np.ndarray:
        """Return S(t | x) = exp(-H(t | x)) at `unique_times_`, shape (n, n_times)."""
        survival: np.ndarray = np.exp(-self.cumulative_hazard(risk))
        return survival

    def as_functions(self, values: np.ndarray) -> np.ndarray:
        """Wrap rows of values at `unique_times_` into scikit-survival's step functions."""
        functions = np.empty(len(values), dtype=object)
        for i, row in enumerate(values):
            functions[i] = StepFunction(self.unique_times_, row)
        return functions
