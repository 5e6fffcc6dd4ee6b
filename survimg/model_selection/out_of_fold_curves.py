"""Survival curves of patients, by models that were not fitted on them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.utils.validation import _num_samples

from survimg.model_selection.inner_cv import InnerFit, make_inner_splitter, run_inner_fits
from survimg.survival import survival_values
from survimg.target import as_outcome, as_times, check_outcome

__all__ = ["cross_val_survival"]


def cross_val_survival(
    model: Any,
    X: Any,
    y: np.ndarray,
    cv: int | Any,
    times: npt.ArrayLike,
    *,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Predict S(t) of every patient by a clone that was fitted without the patient's fold.

    Parameters
    ----------
    model : estimator
        With ``predict_survival_function``, or a search over such estimators; cloned for each fold.
    X : Cohort or array-like of n patients
    y : structured array of shape (n,)
        (event, time).
    cv : int or splitter
        Number of event-stratified folds, or a splitter that tests every patient exactly once.
    times : array-like of shape (n_times,)
        Times at which the curves are read; S is 1 before the first time of a curve.
    n_jobs : int, optional
        Folds at a time.

    Returns
    -------
    ndarray of shape (n, n_times), float64
        In the order of the patients.

    Raises
    ------
    ValueError
        No times, a time that is negative or beyond the last one that a fold's model describes,
        curves that rise or leave [0, 1], an invalid outcome, or folds that do not test every
        patient exactly once.
    TypeError
        A model without survival curves.
    """
    y = as_outcome(y, X)
    check_outcome(y, n_patients=_num_samples(X), require_event=True)
    grid = as_times(times, "times")
    if grid.ndim != 1 or not grid.size or not (np.isfinite(grid) & (grid >= 0)).all():
        raise ValueError(f"times must hold one or more finite times from 0 up; got {times!r}.")
    splits = list(make_inner_splitter(cv, None).split(X, y))
    order = np.concatenate([test for _, test in splits])
    if not np.array_equal(np.sort(order), np.arange(len(y))):
        raise ValueError(
            f"Out-of-fold curves need folds that test every patient exactly once; {cv!r} does not."
        )
    fits = [
        InnerFit(f"fold {k} of {len(splits)}", clone(model), partial(_curves, grid), train, test)
        for k, (train, test) in enumerate(splits, start=1)
    ]
    curves: np.ndarray = np.concatenate(run_inner_fits(fits, X, y, n_jobs))[np.argsort(order)]
    return curves


def _curves(times: np.ndarray, fitted: Any, _X: Any, others: Any) -> np.ndarray:
    while not hasattr(fitted, "predict_survival_function"):
        if not hasattr(fitted, "best_estimator_"):
            raise TypeError(
                f"{type(fitted).__name__} predicts no survival curves: it has no "
                "predict_survival_function."
            )
        fitted = fitted.best_estimator_  # a search hands on predictions, but no curves
    functions = fitted.predict_survival_function(others)
    last = min(float(function.domain[1]) for function in functions)
    if times.max() > last:
        raise ValueError(
            f"times go up to {times.max():g}, but a model that was fitted without this fold "
            f"describes survival up to {last:g} only. Give earlier times, or larger training folds."
        )
    return survival_values(functions, times)
