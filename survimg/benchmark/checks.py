"""Checks of the arguments of a benchmark, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from survimg.evaluation.concordance import concordance_counts
from survimg.evaluation.predictions import check_risk, check_weights
from survimg.target import event_of, is_table, make_outcome

__all__ = [
    "check_ids",
    "check_inner_splits",
    "check_labels",
    "check_models",
    "check_oracle",
    "check_pair",
    "check_published",
    "check_sample_weight",
    "check_seeds",
    "check_splits",
    "n_patients",
]

Split = tuple[np.ndarray, np.ndarray]


def n_patients(X: Any) -> int:
    """Length of a cohort, array or frame."""
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def check_ids(X: Any, ids: Sequence[str] | None, n: int) -> np.ndarray:
    """Take the identifiers given, or those of the cohort; refuse duplicates."""
    if ids is None and not hasattr(X, "ids"):
        raise ValueError(
            f"{type(X).__name__} has no patient identifiers; pass ids=, one string per patient."
        )
    names = np.array([str(name) for name in (X.ids if ids is None else ids)], dtype=np.str_)
    if names.size != n:
        raise ValueError(f"ids holds {names.size} identifiers for {n} patients.")
    unique, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"Duplicate patient ids: {unique[counts > 1][:5].tolist()}. Where a patient has "
            "several images, give each an identifier of its own and the patients as groups=."
        )
    return names


def check_splits(
    splits: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]], event: np.ndarray, time: np.ndarray
) -> list[Split]:
    """Check that folds separate their patients and can be trained on and scored.

    Raises
    ------
    ValueError
        No folds; positions out of range or repeated; a patient in both parts of a fold; a training
        part without events, or a test part without a comparable pair.
    """
    if not len(splits):
        raise ValueError("splits is empty; give at least one (train, test) pair of index arrays.")
    pairs = []
    for fold, parts in enumerate(splits):
        train, test = (_positions(part, event.size, fold) for part in parts)
        in_both = np.intersect1d(train, test)
        if in_both.size:
            raise ValueError(
                f"Fold {fold}: {in_both.size} patient(s) are in both the training and the test "
                f"part, first at position {in_both[0]}."
            )
        if not event[train].any():
            raise ValueError(f"Fold {fold}: every patient of the training part is censored.")
        y_test = make_outcome(event[test], time[test])
        if not concordance_counts(y_test, np.zeros(test.size)).comparable:
            raise ValueError(
                f"Fold {fold}: its {test.size} test patients ({int(event[test].sum())} events) "
                "hold no comparable pair, so no model can be scored on it. Use fewer folds."
            )
        pairs.append((train, test))
    return pairs


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Check that seeds are distinct non-negative integers."""
    values = [int(seed) for seed in seeds]
    if not values or min(values) < 0 or len(set(values)) != len(values):
        raise ValueError(
            f"seeds must be distinct non-negative integers, at least one; got {list(seeds)}."
        )
    return values


def check_labels(y: Any, n: int, name: str | None) -> np.ndarray | None:
    """Return the labels in `y`, (n,), bool; None if it holds events and times.

    Raises
    ------
    ValueError
        Labels of another number of patients, of other values than two, or of one class; a name of
        labels for an outcome that has none.
    """
    values = None if is_table(y) else np.asarray(y)
    if values is None or values.dtype.names is not None or values.ndim != 1:
        if name is not None:
            raise ValueError(f"label={name!r}, but y holds events and times, not labels.")
        return None
    if values.size != n:
        raise ValueError(f"X has {n} patients and y {values.size} labels.")
    wrong = [value for value in values.tolist() if event_of(value) is None]
    if wrong:
        raise ValueError(
            "y must be a structured array (event, time), or labels: True and False, or 1 and 0. It "
            f"holds {wrong[:3]}."
        )
    labels = np.array([event_of(value) for value in values.tolist()], dtype=bool)
    if labels.all() or not labels.any():
        raise ValueError(f"All {n} patients have the label {bool(labels[0])}; two are needed.")
    return labels


def check_sample_weight(weights: Any, n: int, labels: bool) -> np.ndarray | None:
    """Return the weights, (n,), float64; None for equal ones.

    Raises
    ------
    ValueError
        Weights beside events and times, of another number of patients, or not above 0.
    """
    if weights is None:
        return None
    if not labels:
        raise ValueError("sample_weight goes with labels, and y holds events and times.")
    values = check_weights(weights, n)
    if not (values > 0).all():
        raise ValueError(
            f"sample_weight is 0 for {int((values == 0).sum())} patients, whose label counts for "
            "nothing; leave these patients out."
        )
    return values


def check_models(
    models: Mapping[str, Any], reference: str | None, *, classifiers: bool = False
) -> None:
    """Check that there are estimators, and that the reference is one of them.

    Raises
    ------
    ValueError
        No model; names that would share a folder; a reference that is unknown or predicts no risk;
        with `classifiers`, a model that gives neither probabilities nor a decision function.
    TypeError
        A model that scikit-learn cannot clone.
    """
    if not models:
        raise ValueError("models is empty; give at least one estimator.")
    for name, model in models.items():
        # A model that only segments takes part without a risk.
        prediction = "predict" if not hasattr(model, "predict_mask") else "predict_mask"
        methods = ("fit", prediction, "get_params", "set_params")
        missing = [method for method in methods if not hasattr(model, method)]
        if missing or isinstance(model, type):
            raise TypeError(
                f"Model {name!r} is not an estimator ({type(model).__name__}): it must have "
                f"fit, predict, get_params and set_params; missing: {missing or 'an instance'}."
            )
        scores = ("predict_proba", "decision_function", "predict_mask")
        if classifiers and not any(hasattr(model, method) for method in scores):
            raise ValueError(
                f"Model {name!r} ({type(model).__name__}) is no classifier: for labels it must "
                "have predict_proba or decision_function."
            )
    if reference is not None and reference not in models:
        raise ValueError(f"reference {reference!r} is not one of the models {list(models)}.")
    if reference is not None and not hasattr(models[reference], "predict"):
        raise ValueError(
            f"reference {reference!r} predicts no risk, so no model can be compared with it."
        )


def check_inner_splits(
    inner_splits: Sequence[Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]] | None,
    folds: Sequence[Split],
    n: int,
) -> list[list[Split]] | None:
    """Check that the folds inside the training parts stay inside them.

    Raises
    ------
    ValueError
        Another number of folds, a patient from outside the training part, or on both sides.
    """
    if inner_splits is None:
        return None
    if len(inner_splits) != len(folds):
        raise ValueError(f"inner_splits has {len(inner_splits)} entries for {len(folds)} folds.")
    inner_folds = []
    for fold, ((train, _), inner) in enumerate(zip(folds, inner_splits, strict=True)):
        pairs = [(_positions(a, n, fold), _positions(b, n, fold)) for a, b in inner]
        for inner_train, inner_test in pairs:
            outside = np.setdiff1d(np.concatenate([inner_train, inner_test]), train)
            in_both = np.intersect1d(inner_train, inner_test)
            if outside.size or in_both.size:
                wrong = f"position {[*outside, *in_both][0]}"
                raise ValueError(
                    f"Fold {fold}: its inner folds hold {wrong}, which is "
                    f"{'not in its training part' if outside.size else 'on both sides'}."
                )
        inner_folds.append(pairs)
    return inner_folds


def check_pair(models: Mapping[str, Any], first: str, second: str) -> None:
    """Check that two models can be compared with each other.

    Raises
    ------
    ValueError
        A name that is no model, one model twice, or a model that predicts no risk.
    """
    if first == second:
        raise ValueError(f"The pair ({first!r}, {second!r}) names one model twice.")
    for name in (first, second):
        if name not in models:
            raise ValueError(
                f"The pair ({first!r}, {second!r}) names {name!r}, which is not one of the models "
                f"{list(models)}."
            )
        if not hasattr(models[name], "predict"):
            raise ValueError(
                f"The pair ({first!r}, {second!r}): {name!r} predicts no risk, so it cannot be "
                "compared."
            )


def check_published(
    published: Mapping[str, Mapping[str, Any]] | None,
) -> Mapping[str, Mapping[str, Any]]:
    """Check that numbers of other cohorts say where they come from.

    Raises
    ------
    ValueError
        A model without ``source``, or a number outside 0 to 1.
    """
    for name, numbers in (published or {}).items():
        if not numbers.get("source"):
            raise ValueError(f"published[{name!r}] does not say its source.")
        for key, value in numbers.items():
            within_0_to_1 = key in ("sd", "dice") or key.endswith("c_index")
            if within_0_to_1 and value is not None and not 0 <= float(value) <= 1:
                raise ValueError(f"published[{name!r}][{key!r}] is {value!r}, not within 0 to 1.")
    return published or {}


def check_oracle(risk: npt.ArrayLike, n: int) -> np.ndarray:
    """Check the true risk."""
    return check_risk(risk, n, name="oracle_risk")


def _positions(index: npt.ArrayLike, n: int, fold: int) -> np.ndarray:
    values = np.asarray(index)
    if values.ndim != 1 or not values.size or values.dtype.kind not in "iu":
        raise ValueError(
            f"Fold {fold}: train and test must be non-empty one-dimensional arrays of positions; "
            f"got dtype {values.dtype} and shape {values.shape}."
        )
    if values.min() < 0 or values.max() >= n or np.unique(values).size != values.size:
        raise ValueError(f"Fold {fold}: positions must be distinct and lie in 0 to {n - 1}.")
    return values.astype(np.intp)
