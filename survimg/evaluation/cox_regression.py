"""Cox's proportional hazards model for statistics: coefficients, intervals, tests.

This fit serves tables and hazard ratios. Models that predict are estimators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from survimg.evaluation.estimates import Estimate, check_level
from survimg.evaluation.predictions import check_weights
from survimg.survival.cox import CoxModel, maximise_partial_likelihood
from survimg.survival.distributions import chi_squared_p_value
from survimg.survival.risk_sets import Ties
from survimg.target import check_outcome, in_order_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CoxFit", "fit_cox", "hazard_ratio"]


@dataclass(frozen=True)
class CoxFit(CoxModel):
    """A fitted Cox model with its tests.

    Attributes
    ----------
    names : tuple of str
        Covariates.
    coefficients : ndarray of shape (p,)
        Log hazard ratios per unit of each covariate.
    covariance : ndarray of shape (p, p)
        Inverse of the observed information.
    means : ndarray of shape (p,)
        Covariate means, at which the baseline hazard stands.
    event_times, cumulative_baseline_hazard : ndarray of shape (m,)
        Cumulative hazard of a patient with mean covariates (Breslow's, or Efron's, estimate).
    n_patients, n_events : int
    log_likelihood, null_log_likelihood : float
        Partial log-likelihood at the coefficients and at zero.
    score_statistic : float
        Rao's score test statistic of all coefficients (log-rank type).
    ties : str
    """

    log_likelihood: float
    null_log_likelihood: float
    score_statistic: float
    ties: Ties

    @property
    def likelihood_ratio_test(self) -> tuple[float, int, float]:
        """Statistic, degrees of freedom and p value of the test against the empty model."""
        statistic = 2 * (self.log_likelihood - self.null_log_likelihood)
        df = self.coefficients.size
        return float(statistic), df, chi_squared_p_value(df, statistic)

    @property
    def score_test(self) -> tuple[float, int, float]:
        """Statistic, degrees of freedom and p value of Rao's score test."""
        df = self.coefficients.size
        return self.score_statistic, df, chi_squared_p_value(df, self.score_statistic)

    def hazard_ratios(self, level: float = 0.95) -> list[Estimate]:
        """Hazard ratio of each covariate with its Wald interval and p value."""
        z = check_level(level)
        columns = zip(self.coefficients, self.standard_errors, self.wald_p_values, strict=True)
        return [
            Estimate(
                float(np.exp(beta)),
                float(np.exp(beta - z * error)),
                float(np.exp(beta + z * error)),
                float(error),
                level,
                "Wald (standard error of the log hazard ratio)",
                float(p_value),
            )
            for beta, error, p_value in columns
        ]


def fit_cox(
    y: npt.ArrayLike,
    covariates: npt.ArrayLike | pd.DataFrame,
    sample_weight: npt.ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    ties: Ties = "efron",
) -> CoxFit:
    r"""Fit Cox's model by Newton-Raphson on the partial likelihood.

    .. math:: \ell(\beta) = \sum_{i: \delta_i = 1} \Big( x_i^T \beta -
              \log \sum_{j: t_j \ge t_i} e^{x_j^T \beta} \Big)

    with Efron's or Breslow's approximation for tied event times.

    Parameters
    ----------
    y : structured array of shape (n,)
    covariates : array-like or DataFrame of shape (n, p)
        Numbers; `cox_table` codes categories.
    sample_weight : array-like of shape (n,), optional
        Case weights. The covariance stays model-based, so weights should be frequencies.
    names : sequence of str, optional
        Names of the columns; by default those of the frame, or x0, x1, ...
    ties : {"efron", "breslow"}, default="efron"
        "efron" is R's default, "breslow" that of SPSS and scikit-survival.

    Returns
    -------
    CoxFit

    Raises
    ------
    ValueError
        Missing values, no event, a constant or collinear covariate, or a likelihood without a
        maximum (a covariate that separates the events completely).

    References
    ----------
    .. [1] Cox DR. J R Stat Soc B 1972;34:187-220.
    .. [2] Efron B. J Am Stat Assoc 1977;72:557-565.
    """
    event, time = check_outcome(y, require_event=True)
    X, columns = design(in_order_of(y, covariates, "y", "covariates"), names)
    weight = check_weights(sample_weight, event.size, y).astype(np.float64)
    solution = maximise_partial_likelihood(
        X, event, time, names=columns, weight=weight, ties=ties
    )
    return CoxFit(
        columns,
        solution.coefficients,
        solution.covariance,
        solution.means,
        solution.sets.event_times,
        np.exp(solution.sets.log_baseline_hazard(solution.log_risk)),
        solution.n_patients,
        solution.n_events,
        solution.log_likelihood,
        solution.null_log_likelihood,
        solution.score_statistic,
        ties,
    )


def hazard_ratio(
    y: npt.ArrayLike, high: npt.ArrayLike, *, level: float = 0.95, ties: Ties = "efron"
) -> Estimate:
    """Hazard ratio of one group of patients against the others.

    Parameters
    ----------
    y : structured array of shape (n,)
    high : array-like of shape (n,)
        True for the (high-risk) group whose hazard is the numerator.
    level : float, default=0.95
    ties : {"efron", "breslow"}, default="efron"

    Returns
    -------
    Estimate
        Wald interval and p value from a univariate Cox model; `standard_error` is that of the log.

    Raises
    ------
    ValueError
        One group is empty or without events: the ratio is then 0, infinite or undefined.
    """
    event, _ = check_outcome(y, require_event=True)
    group = np.asarray(in_order_of(y, high, "y", "high"))
    if group.shape != event.shape or not np.isin(group, (0, 1)).all():
        raise ValueError("high must hold one True/False (or 1/0) per patient.")
    group = group.astype(bool)
    for members, label in ((group, "high"), (~group, "other")):
        if not event[members].any():
            raise ValueError(
                f"The {label} group has {int(members.sum())} patients and no event; the hazard "
                "ratio needs events in both groups."
            )
    return fit_cox(y, group[:, np.newaxis].astype(float), names=["high"], ties=ties).hazard_ratios(
        level
    )[0]


def design(
    covariates: npt.ArrayLike | pd.DataFrame, names: Sequence[str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return covariates as a matrix, and their names: given ones, those of a frame, or x0, ..."""
    if names is None and hasattr(covariates, "columns"):  # pandas loads for half a second
        names = [str(column) for column in covariates.columns]
    X = np.asarray(covariates, dtype=np.float64)
    X = X[:, np.newaxis] if X.ndim == 1 else X
    return X, tuple(names) if names is not None else tuple(f"x{k}" for k in range(X.shape[-1]))
