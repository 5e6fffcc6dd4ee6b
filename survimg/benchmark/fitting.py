"""Fit one model on one fold and collect what it predicts. Nothing is scored here."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from survimg.benchmark.environment import GpuMemory, MemoryIncrease, environment
from survimg.benchmark.identity import describe, seeded_clone
from survimg.benchmark.records import Record
from survimg.benchmark.sample_weight import weight_name
from survimg.evaluation.predictions import check_risk
from survimg.evaluation.segmentation import dice
from survimg.survival import LABEL_HORIZON, risk_of, survival_values

__all__ = ["Task", "compute_record"]

_MASK_BATCH = 8  # patients whose predicted masks are held at once
_THUMBNAIL = 64  # voxels


@dataclass(frozen=True)
class Task:
    """One model on one fold with one seed.

    Attributes
    ----------
    key, name : str
    model : estimator
        Unfitted; cloned before it is fitted.
    fold, seed : int
    train, test : ndarray of shape (n_train,) and (n_test,), int
    times : ndarray of shape (n_times,)
        Grid of the survival curves.
    description : dict
        Of the seeded estimator, for the record.
    data : str
        Fingerprint of the patients.
    settings : mapping
        Of the run, for the record.
    """

    key: str
    name: str
    model: Any
    fold: int
    seed: int
    train: np.ndarray
    test: np.ndarray
    times: np.ndarray
    description: Any
    data: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def compute_record(
    task: Task, X: Any, y: np.ndarray, ids: np.ndarray, sample_weight: np.ndarray | None = None
) -> Record:
    """Fit and predict; an error of the model becomes part of the record.

    Parameters
    ----------
    task : Task
    X : Cohort, array or frame of n patients
    y : structured array of shape (n,), or labels of shape (n,), bool
    ids : ndarray of shape (n,), str
    sample_weight : ndarray of shape (n,), optional
        For models that take weights; the record says whether this one did.

    Returns
    -------
    Record
    """
    details: dict[str, Any] = {
        "estimator": task.description,
        "data_fingerprint": task.data,
        "settings": dict(task.settings),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    arrays: dict[str, np.ndarray] = {}
    error = None
    memory, gpu_memory = MemoryIncrease(), GpuMemory()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            arrays = _fit_and_predict(task, X, y, ids, sample_weight, details)
        except Exception as failure:  # no error of one model may stop the others
            error = _describe_error(failure)
    details["warnings"] = list(dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in caught))
    details["memory_increase_bytes"] = memory.read()
    details["gpu_memory_bytes"] = gpu_memory.read()
    details["environment"] = environment()
    return Record(task.key, task.name, task.fold, task.seed, error, details, arrays)


def _fit_and_predict(
    task: Task,
    X: Any,
    y: np.ndarray,
    ids: np.ndarray,
    sample_weight: np.ndarray | None,
    details: dict[str, Any],
) -> dict[str, np.ndarray]:
    X_train, X_test = _safe_indexing(X, task.train), _safe_indexing(X, task.test)
    estimator = seeded_clone(task.model, task.seed)
    weights = {}
    if sample_weight is not None:
        name = weight_name(estimator)
        weights = {} if name is None else {name: sample_weight[task.train]}
        details["sample_weight"] = name is not None
    started = perf_counter()
    estimator.fit(X_train, y[task.train], **weights)
    details["fit_seconds"] = perf_counter() - started
    if hasattr(estimator, "best_estimator_"):  # a search passes on its predictions, but no curves
        details["chosen"] = describe(estimator.best_params_)
        estimator = estimator.best_estimator_
    arrays = {"test_ids": ids[task.test], "train_ids": ids[task.train]}
    started = perf_counter()
    if hasattr(estimator, "predict"):
        score = risk_of if y.dtype.names is not None else _score_of_positive
        risk = check_risk(score(estimator, X_test), task.test.size, name="predicted risk")
        details["predict_seconds"] = perf_counter() - started
        arrays["test_risk"] = risk
        arrays["train_risk"] = check_risk(
            score(estimator, X_train), task.train.size, name="predicted risk of the training set"
        )
    if y.dtype.names is None:
        if hasattr(estimator, "predict_proba"):  # as survival, see outcome_of_labels
            arrays["times"] = np.array([LABEL_HORIZON])
            arrays["survival"] = 1 - arrays["test_risk"][:, np.newaxis]
    elif hasattr(estimator, "predict_survival_function"):
        arrays["times"] = task.times
        arrays["survival"] = survival_values(
            estimator.predict_survival_function(X_test), task.times, past_end="nan"
        )
    history = _history(estimator)
    if history is not None:
        details["history"] = history
    if precisions := sorted(_precisions(estimator)):
        details["precision"] = ", ".join(precisions)
    if hasattr(estimator, "predict_mask") and hasattr(X_test, "has_masks"):
        arrays.update(_masks(estimator, X_test, arrays["test_ids"], details))
    details.setdefault("predict_seconds", perf_counter() - started)  # of masks, without risks
    return arrays


def _score_of_positive(classifier: Any, X: Any) -> np.ndarray:
    """Probability of the second class, or else its decision function, (n,)."""
    if hasattr(classifier, "predict_proba"):
        return np.asarray(classifier.predict_proba(X))[:, 1]
    return np.asarray(classifier.decision_function(X))


def _precisions(estimator: Any) -> set[str]:
    """Types in which the networks of an estimator were trained, those of its parts included."""
    if isinstance(precision := getattr(estimator, "precision_", None), str):
        return {precision}
    parts = [part for _, part in getattr(estimator, "steps", ())]
    for name in ("estimator_", "estimators_", "members_", "final_estimator_"):
        part = getattr(estimator, name, None)
        parts += list(part) if isinstance(part, list | tuple) else [part]
    return set().union(*(_precisions(part) for part in parts if hasattr(part, "get_params")))


def _history(estimator: Any) -> dict[str, list[float | None]] | None:
    """Training history of an estimator, or of the last step of a pipeline, column by column."""
    final = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    history = getattr(final, "history_", None)
    if history is None:
        return None
    numbers = pd.DataFrame(history).select_dtypes("number").astype(np.float64)
    finite = numbers.replace([np.inf, -np.inf], np.nan)
    return {
        str(name): [None if np.isnan(v) else v for v in finite[name].tolist()]
        for name in finite.columns
        if finite[name].notna().any()
    }


def _masks(
    estimator: Any, X: Any, ids: np.ndarray, details: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Dice of the test patients who have a tumour in their mask, and the slices to show."""
    truths = {i: X.mask(i) != 0 for i in np.flatnonzero(X.has_masks).tolist()}
    with_tumour = [i for i, truth in truths.items() if truth.any()]
    scores: dict[int, float] = {}
    slices: dict[int, tuple[int, np.ndarray]] = {}
    for start in range(0, len(with_tumour), _MASK_BATCH):
        batch = with_tumour[start : start + _MASK_BATCH]
        for i, predicted in zip(batch, estimator.predict_mask(X[np.array(batch)]), strict=True):
            scores[i] = dice(predicted, truths[i])
            z = int(np.argmax(np.count_nonzero(truths[i], axis=(1, 2))))
            slices[i] = z, np.asarray(predicted)[z]
    if not scores:
        return {}
    drawings = {i: _thumbnail(X.volume(i)[:, z], truths[i][z], m) for i, (z, m) in slices.items()}
    arrays = {"dice_ids": ids[list(scores)], "dice": np.array(list(scores.values()))}
    # One by one, because the volumes of a cohort may differ in size.
    arrays |= {f"thumbnail{k}": drawings[i] for k, i in enumerate(scores)}
    ranked = sorted(scores, key=lambda i: (scores[i], i))
    details["examples"] = []
    for k, rank in enumerate(sorted({0, (len(ranked) - 1) // 2, len(ranked) - 1})):
        i = ranked[rank]
        z, predicted = slices[i]
        arrays[f"example{k}_image"] = X.volume(i)[:, z].astype(np.float32)
        arrays[f"example{k}_truth"] = truths[i][z].astype(np.uint8)
        arrays[f"example{k}_predicted"] = predicted.astype(np.uint8)
        details["examples"].append(_describe_example(X, i, str(ids[i]), z, scores[i]))
    return arrays


def _thumbnail(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Draw a slice small: the channels in 256 shades, the true and the predicted mask (0, 1).

    Shape (channels + 2, y, x), uint8, with every second, third, ... voxel so that no side is longer
    than `_THUMBNAIL`.
    """
    step = -(-max(truth.shape) // _THUMBNAIL)
    low, high = np.percentile(image, (1, 99.5), axis=(1, 2), keepdims=True)
    shades = 255 * np.clip((image - low) / np.maximum(high - low, 1e-6), 0, 1)
    layers = np.concatenate([shades, [truth != 0, np.asarray(predicted) != 0]])
    return np.ascontiguousarray(layers[:, ::step, ::step].astype(np.uint8))


def _describe_example(
    X: Any, i: int, patient_id: str, z: int, score: float
) -> dict[str, Any]:
    spacing = getattr(X, "spacing", None)
    return {
        "patient_id": patient_id,
        "slice": z,
        "dice": score,
        "spacing": None if spacing is None else [float(size) for size in spacing[i][1:]],
        "channels": [str(name) for name in X.channel_names],
    }


def _describe_error(error: Exception) -> dict[str, str]:
    return {
        "type": type(error).__name__,
        "message": " ".join([str(error), *getattr(error, "__notes__", [])]),
        "traceback": "".join(traceback.format_exception(error)),
    }
