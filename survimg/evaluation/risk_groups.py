"""Risk groups: cut-offs learned on training patients, the log-rank test between groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from survimg.evaluation.predictions import as_array, check_risk
from survimg.survival.distributions import chi_squared_p_value
from survimg.target import check_outcome, in_order_of

__all__ = ["Cutoff", "LogRankResult", "learn_cutoff", "logrank_test", "maximally_selected_logrank"]


@dataclass(frozen=True)
class Cutoff:
    """A threshold on the risk, learned on one cohort to be applied unchanged to others.

    Attributes
    ----------
    threshold : float
        Patients with a risk *above* it form the high-risk group.
    method : str
    statistic : float or None
        What was maximised: Youden's J, or the absolute standardised log-rank statistic.
    p_value : float or None
        For "logrank" only: corrected for the choice of the cut-off.
    """

    threshold: float
    method: str
    statistic: float | None = None
    p_value: float | None = None

    def __float__(self) -> float:
        return self.threshold

    def high_risk(self, risk: npt.ArrayLike) -> np.ndarray:
        """Return which patients are at high risk.

        Parameters
        ----------
        risk : array-like of shape (n,)

        Returns
        -------
        ndarray of shape (n,), bool
        """
        values = as_array(risk)
        return check_risk(values, values.shape[0]) > self.threshold


@dataclass(frozen=True)
class LogRankResult:
    """Log-rank test between groups.

    Attributes
    ----------
    statistic, p_value : float
        Chi-square statistic and its two-sided p value.
    degrees_of_freedom : int
    groups : ndarray of shape (n_groups,)
        Labels of the groups, sorted.
    n_patients, observed, expected : ndarray of shape (n_groups,)
        Patients, observed and expected events of each group.
    """

    statistic: float
    p_value: float
    degrees_of_freedom: int
    groups: np.ndarray
    n_patients: np.ndarray
    observed: np.ndarray
    expected: np.ndarray


def logrank_test(
    y: npt.ArrayLike, groups: npt.ArrayLike, strata: npt.ArrayLike | None = None
) -> LogRankResult:
    r"""Two-sided (stratified) log-rank test.

    At each event time the events of a group are compared with their hypergeometric expectation
    :math:`d_k n_{kg} / n_k`; the summed differences and their covariance give a chi-square
    statistic with one degree of freedom less than groups.

    Parameters
    ----------
    y : structured array of shape (n,)
    groups : array-like of shape (n,)
        Group of each patient.
    strata : array-like of shape (n,), optional
        Compare within strata only (centres, or the folds of a pooled cross-validation).

    Returns
    -------
    LogRankResult

    Raises
    ------
    ValueError
        Fewer than two groups, a missing label, no event, or no event time at which two groups are
        at risk.

    References
    ----------
    .. [1] Mantel N. Cancer Chemother Rep 1966;50:163-170.
    .. [2] Peto R, Peto J. J R Stat Soc A 1972;135:185-207.
    """
    event, time = check_outcome(y, require_event=True)
    labels, member = _labels(in_order_of(y, groups, "y", "groups"), event.size, "groups")
    if labels.size < 2:
        raise ValueError(f"The log-rank test needs two groups; all are in {labels.tolist()}.")
    stratum = np.zeros(event.size, dtype=np.intp)
    if strata is not None:
        stratum = _labels(in_order_of(y, strata, "y", "strata"), event.size, "strata")[1]
    expected = np.zeros(labels.size)
    variance = np.zeros((labels.size, labels.size))
    for s in range(stratum.max() + 1):
        inside = stratum == s
        if event[inside].any():
            e, v = _expected_events(event[inside], time[inside], member[inside], labels.size)
            expected += e
            variance += v
    observed = np.bincount(member, event, minlength=labels.size)
    difference = (observed - expected)[:-1]
    inner = variance[:-1, :-1]
    if np.linalg.matrix_rank(inner, hermitian=True) < inner.shape[0]:
        raise ValueError(
            "Some group is never at risk together with another at an event time, so the log-rank "
            "statistic is undefined."
        )
    statistic = float(difference @ np.linalg.solve(inner, difference))
    df = labels.size - 1
    return LogRankResult(
        statistic,
        chi_squared_p_value(df, statistic),
        df,
        labels,
        np.bincount(member, minlength=labels.size),
        observed,
        expected,
    )


def learn_cutoff(
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    method: Literal["median", "youden", "logrank"] = "median",
    *,
    horizon: float | None = None,
    min_share: float = 0.1,
) -> Cutoff:
    """Learn a cut-off between low and high risk, on training patients only.

    Parameters
    ----------
    y : structured array of shape (n,)
    risk : array-like of shape (n,)
        Higher = earlier event.
    method : {"median", "youden", "logrank"}, default="median"
        "median": half of the patients at high risk. "youden": the cut with the largest sensitivity
        + specificity - 1 (Youden, Cancer 1950;3:32-35), for the event status at the end of
        follow-up, or at `horizon` with inverse-probability-of-censoring weights. "logrank": the cut
        with the largest standardised log-rank statistic, with p corrected for the search, see
        `maximally_selected_logrank`.
    horizon : float, optional
        Time point for "youden".
    min_share : float, default=0.1
        For "logrank": least share of patients in either group.

    Returns
    -------
    Cutoff
        Its threshold lies midway between two observed risks (for "median" it is the median).

    Raises
    ------
    ValueError
        All risks equal; one class only (youden); no event.
    """
    event, _ = check_outcome(y, require_event=True)
    risk = check_risk(risk, event.size, y=y)
    if np.ptp(risk) == 0:
        raise ValueError(f"All risks equal {risk[0]}; no cut-off can split these patients.")
    if horizon is not None and method != "youden":
        raise ValueError(f"horizon applies to method='youden' only, not to {method!r}.")
    if method == "median":
        return Cutoff(_splitting_median(risk), "median")
    if method == "youden":
        cases, controls = _status_weights(y, event, horizon)
        return _youden(risk, cases, controls)
    if method == "logrank":
        return maximally_selected_logrank(y, risk, min_share=min_share)
    raise ValueError(f"method must be 'median', 'youden' or 'logrank'; got {method!r}.")


def maximally_selected_logrank(
    y: npt.ArrayLike, risk: npt.ArrayLike, *, min_share: float = 0.1
) -> Cutoff:
    r"""Cut-off with the largest standardised log-rank statistic.

    With log-rank scores :math:`a_i = \delta_i - \hat\Lambda(t_i)` (Nelson-Aalen), the sum over the
    m patients above a cut has, under permutation, mean :math:`m\bar a` and variance
    :math:`m (n-m) / (n (n-1)) \sum (a_i - \bar a)^2`. The maximum M of its absolute standardised
    value over cuts with shares in :math:`[\varepsilon, 1-\varepsilon]` has approximately

    .. math:: P(M > b) = \frac{4 \varphi(b)}{b} + \varphi(b) \Big(b - \frac1b\Big)
              \log \frac{(1-\varepsilon)^2}{\varepsilon^2}

    (Miller & Siegmund 1982, eq. 8; Lausen & Schumacher 1992), cut at 1. An uncorrected p at the
    best cut is far too small.

    Parameters
    ----------
    y : structured array of shape (n,)
    risk : array-like of shape (n,)
    min_share : float, default=0.1
        Epsilon: least share of patients in either group.

    Returns
    -------
    Cutoff

    Raises
    ------
    ValueError
        No event, outcomes that do not differ, `min_share` outside (0, 0.5), or no cut that leaves
        enough patients on both sides.

    References
    ----------
    .. [1] Lausen B, Schumacher M. Biometrics 1992;48:73-85.
    .. [2] Miller R, Siegmund D. Biometrics 1982;38:1011-1016.
    """
    if not 0 < min_share < 0.5:
        raise ValueError(f"min_share must lie between 0 and 0.5; got {min_share}.")
    event, time = check_outcome(y, require_event=True)
    risk = check_risk(risk, event.size, y=y)
    scores = event - _nelson_aalen(event, time)
    if np.ptp(scores) < 1e-12:
        raise ValueError(
            "All log-rank scores are equal: the outcomes hold nothing to choose a cut-off by."
        )
    order = np.argsort(-risk, kind="stable")
    n = event.size
    above = np.arange(1, n)
    sums = np.cumsum((scores - scores.mean())[order])[:-1]
    variance = above * (n - above) / (n * (n - 1)) * np.sum((scores - scores.mean()) ** 2)
    standardised = np.abs(sums) / np.sqrt(variance)
    sorted_risk = risk[order]
    admissible = (np.diff(sorted_risk) < 0) & (np.minimum(above, n - above) >= min_share * n)
    if not admissible.any():
        raise ValueError(
            f"No cut-off leaves {100 * min_share:g} % of the patients on either side; risks are "
            "too heavily tied."
        )
    best = int(np.argmax(np.where(admissible, standardised, -1.0)))
    b = float(standardised[best])
    density = np.exp(-(b**2) / 2) / np.sqrt(2 * np.pi)
    log_odds = 2 * np.log((1 - min_share) / min_share)
    # The tail approximation holds for large b and exceeds 1 for small ones.
    p_value = 1.0 if b <= 1 else float(min(1.0, density * (4 / b + (b - 1 / b) * log_odds)))
    return Cutoff(_midpoint(sorted_risk, best), "logrank", b, p_value)


def _nelson_aalen(event: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Cumulative hazard at each patient's own time."""
    _, at = np.unique(time, return_inverse=True)
    n_events = np.bincount(at, event)
    n_at_risk = np.cumsum(np.bincount(at)[::-1])[::-1]
    return np.cumsum(n_events / n_at_risk)[at]


def _splitting_median(risk: np.ndarray) -> float:
    """Return the median, or the next lower risk where ties leave nobody above the median."""
    median = float(np.median(risk))
    return median if np.any(risk > median) else float(risk[risk < median].max())


def _midpoint(descending: np.ndarray, position: int) -> float:
    upper, lower = descending[position], descending[position + 1]
    middle = lower + (upper - lower) / 2
    return float(middle) if lower <= middle < upper else float(lower)


def _status_weights(
    y: npt.ArrayLike, event: np.ndarray, horizon: float | None
) -> tuple[np.ndarray, np.ndarray]:
    if horizon is None:
        cases, controls = event.astype(float), (~event).astype(float)
    else:
        from survimg.evaluation.horizon import horizon_weights

        cases, controls = horizon_weights(y, y, horizon)
    if not cases.any() or not controls.any():
        raise ValueError(
            "Youden's cut-off needs patients with and without the event; all belong to one class."
        )
    return cases, controls


def _youden(risk: np.ndarray, cases: np.ndarray, controls: np.ndarray) -> Cutoff:
    order = np.argsort(-risk, kind="stable")
    sensitivity = np.cumsum(cases[order]) / cases.sum()
    false_positive = np.cumsum(controls[order]) / controls.sum()
    youden = (sensitivity - false_positive)[:-1]
    sorted_risk = risk[order]
    best = int(np.argmax(np.where(np.diff(sorted_risk) < 0, youden, -np.inf)))
    return Cutoff(_midpoint(sorted_risk, best), "youden", float(youden[best]))


def _expected_events(
    event: np.ndarray, time: np.ndarray, member: np.ndarray, n_groups: int
) -> tuple[np.ndarray, np.ndarray]:
    event_times = np.unique(time[event])
    d = np.bincount(np.searchsorted(event_times, time[event]), minlength=event_times.size)
    # Patients are at risk at every event time up to their own.
    until = np.searchsorted(event_times, time, side="right")
    leaving = np.zeros((event_times.size + 1, n_groups))
    np.add.at(leaving, (until, member), 1)
    at_risk = np.cumsum(leaving[::-1], axis=0)[::-1][1:]
    n = at_risk.sum(axis=1)
    share = at_risk / n[:, np.newaxis]
    factor = np.where(n > 1, d * (n - d) / np.maximum(n - 1, 1), 0.0)
    variance = np.diag(factor @ share) - (share * factor[:, np.newaxis]).T @ share
    return d @ share, variance


def _labels(values: npt.ArrayLike, n_patients: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    array = np.asarray(values)
    if array.shape != (n_patients,):
        raise ValueError(
            f"{name} must have one entry per patient, shape ({n_patients},); got {array.shape}."
        )
    missing = _missing(array)
    if missing.size:
        raise ValueError(
            f"{name} has {missing.size} missing value(s), first at position {missing[0]}; leave "
            "these patients out."
        )
    labels, member = np.unique(array, return_inverse=True)
    return labels, member


def _missing(array: np.ndarray) -> np.ndarray:
    """Positions of missing values, which truth values, whole numbers and text cannot hold."""
    if array.dtype.kind in "biuSU":
        return np.zeros(0, dtype=np.intp)
    import pandas as pd  # loads for half a second

    return np.flatnonzero(pd.isna(array))
