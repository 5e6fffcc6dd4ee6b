"""Kaplan-Meier estimate of survival, with Greenwood's variance, and of censoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from survimg.evaluation.estimates import check_level
from survimg.evaluation.predictions import check_weights
from survimg.target import as_times, check_outcome

__all__ = ["CensoringDistribution", "KaplanMeier", "kaplan_meier"]

Limit = Literal["left", "right"]


@dataclass(frozen=True)
class KaplanMeier:
    """Kaplan-Meier estimate of one group.

    Attributes
    ----------
    time : ndarray of shape (m,)
        Distinct observed times, increasing.
    survival : ndarray of shape (m,)
        S(t) from each time on.
    lower, upper : ndarray of shape (m,)
        Pointwise confidence limits; NaN where Greenwood's variance is undefined (S = 0), as in R.
    n_at_risk, n_events, n_censored : ndarray of shape (m,)
        Just before, and at, each time (sums of weights if weighted).
    variance : ndarray of shape (m,)
        Greenwood variance of log S(t).
    level : float
    """

    time: np.ndarray
    survival: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    n_at_risk: np.ndarray
    n_events: np.ndarray
    n_censored: np.ndarray
    variance: np.ndarray
    level: float

    def at(self, times: npt.ArrayLike) -> np.ndarray:
        """S(t) at any times up to the end of follow-up.

        Raises
        ------
        ValueError
            A time beyond the last observation while S is above 0 there: not estimable.
        """
        return self._step(self.survival, times, before=1.0)

    def standard_error_at(self, times: npt.ArrayLike) -> np.ndarray:
        """Greenwood standard error of S(t), undefined (NaN) where S(t) = 0."""
        survival = self.at(times)
        return survival * np.sqrt(self._step(self.variance, times, before=0.0))

    def number_at_risk(self, times: npt.ArrayLike) -> np.ndarray:
        """Patients (or weight) still under observation just before each of `times`."""
        grid = np.atleast_1d(as_times(times, "times"))
        position = np.searchsorted(self.time, grid, side="left")
        return np.append(self.n_at_risk, 0)[position]

    @property
    def median(self) -> float:
        """Earliest time with S(t) <= 0.5.

        Raises
        ------
        ValueError
            S(t) stays above 0.5 throughout follow-up.
        """
        below = np.flatnonzero(self.survival <= 0.5 + 1e-12)
        if not below.size:
            raise ValueError(
                f"Median survival is not reached: S({self.time[-1]:g}) = {self.survival[-1]:.3f}."
            )
        return float(self.time[below[0]])

    def _step(self, values: np.ndarray, times: npt.ArrayLike, before: float) -> np.ndarray:
        grid = np.atleast_1d(as_times(times, "times"))
        if np.any(grid < 0) or not np.all(np.isfinite(grid)):
            raise ValueError("times must be finite and non-negative.")
        if np.any(grid > self.time[-1]) and self.survival[-1] > 0:
            raise ValueError(
                f"Survival beyond the last observation ({self.time[-1]:g}) is not estimable; asked "
                f"for {grid.max():g}. Choose times within follow-up."
            )
        position = np.searchsorted(self.time, grid, side="right")
        return np.concatenate(([before], values))[position]


def kaplan_meier(
    y: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    interval: Literal["log", "log-log", "plain"] = "log-log",
) -> KaplanMeier:
    r"""Kaplan-Meier estimate with pointwise confidence intervals.

    .. math:: \hat S(t) = \prod_{t_k \le t} (1 - d_k / n_k), \qquad
              \widehat{var} \log \hat S(t) = \sum_{t_k \le t} \frac{d_k}{n_k (n_k - d_k)}

    Parameters
    ----------
    y : structured array of shape (n,)
    sample_weight : array-like of shape (n,), optional
        Whole weights act like repeated patients; patients of weight 0 are left out.
    level : float, default=0.95
    interval : {"log-log", "log", "plain"}, default="log-log"
        Scale of the normal interval. "log-log" stays inside (0, 1); R's default is "log".

    Returns
    -------
    KaplanMeier

    References
    ----------
    .. [1] Kaplan EL, Meier P. J Am Stat Assoc 1958;53:457-481.
    .. [2] Kalbfleisch JD, Prentice RL. The Statistical Analysis of Failure Time Data, 2002,
       section 1.4 (log-log interval).
    """
    z = check_level(level)
    event, observed = check_outcome(y)
    _require_patients(event.size)
    weight = check_weights(sample_weight, event.size, y)
    positive = weight > 0
    event, observed, weight = event[positive], observed[positive], weight[positive]
    time, at = np.unique(observed, return_inverse=True)
    n_events = np.bincount(at, weight * event, minlength=time.size)
    n_censored = np.bincount(at, weight * ~event, minlength=time.size)
    n_at_risk = np.cumsum((n_events + n_censored)[::-1])[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        hazard = n_events / n_at_risk
        survival = np.cumprod(1 - hazard)
        variance = np.cumsum(np.where(n_events > 0, hazard / (n_at_risk - n_events), 0.0))
        lower, upper = _limits(survival, np.sqrt(variance), z, interval)
    variance = np.where(np.isfinite(variance), variance, np.nan)
    return KaplanMeier(
        time, survival, lower, upper, n_at_risk, n_events, n_censored, variance, level
    )


def _limits(
    survival: np.ndarray, error: np.ndarray, z: float, interval: str
) -> tuple[np.ndarray, np.ndarray]:
    """Limits from the standard error of log S; NaN where that is infinite."""
    if interval == "plain":
        lower, upper = survival * (1 - z * error), survival * (1 + z * error)
    elif interval == "log":
        lower, upper = survival * np.exp(-z * error), survival * np.exp(z * error)
    elif interval == "log-log":
        margin = z * error / np.log(survival)
        lower, upper = survival ** np.exp(-margin), survival ** np.exp(margin)
        lower, upper = np.where(error == 0, 1.0, lower), np.where(error == 0, 1.0, upper)
    else:
        raise ValueError(f"interval must be 'log-log', 'log' or 'plain'; got {interval!r}.")
    undefined = ~np.isfinite(error)
    clipped = np.clip(lower, 0, 1), np.clip(upper, 0, 1)
    return np.where(undefined, np.nan, clipped[0]), np.where(undefined, np.nan, clipped[1])


class CensoringDistribution:
    r"""Kaplan-Meier estimate G(t) of remaining uncensored, for inverse-probability weights.

    Events at a censoring time are counted before the censoring, so a patient with the event at t
    was observed exactly when the censoring time is at least t: its weight is :math:`1/G(t-)`.

    Parameters
    ----------
    y : structured array of shape (n,)
        Outcomes of the cohort that estimates the censoring; the *training* fold when a model is
        validated on another.
    limit : {"left", "right"}, default="left"
        Whether events are weighted by :math:`G(t-)` (Robins & Rotnitzky; R's pec and survival) or
        by :math:`G(t)` as scikit-survival does. They differ only where an event and a censoring
        share a time.
    """

    def __init__(self, y: npt.ArrayLike, limit: Limit = "left") -> None:
        if limit not in ("left", "right"):
            raise ValueError(f"censoring limit must be 'left' or 'right'; got {limit!r}.")
        event, time = check_outcome(y)
        _require_patients(event.size)
        self.limit = limit
        self.time, at = np.unique(time, return_inverse=True)
        n_events = np.bincount(at, event, minlength=self.time.size)
        n_censored = np.bincount(at, ~event, minlength=self.time.size)
        self.n_at_risk = np.cumsum((n_events + n_censored)[::-1])[::-1] - n_events
        self.hazard = np.divide(
            n_censored, self.n_at_risk, where=self.n_at_risk > 0, out=np.zeros(self.time.size)
        )
        self.probability = np.cumprod(1 - self.hazard)
        self.last_time = float(self.time[-1])
        positive = np.flatnonzero(self.probability > 0)
        # G drops to 0 at the last time when that is a censoring; weights exist only before it.
        self.positive_until = self.last_time if self.probability[-1] > 0 else (
            float(self.time[positive[-1] + 1]) if positive.size else float(self.time[0])
        )

    def at(self, times: npt.ArrayLike) -> np.ndarray:
        """G(t), right-continuous.

        Raises
        ------
        ValueError
            A time beyond the last one observed while G is above 0 there.
        """
        return self._lookup(times, "right")

    def before(self, times: npt.ArrayLike) -> np.ndarray:
        """G(t-), the left limit. Raises as `at`."""
        return self._lookup(times, "left")

    def event_weights(self, event: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Inverse-probability weights of patients: 0 if censored, ``1 / G`` at their event.

        Raises
        ------
        ValueError
            An event later than the censoring distribution reaches, or where G is 0.
        """
        weights = np.zeros(time.size)
        if event.any():
            probability = (self.before if self.limit == "left" else self.at)(time[event])
            if np.any(probability <= 0):
                raise ValueError(
                    f"The censoring distribution is 0 at time {time[event][probability <= 0][0]:g}:"
                    " no training patient was followed beyond it. Truncate follow-up (tau=, "
                    f"horizons) before {self.positive_until:g}."
                )
            weights[event] = 1 / probability
        return weights

    def _lookup(self, times: npt.ArrayLike, side: Literal["left", "right"]) -> np.ndarray:
        grid = np.atleast_1d(as_times(times, "times"))
        if np.any(grid > self.last_time) and self.probability[-1] > 0:
            raise ValueError(
                f"Time {grid.max():g} exceeds the last time ({self.last_time:g}) of the cohort "
                "that estimates the censoring distribution. Truncate follow-up (tau=, horizons)."
            )
        position = np.searchsorted(self.time, grid, side=side)
        return np.concatenate(([1.0], self.probability))[position]


def _require_patients(n: int) -> None:
    if n == 0:
        raise ValueError("y holds no patient.")
