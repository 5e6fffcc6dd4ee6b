"""Features of the training patients from models that were not trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from survimg.estimators.base import mean_and_scale
from survimg.model_selection.inner_cv import InnerFit, make_inner_splitter, run_inner_fits
from survimg.survival import labels_of, outcome_of_labels, risk_of
from survimg.target import as_outcome, check_outcome

__all__ = ["OutOfFold", "fit_transform_together"]

Unit = tuple[float, float]
"""Mean and standard deviation of the risks of an estimator's training patients."""


class OutOfFold(TransformerMixin, MetaEstimatorMixin, BaseEstimator):
    """Pass out-of-fold features of the training patients to a second model.

    A model is overfitted to its training patients: their risks and deep features predict better
    than those of new patients, and a second model trained on them relies on them too much [1]_.
    Therefore `fit_transform` returns for each training patient the features of a clone fitted
    without that patient's fold, while `transform` uses a model fitted on all training patients.
    Pipelines call the right one; ``fit(X, y).transform(X)`` gives in-sample features.

    Parameters
    ----------
    estimator : estimator or transformer
        Computes the features; it is cloned ``cv`` + 1 times.
    method : {"auto", "transform", "predict"}, default="auto"
        ``"transform"``: the columns of `estimator.transform`. ``"predict"``: one column, the
        risk in standard deviations (see Notes).
        ``"auto"``: transform if the estimator has it, otherwise predict.
    cv : int or splitter, default=5
        Event-stratified folds. A splitter must test every patient exactly once.
    random_state : int, RandomState or None, default=None
        Seed for shuffling the patients before they are divided into folds; None keeps the given
        order.
    n_jobs : int, optional
        Fits in parallel in `fit_transform`, of ``cv`` + 1; None means 1 unless in a
        `joblib.parallel_config` context. Results do not depend on it, see Notes.

    Attributes
    ----------
    estimator_ : estimator
        Fitted on all training patients.
    method_ : str
    feature_names_out_ : ndarray of shape (n_features_out,), str

    Notes
    -----
    Risks are z-scores with the mean and standard deviation of each clone's risks of its training
    patients, as in `FoldEnsemble`, because risks of Cox models are defined up to a
    constant and the scale of networks differs between folds (by a factor of two for the same number
    of steps). A clone with equal risks for all its training patients gives 0 for all patients.

    A column must have the same meaning in every clone. Risks and measurements have; hidden units of
    networks have it only as far as the networks start from the same weights, so give networks an
    integer ``random_state``.

    Results are identical for every `n_jobs` if those of the estimator are reproducible: an
    integer ``random_state``, and for networks a number of ``n_threads`` (on the CPU). A stored
    cohort is sent to other processes as its path. Networks on a GPU wait for a slot
    (`survimg.compute.device_slot`). Inside a parallel search the fits run one after the other.

    References
    ----------
    .. [1] Wolpert DH. Stacked generalization. Neural Networks 1992;5:241-259.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods("fit")],
        "method": [StrOptions({"auto", "transform", "predict"})],
        "cv": "no_validation",  # checked where the splitter is made
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        method: str = "auto",
        cv: int | Any = 5,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: np.ndarray) -> OutOfFold:
        """Fit the estimator on all patients, for `transform` of new ones.

        Parameters
        ----------
        X : Cohort or array-like
        y : structured array of shape (n,), or labels of shape (n,)
            (event, time); True and False, or 1 and 0, for classifiers that make features.

        Raises
        ------
        ValueError
            Invalid parameters or outcome, or an estimator without `method`.
        """
        self._check(X, y)
        fits = [self._whole("the fit of all patients")]
        (whole,) = run_inner_fits(fits, X, _target(X, y), n_jobs=1)
        self._keep(whole)
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
        (features,) = fit_transform_together({"OutOfFold": self}, X, y, self.n_jobs)
        return features

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
        return _features(self.method_, self.estimator_, X, self._unit)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features; `input_features` is ignored."""
        del input_features
        check_is_fitted(self)
        return self.feature_names_out_

    def _check(self, X: Any, y: np.ndarray) -> None:
        self._validate_params()
        labels = labels_of(y)
        outcome = y if labels is None else outcome_of_labels(labels)
        check_outcome(outcome, n_patients=_num_samples(X), require_event=True)
        self.method_ = self._resolve_method()
        if labels is not None and self.method_ == "predict":
            raise ValueError(
                f"{type(self.estimator).__name__}.predict gives labels, not risks; of classifiers "
                "OutOfFold takes features (method='transform')."
            )

    def _resolve_method(self) -> str:
        method = self.method
        if method == "auto":
            method = "transform" if hasattr(self.estimator, "transform") else "predict"
        if not hasattr(self.estimator, method):
            raise ValueError(
                f"{type(self.estimator).__name__} has no method {method!r}; choose another method."
            )
        return method

    def _whole(self, name: str) -> InnerFit:
        return InnerFit(name, clone(self.estimator), partial(_with_unit, self.method_))

    def _folds(self, X: Any, y: np.ndarray, name: str) -> list[InnerFit]:
        splits = list(make_inner_splitter(self.cv, self.random_state).split(X, y))
        order = np.concatenate([test for _, test in splits])
        if not np.array_equal(np.sort(order), np.arange(_num_samples(X))):
            raise ValueError(
                "Out-of-fold features need folds that test every patient exactly once; the "
                f"splitter {self.cv!r} does not."
            )
        use = partial(_of_others, self.method_)
        return [
            InnerFit(f"fold {k} of {len(splits)} of {name}", clone(self.estimator), use, *split)
            for k, split in enumerate(splits, start=1)
        ]

    def _keep(self, whole: tuple[Any, Unit, pd.DataFrame]) -> None:
        self.estimator_, self._unit, features = whole
        self.feature_names_out_ = features.columns.to_numpy(dtype=object)

    def _join(self, folds: list[InnerFit], parts: list[pd.DataFrame]) -> pd.DataFrame:
        for part in parts:
            self._check_columns(part)
        order = np.concatenate([fold.test for fold in folds])
        features = np.concatenate([part.to_numpy() for part in parts])[np.argsort(order)]
        return pd.DataFrame(features, columns=list(self.feature_names_out_))

    def _check_columns(self, part: pd.DataFrame) -> None:
        if list(part.columns) != list(self.feature_names_out_):
            differing = sorted(set(part.columns) ^ set(self.feature_names_out_))
            raise ValueError(
                f"{type(self.estimator).__name__} returns different columns in a fold than on all "
                f"patients (for example {differing[:3]}), so out-of-fold features cannot be put "
                "together. Put steps that select columns after OutOfFold."
            )


def fit_transform_together(
    makers: Mapping[str, OutOfFold], X: Any, y: np.ndarray, n_jobs: int | None
) -> list[pd.DataFrame]:
    """Fit several `OutOfFold` on the same patients, with all their fits in parallel.

    Parameters
    ----------
    makers : mapping of str to OutOfFold
        Named for error messages.
    X : Cohort or array-like
    y : structured array of shape (n,)
    n_jobs : int or None
        Fits in parallel, of all of them.

    Returns
    -------
    list of DataFrame of shape (n, n_features)
        The result of `OutOfFold.fit_transform` for each.

    Raises
    ------
    ValueError
        As in `OutOfFold.fit_transform`.
    """
    y = _target(X, y)
    for maker in makers.values():
        maker._check(X, y)
    wholes = [maker._whole(f"the fit of all patients of {name}") for name, maker in makers.items()]
    folds = [maker._folds(X, y, name) for name, maker in makers.items()]
    # The longest fits first, so that the last ones to end are short.
    fits = [*wholes, *(fit for each in folds for fit in each)]
    results = iter(run_inner_fits(fits, X, y, n_jobs))
    for maker in makers.values():
        maker._keep(next(results))
    return [
        maker._join(inner, [next(results) for _ in inner])
        for maker, inner in zip(makers.values(), folds, strict=True)
    ]


def _target(X: Any, y: Any) -> np.ndarray:
    """Return labels, or an outcome in the order of the patients."""
    labels = labels_of(y)
    return as_outcome(y, X) if labels is None else labels


def _with_unit(method: str, fitted: Any, X: Any, _others: None) -> tuple[Any, Unit, Any]:
    """Return the estimator, the unit of its risk, and features of one patient."""
    unit = _unit_of(method, fitted, X)
    return fitted, unit, _features(method, fitted, _safe_indexing(X, [0]), unit)


def _of_others(method: str, fitted: Any, X: Any, others: Any) -> pd.DataFrame:
    return _features(method, fitted, others, _unit_of(method, fitted, X))


def _unit_of(method: str, fitted: Any, X: Any) -> Unit:
    if method != "predict":
        return 0.0, 1.0
    mean, scale = mean_and_scale(risk_of(fitted, X))
    return mean, scale or np.inf


def _features(method: str, fitted: Any, X: Any, unit: Unit) -> pd.DataFrame:
    if method == "predict":
        risk = (risk_of(fitted, X) - unit[0]) / unit[1]
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
