"""Nested cross-validation: tuning inside, testing outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import cross_validate
from sklearn.utils import _safe_indexing

from survimg.model_selection.splitters import EventStratifiedKFold
from survimg.survival import risk_of
from survimg.target import check_outcome

__all__ = ["NestedCVResult", "nested_cross_validate"]


@dataclass(frozen=True)
class NestedCVResult:
    """Results of a nested cross-validation.

    Attributes
    ----------
    scores : dict of str to ndarray of shape (n_splits,)
        Test scores of the outer folds; the key is "score" for a single scorer.
    best_params : list of dict
        What the inner search chose in each outer fold.
    estimators : list
        The fitted searches.
    test_indices : list of ndarray
        Patients of each outer test fold.
    risk : ndarray of shape (n,)
        Out-of-fold risk of each patient, averaged over repeats; NaN for patients that were in no
        test fold. Risks of different folds come from different models: compare them within folds.
    fold : ndarray of shape (n,), int
        Outer fold in which a patient was tested (the last one when folds are repeated), or -1.
    """

    scores: dict[str, np.ndarray]
    best_params: list[dict[str, Any]]
    estimators: list[Any]
    test_indices: list[np.ndarray]
    risk: np.ndarray
    fold: np.ndarray


def nested_cross_validate(
    search: Any,
    X: Any,
    y: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    cv: Any = None,
    scoring: str | Callable[..., Any] | Mapping[str, Callable[..., Any]] | None = None,
    n_jobs: int | None = None,
) -> NestedCVResult:
    """Test a tuned model on patients that were used neither to train nor to tune it.

    Parameters
    ----------
    search : GridSearchCV or the like
        An unfitted search; its own ``cv`` makes the inner folds and must be able to split an
        outcome array, such as `EventStratifiedKFold`. A number there is refused, because
        scikit-learn would take plain folds that may lack events.
    X : Cohort, array or frame of n patients
    y : structured array of shape (n,)
    groups : array-like of shape (n,), optional
        Given to both the outer and the inner splitter, so that neither cuts a group.
    cv : splitter, optional
        Outer folds; ``EventStratifiedKFold(5)`` by default.
    scoring : callable, str or dict, optional
        Scores of the outer folds; the search's own by default. See
        ``survimg.evaluation.survival_scorers``.
    n_jobs : int, optional
        Outer folds at a time.

    Returns
    -------
    NestedCVResult

    Raises
    ------
    TypeError
        `search` has no inner ``cv`` splitter.
    """
    event, _ = check_outcome(y, require_event=True)
    inner = getattr(search, "cv", None)
    if not hasattr(inner, "split"):
        raise TypeError(
            "search needs a splitter as its inner cv, such as EventStratifiedKFold(3); got "
            f"{inner!r}."
        )
    outcome = cross_validate(
        search,
        X,
        y,
        groups=groups,
        cv=EventStratifiedKFold(5) if cv is None else cv,
        scoring=scoring,
        n_jobs=n_jobs,
        params=None if groups is None else {"groups": np.asarray(groups)},
        return_estimator=True,
        return_indices=True,
        error_score="raise",
    )
    fitted = outcome["estimator"]
    tests = list(outcome["indices"]["test"])
    total, times_tested = np.zeros(event.size), np.zeros(event.size)
    fold = np.full(event.size, -1)
    for k, (model, test) in enumerate(zip(fitted, tests, strict=True)):
        total[test] += risk_of(model, _safe_indexing(X, test))
        times_tested[test] += 1
        fold[test] = k
    risk = np.full(event.size, np.nan)
    np.divide(total, times_tested, out=risk, where=times_tested > 0)
    return NestedCVResult(
        scores={key[5:]: values for key, values in outcome.items() if key.startswith("test_")},
        best_params=[model.best_params_ for model in fitted],
        estimators=list(fitted),
        test_indices=tests,
        risk=risk,
        fold=fold,
    )
