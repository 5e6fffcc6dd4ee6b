"""The last step of the MTDLR models: a Cox model on a few named covariates."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import LinAlgWarning
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.survival.breslow import BreslowBaseline
from survimg.survival.cox_likelihood import efron_information
from survimg.target import make_outcome

__all__ = ["FewCovariatesCox", "fit_few_covariates", "select_covariates"]

# Information left at the maximum, against that at zero: below it the likelihood is flat because the
# covariates separate the events or repeat each other.
_FLAT = 1e-7


@dataclass(frozen=True)
class FewCovariatesCox:
    r"""A fitted Cox model :math:`H(t \mid x) = H_0(t) \exp\{\beta^T (x - \bar x)\}`.

    It has the attributes that `survimg.evaluation.nomogram.Nomogram` reads.

    Attributes
    ----------
    names : tuple of str
        Covariates.
    coefficients : ndarray of shape (p,)
        Log-hazard ratios per unit, Efron's ties.
    covariance : ndarray of shape (p, p)
        Inverse of the observed information; with a ridge penalty Gray's sandwich.
    means : ndarray of shape (p,)
        Means of the training patients, at which the baseline stands.
    event_times, cumulative_baseline_hazard : ndarray of shape (m,)
        Breslow's estimate at the distinct event times.
    n_patients, n_events : int
    """

    names: tuple[str, ...]
    coefficients: np.ndarray
    covariance: np.ndarray
    means: np.ndarray
    event_times: np.ndarray
    cumulative_baseline_hazard: np.ndarray
    n_patients: int
    n_events: int

    def log_hazard_ratio(self, table: pd.DataFrame) -> np.ndarray:
        """Log-hazard ratio to the mean covariates, shape (n,); columns are found by name."""
        values = table[list(self.names)].to_numpy(dtype=np.float64)
        return (values - self.means) @ self.coefficients

    def summary(self) -> pd.DataFrame:
        """Return ``coef``, ``hazard_ratio``, ``lower``, ``upper`` (95 %, Wald) and ``p``."""
        error = np.sqrt(np.diag(self.covariance))
        return pd.DataFrame(
            {
                "coef": self.coefficients,
                "hazard_ratio": np.exp(self.coefficients),
                "lower": np.exp(self.coefficients - 1.959963984540054 * error),
                "upper": np.exp(self.coefficients + 1.959963984540054 * error),
                "p": [self.wald_p_value([name]) for name in self.names],
            },
            index=pd.Index(self.names, name="covariate"),
        )

    def wald_p_value(self, names: Sequence[str]) -> float:
        """Wald test that the coefficients of `names` are all zero."""
        chosen = [self.names.index(name) for name in names]
        beta = self.coefficients[chosen]
        block = self.covariance[np.ix_(chosen, chosen)]
        return float(chi2.sf(beta @ np.linalg.solve(block, beta), len(chosen)))


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
    values = table.to_numpy(dtype=np.float64)
    names = tuple(map(str, table.columns))
    means = values.mean(axis=0)
    is_indicator = np.isin(values, (0.0, 1.0)).all(axis=0)
    scale = np.where(is_indicator, 1.0, values.std(axis=0))
    Z = (values - means) / scale
    beta = _maximise(Z, event, time, alpha, names)
    information = efron_information(Z, event, time, beta)
    bread = information + alpha * np.eye(len(names))
    start = efron_information(Z, event, time, np.zeros_like(beta))
    if not np.linalg.eigvalsh(bread)[0] > _FLAT * np.trace(start):
        raise ValueError(_no_maximum(names, event))
    inverse = np.linalg.inv(bread)
    covariance = inverse @ information @ inverse / np.outer(scale, scale)
    baseline = BreslowBaseline(Z @ beta, event, time)
    has_event = np.isin(baseline.unique_times_, time[event])
    return FewCovariatesCox(
        names,
        beta / scale,
        covariance,
        means,
        baseline.unique_times_[has_event],
        np.exp(baseline.log_cumulative_hazard_[has_event]),
        len(values),
        int(event.sum()),
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
    alone = {
        name: fit_few_covariates(table[columns], event, time, alpha).wald_p_value(columns)
        for name, columns in variables.items()
    }
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


def _maximise(
    Z: np.ndarray, event: np.ndarray, time: np.ndarray, alpha: float, names: tuple[str, ...]
) -> np.ndarray:
    model = CoxPHSurvivalAnalysis(alpha=alpha, ties="efron", tol=1e-10)
    try:
        # A Newton step that is too long overflows, and is halved then.
        with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
            warnings.simplefilter("error", LinAlgWarning)
            warnings.simplefilter("error", ConvergenceWarning)
            return model.fit(Z, make_outcome(event, time)).coef_
    except (ValueError, np.linalg.LinAlgError, LinAlgWarning, ConvergenceWarning) as error:
        raise ValueError(_no_maximum(names, event)) from error


def _no_maximum(names: tuple[str, ...], event: np.ndarray) -> str:
    return (
        f"The Cox model on {', '.join(map(repr, names))} ({event.size} patients, "
        f"{int(event.sum())} events) has no maximum: the covariates separate the events or repeat "
        "each other. Use fewer covariates, or a ridge penalty (alpha=1)."
    )
