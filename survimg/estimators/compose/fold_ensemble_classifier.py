"""Ensemble of classifiers trained on folds of the training set."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import _num_samples, check_is_fitted, column_or_1d

from survimg.cohort import Cohort
from survimg.estimators.base import joined
from survimg.estimators.compose.averaged_masks import AveragedMasks
from survimg.model_selection.inner_cv import InnerFit, make_inner_splitter, run_inner_fits

__all__ = ["FoldEnsembleClassifier"]


class FoldEnsembleClassifier(AveragedMasks, ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Average the probabilities, and the tumour maps, of classifiers trained on folds.

    As `FoldEnsemble` of survival models: each member is trained without one fold of the training
    set. Probabilities are on one scale, so that their mean is taken as it is (soft voting).

    Parameters
    ----------
    estimator : estimator
        Classifier with ``predict_proba``; it is cloned for each fold.
    cv : int or splitter, default=5
        Folds; with a number they are stratified by the label, of which there are two.
    random_state : int, RandomState or None, default=None
        Seed for shuffling the patients before they are divided into folds; None keeps the given
        order.
    n_jobs : int, optional
        Members trained in parallel; None means 1 unless in a `joblib.parallel_config` context.

    Attributes
    ----------
    members_ : list of estimators
    classes_ : ndarray of shape (2,)
        Sorted labels; the second one is the event.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from survimg.estimators import FoldEnsembleClassifier
    >>> X = np.arange(20.0)[:, np.newaxis]
    >>> model = FoldEnsembleClassifier(LogisticRegression(), cv=2, random_state=0)
    >>> model.fit(X, X[:, 0] > 9).predict_proba(X).shape
    (20, 2)
    """

    __metadata_request__fit = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__predict = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__predict_proba = {"masks": True, "clinical": True}  # noqa: RUF012

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "cv": "no_validation",  # checked where the splitter is made
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        cv: int | Any = 5,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self,
        X: Cohort | npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> FoldEnsembleClassifier:
        """Train one member for each fold, without the patients of that fold.

        Parameters
        ----------
        X : Cohort or array-like
            Patients, as in the members' `fit`.
        y : array-like of shape (n,)
            Labels of two classes.
        masks : array-like of shape (n, z, y, x), optional
        clinical : DataFrame or array-like of shape (n, k), optional
            Both for plain arrays of volumes only; a cohort contains its own.

        Raises
        ------
        ValueError
            Invalid parameters, labels of another number of classes or patients, fewer patients of
            a class than folds, a fold of `cv` that leaves one class alone to train on.
        """
        self._validate_params()
        X = joined(X, masks, clinical)
        if np.asarray(y).dtype.names is not None:
            raise ValueError(
                "FoldEnsembleClassifier learns labels; y is an outcome (event, time). Use "
                "FoldEnsemble for survival models."
            )
        labels = column_or_1d(y)
        if len(labels) != _num_samples(X):
            raise ValueError(f"X has {_num_samples(X)} patients and y {len(labels)} labels.")
        self.classes_ = np.unique(labels)
        if len(self.classes_) != 2:
            raise ValueError(
                f"FoldEnsembleClassifier needs labels of two classes; y has {len(self.classes_)}: "
                f"{', '.join(map(str, self.classes_[:5].tolist()))}."
            )
        positive = labels == self.classes_[1]
        splits = list(make_inner_splitter(self.cv, self.random_state).split(X, positive))
        for k, (train, _) in enumerate(splits, start=1):
            if positive[train].all() or not positive[train].any():
                raise ValueError(
                    f"Without fold {k} of cv there are patients of one class alone to train on. "
                    "Give a number of folds, which are stratified, or a splitter that keeps both."
                )
        fits = [
            InnerFit(
                f"fold {k} of {len(splits)} of FoldEnsembleClassifier",
                clone(self.estimator), _member, train,
            )
            for k, (train, _) in enumerate(splits, start=1)
        ]  # fmt: skip
        self.members_ = run_inner_fits(fits, X, labels, self.n_jobs)
        return self

    def predict_proba(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Return the mean probability of each class over the members, (n, 2).

        Parameters
        ----------
        X, masks, clinical
            As in `fit`; masks only if the members use them.
        """
        check_is_fitted(self, "members_")
        X = joined(X, masks, clinical)
        mean: np.ndarray = np.mean([member.predict_proba(X) for member in self.members_], axis=0)
        return mean

    def predict(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Return the more probable label of each patient."""
        proba = self.predict_proba(X, masks=masks, clinical=clinical)
        labels: np.ndarray = self.classes_[proba.argmax(axis=1)]
        return labels


def _member(fitted: Any, X: Any, others: Any) -> Any:  # noqa: ARG001
    return fitted
