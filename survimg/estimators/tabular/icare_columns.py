"""What a member of ICARE asks of a column: is it redundant, and which way does it point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

__all__ = ["Signs", "redundant", "usable"]

_COLUMNS_AT_ONCE = 512
_PERCENTILES = np.linspace(10, 81, 25)


def usable(features: np.ndarray) -> np.ndarray:
    """Whether a column has two different values, shape (p,); NaN is no value."""
    low = np.fmin.reduce(features, axis=0)
    return np.fmax.reduce(features, axis=0) > low


def redundant(features: np.ndarray, rho: float, *, ranked: bool) -> np.ndarray:
    """Whether the absolute correlation of a column with an earlier one exceeds `rho`, shape (p,).

    Over the patients that have both; `ranked` takes the ranks of each column's own patients.
    """
    present = np.isfinite(features)
    if ranked:
        features = rankdata(features, axis=0, nan_policy="omit")
    centred = np.where(present, features - np.nanmean(features, axis=0), 0.0)
    drop = np.zeros(features.shape[1], dtype=bool)
    for start in range(0, drop.size, _COLUMNS_AT_ONCE):
        stop = min(start + _COLUMNS_AT_ONCE, drop.size)
        block, earlier = slice(start, stop), slice(0, stop)
        size = np.abs(_correlation(centred, present, block, earlier))
        later = np.arange(stop) < np.arange(start, stop)[:, np.newaxis]
        drop[block] = ((size > rho) & later).any(axis=1)
    return drop


class Signs:
    """The direction of one column after the other, judged by the same patients.

    Parameters
    ----------
    event, time : ndarray of shape (n,)
    methods : sequence of {"harrell", "uno", "auc"}
    cmin : float or None
        Least mean score of the better direction.
    """

    def __init__(
        self,
        event: np.ndarray,
        time: np.ndarray,
        methods: Sequence[str],
        cmin: float | None,
    ) -> None:
        self.event, self.time = event, time
        self.methods, self.cmin = methods, cmin
        self._weights = self._pair_weights(np.ones(time.size, dtype=bool))

    def sign(self, column: np.ndarray) -> int:
        """Return -1 or 1, or 0 for a column that is not to be used; shape (n,), NaN is no value."""
        there = np.isfinite(column)
        weights = self._weights if there.all() else self._pair_weights(there)
        scores = [_score(column[there], self.event[there], weight) for weight in weights]
        if any(np.isnan(scores)):
            return 0
        signs = {-1 if score < 0.5 else 1 for score in scores}
        better = float(np.mean([max(score, 1 - score) for score in scores]))
        weak = self.cmin is not None and better < self.cmin
        return 0 if weak or len(signs) > 1 else signs.pop()

    def _pair_weights(self, there: np.ndarray) -> list[np.ndarray]:
        return [_pair_weights(m, self.event[there], self.time[there]) for m in self.methods]


def _correlation(
    centred: np.ndarray, present: np.ndarray, rows: slice, columns: slice
) -> np.ndarray:
    a, b = centred[:, rows], centred[:, columns]
    there_a, there_b = present[:, rows].astype(float), present[:, columns].astype(float)
    n = np.maximum(there_a.T @ there_b, 1)
    sum_a, sum_b = a.T @ there_b, there_a.T @ b
    covariance = a.T @ b - sum_a * sum_b / n
    variance_a = (a**2).T @ there_b - sum_a**2 / n
    variance_b = there_a.T @ b**2 - sum_b**2 / n
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = covariance / np.sqrt(variance_a * variance_b)
    # No two patients in common, or equal values among them: nothing says that one is redundant.
    return np.nan_to_num(correlation, nan=0.0, posinf=0.0, neginf=0.0)


def _score(column: np.ndarray, event: np.ndarray, weight: np.ndarray) -> float:
    """Part of the pairs in which the earlier event has the higher value; ties count one half."""
    total = weight.sum()
    if not total > 0:
        return float("nan")
    balance = np.sign(column[event, np.newaxis] - column)
    return float(0.5 + np.vdot(weight, balance) / (2 * total))


def _pair_weights(method: str, event: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Weight of each pair of an event and a later patient, shape (n_events, n).

    Each of the three scores is a weighted part of concordant pairs.
    """
    if method == "harrell":
        return _comparable(event, time).astype(float)
    inverse = _inverse_censoring(event, time)[event]
    if method == "uno":
        return _comparable(event, time) * (inverse**2)[:, np.newaxis]
    weight = np.zeros((inverse.size, time.size))
    for horizon in np.percentile(time, _PERCENTILES):
        cases = np.where(time[event] <= horizon, inverse, 0.0)
        controls = (time > horizon).astype(float)
        total = cases.sum() * controls.sum()
        if total > 0:
            weight += np.outer(cases, controls) / total
    return weight


def _comparable(event: np.ndarray, time: np.ndarray) -> np.ndarray:
    of_event = time[event, np.newaxis]
    # Who is censored at the very time of an event outlives it.
    return (time > of_event) | ((time == of_event) & ~event)


def _inverse_censoring(event: np.ndarray, time: np.ndarray) -> np.ndarray:
    """1 / G(t-), with Kaplan-Meier's estimate G of being uncensored; 0 where G is 0."""
    times = np.unique(time)
    at_risk = (time >= times[:, np.newaxis]).sum(axis=1)
    # Events precede censorings at the same time.
    events = ((time == times[:, np.newaxis]) & event).sum(axis=1)
    censored = ((time == times[:, np.newaxis]) & ~event).sum(axis=1)
    left = 1 - censored / np.maximum(at_risk - events, 1)
    before = np.concatenate([[1.0], np.cumprod(left)[:-1]])
    at_time = before[np.searchsorted(times, time)]
    return np.divide(1.0, at_time, out=np.zeros(time.size), where=at_time > 0)
