"""Plain arrays beside cohorts: what estimators call on the X they are given."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from survimg.cohort.cohort import Cohort

__all__ = ["Clinical", "Masks", "Volumes", "as_cohort"]

Volumes: TypeAlias = Cohort | npt.ArrayLike
"""X of an estimator: a cohort, or an array of shape (n, channels, z, y, x)."""
Masks: TypeAlias = npt.ArrayLike | None
"""Masks of plain arrays, of shape (n, z, y, x)."""
Clinical: TypeAlias = pd.DataFrame | npt.ArrayLike | None
"""Clinical columns of plain arrays, of shape (n, k)."""


def as_cohort(X: Volumes, masks: Masks = None, clinical: Clinical = None) -> Cohort:
    """Take a cohort as it is, or make one of plain arrays.

    Parameters
    ----------
    X : Cohort or array-like of shape (n, channels, z, y, x) or (n, z, y, x)
    masks : array-like of shape (n, z, y, x), optional
    clinical : DataFrame or array-like of shape (n, k), optional
        Both belong to plain arrays only; a cohort brings its own.

    Raises
    ------
    TypeError, ValueError
        `X` is neither; or masks or clinical columns are given beside a cohort.
    """
    if isinstance(X, Cohort):
        if masks is not None or clinical is not None:
            raise ValueError(
                "X is a Cohort, which holds its own masks and clinical columns; masks= and "
                "clinical= are for plain arrays."
            )
        return X
    try:
        array = np.asarray(X)
    except ValueError as error:  # of rows that differ in length
        raise ValueError(
            f"X is a {type(X).__name__} whose volumes differ in size ({error}). Networks need one "
            "size: bring them to a common grid with survimg.preprocessing.prepare."
        ) from error
    if array.ndim not in (4, 5) or array.dtype.kind not in "fiub":
        raise TypeError(
            "X must be a survimg.Cohort or a numeric array of shape (n, channels, z, y, x) or "
            f"(n, z, y, x); got {type(X).__name__} of shape {array.shape} and dtype {array.dtype}. "
            "Dictionaries of images, as MONAI's and TorchIO's data sets hold them: "
            "Cohort.from_dicts(X, ...)."
        )
    return Cohort(array, masks=masks, clinical=clinical)
