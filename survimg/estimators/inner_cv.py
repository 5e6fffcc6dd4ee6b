"""The splitter of an inner cross-validation, from an estimator's `cv` and `random_state`."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from survimg.model_selection import EventStratifiedKFold

__all__ = ["make_inner_splitter"]


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
