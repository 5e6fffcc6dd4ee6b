"""Plain arrays beside cohorts: what estimators call on the X they are given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from survimg.cohort.cohort import Cohort

__all__ = ["as_cohort"]


def as_cohort(
    X: Cohort | npt.ArrayLike,
    masks: npt.ArrayLike | None = None,
    clinical: pd.DataFrame | npt.ArrayLike | None = None,
) -> Cohort:
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
    array = np.asarray(X)
    if array.ndim not in (4, 5) or array.dtype.kind not in "fiub":
        raise TypeError(
            "X must be a survimg.Cohort or a numeric array of shape (n, channels, z, y, x) or "
            f"(n, z, y, x); got {type(X).__name__} of shape {array.shape} and dtype {array.dtype}."
        )
    return Cohort(array, masks=masks, clinical=clinical)
