"""Outcome arrays, the sign of risk, time grids and labels for stratifying.

The floor of the library: every other module may import this one, and it imports NumPy only.

An outcome ``y`` is scikit-survival's structured array: one boolean field (did the event happen?)
followed by one float field (time to the event, or to censoring), in any time unit.

Risk is one number per patient; **a higher risk means an earlier event**. Every ``predict`` of
survimg returns risk on that scale, whatever the model is trained on; `risk_of` brings what other
estimators predict to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "OUTCOME_DTYPE",
    "check_outcome",
    "event_labels",
    "event_quantiles",
    "make_outcome",
    "risk_of",
]

OUTCOME_DTYPE = np.dtype([("event", np.bool_), ("time", np.float64)])


def make_outcome(event: npt.ArrayLike, time: npt.ArrayLike) -> np.ndarray:
    """Put event indicators and times into one structured array.

    Parameters
    ----------
    event : array-like of shape (n,)
        True (or 1) where the event was observed, False (or 0) where the patient was censored.
    time : array-like of shape (n,)
        Time to event or censoring, non-negative, in any unit.

    Returns
    -------
    ndarray of shape (n,), dtype ``[("event", bool), ("time", float64)]``

    Raises
    ------
    ValueError
        Values other than 0/1 in `event`; missing, infinite or negative values in `time`; unequal
        lengths.
    """
    event_array = _as_indicator(np.asarray(event))
    time_array = np.asarray(time, dtype=np.float64)
    if event_array.shape != time_array.shape or event_array.ndim != 1:
        raise ValueError(
            "event and time must be one-dimensional and of equal length; got shapes "
            f"{event_array.shape} and {time_array.shape}."
        )
    outcome = np.empty(event_array.shape[0], dtype=OUTCOME_DTYPE)
    outcome["event"] = event_array
    outcome["time"] = time_array
    _check_times(time_array, None)
    return outcome


def check_outcome(
    y: npt.ArrayLike,
    *,
    n_patients: int | None = None,
    ids: Sequence[str] | None = None,
    require_event: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Check an outcome array and split it into event indicators and times.

    Parameters
    ----------
    y : structured array of shape (n,)
        One boolean field, then one float field, under any names (as in scikit-survival).
    n_patients : int, optional
        Length that `y` must have.
    ids : sequence of str, optional
        Patient identifiers, used to name the patient in error messages.
    require_event : bool, default=False
        Refuse outcomes in which every patient is censored.

    Returns
    -------
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,), float64
        Fresh arrays; writing to them does not change `y`.

    Raises
    ------
    ValueError
        Not a structured array of that form, wrong length, a missing, infinite or negative time
        (the message names the patients when `ids` is given), or no event at all when one is
        required.
    """
    array = np.asarray(y)
    names = array.dtype.names
    well_formed = (
        array.ndim == 1
        and names is not None
        and len(names) == 2
        and array.dtype[0] == np.bool_
        and np.issubdtype(array.dtype[1], np.floating)
    )
    if not well_formed or names is None:
        raise ValueError(
            "y must be a one-dimensional structured array with a boolean event field followed by a "
            f"float time field; got dtype {array.dtype} and shape {array.shape}. "
            "Build it with survimg.target.make_outcome(event, time) or take Cohort.outcome."
        )
    if n_patients is not None and array.shape[0] != n_patients:
        raise ValueError(
            f"X holds {n_patients} patients but y has {array.shape[0]} entries; both must have the "
            "same length."
        )
    event = array[names[0]].astype(np.bool_, copy=True)
    time = array[names[1]].astype(np.float64, copy=True)
    _check_times(time, ids)
    if require_event and not event.any():
        raise ValueError(
            f"All {event.shape[0]} patients are censored; at least one event is needed to fit or "
            "score a survival model."
        )
    return event, time


def event_quantiles(event: np.ndarray, time: np.ndarray, n_intervals: int) -> np.ndarray:
    """Cut points that put about as many events into each interval.

    Parameters
    ----------
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,), float
    n_intervals : int
        Number of intervals wanted; ties between event times can yield fewer.

    Returns
    -------
    ndarray of shape (<= n_intervals,)
        Increasing upper bounds of the intervals, in the unit of `time`; the last one is the
        largest observed time, events or not, so that every patient falls into an interval.

    Raises
    ------
    ValueError
        No event, all times 0, or `n_intervals` below 1.
    """
    if n_intervals < 1:
        raise ValueError(f"n_intervals must be at least 1; got {n_intervals}.")
    event_times = np.asarray(time)[np.asarray(event, dtype=bool)]
    if event_times.size == 0:
        raise ValueError("Event quantiles need at least one event; every patient is censored.")
    inner = np.quantile(event_times, np.linspace(0, 1, n_intervals + 1)[1:-1])
    cuts = np.unique(np.append(inner, np.max(time)))
    if cuts[-1] <= 0:
        raise ValueError("All times are 0; there is no interval to put the events into.")
    return cuts[cuts > 0]


def event_labels(event: np.ndarray, time: np.ndarray, n_time_bins: int = 1) -> np.ndarray:
    """Integer labels that stratify by event and, optionally, by time within events.

    Parameters
    ----------
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,), float
    n_time_bins : int, default=1
        Number of quantile bins of the event times. 1 stratifies by event alone.

    Returns
    -------
    ndarray of shape (n,), int
        0 for censored patients, 1 to `n_time_bins` for events from early to late.
    """
    event = np.asarray(event, dtype=bool)
    labels = event.astype(np.intp)
    if n_time_bins > 1 and event.any():
        cuts = np.quantile(time[event], np.linspace(0, 1, n_time_bins + 1)[1:-1])
        labels[event] = 1 + np.searchsorted(cuts, time[event], side="left")
    return labels


def risk_of(estimator: Any, X: Any) -> np.ndarray:
    """Predict the risk of patients by any fitted estimator: **higher = earlier event**.

    scikit-survival marks models that predict a time (`IPCRidge`, `FastSurvivalSVM` with
    ``rank_ratio < 1``, boosting with a regression loss, ...) by ``_predict_risk_score = False``;
    their predictions are multiplied by -1. The mark is looked for on the estimator itself, then on
    the last step of a pipeline, the best estimator of a search, and the fitted models of a
    meta-estimator (``final_estimator_``, ``estimators_``, ``estimator_``). An estimator without a
    mark predicts a risk, as in scikit-survival.

    Parameters
    ----------
    estimator : estimator
        Fitted, with ``predict``.
    X : Cohort or array-like of n patients

    Returns
    -------
    ndarray of shape (n,), float64
        A fresh array.

    Raises
    ------
    ValueError
        A meta-estimator that averages risks and times, or one from outside scikit-learn and
        scikit-survival around a model of times whose predictions are neither that model's nor their
        negatives. Set ``_predict_risk_score`` on its class.
    """
    predicted = np.array(estimator.predict(X), dtype=np.float64)
    return predicted if _predicts_risk(estimator, lambda: X) else -predicted


def _predicts_risk(estimator: Any, inputs: Callable[[], Any]) -> bool:
    marked = getattr(estimator, "_predict_risk_score", None)
    if marked is not None:
        return bool(marked)
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list):
        before = estimator[:-1] if len(steps) > 1 else None
        return _predicts_risk(
            steps[-1][1], lambda: inputs() if before is None else before.transform(inputs())
        )
    if not hasattr(type(estimator), "predict") and hasattr(estimator, "estimator"):
        return _predicts_risk(estimator.estimator, inputs)  # FrozenEstimator
    models = _fitted_models(estimator)
    signs = {_predicts_risk(model, inputs) for model in models}
    if signs <= {True}:
        return True
    if signs == {False} and _hands_on(estimator):
        return False
    if signs == {False} and len(models) == 1:
        # Somebody's own wrapper of a model of times may have turned the sign already.
        outer, inner = (np.asarray(each.predict(inputs())) for each in (estimator, models[0]))
        for same, is_risk in ((inner, False), (-inner, True)):
            if np.array_equal(outer, same):
                return is_risk
    name = type(estimator).__name__
    raise ValueError(
        f"{name} predicts with models that predict a time, and does not say whether its own "
        "predictions are risks (higher = earlier event) or times. Set the class attribute "
        f"_predict_risk_score of {name} to True for risks, to False for times; an average of risks "
        "and times is neither."
    )


def _fitted_models(estimator: Any) -> list[Any]:
    """Return what a meta-estimator has fitted to predict with; empty for a plain estimator."""
    for attribute in ("best_estimator_", "final_estimator_", "estimators_", "estimator_"):
        models = getattr(estimator, attribute, None)
        if isinstance(models, list | tuple | np.ndarray):
            return list(np.ravel(models)) if isinstance(models, np.ndarray) else list(models)
        if models is not None:
            return [models]
    return []


def _hands_on(estimator: Any) -> bool:
    """Whether `predict` is a library's, whose searches and ensembles keep the sign of models."""
    owner = next(kind for kind in type(estimator).__mro__ if "predict" in vars(kind))
    return owner.__module__.partition(".")[0] in ("sklearn", "sksurv") or hasattr(
        estimator, "best_estimator_"
    )


def _as_indicator(event: np.ndarray) -> np.ndarray:
    if event.dtype == np.bool_:
        return event
    try:
        values = event.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"event must hold True/False or 1/0; got values such as {event.ravel()[:3].tolist()}."
        ) from None
    wrong = np.flatnonzero(~np.isin(values, (0.0, 1.0)))
    if wrong.size:
        raise ValueError(
            "event must hold True/False or 1/0; got "
            f"{np.unique(values[wrong])[:5].tolist()} at positions {wrong[:5].tolist()}."
        )
    return values.astype(np.bool_)


def _check_times(time: np.ndarray, ids: Sequence[str] | None) -> None:
    wrong = np.flatnonzero(~np.isfinite(time) | (time < 0))
    if wrong.size:
        names = [f"patient {ids[i]!r}" if ids is not None else f"position {i}" for i in wrong[:5]]
        listed = ", ".join(f"{name}: {time[i]}" for name, i in zip(names, wrong[:5], strict=True))
        raise ValueError(
            f"time must be finite and non-negative; {wrong.size} value(s) are not ({listed})."
        )
