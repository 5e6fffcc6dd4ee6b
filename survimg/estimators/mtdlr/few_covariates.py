"""The last step of the MTDLR models: a Cox model on a few named covariates."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from survimg.features.univariate import univariate_p_values
from survimg.survival.cox import CoxModel, maximise_partial_likelihood
from survimg.survival.risk_sets import RiskSets

__all__ = ["FewCovariatesCox", "fit_few_covariates", "select_covariates"]


@dataclass(frozen=True)
class FewCovariatesCox(CoxModel):
    """A Cox model on columns of a table: Efron's ties, Breslow's baseline hazard.

    Attributes
    ----------
    names, coefficients, covariance, means, event_times, cumulative_baseline_hazard
        As in `survimg.evaluation.CoxFit`.
    n_patients, n_events : int
    """

    def log_hazard_ratio(self, table: pd.DataFrame) -> np.ndarray:
        """Log-hazard ratio to the mean covariates, shape (n,); columns are found by name."""
        return (self.values(table) - self.means) @ self.coefficients

    def values(self, table: pd.DataFrame) -> np.ndarray:
        """Return the model's columns of a table, shape (n, p)."""
        return table[list(self.names)].to_numpy(dtype=np.float64)

    def summary(self) -> pd.DataFrame:
        """Return ``coef``, ``hazard_ratio``, ``lower``, ``upper`` (95 %, Wald) and ``p``."""
        margin = 1.959963984540054 * self.standard_errors
        return pd.DataFrame(
            {
                "coef": self.coefficients,
                "hazard_ratio": np.exp(self.coefficients),
                "lower": np.exp(self.coefficients - margin),
                "upper": np.exp(self.coefficients + margin),
                "p": self.wald_p_values,
            },
            index=pd.Index(self.names, name="covariate"),
        )


def fit_few_covariates(
    table: pd.DataFrame, event: np.ndarray, time: np.ndarray, alpha: float = 0.0
) -> FewCovariatesCox:
    """Fit a Cox model, by default without a penalty.

    Parameters
    ----------
    table : DataFrame of shape (n, p)
        Numbers without missing values.
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,)
    alpha : float, default=0
        Ridge penalty on log-hazard ratios per standard deviation (0/1 columns: per unit).

    Returns
    -------
    FewCovariatesCox

    Raises
    ------
    ValueError
        The likelihood has no maximum (separated events, collinear columns); the message names the
        columns.
    """
    names = tuple(map(str, table.columns))
    X = table.to_numpy(dtype=np.float64)
    fit = maximise_partial_likelihood(X, event, time, names=names, alpha=alpha)
    # Breslow's, as in the curves of all estimators.
    baseline = RiskSets(event, time, ties="breslow").log_baseline_hazard(fit.log_risk)
    return FewCovariatesCox(
        names,
        fit.coefficients,
        fit.covariance,
        fit.means,
        fit.sets.event_times,
        np.exp(baseline),
        fit.n_patients,
        fit.n_events,
    )


def select_covariates(
    table: pd.DataFrame,
    variables: Mapping[str, list[str]],
    event: np.ndarray,
    time: np.ndarray,
    level: float,
    alpha: float = 0.0,
) -> pd.DataFrame:
    """Choose variables as clinical papers do: by univariate, then by multivariate p value.

    Parameters
    ----------
    table : DataFrame of shape (n, p)
    variables : mapping of variable to its columns
        A categorical variable has several and enters or leaves as a whole.
    event, time : ndarray of shape (n,)
    level : float
        Wald p values must lie below it: alone, and in the joint model of those that do alone.
    alpha : float, default=0

    Returns
    -------
    DataFrame indexed by variable
        ``p_univariate``, ``p_multivariate`` (NaN outside the joint model) and ``selected``.

    Warns
    -----
    UserWarning
        No variable qualifies; the one with the smallest univariate p value is taken.
    """
    alone = univariate_p_values(table, variables, event, time, alpha)
    entered = [name for name, p in alone.items() if p < level]
    joint = dict.fromkeys(variables, np.nan)
    if entered:
        columns = [column for name in entered for column in variables[name]]
        model = fit_few_covariates(table[columns], event, time, alpha)
        joint.update({name: model.wald_p_value(variables[name]) for name in entered})
    report = pd.DataFrame({"p_univariate": alone, "p_multivariate": joint})
    report.index.name = "variable"
    report["selected"] = report["p_multivariate"] < level
    if not report["selected"].any():
        best = min(alone, key=lambda name: alone[name])
        report.loc[best, "selected"] = True
        warnings.warn(
            f"No variable has a p value below {level} both alone and in the joint model; the model "
            f"keeps {best!r}, whose univariate p value is the smallest "
            f"({alone[best]:.3g}).",
            UserWarning,
            stacklevel=4,
        )
    return report
