"""Calibration: whether predicted probabilities come true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from survimg.evaluation.cox_regression import fit_cox
from survimg.evaluation.estimates import check_level
from survimg.evaluation.kaplan_meier import kaplan_meier
from survimg.evaluation.predictions import check_horizon, check_survival_curves, step_values
from survimg.survival.distributions import chi_squared_p_value
from survimg.target import as_outcome, check_outcome

__all__ = [
    "CalibrationGroups",
    "ChiSquareTest",
    "SmoothCalibration",
    "calibration_groups",
    "d_calibration",
    "greenwood_nam_dagostino_test",
    "integrated_calibration_index",
]


@dataclass(frozen=True)
class CalibrationGroups:
    """Observed against predicted survival in groups of patients, lowest prediction first.

    Attributes
    ----------
    predicted : ndarray of shape (g,)
        Mean predicted survival at the horizon.
    observed, lower, upper : ndarray of shape (g,)
        Kaplan-Meier survival with its log-log interval (NaN where S = 0).
    standard_error : ndarray of shape (g,)
        Greenwood's.
    n_patients, n_events : ndarray of shape (g,), int
        Events counted up to the horizon.
    horizon : float
    """

    predicted: np.ndarray
    observed: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    standard_error: np.ndarray
    n_patients: np.ndarray
    n_events: np.ndarray
    horizon: float


@dataclass(frozen=True)
class ChiSquareTest:
    """A chi-square test; a small p value speaks against calibration.

    Attributes
    ----------
    statistic, p_value : float
    degrees_of_freedom : int
    observed, expected : ndarray of shape (n_groups,)
        What was compared, group by group.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float
    observed: np.ndarray
    expected: np.ndarray


@dataclass(frozen=True)
class SmoothCalibration:
    """A smooth calibration curve and its mean distances from the diagonal.

    Attributes
    ----------
    predicted, observed : ndarray of shape (n,)
        Predicted probability of the event by the horizon, increasing, and the smoothed observed
        one.
    ici, e50, e90 : float
        Mean, median and 90th percentile of their absolute difference over the patients.
    horizon : float
    """

    predicted: np.ndarray
    observed: np.ndarray
    ici: float
    e50: float
    e90: float
    horizon: float


def calibration_groups(
    y: npt.ArrayLike,
    survival: npt.ArrayLike,
    horizon: float,
    n_groups: int = 5,
    *,
    min_events: int = 0,
    level: float = 0.95,
) -> CalibrationGroups:
    """Kaplan-Meier against predicted survival at a horizon, in quantile groups of the prediction.

    Parameters
    ----------
    y : structured array of shape (n,)
    survival : array-like of shape (n,)
        Predicted survival at the horizon.
    horizon : float
    n_groups : int, default=5
        Ties between predictions can yield fewer.
    min_events : int, default=0
        Neighbouring groups are merged until each has this many events by the horizon.
    level : float, default=0.95

    Returns
    -------
    CalibrationGroups

    Raises
    ------
    ValueError
        A group not followed up to the horizon; fewer than two groups.
    """
    check_level(level)
    horizon = check_horizon(horizon)
    event, time = check_outcome(y)
    predicted = check_survival_curves(survival, [horizon], event.size, y=y)[0][:, 0]
    if n_groups < 2:
        raise ValueError(f"n_groups must be at least 2; got {n_groups}.")
    cuts = np.unique(np.quantile(predicted, np.linspace(0, 1, n_groups + 1)[1:-1]))
    group = np.unique(np.searchsorted(cuts, predicted, side="left"), return_inverse=True)[1]
    group = _merge(group, event & (time <= horizon), min_events)
    if group.max() < 1:
        raise ValueError(
            "Calibration needs at least two groups; the predictions are tied or there are too few "
            f"events (min_events={min_events}) by time {horizon:g}."
        )
    rows = []
    for g in range(group.max() + 1):
        inside = group == g
        curve = kaplan_meier(as_outcome(y)[inside], level=level)
        try:
            error = curve.standard_error_at(horizon)[0]
        except ValueError as problem:
            raise ValueError(
                f"Group {g + 1} of {group.max() + 1} by prediction: {problem} "
                "Fewer groups or an earlier horizon may help."
            ) from None
        at = np.searchsorted(curve.time, horizon, side="right") - 1
        limits = (curve.lower[at], curve.upper[at]) if at >= 0 else (1.0, 1.0)
        n = inside.sum(), np.count_nonzero(event[inside] & (time[inside] <= horizon))
        rows.append((predicted[inside].mean(), curve.at(horizon)[0], *limits, error, *n))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    predictions, observed, lower, upper, errors, n_patients, n_events = columns
    return CalibrationGroups(
        predictions, observed, lower, upper, errors, n_patients, n_events, horizon
    )


def greenwood_nam_dagostino_test(
    y: npt.ArrayLike,
    survival: npt.ArrayLike,
    horizon: float,
    n_groups: int = 10,
    *,
    min_events: int = 5,
) -> ChiSquareTest:
    r"""Greenwood-Nam-D'Agostino test: Hosmer-Lemeshow's idea for censored data.

    .. math:: \chi^2 = \sum_g \frac{\{\hat S_g(h) - \bar p_g\}^2}{\widehat{var}\,\hat S_g(h)}

    with Kaplan-Meier survival, the mean prediction and Greenwood's variance of each group, on as
    many degrees of freedom as groups, less one. Hosmer and Lemeshow's own test needs a status at
    the horizon for every patient, which censoring takes away.

    Parameters
    ----------
    y : structured array of shape (n,)
    survival : array-like of shape (n,)
        Predicted survival at the horizon.
    horizon : float
    n_groups : int, default=10
        Quantile groups of the prediction.
    min_events : int, default=5
        Neighbouring groups with fewer events by the horizon are merged; the test is unreliable
        otherwise (Demler et al.).

    Returns
    -------
    ChiSquareTest
        `observed` and `expected` are survival probabilities.

    Raises
    ------
    ValueError
        As `calibration_groups`; a group whose Greenwood variance is 0 or undefined.

    References
    ----------
    .. [1] Demler OV, Paynter NP, Cook NR. Stat Med 2015;34:1659-1680.
    """
    groups = calibration_groups(y, survival, horizon, n_groups, min_events=min_events)
    if not np.all(groups.standard_error > 0):
        raise ValueError(
            "Greenwood's variance is 0 or undefined in a group (no event, or no survivor, by the "
            "horizon); use fewer groups or a larger min_events."
        )
    statistic = float(np.sum(((groups.observed - groups.predicted) / groups.standard_error) ** 2))
    df = groups.observed.size - 1
    p_value = chi_squared_p_value(df, statistic)
    return ChiSquareTest(statistic, df, p_value, groups.observed, groups.predicted)


def d_calibration(
    y: npt.ArrayLike, survival: npt.ArrayLike, times: npt.ArrayLike, n_bins: int = 10
) -> ChiSquareTest:
    r"""D-calibration: uniformity of the predicted survival at the patients' own times.

    For a calibrated model :math:`S(T_i | x_i)` is uniform on [0, 1]. A patient with the event falls
    into the bin of that value. A censored one, of whom only :math:`S(T_i) \le s = S(c_i)` is known,
    is spread over the bins below s in proportion, as uniform on [0, s].

    Parameters
    ----------
    y : structured array of shape (n,)
    survival : array-like of shape (n, n_times)
        Predicted step functions; linear interpolation is up to the caller.
    times : array-like of shape (n_times,)
        Their grid, reaching the last observed time.
    n_bins : int, default=10

    Returns
    -------
    ChiSquareTest
        `observed` and `expected` are numbers of patients by bin, from S = 0 upwards.

    Raises
    ------
    ValueError
        A patient observed beyond the grid.

    References
    ----------
    .. [1] Haider H, Hoehn B, Davis S, Greiner R. J Mach Learn Res 2020;21(85):1-63.
    """
    event, time = check_outcome(y)
    curves, grid = check_survival_curves(survival, times, event.size, y=y)
    if n_bins < 2:
        raise ValueError(f"n_bins must be at least 2; got {n_bins}.")
    distinct, columns = np.unique(time, return_inverse=True)
    s = step_values(curves, grid, distinct)[np.arange(event.size), columns]
    edges = np.linspace(0, 1, n_bins + 1)
    # Bins are closed below, the last one at both ends.
    bins = np.minimum(np.searchsorted(edges, s, side="right") - 1, n_bins - 1)
    observed = np.bincount(bins[event], minlength=n_bins).astype(np.float64)
    for value in s[~event]:
        if value == 0:
            observed[0] += 1  # the event can only follow in the lowest bin
        else:
            observed += np.clip(value - edges[:-1], 0, 1 / n_bins) / value
    expected = np.full(n_bins, event.size / n_bins)
    statistic = float(np.sum((observed - expected) ** 2 / expected))
    p_value = chi_squared_p_value(n_bins - 1, statistic)
    return ChiSquareTest(statistic, n_bins - 1, p_value, observed, expected)


def integrated_calibration_index(
    y: npt.ArrayLike, survival: npt.ArrayLike, horizon: float, *, n_knots: int = 3
) -> SmoothCalibration:
    r"""Smooth calibration curve at a horizon, and its mean distance from the diagonal.

    The outcome is regressed on :math:`\log(-\log S(h | x))` with restricted cubic splines in a Cox
    model [1]_; its predictions at the horizon are the observed probabilities. Where all events
    happen at the horizon, as in outcomes that stand for labels, a Cox model would be biased by its
    ties: there the status is regressed by a logistic model on splines of the logit [2]_.

    Parameters
    ----------
    y : structured array of shape (n,)
    survival : array-like of shape (n,)
        Predicted survival at the horizon, strictly between 0 and 1.
    horizon : float
    n_knots : int, default=3
        From 3 to 5, at Harrell's quantiles.

    Returns
    -------
    SmoothCalibration

    Raises
    ------
    ValueError
        Predictions of exactly 0 or 1, or too tied to place the knots; horizon after the last event;
        all events at the horizon, and nobody at risk there without one.

    References
    ----------
    .. [1] Austin PC, Harrell FE, van Klaveren D. Stat Med 2020;39:2714-2742.
    .. [2] Van Calster B et al. J Clin Epidemiol 2016;74:167-176.
    """
    horizon = check_horizon(horizon)
    event, time = check_outcome(y, require_event=True)
    s = check_survival_curves(survival, [horizon], event.size, y=y)[0][:, 0]
    if np.any(s <= 0) or np.any(s >= 1):
        raise ValueError(
            "The smooth calibration curve needs predictions strictly between 0 and 1 (it works on "
            "their logarithms); clip them and say so."
        )
    if np.all(time[event] == horizon):
        basis = restricted_cubic_spline(np.log((1 - s) / s), n_knots)
        observed = _event_probability(basis, event, at_risk=time >= horizon)
    else:
        basis = restricted_cubic_spline(np.log(-np.log(s)), n_knots)
        observed = 1 - fit_cox(y, basis).survival(basis, [horizon])[:, 0]
    predicted = 1 - s
    distance = np.abs(observed - predicted)
    order = np.argsort(predicted, kind="stable")
    return SmoothCalibration(
        predicted[order],
        observed[order],
        float(distance.mean()),
        float(np.median(distance)),
        float(np.quantile(distance, 0.9)),
        horizon,
    )


def _event_probability(basis: np.ndarray, event: np.ndarray, at_risk: np.ndarray) -> np.ndarray:
    """Probability of the event for all, by a logistic model of those who are at risk of it."""
    from sklearn.linear_model import LogisticRegression

    if event[at_risk].all():
        raise ValueError(
            "The smooth calibration curve needs patients without the event at the horizon: all "
            f"{np.count_nonzero(at_risk)} have it."
        )
    scaled = (basis - basis.mean(axis=0)) / basis.std(axis=0)
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", max_iter=200, tol=1e-8)
    probability: np.ndarray = model.fit(scaled[at_risk], event[at_risk]).predict_proba(scaled)[:, 1]
    return probability


def restricted_cubic_spline(x: np.ndarray, n_knots: int) -> np.ndarray:
    """Basis of restricted cubic splines (linear beyond the outer knots), without intercept.

    Parameters
    ----------
    x : ndarray of shape (n,)
    n_knots : {3, 4, 5}
        Placed at Harrell's quantiles (Regression Modeling Strategies, 2015, section 2.4.6); with
        fewer than 100 patients the outer ones are the fifth smallest and largest value.

    Returns
    -------
    ndarray of shape (n, n_knots - 1)
        x itself, then the cubic terms, scaled by the squared range of the knots.

    Raises
    ------
    ValueError
        Another number of knots, or values too tied to tell the knots apart.
    """
    quantiles = {
        3: (0.1, 0.5, 0.9),
        4: (0.05, 0.35, 0.65, 0.95),
        5: (0.05, 0.275, 0.5, 0.725, 0.95),
    }
    if n_knots not in quantiles:
        raise ValueError(f"n_knots must be 3, 4 or 5; got {n_knots}.")
    knots = np.quantile(x, quantiles[n_knots])
    if 10 <= x.size < 100:
        knots[[0, -1]] = np.sort(x)[[4, -5]]
    if np.any(np.diff(knots) <= 0):
        raise ValueError(f"{n_knots} knots do not fit: the predictions are too heavily tied.")
    last, before_last = knots[-1], knots[-2]
    cubes = np.maximum(x[:, np.newaxis] - knots, 0) ** 3
    inner = (
        cubes[:, :-2]
        - cubes[:, [-2]] * (last - knots[:-2]) / (last - before_last)
        + cubes[:, [-1]] * (before_last - knots[:-2]) / (last - before_last)
    )
    return np.column_stack([x, inner / (last - knots[0]) ** 2])


def _merge(group: np.ndarray, counted: np.ndarray, min_events: int) -> np.ndarray:
    """Join neighbouring groups, from the lowest on, until each has enough events."""
    events = np.bincount(group, counted)
    target = np.empty(events.size, dtype=np.intp)
    merged, collected = 0, 0.0
    for g, n in enumerate(events):
        target[g] = merged
        collected += n
        if collected >= min_events:
            merged, collected = merged + 1, 0.0
    if collected > 0 or (min_events > 0 and target[-1] == merged):
        target[target == merged] = max(merged - 1, 0)  # the rest joins the last full group
    return target[group]
