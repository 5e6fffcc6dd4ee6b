"""Univariate p values of covariates in a Cox model, by which clinical papers choose them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from survimg.features.clinical import ClinicalFeatures
from survimg.survival import maximise_partial_likelihood
from survimg.survival.distributions import chi_squared_p_value

__all__ = ["clinical_p_values", "univariate_p_values"]


def univariate_p_values(
    table: pd.DataFrame,
    variables: Mapping[str, Sequence[str]],
    event: np.ndarray,
    time: np.ndarray,
    alpha: float = 0.0,
) -> dict[str, float]:
    """Fit a Cox model on each variable alone (Efron's ties); return the p values of Wald's test.

    Parameters
    ----------
    table : DataFrame of shape (n, p)
        Numbers without missing values.
    variables : mapping of variable to its columns
        A categorical variable has several, which are tested together.
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,)
    alpha : float, default=0
        Ridge penalty on log-hazard ratios per standard deviation (0/1 columns: per unit).

    Returns
    -------
    dict of str to float

    Raises
    ------
    ValueError
        A likelihood has no maximum (separated events); the message names the columns.
    """
    p_values = {}
    for name, columns in variables.items():
        X = table[list(columns)].to_numpy(dtype=np.float64)
        fit = maximise_partial_likelihood(X, event, time, names=tuple(columns), alpha=alpha)
        beta = fit.coefficients
        statistic = float(beta @ np.linalg.solve(fit.covariance, beta))
        p_values[name] = chi_squared_p_value(beta.size, statistic)
    return p_values


def clinical_p_values(
    X: Any, clinical_columns: Sequence[str] | None, event: np.ndarray, time: np.ndarray
) -> dict[str, float]:
    """Return the univariate p value of each clinical column; the levels of one are tested together.

    Parameters
    ----------
    X : Cohort or DataFrame
        Training patients, with clinical columns.
    clinical_columns : sequence of str or None
        None for all.
    event, time : ndarray of shape (n,)

    Returns
    -------
    dict of str to float
        NaN for a column that is constant over the patients. Missing values are imputed.

    Raises
    ------
    ValueError
        As `univariate_p_values` and `ClinicalFeatures`.
    """
    encoder = ClinicalFeatures(clinical_columns=clinical_columns).fit(X)
    table = encoder.transform(X)
    variables = {}
    for name in encoder.columns_:
        levels = encoder.levels_.get(name)
        encoded = [name] if levels is None else [f"{name}_{level}" for level in levels[1:]]
        variables[name] = [column for column in encoded if column in table]
    tested = {name: columns for name, columns in variables.items() if columns}
    try:
        p_values = univariate_p_values(table, tested, event, time)
    except ValueError as error:
        raise ValueError(
            f"{error} Univariate p values have no alpha: pool rare categories, leave the column "
            "out of clinical_columns, or do without significance."
        ) from error
    return {name: p_values.get(name, np.nan) for name in variables}
