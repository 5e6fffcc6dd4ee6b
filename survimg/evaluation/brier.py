"""Brier score of predicted survival, at single times and integrated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from survimg.evaluation.horizon import weights_at
from survimg.evaluation.kaplan_meier import CensoringDistribution, Limit, kaplan_meier
from survimg.evaluation.predictions import check_survival_curves
from survimg.target import as_outcome, as_times, check_outcome

__all__ = ["brier_score", "index_of_prediction_accuracy", "integrated_brier_score"]


def brier_score(
    y_train: npt.ArrayLike,
    y: npt.ArrayLike,
    survival: npt.ArrayLike,
    times: npt.ArrayLike,
    *,
    censoring_limit: Limit = "left",
) -> np.ndarray:
    r"""Brier score for censored data at given times.

    .. math:: BS(t) = \frac1n \sum_i \frac{\delta_i 1(t_i \le t)}{\hat G(t_i-)} S(t | x_i)^2
              + \frac{1(t_i > t)}{\hat G(t)} (1 - S(t | x_i))^2

    Estimates the mean squared distance between event status at t and its predicted probability:
    0 is perfect, 0.25 is S = 0.5 for everybody.

    Parameters
    ----------
    y_train : structured array of shape (m,)
        Outcomes that estimate the censoring distribution G: those of the training fold.
    y : structured array of shape (n,)
    survival : array-like of shape (n, n_times)
        Predicted S(t | x) at `times`.
    times : array-like of shape (n_times,)
        Increasing.
    censoring_limit : {"left", "right"}, default="left"
        Weights of events by G(t-) or G(t); see `CensoringDistribution`. "right" is
        scikit-survival's.

    Returns
    -------
    ndarray of shape (n_times,)

    Raises
    ------
    ValueError
        Invalid curves; a time that is 0, that the censoring distribution does not reach, or that
        lies beyond the last observation of `y` (nothing is known there), or equals it where that is
        a censoring: no patient is left to represent the survivors.

    References
    ----------
    .. [1] Graf E, Schmoor C, Sauerbrei W, Schumacher M. Stat Med 1999;18:2529-2545.
    """
    event, time = check_outcome(y)
    curves, grid = check_survival_curves(survival, times, event.size, y=y)
    if np.any(grid > time.max()):
        raise ValueError(
            f"The evaluated patients were followed up to {time.max():g}; a Brier score at "
            f"{grid.max():g} is undefined. Truncate the times."
        )
    if nobody_survives(event, time, float(grid[-1])):
        raise ValueError(
            f"Follow-up of the evaluated patients ends at {grid[-1]:g} with censored patients, and "
            "nobody was followed beyond it: no survivor would count in a Brier score at that very "
            "time. Choose an earlier one."
        )
    censoring = CensoringDistribution(y_train, censoring_limit)
    scores = np.empty(grid.size)
    for k, t in enumerate(grid):
        cases, controls = weights_at(censoring, event, time, t)
        scores[k] = np.mean(cases * curves[:, k] ** 2 + controls * (1 - curves[:, k]) ** 2)
    return scores


def nobody_survives(event: np.ndarray, time: np.ndarray, horizon: float) -> bool:
    """Tell whether all who are event-free at a time were censored at that very time."""
    return bool(not np.any(time > horizon) and np.any(~event & (time == horizon)))


def integrated_brier_score(
    y_train: npt.ArrayLike,
    y: npt.ArrayLike,
    survival: npt.ArrayLike,
    times: npt.ArrayLike,
    *,
    censoring_limit: Limit = "left",
) -> float:
    r"""Brier score integrated over time (trapezoids) and divided by the length of the interval.

    .. math:: IBS = \frac{1}{t_m - t_1} \int_{t_1}^{t_m} BS(t)\, dt

    Parameters, and errors, as in `brier_score`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        Fewer than two times.
    """
    from scipy.integrate import trapezoid  # loads for a second

    grid = np.atleast_1d(as_times(times, "times"))
    if grid.size < 2:
        raise ValueError("The integrated Brier score needs at least two times.")
    scores = brier_score(y_train, y, survival, grid, censoring_limit=censoring_limit)
    return float(trapezoid(scores, grid) / (grid[-1] - grid[0]))


def index_of_prediction_accuracy(
    y_train: npt.ArrayLike,
    y: npt.ArrayLike,
    survival: npt.ArrayLike,
    times: npt.ArrayLike,
    *,
    censoring_limit: Limit = "left",
) -> np.ndarray:
    r"""Index of prediction accuracy: the Brier score relative to a model without covariates.

    .. math:: IPA(t) = 1 - BS(t) / BS_0(t)

    with the Kaplan-Meier curve of the training patients as the model without covariates. Positive
    values improve on it; 1 is perfect.

    Parameters, and errors, as in `brier_score`.

    Returns
    -------
    ndarray of shape (n_times,)

    References
    ----------
    .. [1] Kattan MW, Gerds TA. Diagn Progn Res 2018;2:7.
    """
    scores = brier_score(y_train, y, survival, times, censoring_limit=censoring_limit)
    marginal = kaplan_meier(y_train).at(times)
    n_patients = as_outcome(y).shape[0]
    null = brier_score(
        y_train, y, np.tile(marginal, (n_patients, 1)), times, censoring_limit=censoring_limit
    )
    if np.any(null == 0):
        raise ValueError(
            "The Kaplan-Meier prediction has a Brier score of 0 (no event by that time), so the "
            "ratio is undefined; choose later times."
        )
    return 1 - scores / null
