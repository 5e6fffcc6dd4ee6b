"""A comparison of models in one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from survimg.benchmark.checks import n_patients
from survimg.benchmark.leaderboard import Result
from survimg.benchmark.runner import run_benchmark
from survimg.survival.stratified_folds import deal
from survimg.target import check_outcome

__all__ = ["compare_models"]

Split = tuple[np.ndarray, np.ndarray]


def compare_models(
    models: Mapping[str, Any],
    X: Any,
    y: np.ndarray | None = None,
    *,
    cv: int | Any = 5,
    out: str | PathLike[str],
    seeds: Sequence[int] = (0,),
    ids: Sequence[str] | None = None,
    groups: np.ndarray | None = None,
    reference: str | None = None,
    n_jobs: int | None = 1,
    progress: bool = True,
) -> Result:
    """Fit models on the same folds, keep every prediction on disk, and return the leaderboard.

    `run_benchmark` with the splits made on the way; it has further options. Repeated with the same
    arguments, only what is missing is fitted. ``survimg.report.render(out)`` writes the page.

    Parameters
    ----------
    models : mapping of str to estimator
        Unfitted survival estimators.
    X : Cohort, array or frame of n patients
    y : structured array of shape (n,), optional
        (event, time); by default ``X.outcome``.
    cv : int, splitter, protocol or sequence of (train, test), default=5
        A number of folds, stratified by event and shuffled with the first seed, as on the command
        line; a splitter with ``split(X, y, groups)``; a `survimg.model_selection.Protocol`; or
        splits.
    out : path-like
        Folder of the run; made if needed.
    seeds : sequence of int, default=(0,)
        Random states of the models.
    ids : sequence of str, optional
        Identifiers of the patients; by default ``X.ids``, for arrays and frames the row numbers.
    groups : array-like of shape (n,), optional
        Patient of each image, where patients have several; needs a splitter that keeps them
        together.
    reference : str, optional
        Model that the others are compared with; by default the first one.
    n_jobs : int or None, default=1
        Fits at once.
    progress : bool, default=True
        Show progress bars if standard error is a terminal.

    Returns
    -------
    Result
        ``print(result)`` shows the leaderboard, ``result.leaderboard()`` is a DataFrame.

    Raises
    ------
    ValueError
        No outcome, `cv` of another kind, fewer events than folds, or as `run_benchmark`.

    Examples
    --------
    >>> import tempfile
    >>> from survimg.benchmark import compare_models
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import ClinicalVolumeCox
    >>> X = make_phantom_cohort(n=30, shape=(16, 16, 16), random_state=0).cohort
    >>> models = {"both": ClinicalVolumeCox(), "volume": ClinicalVolumeCox(clinical_columns=[])}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = compare_models(models, X, cv=3, out=folder, progress=False)
    >>> result.leaderboard().index.tolist()
    ['both', 'volume']
    """
    y = getattr(X, "outcome", None) if y is None else y
    if y is None:
        raise ValueError("There is no outcome: give y, or a cohort that has one (X.outcome).")
    reference_name = next(iter(models), None) if reference is None else reference
    return run_benchmark(
        models,
        X,
        y,
        out=out,
        seeds=seeds,
        ids=_row_numbers(X) if ids is None else ids,
        reference=reference_name,
        n_jobs=n_jobs,
        progress=progress,
        **_splits(cv, X, y, groups, seeds[0] if len(seeds) else 0),
    )


def _row_numbers(X: Any) -> list[str] | None:
    return None if hasattr(X, "ids") else [str(row) for row in range(n_patients(X))]


def _splits(cv: Any, X: Any, y: Any, groups: Any, seed: int) -> dict[str, Any]:
    """Return the arguments of `run_benchmark` that say who trains and who tests."""
    if hasattr(cv, "arguments"):  # a protocol
        if groups is not None:
            raise ValueError("A protocol has its own groups; give groups= when it is made.")
        return dict(cv.arguments())
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        if groups is not None:
            raise ValueError(
                "A number of folds does not keep groups together; give a splitter that does, such "
                "as survimg.model_selection.EventStratifiedGroupKFold."
            )
        protocol = {"name": "kfold", "n_folds": int(cv), "random_state": seed}
        return {"splits": list(_event_stratified(int(cv), X, y, seed)), "protocol": protocol}
    if isinstance(cv, list | tuple):
        splits = list(cv)
    elif hasattr(cv, "get_n_splits"):
        splits = list(cv.split(X, y, groups))
    else:
        raise ValueError(
            "cv must be a number of folds, a splitter, a protocol of survimg.model_selection, or a "
            f"sequence of (train, test); got {cv!r}."
        )
    return {"splits": splits, "groups": groups}


def _event_stratified(n_folds: int, X: Any, y: Any, seed: int) -> Iterator[Split]:
    event, _ = check_outcome(y, n_patients=n_patients(X), ids=getattr(X, "ids", None))
    if not 2 <= n_folds <= event.sum():
        raise ValueError(
            f"cv={n_folds}: folds with an event in each are at least 2 and at most as many as "
            f"events; there are {int(event.sum())}."
        )
    order = np.random.RandomState(seed).permutation(event.size)
    fold = deal(event.astype(int), n_folds, order)
    for k in range(n_folds):
        yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)
