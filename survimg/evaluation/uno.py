"""Concordance that does not depend on the censoring (Uno), and of whole curves (Antolini)."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from survimg.evaluation.estimates import Estimate, logit_interval, require_enough_events
from survimg.evaluation.influence import (
    censoring_influence,
    concordance_influence,
    no_comparable_pair,
)
from survimg.evaluation.kaplan_meier import CensoringDistribution, Limit
from survimg.evaluation.pairs import pair_sums
from survimg.evaluation.predictions import (
    check_risk,
    check_survival_curves,
    check_weights,
)
from survimg.target import as_outcome, check_outcome

__all__ = ["antolini_concordance", "uno_concordance"]


@overload
def uno_concordance(
    y_train: npt.ArrayLike,
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    tau: float | None = ...,
    *,
    confidence_interval: None = ...,
    level: float = ...,
    tied_tol: float = ...,
    censoring_limit: Limit = ...,
) -> float: ...


@overload
def uno_concordance(
    y_train: npt.ArrayLike,
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    tau: float | None = ...,
    *,
    confidence_interval: Literal["analytic"],
    level: float = ...,
    tied_tol: float = ...,
    censoring_limit: Limit = ...,
) -> Estimate: ...


def uno_concordance(
    y_train: npt.ArrayLike,
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    tau: float | None = None,
    *,
    confidence_interval: Literal["analytic"] | None = None,
    level: float = 0.95,
    tied_tol: float = 1e-8,
    censoring_limit: Limit = "left",
) -> float | Estimate:
    r"""Uno's concordance index, with inverse-probability-of-censoring weights.

    .. math:: \hat C_\tau = \frac{\sum_{i,j} \delta_i \hat G(t_i-)^{-2} 1(t_i < t_j, t_i < \tau)
              \{1(r_i > r_j) + \tfrac12 1(r_i = r_j)\}}
              {\sum_{i,j} \delta_i \hat G(t_i-)^{-2} 1(t_i < t_j, t_i < \tau)}

    Estimates :math:`P(r_i > r_j | T_i < T_j, T_i < \tau)` whatever the censoring, as long as that
    is independent of the outcome and the covariates. Ties in time as in `concordance_index`.

    Parameters
    ----------
    y_train : structured array of shape (m,)
        Outcomes that estimate the censoring distribution G: those of the training fold.
    y : structured array of shape (n,)
        Outcomes of the evaluated patients; pass it twice to estimate G on these.
    risk : array-like of shape (n,)
        Higher = earlier event.
    tau : float, optional
        Events from tau on are not counted. Needed when the evaluated patients were followed for
        longer than the training patients.
    confidence_interval : {None, "analytic"}, default=None
        "analytic": infinitesimal jackknife, logit-transformed. When `y_train` equals `y` the
        estimation of G is accounted for; otherwise G is taken as given. Needs at least 10 events
        before tau.
    level : float, default=0.95
    tied_tol : float, default=1e-8
    censoring_limit : {"left", "right"}, default="left"
        Weights by G(t-) or G(t); see `CensoringDistribution`. "right" is scikit-survival's.

    Returns
    -------
    float, or Estimate when `confidence_interval` is given

    Raises
    ------
    ValueError
        An event where G is 0 or unknown (use `tau`), no comparable pair before tau; an interval
        with fewer than 10 events before tau.

    References
    ----------
    .. [1] Uno H, Cai T, Pencina MJ, D'Agostino RB, Wei LJ. Stat Med 2011;30:1105-1117.
    """
    event, time = check_outcome(y)
    risk = check_risk(risk, event.size, y=y)
    censoring = CensoringDistribution(y_train, censoring_limit)
    events = event if tau is None else event & (time < tau)
    weight = censoring.event_weights(events, time) ** 2
    ones = check_weights(None, event.size)
    if confidence_interval is None:
        sums = pair_sums(event, time, risk, ones, tied_tol)
        comparable = float(weight @ sums.comparable)
        if not comparable > 0:
            raise ValueError(_nothing_before(tau, event))
        return float(weight @ sums.score) / comparable
    if confidence_interval != "analytic":
        raise ValueError(
            f"confidence_interval must be None or 'analytic'; got {confidence_interval!r}."
        )
    if not events.any():
        raise ValueError(_nothing_before(tau, event))
    value, psi, _ = concordance_influence(event, time, risk, ones, tied_tol, weight)
    require_enough_events(events)
    if same_outcome(y_train, y):
        sums = pair_sums(event, time, risk, ones, tied_tol)
        slope = 2 * weight * (sums.score - value * sums.comparable) / (weight @ sums.comparable)
        psi = psi + censoring_influence(slope, event, time, censoring)
    error = float(np.sqrt(np.sum(psi**2)))
    lower, upper = logit_interval(value, error, level)
    return Estimate(value, lower, upper, error, level, "infinitesimal jackknife, logit")


def antolini_concordance(
    y: npt.ArrayLike,
    survival: npt.ArrayLike,
    times: npt.ArrayLike,
    tau: float | None = None,
    *,
    tied_tol: float = 1e-8,
) -> float:
    r"""Antolini's time-dependent concordance of survival curves.

    A comparable pair is concordant when the patient with the event at :math:`t_i` had the lower
    predicted survival at that time: :math:`S(t_i | x_i) < S(t_i | x_j)`; ties count by half. Suits
    models whose curves cross. For proportional hazards it equals Harrell's C. Takes
    O(n * events) time.

    Parameters
    ----------
    y : structured array of shape (n,)
    survival : array-like of shape (n, n_times)
        Right-continuous step functions: S(t) is the value at the last grid time up to t, and 1
        before the first.
    times : array-like of shape (n_times,)
        Increasing grid of the curves.
    tau : float, optional
        Events after tau are not counted.
    tied_tol : float, default=1e-8
        Survival probabilities that differ by at most this are tied.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        No comparable pair, or an event beyond the grid (give `tau`).

    References
    ----------
    .. [1] Antolini L, Boracchi P, Biganzoli E. Stat Med 2005;24:3927-3944.
    """
    event, time = check_outcome(y)
    curves, grid = check_survival_curves(survival, times, event.size, y=y)
    events = event if tau is None else event & (time <= tau)
    if not events.any():
        raise ValueError(_nothing_before(tau, event))
    event_times = np.unique(time[events])
    if event_times[-1] > grid[-1]:
        raise ValueError(
            f"An event at time {event_times[-1]:g} lies beyond the predicted curves, which end at "
            f"{grid[-1]:g}; predict longer curves or pass tau={grid[-1]:g}."
        )
    from survimg.evaluation.pair_kernels import compare_values

    padded = np.asfortranarray(np.concatenate((np.ones((event.size, 1)), curves), axis=1))
    score, comparable = 0.0, 0.0
    for t in event_times:
        column = padded[:, np.searchsorted(grid, t, side="right")]
        at_risk = (time > t) | ((time == t) & ~event)
        dying = column[events & (time == t)]
        better, tied = compare_values(dying, column[at_risk], tied_tol)
        score += better + tied / 2
        comparable += dying.size * np.count_nonzero(at_risk)
    if comparable == 0:
        raise ValueError(no_comparable_pair(event))
    return float(score / comparable)


def same_outcome(y_train: npt.ArrayLike, y: npt.ArrayLike) -> bool:
    """Whether the censoring distribution is estimated on the evaluated patients themselves."""
    return y_train is y or np.array_equal(as_outcome(y_train), as_outcome(y))


def _nothing_before(tau: float | None, event: np.ndarray) -> str:
    if tau is None or not event.any():
        return no_comparable_pair(event)
    return f"No comparable pair with an event before tau = {tau:g}; choose a later tau."
