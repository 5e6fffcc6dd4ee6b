"""ROC analysis of the event status at the end of follow-up, with DeLong's interval and test.

This is the "time-independent" ROC that clinical papers report: patients with the event against
patients without, whenever either was last seen. It treats a patient censored early as event-free;
`cumulative_dynamic_auc` does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from survimg.evaluation.estimates import (
    Comparison,
    Estimate,
    check_level,
    logit_interval,
    normal_interval,
    require_enough_events,
)
from survimg.evaluation.predictions import check_risk, check_weights
from survimg.survival.distributions import normal_p_value
from survimg.target import check_outcome

__all__ = ["RocCurve", "compare_status_auc", "status_auc", "status_roc_curve"]


@dataclass(frozen=True)
class RocCurve:
    """An empirical ROC curve.

    Attributes
    ----------
    thresholds : ndarray of shape (m,)
        Decreasing, the first one infinite; a patient is positive when the risk is at least the
        threshold.
    false_positive_rate, true_positive_rate : ndarray of shape (m,)
    auc : float
        Area under the curve (trapezoids, so ties count by half).
    """

    thresholds: np.ndarray
    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    auc: float


def status_roc_curve(
    y: npt.ArrayLike, risk: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> RocCurve:
    """ROC curve of the risk for the event status at the end of follow-up.

    Parameters
    ----------
    y : structured array of shape (n,)
        Only the event indicators are used.
    risk : array-like of shape (n,)
        Higher = event.
    sample_weight : array-like of shape (n,), optional

    Returns
    -------
    RocCurve

    Raises
    ------
    ValueError
        One class only.
    """
    event, _ = check_outcome(y)
    values = check_risk(risk, event.size, y=y)
    weights = check_weights(sample_weight, event.size, y)
    _require_classes(event[weights > 0])
    return weighted_roc_curve(values, weights * event, weights * ~event)


def weighted_roc_curve(risk: np.ndarray, cases: np.ndarray, controls: np.ndarray) -> RocCurve:
    """ROC curve with weights of cases and controls (see `horizon_weights`).

    Parameters
    ----------
    risk, cases, controls : ndarray of shape (n,)

    Returns
    -------
    RocCurve
    """
    order = np.argsort(-risk, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(risk[order])), risk.size - 1)
    tpr = np.concatenate(([0.0], np.cumsum(cases[order])[last_of_tie] / cases.sum()))
    fpr = np.concatenate(([0.0], np.cumsum(controls[order])[last_of_tie] / controls.sum()))
    thresholds = np.concatenate(([np.inf], risk[order][last_of_tie]))
    area = float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1])) / 2)
    return RocCurve(thresholds, fpr, tpr, area)


def status_auc(
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    level: float = 0.95,
    interval: Literal["normal", "logit"] = "normal",
) -> Estimate:
    r"""AUC for the event status at the end of follow-up, with DeLong's interval.

    The Mann-Whitney statistic :math:`\hat\theta = \frac1{mn} \sum_{ij} \psi(X_i, Y_j)` over cases X
    and controls Y has the structural components :math:`V_{10}(X_i) = \frac1n \sum_j \psi`,
    :math:`V_{01}(Y_j) = \frac1m \sum_i \psi` and the variance
    :math:`S_{10}/m + S_{01}/n`, S being their sample variances.

    With weights w all these sums and means are weighted, and :math:`S_{10}/m` becomes
    :math:`\frac{m}{m-1} \sum_i w_i^2 (V_{10}(X_i) - \hat\theta)^2 / (\sum_i w_i)^2`: the weights
    count as known. Those of `status_weights` are estimated, which makes the interval a little wide.

    Parameters
    ----------
    y : structured array of shape (n,)
        Only the event indicators are used.
    risk : array-like of shape (n,)
        Higher = event.
    sample_weight : array-like of shape (n,), optional
        Patients of weight 0 are left out.
    level : float, default=0.95
    interval : {"normal", "logit"}, default="normal"
        "normal" is DeLong's (pROC's), limited to [0, 1]; "logit" keeps its coverage better near 1.

    Returns
    -------
    Estimate
        `p_value` tests AUC = 0.5.

    Raises
    ------
    ValueError
        Fewer than 10 events or patients without it, or perfect separation (no variance).

    References
    ----------
    .. [1] DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845.
    .. [2] Sun X, Xu W. IEEE Signal Process Lett 2014;21:1389-1393 (ranks instead of pairs).
    """
    event, _ = check_outcome(y)
    values = check_risk(risk, event.size, y=y)
    event, weights, values = _weighted(event, check_weights(sample_weight, event.size, y), values)
    auc, by_case, by_control = _delong_components(event, values, weights)
    _require_enough_of_both(event)
    error = _delong_error(by_case, by_control, event, weights)
    if error == 0:
        raise ValueError(
            f"The AUC is {auc:g} without variation between patients, so DeLong's interval is "
            "undefined."
        )
    if interval == "logit":
        lower, upper = logit_interval(auc, error, level)
    elif interval == "normal":
        lower, upper = (float(limit) for limit in np.clip(normal_interval(auc, error, level), 0, 1))
    else:
        raise ValueError(f"interval must be 'normal' or 'logit'; got {interval!r}.")
    p_value = normal_p_value((auc - 0.5) / error)
    return Estimate(auc, lower, upper, error, level, f"DeLong, {interval}", p_value)


def compare_status_auc(
    y: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """DeLong's paired test of two models' AUC for the status at the end of follow-up.

    Parameters
    ----------
    y : structured array of shape (n,)
    first, second : array-like of shape (n,)
        Risks of the two models for the same patients.
    sample_weight : array-like of shape (n,), optional
        As in `status_auc`.
    level : float, default=0.95

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        Fewer than 10 events or patients without it, or models that order all case-control pairs
        alike.

    References
    ----------
    .. [1] DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845.
    """
    z = check_level(level)
    event, _ = check_outcome(y)
    one = check_risk(first, event.size, name="first", y=y)
    two = check_risk(second, event.size, name="second", y=y)
    weights = check_weights(sample_weight, event.size, y)
    event, weights, one, two = _weighted(event, weights, one, two)
    a, case_a, control_a = _delong_components(event, one, weights)
    b, case_b, control_b = _delong_components(event, two, weights)
    _require_enough_of_both(event)
    error = _delong_error(case_a - case_b, control_a - control_b, event, weights)
    if error == 0:
        raise ValueError(
            "Both models order every case and control alike: the difference of the AUCs has no "
            "variance, so a test is undefined."
        )
    d = a - b
    p_value = normal_p_value(d / error)
    return Comparison(a, b, d, d - z * error, d + z * error, error, p_value, level, "DeLong")


def _require_enough_of_both(event: np.ndarray) -> None:
    require_enough_events(event)
    require_enough_events(~event, what="patients without the event")


def _weighted(
    event: np.ndarray, weights: np.ndarray, *values: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Leave out patients of weight 0; return events, weights and risks of the others."""
    positive = weights > 0
    return tuple(part[positive] for part in (event, weights, *values))


def _delong_components(
    event: np.ndarray, risk: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    _require_classes(event)
    cases, controls = risk[event], risk[~event]
    if min(cases.size, controls.size) < 2:
        raise ValueError(
            f"DeLong's variance needs two patients in either class; there are {cases.size} with "
            f"and {controls.size} without the event."
        )
    by_case = _weight_below(cases, controls, weights[~event])
    by_control = 1 - _weight_below(controls, cases, weights[event])
    return float(np.average(by_case, weights=weights[event])), by_case, by_control


def _weight_below(values: np.ndarray, others: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of the weight of `others` below each value, half of that at the value."""
    order = np.argsort(others, kind="stable")
    total = np.concatenate([[0], np.cumsum(weights[order])])
    below, up_to = (np.searchsorted(others[order], values, side) for side in ("left", "right"))
    return (total[below] + total[up_to]) / (2 * total[-1])


def _delong_error(
    by_case: np.ndarray, by_control: np.ndarray, event: np.ndarray, weights: np.ndarray
) -> float:
    variance = 0.0
    for component, weight in ((by_case, weights[event]), (by_control, weights[~event])):
        n, mean = component.size, np.average(component, weights=weight)
        squares = np.sum((weight * (component - mean)) ** 2) / weight.sum() ** 2
        variance += n / (n - 1) * squares
    # Equal components leave rounding noise of this size behind.
    return float(np.sqrt(variance)) if variance > 1e-28 else 0.0


def _require_classes(event: np.ndarray) -> None:
    if event.all() or not event.any():
        raise ValueError(
            f"ROC analysis needs patients with and without the event; all {event.size} "
            f"{'had the event' if event.any() else 'are censored'}."
        )
