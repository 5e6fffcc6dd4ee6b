"""Cumulative/dynamic AUC: patients with the event by t against those event-free after t."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from survimg.evaluation.estimates import LEAST_EVENTS, check_level, logit_interval
from survimg.evaluation.horizon import horizon_weights, require_both_classes
from survimg.evaluation.influence import censoring_influence
from survimg.evaluation.kaplan_meier import CensoringDistribution, Limit, kaplan_meier
from survimg.evaluation.pairs import warn_of_swallowed_risks
from survimg.evaluation.predictions import as_array, check_risk
from survimg.evaluation.roc import RocCurve, weighted_roc_curve
from survimg.evaluation.uno import same_outcome
from survimg.target import as_times, check_outcome, in_order_of

__all__ = ["TimeDependentAuc", "cumulative_dynamic_auc", "roc_curve_at_horizon"]


@dataclass(frozen=True)
class TimeDependentAuc:
    """Cumulative/dynamic AUC at several times.

    Attributes
    ----------
    times, auc : ndarray of shape (m,)
    standard_error, lower, upper : ndarray of shape (m,)
        NaN at a time with fewer than 10 cases or controls, or where they are separated perfectly
        (no variance there).
    mean_auc : float
        AUC integrated over the survival distribution of the evaluated patients.
    n_cases, n_controls : ndarray of shape (m,), int
    level : float
    """

    times: np.ndarray
    auc: np.ndarray
    standard_error: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    mean_auc: float
    n_cases: np.ndarray
    n_controls: np.ndarray
    level: float


def cumulative_dynamic_auc(
    y_train: npt.ArrayLike,
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    times: npt.ArrayLike,
    *,
    level: float = 0.95,
    tied_tol: float = 1e-8,
    censoring_limit: Limit = "left",
) -> TimeDependentAuc:
    r"""Cumulative/dynamic AUC with intervals, weighted for censoring.

    .. math:: \widehat{AUC}(t) = \frac{\sum_{i,j} \delta_i 1(t_i \le t) \hat G(t_i-)^{-1}
              1(t_j > t) \{1(r_i > r_j) + \tfrac12 1(r_i = r_j)\}}
              {\sum_i \delta_i 1(t_i \le t) \hat G(t_i-)^{-1} \sum_j 1(t_j > t)}

    Parameters
    ----------
    y_train : structured array of shape (m,)
        Outcomes that estimate the censoring distribution G: those of the training fold.
    y : structured array of shape (n,)
        Outcomes of the evaluated patients; pass it twice to estimate G on these.
    risk : array-like of shape (n,) or (n, n_times)
        Higher = earlier event; one column per time for time-dependent risks, such as 1 - S(t).
    times : array-like of shape (n_times,)
    level : float, default=0.95
    tied_tol : float, default=1e-8
        Neighbouring risks that differ by at most this are tied.
    censoring_limit : {"left", "right"}, default="left"
        Weights by G(t-) or G(t); see `CensoringDistribution`. "right" is scikit-survival's.

    Returns
    -------
    TimeDependentAuc
        Intervals: influence values (Blanche et al.), logit-transformed. When `y_train` equals `y`
        the estimation of G is accounted for; otherwise G is taken as given. The mean is
        :math:`\sum_k AUC(t_k) \{\hat S(t_{k-1}) - \hat S(t_k)\} / (1 - \hat S(t_m))`.

    Raises
    ------
    ValueError
        No case or no control at a time, or a time that the censoring distribution does not reach.

    References
    ----------
    .. [1] Uno H, Cai T, Tian L, Wei LJ. J Am Stat Assoc 2007;102:527-537.
    .. [2] Blanche P, Dartigues JF, Jacqmin-Gadda H. Stat Med 2013;32:5381-5397 (variance).
    .. [3] Lambert J, Chevret S. Stat Methods Med Res 2016;25:2088-2102 (mean).
    """
    check_level(level)
    event, time = check_outcome(y)
    grid, columns = _columns(in_order_of(y, risk, "y", "risk"), times, event.size)
    censoring = CensoringDistribution(y_train, censoring_limit)
    same = same_outcome(y_train, y)
    auc, error = np.empty(grid.size), np.empty(grid.size)
    n_cases, n_controls = np.empty(grid.size, np.intp), np.empty(grid.size, np.intp)
    for k, t in enumerate(grid):
        cases = censoring.event_weights(event & (time <= t), time)
        controls = (time > t).astype(np.float64)
        require_both_classes(cases, controls, t)
        n_cases[k], n_controls[k] = np.count_nonzero(cases), np.count_nonzero(controls)
        auc[k], psi, slope = _auc_with_influence(columns[:, k], cases, controls, tied_tol)
        if same:
            psi = psi + censoring_influence(slope, event, time, censoring)
        error[k] = np.sqrt(np.sum(psi**2) * time.size / (time.size - 1))
    error[np.minimum(n_cases, n_controls) < LEAST_EVENTS] = np.nan
    lower, upper = _limits(auc, error, level)
    weights = -np.diff(np.concatenate(([1.0], kaplan_meier(y).at(grid))))
    mean = float(auc @ weights / weights.sum()) if grid.size > 1 else float(auc[0])
    return TimeDependentAuc(grid, auc, error, lower, upper, mean, n_cases, n_controls, level)


def roc_curve_at_horizon(
    y_train: npt.ArrayLike,
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    horizon: float,
    *,
    censoring_limit: Limit = "left",
) -> RocCurve:
    """Cumulative/dynamic ROC curve at one time.

    Parameters and errors as in `cumulative_dynamic_auc`.

    Returns
    -------
    RocCurve
        Its area is the cumulative/dynamic AUC at the horizon.
    """
    event, _ = check_outcome(y)
    values = check_risk(risk, event.size, y=y)
    cases, controls = horizon_weights(y_train, y, horizon, censoring_limit=censoring_limit)
    require_both_classes(cases, controls, horizon)
    return weighted_roc_curve(values, cases, controls)


def _columns(
    risk: npt.ArrayLike, times: npt.ArrayLike, n_patients: int
) -> tuple[np.ndarray, np.ndarray]:
    grid = np.atleast_1d(as_times(times, "times"))
    if grid.ndim != 1 or not np.all(np.isfinite(grid)) or np.any(np.diff(grid) <= 0):
        raise ValueError("times must be one-dimensional, finite and strictly increasing.")
    values = as_array(risk)
    if values.ndim == 2 and values.shape[1] == grid.size:
        return grid, np.column_stack([check_risk(column, n_patients) for column in values.T])
    column = check_risk(values, n_patients)[:, np.newaxis]
    return grid, np.broadcast_to(column, (n_patients, grid.size))


def _auc_with_influence(
    risk: np.ndarray, cases: np.ndarray, controls: np.ndarray, tied_tol: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """AUC, its influence values for given weights, and its derivatives by log case weight."""
    order = np.argsort(risk, kind="stable")
    warn_of_swallowed_risks(risk[order], tied_tol)
    tie = np.concatenate(([0], np.cumsum(np.diff(risk[order]) > tied_tol)))
    n_ties = tie[-1] + 1
    case_share, control_share = cases / cases.sum(), controls / controls.sum()
    at_case = np.bincount(tie, case_share[order], minlength=n_ties)
    at_control = np.bincount(tie, control_share[order], minlength=n_ties)
    below = np.empty(risk.size)
    above = np.empty(risk.size)
    below[order] = (np.cumsum(at_control) - at_control / 2)[tie]
    above[order] = (np.cumsum(at_case[::-1])[::-1] - at_case / 2)[tie]
    auc = float(case_share @ below)
    slope = case_share * (below - auc)
    return auc, slope + control_share * (above - auc), slope


def _limits(auc: np.ndarray, error: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    lower, upper = np.full(auc.size, np.nan), np.full(auc.size, np.nan)
    for k in np.flatnonzero((auc > 0) & (auc < 1) & (error > 0)):
        lower[k], upper[k] = logit_interval(float(auc[k]), float(error[k]), level)
    error[np.isnan(lower)] = np.nan
    return lower, upper
