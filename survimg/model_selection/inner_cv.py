"""Inner cross-validation: its folds, and its fits, which can run side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from joblib.parallel import get_active_backend
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed

from survimg.model_selection.splitters import EventStratifiedKFold

__all__ = ["InnerFit", "make_inner_splitter", "run_inner_fits"]


def make_inner_splitter(cv: int | Any, random_state: int | np.random.RandomState | None) -> Any:
    """Return an event-stratified splitter for a number of folds, or the given splitter.

    Parameters
    ----------
    cv : int or splitter
        Number of folds, or an object with ``split(X, y)``.
    random_state : int, RandomState or None
        None deals the patients to the folds in their given order, the same at every call; a seed
        shuffles them first. Ignored when `cv` is a splitter, which has its own.

    Raises
    ------
    ValueError
        `cv` is neither.
    """
    if isinstance(cv, Integral) and not isinstance(cv, bool):
        return EventStratifiedKFold(
            int(cv), shuffle=random_state is not None, random_state=random_state
        )
    if isinstance(cv, str) or not hasattr(cv, "split"):
        raise ValueError(
            f"cv must be a number of folds or a splitter with a split method; got {cv!r}."
        )
    return cv


@dataclass(frozen=True)
class InnerFit:
    """One fit of an inner cross-validation.

    Parameters
    ----------
    name : str
        For errors, e.g. ``"fold 2 of 5"``.
    estimator : estimator
        A clone of its own, which is fitted.
    use : callable
        From the fitted estimator, the patients it was fitted on and the others, to the result. It
        runs where the fit ran, so that only its result travels.
    train : ndarray of shape (n_train,), int, optional
        Positions of the patients to fit on; None for all.
    test : ndarray of shape (n_test,), int, optional
        Positions of the others; None for nobody.
    """

    name: str
    estimator: Any
    use: Callable[[Any, Any, Any], Any]
    train: np.ndarray | None = None
    test: np.ndarray | None = None


def run_inner_fits(
    fits: Sequence[InnerFit], X: Any, y: np.ndarray, n_jobs: int | None
) -> list[Any]:
    """Carry out fits that do not depend on each other; return their results in the given order.

    All that is random about them must have been drawn before, so that results do not depend on
    where and when each is carried out. Every process is sent `X` whole, which is a path for a
    stored cohort, and takes its patients there.

    Parameters
    ----------
    fits : sequence of InnerFit
    X : Cohort or array-like
    y : structured array of shape (n,)
    n_jobs : int or None
        Fits at a time, as joblib understands it: None is 1 unless a ``joblib.parallel_config`` or
        `survimg.compute.dask_cluster` says otherwise.

    Raises
    ------
    Exception
        Whatever a fit raises, with a note that names it.

    Notes
    -----
    Fits are carried out in turn, whatever `n_jobs` is, where joblib would use threads of a process
    that runs beside others (inside a search with ``n_jobs=2``, say): the cores are in use, and
    networks in threads of one process share torch's random stream.
    """
    backend, _ = get_active_backend()
    in_turn = bool(backend.nesting_level) and backend.uses_threads
    return Parallel(n_jobs=1 if in_turn else n_jobs)(delayed(_run)(fit, X, y) for fit in fits)


def _run(fit: InnerFit, X: Any, y: np.ndarray) -> Any:
    try:
        X_train = X if fit.train is None else _safe_indexing(X, fit.train)
        fitted = fit.estimator.fit(X_train, y if fit.train is None else y[fit.train])
        others = None if fit.test is None else _safe_indexing(X, fit.test)
        return fit.use(fitted, X_train, others)
    except Exception as error:
        error.add_note(f"This happened in {fit.name}.")
        raise
