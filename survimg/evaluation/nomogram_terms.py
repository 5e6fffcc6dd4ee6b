"""What a nomogram needs of a fitted Cox model, whoever fitted it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from survimg.survival.risk_sets import RiskSets, Ties
from survimg.target import check_outcome

__all__ = ["CoxTerms", "cox_terms"]


@dataclass(frozen=True)
class CoxTerms:
    r"""A Cox model reduced to numbers: :math:`H(t \mid x) = H_0(t) \exp(\beta^T x - o)`.

    Attributes
    ----------
    names : tuple of str
    coefficients : ndarray of shape (p,)
    offset : float
        The linear predictor o at which the baseline stands.
    times : ndarray of shape (m,)
        Event times, increasing.
    hazard : ndarray of shape (m,)
        Cumulative baseline hazard.
    covariance : ndarray of shape (p, p) or None
        Of the coefficients.
    variance : ndarray of shape (m,) or None
        Of log H0 for known coefficients.
    centre : ndarray of shape (m, p) or None
        Mean covariates of the risk sets, averaged over the baseline hazard up to each time.
    """

    names: tuple[str, ...]
    coefficients: np.ndarray
    offset: float
    times: np.ndarray
    hazard: np.ndarray
    covariance: np.ndarray | None = None
    variance: np.ndarray | None = None
    centre: np.ndarray | None = None

    @property
    def has_intervals(self) -> bool:
        """Whether the uncertainty of survival probabilities is known."""
        return self.variance is not None

    def matrix(self, covariates: npt.ArrayLike | pd.DataFrame) -> np.ndarray:
        """Covariates in the order of the model, shape (n, p); of a DataFrame found by name."""
        if isinstance(covariates, pd.DataFrame):
            absent = [name for name in self.names if name not in covariates.columns]
            if absent:
                raise ValueError(f"The covariates {absent} of the model are not in the table.")
            covariates = covariates[list(self.names)]
        X = np.asarray(covariates, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != len(self.names):
            raise ValueError(f"Covariates must have shape (n, {len(self.names)}); got {X.shape}.")
        return X

    def position(self, time: float) -> int:
        """Index of the last event at or before a time; -1 before the first event.

        Raises
        ------
        ValueError
            A negative time, or one beyond the last event: the baseline is unknown there.
        """
        if not 0 <= time <= self.times[-1]:
            raise ValueError(
                f"Survival at {time:g} is not estimable: the model knows times from 0 to its last "
                f"event at {self.times[-1]:g}."
            )
        return int(np.searchsorted(self.times, time, side="right")) - 1

    def log_hazard_variance(self, X: np.ndarray, time: float) -> np.ndarray:
        r"""Variance of :math:`\log H(t \mid x)`, shape (n,).

        .. math:: \frac{\sum_k d_k / S_k^2}{H_0(t)^2} + (x - c(t))^T V (x - c(t))

        with risk set sums :math:`S_k`, covariance V and `centre` c (Tsiatis, Ann Stat
        1981;9:93-108; Link, Biometrics 1984;40:601-610). NaN before the first event.

        Raises
        ------
        ValueError
            The training patients were not given.
        """
        if self.variance is None or self.centre is None or self.covariance is None:
            raise ValueError(
                "Intervals need the covariance of the coefficients and the patients that the model "
                "was fitted on; give covariates= and y= to the nomogram."
            )
        k = self.position(time)
        if k < 0:
            return np.full(len(X), np.nan)
        away = X - self.centre[k]
        return self.variance[k] + np.einsum("ij,jk,ik->i", away, self.covariance, away)


def cox_terms(
    model: Any,
    covariates: npt.ArrayLike | pd.DataFrame | None = None,
    y: npt.ArrayLike | None = None,
) -> CoxTerms:
    """Read a fitted Cox model.

    Parameters
    ----------
    model : object
        `survimg.evaluation.CoxFit` or anything with its attributes ``names``, ``coefficients``,
        ``covariance``, ``means``, ``event_times`` and ``cumulative_baseline_hazard``; an estimator
        with such a model as ``cox_`` (`survimg.estimators.MTDLR`, whose training patients are then
        known too); a ``lifelines.CoxPHFitter`` without strata; or a
        ``sksurv.linear_model.CoxPHSurvivalAnalysis``, which keeps no covariance.
    covariates : DataFrame or array-like of shape (n, p), optional
    y : structured array of shape (n,), optional
        The patients that the model was fitted on, for intervals.

    Returns
    -------
    CoxTerms

    Raises
    ------
    TypeError
        Some other model.
    ValueError
        Other patients than the model was fitted on: they give another baseline hazard.
    """
    if (covariates is None) != (y is None):
        raise ValueError("Intervals need both covariates and y of the training patients.")
    terms = _read(model)
    if covariates is None and hasattr(model, "cox_"):
        covariates, y = model.training_covariates_, model.training_outcome_
    if covariates is None or y is None or terms.covariance is None:
        return terms
    return _with_uncertainty(terms, terms.matrix(covariates), y)


def _read(model: Any) -> CoxTerms:
    model = getattr(model, "cox_", model)
    if hasattr(model, "cumulative_baseline_hazard"):
        return CoxTerms(
            tuple(model.names),
            model.coefficients,
            float(model.means @ model.coefficients),
            model.event_times,
            model.cumulative_baseline_hazard,
            model.covariance,
        )
    if hasattr(model, "baseline_cumulative_hazard_") and hasattr(model, "params_"):
        return _read_lifelines(model)
    if hasattr(model, "cum_baseline_hazard_") and hasattr(model, "coef_"):
        p = len(model.coef_)
        names = getattr(model, "feature_names_in_", [f"x{k}" for k in range(p)])
        steps = model.cum_baseline_hazard_
        jumps = np.diff(steps.y, prepend=0.0) > 0
        return CoxTerms(
            tuple(map(str, names)), np.asarray(model.coef_), 0.0, steps.x[jumps], steps.y[jumps]
        )
    raise TypeError(
        f"A nomogram is drawn of a fitted Cox model; got {type(model).__name__}. It may be a "
        "CoxFit of survimg.evaluation.fit_cox, an MTDLR, lifelines' CoxPHFitter or "
        "scikit-survival's CoxPHSurvivalAnalysis, fitted."
    )


def _read_lifelines(model: Any) -> CoxTerms:
    baseline = model.baseline_cumulative_hazard_
    if baseline.shape[1] != 1:
        raise ValueError(
            "The lifelines model has strata, and with them several baselines; fit one per stratum."
        )
    names = tuple(map(str, model.params_.index))
    nobody = pd.DataFrame(np.zeros((1, len(names))), columns=list(model.params_.index))
    try:
        at_zero = float(np.asarray(model.predict_log_partial_hazard(nobody))[0])
    except Exception as error:  # a formula may raise anything for columns it does not know
        raise ValueError(
            "The lifelines model was fitted with a formula whose terms are no columns; encode the "
            "covariates as numbers first and fit without a formula."
        ) from error
    values = baseline.iloc[:, 0].to_numpy(dtype=np.float64)
    jumps = np.diff(values, prepend=0.0) > 0
    return CoxTerms(
        names,
        model.params_.to_numpy(dtype=np.float64),
        -at_zero,
        baseline.index.to_numpy(dtype=np.float64)[jumps],
        values[jumps],
        np.asarray(model.variance_matrix_, dtype=np.float64),
    )


def _with_uncertainty(terms: CoxTerms, X: np.ndarray, y: npt.ArrayLike) -> CoxTerms:
    event, time = check_outcome(y, n_patients=len(X), require_event=True)
    for ties in get_args(Ties):
        sets = RiskSets(event, time, ties=ties)
        # Far from zero (an age in days) the moments would lose digits.
        middle = X.mean(axis=0)
        log_risk = X @ terms.coefficients - terms.offset
        steps = np.exp(sets.log_hazard_steps(log_risk))
        hazard = np.cumsum(np.bincount(sets.block, steps))
        if np.array_equal(sets.event_times, terms.times) and np.allclose(
            hazard, terms.hazard, rtol=1e-5, atol=0
        ):
            squares = np.bincount(sets.block, steps**2 / sets.row_weight)
            moments = np.zeros((hazard.size, X.shape[1]))
            mean = sets.at(X - middle, log_risk).mean
            np.add.at(moments, sets.block, steps[:, np.newaxis] * mean)
            return CoxTerms(
                terms.names,
                terms.coefficients,
                terms.offset,
                terms.times,
                terms.hazard,
                terms.covariance,
                np.cumsum(squares) / hazard**2,
                middle + np.cumsum(moments, axis=0) / hazard[:, np.newaxis],
            )
    raise ValueError(
        "These are not the patients that the model was fitted on: they give another baseline "
        "hazard. Intervals need the training patients, unweighted."
    )
