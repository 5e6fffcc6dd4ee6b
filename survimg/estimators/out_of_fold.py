"""Features of the training patients from models that have not seen them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from survimg.estimators.inner_cv import make_inner_splitter
from survimg.target import check_outcome

__all__ = ["OutOfFold"]


class OutOfFold(TransformerMixin, MetaEstimatorMixin, BaseEstimator):
    """Hand a second model out-of-fold features of the training patients.

    A model knows its training patients: their risks and deep features look better than those of
    new patients, and a second model trained on them trusts them too much [1]_. Here
    `fit_transform` returns for each training patient the features of a clone fitted without that
    patient's fold, while `transform` uses a model fitted on all training patients. Pipelines call
    the two as they should; ``fit(X, y).transform(X)`` would give in-sample features.

    Parameters
    ----------
    estimator : estimator or transformer
        What makes the features; it is cloned, ``cv`` + 1 times.
    method : {"auto", "transform", "predict"}, default="auto"
        ``"transform"``: the columns of `estimator.transform`. ``"predict"``: one column, the risk.
        ``"auto"``: transform where there is one.
    cv : int or splitter, default=5
        Event-stratified folds. A splitter must test every patient exactly once.
    random_state : int, RandomState or None, default=None
        Seed that shuffles the patients before they are dealt to the folds; None deals them in the
        given order.

    Attributes
    ----------
    estimator_ : estimator
        Fitted on all training patients.
    method_ : str
    feature_names_out_ : ndarray of shape (n_features_out,), str

    Notes
    -----
    Risks are centred at the mean risk of the patients that each clone was fitted on: Cox models
    know risk up to a constant only, and a different constant in each fold would be noise.

    A column must mean the same in every clone. Risks do, and so do measurements; hidden units of a
    network trained anew in each fold do so only as far as the runs keep to the path of a common
    start, so give networks an integer ``random_state``.

    References
    ----------
    .. [1] Wolpert DH. Stacked generalization. Neural Networks 1992;5:241-259.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods("fit")],
        "method": [StrOptions({"auto", "transform", "predict"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        method: str = "auto",
        cv: int | Any = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: np.ndarray) -> OutOfFold:
        """Fit the estimator on all patients, for `transform` of new ones.

        Parameters
        ----------
        X : Cohort or array-like
        y : structured array of shape (n,)
            (event, time).

        Raises
        ------
        ValueError
            Invalid parameters or outcome, or an estimator without the method asked for.
        """
        self._validate_params()
        check_outcome(y, n_patients=_num_samples(X), require_event=True)
        self.method_ = self._resolve_method()
        self.estimator_ = clone(self.estimator).fit(X, y)
        self._centre = self._mean_risk(self.estimator_, X)
        features = self._features(self.estimator_, _safe_indexing(X, [0]), self._centre)
        self.feature_names_out_ = features.columns.to_numpy(dtype=object)
        return self

    def fit_transform(self, X: Any, y: np.ndarray) -> pd.DataFrame:
        """Fit, and return the out-of-fold features of the training patients.

        Parameters
        ----------
        X : Cohort or array-like
        y : structured array of shape (n,)

        Returns
        -------
        DataFrame of shape (n, n_features)

        Raises
        ------
        ValueError
            As in `fit`; also folds that do not test each patient once, fewer events than folds, or
            clones that return different columns.
        """
        self.fit(X, y)
        y = np.asarray(y)
        parts, tested = [], []
        for train, test in make_inner_splitter(self.cv, self.random_state).split(X, y):
            X_train = _safe_indexing(X, train)
            fitted = clone(self.estimator).fit(X_train, y[train])
            centre = self._mean_risk(fitted, X_train)
            part = self._features(fitted, _safe_indexing(X, test), centre)
            self._check_columns(part)
            parts.append(part.to_numpy())
            tested.append(test)
        order = np.concatenate(tested)
        if not np.array_equal(np.sort(order), np.arange(_num_samples(X))):
            raise ValueError(
                "Out-of-fold features need folds that test every patient exactly once; the "
                f"splitter {self.cv!r} does not."
            )
        features = np.concatenate(parts)[np.argsort(order)]
        return pd.DataFrame(features, columns=list(self.feature_names_out_))

    def transform(self, X: Any) -> pd.DataFrame:
        """Return features of the model that was fitted on all training patients.

        Parameters
        ----------
        X : Cohort or array-like

        Returns
        -------
        DataFrame of shape (n, n_features)
        """
        check_is_fitted(self)
        return self._features(self.estimator_, X, self._centre)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features; `input_features` is ignored."""
        del input_features
        check_is_fitted(self)
        return self.feature_names_out_

    def _resolve_method(self) -> str:
        method = self.method
        if method == "auto":
            method = "transform" if hasattr(self.estimator, "transform") else "predict"
        if not hasattr(self.estimator, method):
            raise ValueError(
                f"{type(self.estimator).__name__} has no method {method!r}; choose another method."
            )
        return method

    def _mean_risk(self, fitted: Any, X: Any) -> float:
        return float(np.mean(fitted.predict(X))) if self.method_ == "predict" else 0.0

    def _features(self, fitted: Any, X: Any, centre: float) -> pd.DataFrame:
        if self.method_ == "predict":
            risk = np.asarray(fitted.predict(X), dtype=np.float64) - centre
            return pd.DataFrame(risk[:, np.newaxis], columns=["risk"])
        features = fitted.transform(X)
        if isinstance(features, pd.DataFrame):
            return features.reset_index(drop=True)
        names = (
            fitted.get_feature_names_out()
            if hasattr(fitted, "get_feature_names_out")
            else [f"feature{j}" for j in range(features.shape[1])]
        )
        # scikit-learn takes names of type str only, not NumPy's.
        return pd.DataFrame(np.asarray(features), columns=[str(name) for name in names])

    def _check_columns(self, part: pd.DataFrame) -> None:
        if list(part.columns) != list(self.feature_names_out_):
            differing = sorted(set(part.columns) ^ set(self.feature_names_out_))
            raise ValueError(
                f"{type(self.estimator).__name__} returns different columns in a fold than on all "
                f"patients (for example {differing[:3]}), so out-of-fold features cannot be put "
                "together. Put steps that select columns after OutOfFold."
            )
