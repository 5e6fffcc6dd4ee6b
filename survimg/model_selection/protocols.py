"""Protocols of a benchmark: which patients train a model, and which test it.

A protocol is a list of splits and, for models that are tuned or averaged over folds of their
training set, the folds inside it. It is made once, written to disk by patient and shared by all
models::

    protocol = nested_protocol(X, X.outcome, n_folds=5, inner_folds=3, random_state=0)
    tuned = GridSearchCV(DeepSurv(), {"alpha": [0.1, 1.0]}, cv=protocol.inner_cv, scoring=...)
    run_benchmark({"deepsurv": tuned}, X, X.outcome, out="runs/a", **protocol.arguments())
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils import _safe_indexing

from survimg.model_selection.known_groups import KnownGroups
from survimg.model_selection.splitters import (
    EventStratifiedGroupKFold,
    EventStratifiedKFold,
    LeaveOneCentreOut,
    RepeatedEventStratifiedGroupKFold,
    RepeatedEventStratifiedKFold,
)
from survimg.target import as_outcome

__all__ = [
    "Protocol",
    "external_protocol",
    "k_fold_protocol",
    "leave_one_centre_out_protocol",
    "nested_protocol",
    "repeated_protocol",
]

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Protocol:
    """Splits of a benchmark, with what is to be said about them.

    Attributes
    ----------
    name : str
        ``"kfold"``, ``"repeated"``, ``"nested"``, ``"external"`` or ``"leave-one-centre-out"``.
    splits : tuple of (train, test)
        Positions of the patients; with repeats, those of the first repeat come first.
    inner_cv : splitter or None
        Folds inside a training set, the same for all models and seeds: the ``cv`` of a search or of
        `survimg.estimators.FoldEnsemble`.
    inner_splits : tuple of tuple of (train, test), or None
        What `inner_cv` makes of the training part of each split, as positions of all patients.
    groups : ndarray of shape (n,) or None
        What was kept together: the patient of each image.
    parameters : dict
        Numbers of folds and repeats, seed: JSON values.
    """

    name: str
    splits: tuple[Split, ...]
    inner_cv: Any = None
    inner_splits: tuple[tuple[Split, ...], ...] | None = None
    groups: np.ndarray | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Return name and parameters, as in a run's ``run.json``."""
        return {"name": self.name, **self.parameters}

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `survimg.benchmark.run_benchmark` that come from a protocol."""
        return {
            "splits": self.splits,
            "inner_splits": self.inner_splits,
            "groups": self.groups,
            "protocol": self.describe(),
        }


def k_fold_protocol(
    X: Any,
    y: npt.ArrayLike,
    *,
    n_folds: int = 5,
    groups: npt.ArrayLike | None = None,
    random_state: int | None = None,
) -> Protocol:
    """Cross-validation: each patient is tested once, by a model trained on the other folds.

    Parameters
    ----------
    X : Cohort, array or frame of n patients
    y : structured array of shape (n,)
    n_folds : int, default=5
    groups : array-like of shape (n,), optional
        Patient of each image, where patients have several: a patient's images share a fold.
    random_state : int, optional
        Seed for dividing the patients into folds.

    Returns
    -------
    Protocol

    Raises
    ------
    ValueError
        Fewer events (or groups with one) than folds.
    """
    splitter = _shuffled(n_folds, groups, random_state)
    return Protocol(
        "kfold",
        _splits(splitter.split(X, y, groups)),
        groups=_patient_of_image(groups),
        parameters={"n_folds": n_folds, "n_repeats": 1, "random_state": random_state},
    )


def repeated_protocol(
    X: Any,
    y: npt.ArrayLike,
    *,
    n_folds: int = 5,
    n_repeats: int = 10,
    groups: npt.ArrayLike | None = None,
    random_state: int | None = None,
) -> Protocol:
    """Repeated cross-validation: each patient is tested once in each of the repeats.

    Parameters
    ----------
    n_repeats : int, default=10
        At least 2.
    X, y, n_folds, groups, random_state
        As in `k_fold_protocol`.

    Returns
    -------
    Protocol

    Raises
    ------
    ValueError
        As in `k_fold_protocol`, or fewer than two repeats.
    """
    if n_repeats < 2:
        raise ValueError(f"n_repeats must be at least 2; got {n_repeats} (once is kfold).")
    kind = RepeatedEventStratifiedKFold if groups is None else RepeatedEventStratifiedGroupKFold
    splitter = kind(n_folds, n_repeats=n_repeats, random_state=random_state)
    return Protocol(
        "repeated",
        _splits(splitter.split(X, y, groups)),
        groups=_patient_of_image(groups),
        parameters={"n_folds": n_folds, "n_repeats": n_repeats, "random_state": random_state},
    )


def nested_protocol(
    X: Any,
    y: npt.ArrayLike,
    *,
    n_folds: int = 5,
    inner_folds: int = 3,
    groups: npt.ArrayLike | None = None,
    random_state: int | None = None,
) -> Protocol:
    """Cross-validation whose training parts are divided again, for a search over parameters.

    Parameters
    ----------
    inner_folds : int, default=3
        Folds of each training part. Put `Protocol.inner_cv` as ``cv`` into a
        ``sklearn.model_selection.GridSearchCV`` around the model.
    X, y, n_folds, groups, random_state
        As in `k_fold_protocol`; with groups, `X` must be a Cohort.

    Returns
    -------
    Protocol

    Raises
    ------
    ValueError
        As in `k_fold_protocol`, also of a training part and the inner folds.
    """
    outer = k_fold_protocol(X, y, n_folds=n_folds, groups=groups, random_state=random_state)
    inner = _inner(X, inner_folds, groups, random_state)
    return Protocol(
        "nested",
        outer.splits,
        inner,
        _inner_splits(inner, X, y, outer.splits),
        outer.groups,
        {**outer.parameters, "inner_folds": inner_folds},
    )


def external_protocol(
    X: Any,
    y: npt.ArrayLike,
    *,
    n_training: int,
    inner_folds: int = 5,
    groups: npt.ArrayLike | None = None,
    random_state: int | None = None,
) -> Protocol:
    """Train on one cohort, test on another.

    Parameters
    ----------
    X : Cohort
        The training patients, then the external ones, as `join_cohorts` puts them.
    y : structured array of shape (n,)
    n_training : int
        Number of training patients.
    inner_folds : int, default=5
        Folds of the training cohort, for `survimg.estimators.FoldEnsemble`: the DeepMTS paper
        averages the models of its five folds over the external patients. 1 for no ensemble: each
        model is trained once, on all training patients.
    groups, random_state
        As in `k_fold_protocol`; the seed divides the training patients into folds.

    Returns
    -------
    Protocol

    Raises
    ------
    ValueError
        No patient on one side, or fewer events than folds in training.
    """
    n = int(X.shape[0])
    if not 0 < n_training < n:
        raise ValueError(f"n_training must be between 1 and {n - 1} of {n}; got {n_training}.")
    splits = ((np.arange(n_training), np.arange(n_training, n)),)
    inner = None if inner_folds == 1 else _inner(X, inner_folds, groups, random_state)
    return Protocol(
        "external",
        splits,
        inner,
        None if inner is None else _inner_splits(inner, X, y, splits),
        _patient_of_image(groups),
        {
            "n_training": n_training,
            "n_external": n - n_training,
            "n_repeats": 1,
            "inner_folds": inner_folds,
            "random_state": random_state,
        },
    )


def leave_one_centre_out_protocol(X: Any, y: npt.ArrayLike, centres: npt.ArrayLike) -> Protocol:
    """Test each centre by a model trained on the others.

    Parameters
    ----------
    X : Cohort, array or frame of n patients
    y : structured array of shape (n,)
    centres : array-like of shape (n,)
        Such as ``X.groups``.

    Returns
    -------
    Protocol

    Raises
    ------
    ValueError
        A single centre, or one without events or with all of them.

    Warns
    -----
    UserWarning
        A clinical column of which every level belongs to one centre.
    """
    splits = _splits(LeaveOneCentreOut().split(X, y, centres))
    _tell_of_centre_columns(getattr(X, "clinical", None), centres)
    names = np.unique([str(name) for name in np.asarray(centres).tolist()]).tolist()
    return Protocol(
        "leave-one-centre-out",
        splits,
        parameters={"n_folds": len(splits), "n_repeats": 1, "centres": names},
    )


def _tell_of_centre_columns(clinical: pd.DataFrame | None, centres: npt.ArrayLike) -> None:
    """Say so if a clinical column tells the centre, which no model knows of a new one."""
    if clinical is None:
        return
    groups = pd.Series(np.asarray(centres).tolist()).astype(str)
    for name, column in clinical.items():
        texts = column.astype(object).map(str, na_action="ignore")
        n_levels = texts.nunique()
        within = texts.notna().any() and int(groups.groupby(texts).nunique().max()) == 1
        if within and n_levels >= 2 and 3 * n_levels <= len(texts):
            warnings.warn(
                f"The clinical column {str(name)!r} tells the centre: each of its {n_levels} "
                "values belongs to one. Models learn the centre from it, and of a left-out "
                "centre know nothing; leave the column out.",
                UserWarning,
                stacklevel=3,
            )


def _shuffled(n_folds: int, groups: npt.ArrayLike | None, random_state: int | None) -> Any:
    kind = EventStratifiedKFold if groups is None else EventStratifiedGroupKFold
    return kind(n_folds, shuffle=random_state is not None, random_state=random_state)


def _inner(
    X: Any, inner_folds: int, groups: npt.ArrayLike | None, random_state: int | None
) -> Any:
    splitter = _shuffled(inner_folds, groups, random_state)
    return splitter if groups is None else KnownGroups(splitter, X.ids, groups)


def _inner_splits(
    inner: Any, X: Any, y: npt.ArrayLike, splits: Iterable[Split]
) -> tuple[tuple[Split, ...], ...]:
    outcome = as_outcome(y, X)
    return tuple(
        tuple(
            (train[fitted], train[held_out])
            for fitted, held_out in inner.split(_safe_indexing(X, train), outcome[train])
        )
        for train, _ in splits
    )


def _splits(pairs: Iterable[Split]) -> tuple[Split, ...]:
    return tuple((np.asarray(train), np.asarray(test)) for train, test in pairs)


def _patient_of_image(groups: npt.ArrayLike | None) -> np.ndarray | None:
    return None if groups is None else np.asarray(groups)
