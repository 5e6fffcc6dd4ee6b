"""Stacking of survival models on out-of-fold risks."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metaestimators import _BaseComposition, available_if
from sklearn.utils.validation import check_is_fitted
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.estimators.base import SurvivalMixin
from survimg.estimators.compose.out_of_fold import OutOfFold, fit_transform_together
from survimg.survival import from_zero, functions_from_zero, risk_of

__all__ = ["SurvivalStacking"]


def _final_has(method: str) -> Any:
    def check(stacking: SurvivalStacking) -> bool:
        final = getattr(stacking, "final_estimator_", stacking.final_estimator)
        return final is None or hasattr(final, method)

    return check


class SurvivalStacking(SurvivalMixin, _BaseComposition):
    """Combine survival models by a model of their out-of-fold risks.

    Every model is fitted on all patients for prediction, and on inner folds for the out-of-fold
    risks that train the final model (see `OutOfFold`), so that overfitted models get little weight.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Survival models over the same X, each with `predict`.
    final_estimator : estimator, optional
        Survival model of the risks (one column each); by default a Cox model on standardised risks
        with ridge penalty 1 (normal prior with variance 1 on each log-hazard ratio per SD).
    cv : int or splitter, default=5
        Event-stratified inner folds, the same for all models.
    random_state : int, RandomState or None, default=None
        Seed for shuffling the patients before they are divided into folds; None keeps the given
        order.
    n_jobs : int, optional
        Fits in parallel, of ``cv`` + 1 for every model; None means 1 unless in a
        `joblib.parallel_config` context. Results do not depend on it (see `OutOfFold`).

    Attributes
    ----------
    risks_ : FeatureUnion
        The fitted models, one `OutOfFold` for each.
    final_estimator_ : estimator

    References
    ----------
    Wolpert DH. Stacked generalization. Neural Networks 1992;5:241-259.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimators": [list, tuple],
        "final_estimator": [HasMethods(["fit", "predict"]), None],
        "cv": "no_validation",  # checked where the splitter is made
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimators: Sequence[tuple[str, Any]],
        *,
        final_estimator: Any = None,
        cv: int | Any = 5,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimators = estimators
        self.final_estimator = final_estimator
        self.cv = cv
        self.random_state = random_state
        self.n_jobs = n_jobs

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, including those of the models."""
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params: Any) -> SurvivalStacking:
        """Set parameters, such as ``clinical__alpha`` of the model named "clinical"."""
        self._set_params("estimators", **params)
        return self

    def fit(self, X: Any, y: np.ndarray) -> SurvivalStacking:
        """Fit all models and the final one.

        Parameters
        ----------
        X : Cohort or array-like
        y : structured array of shape (n,)
            (event, time).

        Raises
        ------
        ValueError
            No models, names given twice, or fewer events than folds.
        """
        self._validate_params()
        if len(self.estimators) == 0:
            raise ValueError("SurvivalStacking needs at least one (name, estimator) pair.")
        self._validate_names([name for name, _ in self.estimators])
        seed = None
        if self.random_state is not None:
            # One seed for all, so that every model has the same folds.
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        makers = {
            name: OutOfFold(model, method="predict", cv=self.cv, random_state=seed)
            for name, model in self.estimators
        }
        parts = fit_transform_together(makers, X, y, self.n_jobs)
        self.risks_ = FeatureUnion(list(makers.items())).set_output(transform="pandas")
        risks = pd.concat(parts, axis=1).set_axis(self.risks_.get_feature_names_out(), axis=1)
        final = self.final_estimator
        if final is None:
            final = make_pipeline(StandardScaler(), CoxPHSurvivalAnalysis(alpha=1.0, ties="efron"))
        self.final_estimator_ = clone(final).fit(risks, y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the risk of the final model: higher = earlier event.

        Parameters
        ----------
        X : Cohort or array-like

        Returns
        -------
        ndarray of shape (n,)
        """
        risks = self._risks(X)
        return risk_of(self.final_estimator_, risks)

    @available_if(_final_has("predict_survival_function"))
    def predict_survival_function(self, X: Any, return_array: bool = False) -> np.ndarray:
        """Predict survival curves by the final model.

        Parameters
        ----------
        X : Cohort or array-like
        return_array : bool, default=False
            Return values at `unique_times_` instead of functions.
        """
        return self._curves("predict_survival_function", X, return_array, 1.0)

    @available_if(_final_has("predict_cumulative_hazard_function"))
    def predict_cumulative_hazard_function(self, X: Any, return_array: bool = False) -> np.ndarray:
        """Predict cumulative hazards by the final model.

        Parameters
        ----------
        X : Cohort or array-like
        return_array : bool, default=False
            Return values at `unique_times_` instead of functions.
        """
        return self._curves("predict_cumulative_hazard_function", X, return_array, 0.0)

    @property
    def unique_times_(self) -> np.ndarray:
        """Times at which arrays of curves are given, from 0, where survival is 1."""
        check_is_fitted(self)
        return np.union1d([0.0], self._final_times())

    def _final_times(self) -> np.ndarray:
        final = self.final_estimator_
        # scikit-survival gives pipelines the curve methods but not the times.
        return final[-1].unique_times_ if isinstance(final, Pipeline) else final.unique_times_

    def _risks(self, X: Any) -> Any:
        check_is_fitted(self)
        return self.risks_.transform(X)

    def _curves(self, method: str, X: Any, return_array: bool, start: float) -> np.ndarray:
        risks = self._risks(X)
        predict = getattr(self.final_estimator_, method)
        if return_array:
            return from_zero(self._final_times(), predict(risks, return_array=True), start)[1]
        return functions_from_zero(predict(risks), start)
