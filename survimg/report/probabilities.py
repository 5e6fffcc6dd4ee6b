"""Calibration and net benefit of predicted probabilities in a cross-validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from survimg.benchmark.records import Record
from survimg.benchmark.run_folder import Run
from survimg.evaluation.brier import brier_score, index_of_prediction_accuracy
from survimg.evaluation.calibration import (
    CalibrationGroups,
    SmoothCalibration,
    calibration_groups,
    greenwood_nam_dagostino_test,
    integrated_calibration_index,
)
from survimg.evaluation.decision_curve import DecisionCurve, decision_curve
from survimg.evaluation.predictions import check_horizon, step_values
from survimg.survival import LABEL_HORIZON
from survimg.target import make_outcome

__all__ = [
    "Probabilities",
    "evaluate_probabilities",
    "record_survival",
    "report_horizon",
    "survival_at",
]

_THRESHOLDS = np.arange(2, 92, 2) / 100
_EVENTS_IN_GROUP = 5
_MAX_GROUPS = 5
_NEARLY = 1e-3


@dataclass(frozen=True)
class Probabilities:
    """Accuracy of one model's predicted probabilities at one horizon.

    Attributes
    ----------
    model : str
    n_patients, n_events : int
        Test patients, and how many of them had the event by the horizon.
    brier : float
    accuracy : float
        Index of prediction accuracy: 1 - Brier score / that of the Kaplan-Meier estimate.
    groups : CalibrationGroups or None
    smooth : SmoothCalibration or None
        Smooth curve and integrated calibration index.
    p_value : float or None
        Greenwood-Nam-D'Agostino test.
    decision : DecisionCurve or None
        Up to the last threshold at which enough patients were followed to the horizon.
    reasons : tuple of str
        Why values are None, and which probabilities were changed to estimate the others.
    """

    model: str
    n_patients: int
    n_events: int
    brier: float
    accuracy: float
    groups: CalibrationGroups | None
    smooth: SmoothCalibration | None
    p_value: float | None
    decision: DecisionCurve | None
    reasons: tuple[str, ...]


def report_horizon(run: Run) -> float:
    """Time at which probabilities are evaluated: the run's setting ``horizon``, if it is set.

    Of labels it is the time that stands for them (`survimg.survival.outcome_of_labels`). Otherwise
    it is the median time of the observed events, which does not depend on predictions and so
    favours no model.

    Raises
    ------
    ValueError
        The setting is not a positive time.
    """
    if run.label is not None:
        return LABEL_HORIZON
    horizon = run.plan["settings"].get("horizon")
    if horizon is not None:
        return check_horizon(horizon)
    return float(np.median(run.outcome["time"][run.outcome["event"]]))


def survival_at(run: Run, model: str, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Predicted survival of the test patients at a horizon, first seed and first repeat.

    Probabilities of different folds share their scale, unlike risks, and are pooled.

    Parameters
    ----------
    run : Run
    model : str
    horizon : float

    Returns
    -------
    position : ndarray of shape (m,)
        Positions of the patients in the run.
    survival : ndarray of shape (m,)

    Raises
    ------
    ValueError
        Folds without predictions, no survival curves, patients who are tested in several folds, or
        curves that end before the horizon.
    """
    records, n_folds = run.first_repeat(model), len(run.repeats[0])
    if len(records) < n_folds:
        raise ValueError(f"{len(records)} of {n_folds} folds have predictions.")
    if not all("survival" in record.arrays for record in records.values()):
        raise ValueError("The model predicts risks only, no survival probabilities.")
    position = np.concatenate([run.folds[fold][1] for fold in records])
    if np.unique(position).size < position.size:
        raise ValueError("Patients are tested in several folds, so predictions cannot be pooled.")
    survival = np.concatenate([record_survival(record, horizon) for record in records.values()])
    n_short = int(np.isnan(survival).sum())
    if n_short:
        raise ValueError(
            f"The predicted curves of {n_short} of {survival.size} test patients end before the "
            f"horizon {horizon:g}."
        )
    return position, survival


def record_survival(record: Record, horizon: float) -> np.ndarray:
    """Predicted survival at a horizon of the test patients of one record that holds curves.

    Returns
    -------
    ndarray of shape (n_test,)
        NaN for curves that end before the horizon.
    """
    curves, grid = record.arrays["survival"], record.arrays["times"]
    if horizon > grid[-1]:
        return np.full(curves.shape[0], np.nan)
    return step_values(curves, grid, np.array([horizon]))[:, 0]


def evaluate_probabilities(run: Run, model: str, horizon: float) -> Probabilities:
    """Evaluate one model's predicted probabilities at a horizon.

    Parameters
    ----------
    run : Run
    model : str
    horizon : float

    Returns
    -------
    Probabilities

    Raises
    ------
    ValueError
        As `survival_at`; or no patient was followed up to the horizon.
    """
    position, survival = survival_at(run, model, horizon)
    y = run.outcome[position]
    n_events = int(np.count_nonzero(y["event"] & (y["time"] <= horizon)))
    reasons: list[str] = []
    n_groups = int(np.clip(n_events // _EVENTS_IN_GROUP, 2, _MAX_GROUPS))
    groups, smooth, p_value, decision = None, None, None, None
    try:
        groups = calibration_groups(y, survival, horizon, n_groups)
        p_value = greenwood_nam_dagostino_test(
            y, survival, horizon, n_groups, min_events=_EVENTS_IN_GROUP
        ).p_value
    except ValueError as problem:
        reasons.append(f"{'Groups' if groups is None else 'Test'}: {problem}")
    inside = np.clip(survival, _NEARLY, 1 - _NEARLY)  # the curve works on log(-log S)
    if n_clipped := int(np.count_nonzero(inside != survival)):
        change = f"closer to 0 or 1 than {_NEARLY} were changed to that distance"
        reasons.append(f"Smooth curve: {n_clipped} of {inside.size} probabilities {change}.")
    try:
        smooth = integrated_calibration_index(y, inside, horizon)
    except ValueError as problem:
        reasons.append(f"Smooth curve: {problem}")
    try:
        decision = _decision(y, survival, horizon)
    except ValueError as problem:
        reasons.append(f"Net benefit: {problem}")
    curves, time = survival[:, np.newaxis], [horizon]
    return Probabilities(
        model,
        position.size,
        n_events,
        float(brier_score(y, y, curves, time)[0]),
        float(index_of_prediction_accuracy(y, y, curves, time)[0]),
        groups,
        smooth,
        p_value,
        decision,
        tuple(reasons),
    )


def _decision(y: np.ndarray, survival: np.ndarray, horizon: float) -> DecisionCurve:
    """Net benefit up to the first threshold at which it cannot be estimated."""
    outcome = make_outcome(y["event"], y["time"])
    n_estimable, above = 0, _THRESHOLDS.size
    while n_estimable < above:  # by bisection, the whole range first
        n_tried = above if above == _THRESHOLDS.size else (n_estimable + above + 1) // 2
        try:
            curve = decision_curve(outcome, 1 - survival, horizon, _THRESHOLDS[:n_tried])
        except ValueError:
            above = n_tried - 1
        else:
            n_estimable = n_tried
    # If no threshold can be estimated, the first one says why.
    return curve if n_estimable else decision_curve(outcome, 1 - survival, horizon, _THRESHOLDS[:1])
