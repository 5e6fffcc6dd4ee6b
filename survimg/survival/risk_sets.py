r"""Cox's log partial likelihood with its derivatives, by sums over the risk sets.

.. math:: \ell(\beta) = \sum_{i: \delta_i = 1} w_i \Big( \eta_i - \log \sum_{j: t_j \ge t_i}
          w_j e^{\eta_j} \Big), \qquad \eta = X \beta + \text{offset}

with Breslow's or Efron's approximation where event times are tied.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["RiskSetSums", "RiskSets", "Ties"]

Ties = Literal["efron", "breslow"]


class RiskSets:
    """The risk sets of some patients.

    Every event contributes one *row*: its event time, and for Efron's ties the fraction ``l / d``
    by which the patients dying at that time are taken out of the risk set. Weighted events at one
    time weigh the average of their weights, as in R's ``coxph``.

    Parameters
    ----------
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,)
    weight : ndarray of shape (n,), optional
        Positive case weights.
    ties : {"efron", "breslow"}, default="efron"

    Attributes
    ----------
    event_times : ndarray of shape (m,)
        Distinct event times, increasing.
    block : ndarray of shape (n_rows,), int
        Position of each row's time in `event_times`.
    row_weight : ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        No event, or unknown `ties`.

    References
    ----------
    Breslow N. Covariance analysis of censored survival data. Biometrics 1974;30:89-99. Efron B.
    The efficiency of Cox's likelihood function for censored data. J Am Stat Assoc 1977;72:557-565.
    """

    def __init__(
        self,
        event: np.ndarray,
        time: np.ndarray,
        weight: np.ndarray | None = None,
        ties: Ties = "efron",
    ) -> None:
        if ties not in ("efron", "breslow"):
            raise ValueError(f"ties must be 'efron' or 'breslow'; got {ties!r}.")
        if not event.any():
            raise ValueError(f"All {event.size} patients are censored; there is no risk set.")
        # Of equal times the deaths come first: who remains is then the rest of the list.
        self._order = np.lexsort((~event, time))
        event, time = event[self._order], time[self._order]
        self._weight = np.ones(time.size) if weight is None else weight[self._order].astype(float)
        self._deaths = np.flatnonzero(event)
        self.event_times, self._first_row, self.block, n_deaths = np.unique(
            time[event], return_index=True, return_inverse=True, return_counts=True
        )
        if ties == "efron":
            within = np.arange(self.block.size) - self._first_row[self.block]
            self._fraction = within / n_deaths[self.block]
        else:
            self._fraction = np.zeros(self.block.size)
        died = np.bincount(self.block, self._weight[self._deaths])
        self.row_weight = (died / n_deaths)[self.block]
        self._survivors = self._deaths[self._first_row + n_deaths - 1] + 1
        self._rows_seen = np.searchsorted(time[event], time, side="right")

    def log_likelihood(self, log_risk: np.ndarray) -> np.ndarray:
        """Log partial likelihood; on logarithms, so that any finite log-risks will do.

        Parameters
        ----------
        log_risk : ndarray of shape (n,) or (n, k)
            Log-hazard ratios of the patients, by one model or by k.

        Returns
        -------
        ndarray of shape () or (k,)
        """
        log_risk_of_deaths = self._weight[self._deaths] @ log_risk[self._order][self._deaths]
        likelihood: np.ndarray = log_risk_of_deaths - self.row_weight @ self._log_totals(log_risk)
        return likelihood

    def saturated_log_likelihood(self) -> float:
        """Log partial likelihood of one parameter per patient (Breslow's ties); 0 without ties."""
        died = np.bincount(self.block, self.row_weight)
        return -float(died @ np.log(died))

    def log_hazard_steps(self, log_risk: np.ndarray) -> np.ndarray:
        """Logarithm of each row's step of the cumulative baseline hazard, shape (n_rows,)."""
        return np.log(self.row_weight) - self._log_totals(log_risk)

    def log_baseline_hazard(self, log_risk: np.ndarray) -> np.ndarray:
        r"""Logarithm of the cumulative baseline hazard at `event_times`.

        .. math:: H_0(t) = \sum_{t_k \le t} \frac{d_k}{\sum_{j : t_j \ge t_k} e^{\eta_j}}

        for Breslow's ties (discussion of Cox, J R Stat Soc B 34:187-220, 1972); for Efron's the
        denominators of his likelihood.

        Parameters
        ----------
        log_risk : ndarray of shape (n,)

        Returns
        -------
        ndarray of shape (m,)
        """
        steps = np.logaddexp.reduceat(self.log_hazard_steps(log_risk), self._first_row)
        return np.logaddexp.accumulate(steps)

    def at(self, X: np.ndarray, log_risk: np.ndarray) -> RiskSetSums:
        """Form the sums that derivatives are made of.

        Parameters
        ----------
        X : ndarray of shape (n, p)
            Covariates; centred ones keep more digits.
        log_risk : ndarray of shape (n,)
        """
        return RiskSetSums(self, X[self._order], log_risk[self._order])

    def _log_totals(self, log_risk: np.ndarray) -> np.ndarray:
        """Logarithm of each row's weighted sum of risks, shape (n_rows,) or (n_rows, k)."""
        columns = log_risk[self._order].reshape(log_risk.shape[0], -1)
        columns = columns + np.log(self._weight)[:, np.newaxis]
        remaining = np.logaddexp.accumulate(columns[::-1], axis=0)[::-1]
        remaining = np.vstack([remaining, np.full((1, columns.shape[1]), -np.inf)])
        dying = np.logaddexp.reduceat(columns[self._deaths], self._first_row, axis=0)
        share = np.log1p(-self._fraction)[:, np.newaxis]
        totals = np.logaddexp(
            remaining[self._survivors][self.block], dying[self.block] + share
        )
        return totals.reshape(-1, *log_risk.shape[1:])


class RiskSetSums:
    """Score and information of the log partial likelihood at given log-risks.

    Parameters
    ----------
    sets : RiskSets
    X : ndarray of shape (n, p)
    log_risk : ndarray of shape (n,)
        Both in the order of `sets`; `RiskSets.at` sees to it.

    Attributes
    ----------
    mean : ndarray of shape (n_rows, p)
        Mean covariates of each row's risk set, weighted by risk.
    """

    def __init__(self, sets: RiskSets, X: np.ndarray, log_risk: np.ndarray) -> None:
        self._sets, self._X = sets, X
        # The largest risk cancels; exp cannot overflow.
        self._risk = sets._weight * np.exp(log_risk - log_risk.max())
        self._total = self._over_rows(self._risk[:, np.newaxis])
        self.mean = self._over_rows(self._risk[:, np.newaxis] * X) / self._total

    def score(self, row_factor: np.ndarray | float = 1.0) -> np.ndarray:
        """Score vector, shape (p,), each row multiplied by `row_factor` (n_rows,)."""
        sets = self._sets
        death_weights = sets._weight[sets._deaths] * row_factor
        return death_weights @ self._X[sets._deaths] - (sets.row_weight * row_factor) @ self.mean

    def information(self, row_factor: np.ndarray | float = 1.0) -> np.ndarray:
        """Observed information, (p, p), each row multiplied by `row_factor` (n_rows,)."""
        sets = self._sets
        row = sets.row_weight * row_factor
        hazard = row / self._total[:, 0]
        # A patient enters the second moments of all rows up to its time, less the Efron fraction
        # at the time of its own death.
        passed = np.concatenate(([0.0], np.cumsum(hazard)))[sets._rows_seen]
        passed[sets._deaths] -= np.bincount(sets.block, hazard * sets._fraction)[sets.block]
        second = (self._X * (self._risk * passed)[:, np.newaxis]).T @ self._X
        return second - (self.mean * row[:, np.newaxis]).T @ self.mean

    def _over_rows(self, values: np.ndarray) -> np.ndarray:
        sets = self._sets
        remaining = np.cumsum(values[::-1], axis=0)[::-1]
        remaining = np.vstack([remaining, np.zeros((1, values.shape[1]))])
        dying = np.add.reduceat(values[sets._deaths], sets._first_row, axis=0)
        share = (1.0 - sets._fraction)[:, np.newaxis]
        return remaining[sets._survivors][sets.block] + share * dying[sets.block]
