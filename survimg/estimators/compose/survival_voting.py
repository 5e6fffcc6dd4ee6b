"""Average of the ranks that survival models give to a patient."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import _num_samples, check_is_fitted

from survimg.estimators.base import SurvivalMixin
from survimg.model_selection.inner_cv import InnerFit, run_inner_fits
from survimg.survival import risk_of
from survimg.target import as_outcome, check_outcome

__all__ = ["SurvivalVoting"]


class SurvivalVoting(SurvivalMixin, _BaseComposition):
    """Average the ranks of the risks that several models give.

    A rank needs no common scale: a Cox model, a forest and a model of times can vote together. The
    rank of a patient is the share of the training patients to whom the model gives a lower risk
    (ties count one half), so that nobody's risk depends on who else is predicted.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Survival models over the same X, each with `predict`.
    weights : array-like of shape (n_estimators,), optional
        Of the models; equal by default.
    n_jobs : int, optional
        Models fitted at a time.

    Attributes
    ----------
    estimators_ : list of estimators
    training_risks_ : ndarray of shape (n_estimators, n)
        Risks of the training patients, increasing.

    Notes
    -----
    A mean rank is no hazard, so there are no survival curves; `SurvivalStacking` has them.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimators": [list, tuple],
        "weights": ["array-like", None],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimators: Sequence[tuple[str, Any]],
        *,
        weights: npt.ArrayLike | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimators = estimators
        self.weights = weights
        self.n_jobs = n_jobs

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, those of the named models included."""
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params: Any) -> SurvivalVoting:
        """Set parameters, such as ``clinical__alpha`` of the model named "clinical"."""
        self._set_params("estimators", **params)
        return self

    def fit(self, X: Any, y: np.ndarray) -> SurvivalVoting:
        """Fit all models.

        Parameters
        ----------
        X : Cohort or array-like
        y : structured array of shape (n,)
            (event, time).

        Raises
        ------
        ValueError
            No models, names given twice, weights that do not fit, or an invalid outcome.
        """
        self._validate_params()
        if len(self.estimators) == 0:
            raise ValueError("SurvivalVoting needs at least one (name, estimator) pair.")
        self._validate_names([name for name, _ in self.estimators])
        self._checked_weights()
        y = as_outcome(y, X)
        check_outcome(y, n_patients=_num_samples(X), require_event=True)
        fits = [InnerFit(name, clone(model), _fitted_and_risk) for name, model in self.estimators]
        results = run_inner_fits(fits, X, y, self.n_jobs)
        self.estimators_ = [fitted for fitted, _ in results]
        self.training_risks_ = np.sort([risk for _, risk in results], axis=1)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the mean rank, from 0 to 1: **higher = earlier event**.

        Parameters
        ----------
        X : Cohort or array-like

        Returns
        -------
        ndarray of shape (n,), float64
        """
        check_is_fitted(self, "estimators_")
        ranks = []
        for model, training in zip(self.estimators_, self.training_risks_, strict=True):
            risk = risk_of(model, X)
            # A risk differs in its last bits between a patient alone and among others.
            margin = 1e-12 * np.abs(training).max()
            below = np.searchsorted(training, risk - margin, "left")
            not_above = np.searchsorted(training, risk + margin, "right")
            ranks.append((below + not_above) / (2 * training.size))
        mean: np.ndarray = np.average(ranks, axis=0, weights=self._checked_weights())
        return mean

    def _checked_weights(self) -> np.ndarray | None:
        if self.weights is None:
            return None
        weights = np.asarray(self.weights, dtype=np.float64)
        n = len(self.estimators)
        if weights.shape != (n,) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(
                f"weights must be {n} finite numbers from 0 up, one per estimator; got "
                f"{weights.tolist()}."
            )
        if not weights.any():
            raise ValueError("weights are all 0; give at least one estimator a weight.")
        return weights


def _fitted_and_risk(fitted: Any, X: Any, _others: None) -> tuple[Any, np.ndarray]:
    return fitted, risk_of(fitted, X)
