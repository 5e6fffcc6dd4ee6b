"""Removal of redundant features by rank correlation; choice of the important ones by a forest."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import SelectorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _get_feature_names, check_is_fitted, validate_data

from survimg.target import as_outcome, check_outcome, is_table

__all__ = ["ForestSelector", "SpearmanFilter"]

_CORRELATIONS_AT_ONCE = 4_000_000


class SpearmanFilter(SelectorMixin, BaseEstimator):
    """Keep one feature of every group whose Spearman correlation exceeds a threshold.

    Features are visited in the order of preference given by `keep`; a feature stays unless its
    absolute rank correlation with one that already stays is above `threshold`. Radiomics studies
    reduce their features so before the model is fitted [1]_; in a pipeline the filter is fitted on
    the training fold only. Constant features have no rank correlation and say nothing about the
    outcome: they are dropped.

    Parameters
    ----------
    threshold : float, default=0.7
        A pair with an absolute correlation above it is redundant; in (0, 1]. 1 drops constant
        features only.
    keep : {"first", "univariate"}, default="first"
        Which feature of a redundant pair stays. ``"first"``: the one in the earlier column.
        ``"univariate"``: the one whose Harrell concordance with the outcome, taken alone, lies
        farther from 0.5 on the training fold; ties go to the earlier column. It needs `y`.

    Attributes
    ----------
    support_ : ndarray of shape (n_features,), bool
        Which features stay.
    representative_ : ndarray of shape (n_features,), int
        Column of the feature that stands for each feature: itself where it stays, the one it is
        redundant with where it was dropped, -1 where it is constant.
    concordance_ : ndarray of shape (n_features,)
        Harrell's concordance of each feature as a risk; only with ``keep="univariate"``.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,), str
        Only when `fit` saw a DataFrame.

    References
    ----------
    .. [1] Meng M, Gu B, Bi L, et al. DeepMTS: deep multi-task learning for survival prediction in
       patients with advanced nasopharyngeal carcinoma using pretreatment PET/CT. IEEE J Biomed
       Health Inform 2022;26(9):4497-4507. It does not say which feature of a pair it keeps.

    Examples
    --------
    >>> import pandas as pd
    >>> features = pd.DataFrame({"a": [1, 2, 3, 4], "a_cubed": [1, 8, 27, 64], "b": [2, 1, 4, 0]})
    >>> SpearmanFilter(0.7).fit(features).get_feature_names_out().tolist()
    ['a', 'b']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "threshold": [Interval(Real, 0, 1, closed="right")],
        "keep": [StrOptions({"first", "univariate"})],
    }

    def __init__(self, threshold: float = 0.7, *, keep: str = "first") -> None:
        self.threshold = threshold
        self.keep = keep

    def fit(self, X: npt.ArrayLike, y: np.ndarray | None = None) -> SpearmanFilter:
        """Find the features to keep.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
            Features of at least two patients.
        y : structured array of shape (n,), optional
            (event, time); needed by ``keep="univariate"``.

        Raises
        ------
        ValueError
            Missing or infinite values (the message names the columns), every feature constant, or
            no outcome where one is needed.
        """
        self._validate_params()
        features = _check_features(self, X, reset=True)
        ranks = rankdata(features, axis=0)
        varies = np.flatnonzero(np.ptp(ranks, axis=0) > 0)
        if varies.size == 0:
            raise ValueError(
                f"All {features.shape[1]} features are constant over the {features.shape[0]} "
                "patients of the training fold; there is nothing to select from."
            )
        order = varies
        if self.keep == "univariate":
            self.concordance_ = _univariate_concordance(
                ranks, None if y is None else as_outcome(y, X)
            )
            order = varies[np.argsort(-np.abs(self.concordance_[varies] - 0.5), kind="stable")]
        selection, stands_for = _greedy(_unit_vectors(ranks[:, order]), float(self.threshold))
        self.support_ = np.zeros(features.shape[1], dtype=bool)
        self.support_[order[selection]] = True
        self.representative_ = np.full(features.shape[1], -1, dtype=np.intp)
        self.representative_[order] = order[stands_for]
        return self

    def transform(self, X: npt.ArrayLike) -> Any:
        """Return the columns of the kept features, in the order of the input.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
            The features seen in `fit`.

        Returns
        -------
        ndarray or DataFrame of shape (n, n_kept)

        Raises
        ------
        ValueError
            Missing or infinite values, or other features than in `fit`.
        """
        check_is_fitted(self)
        _check_features(self, X, reset=False)
        return super().transform(X)

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.keep == "univariate"
        return tags


def _check_features(estimator: SpearmanFilter, X: npt.ArrayLike, *, reset: bool) -> np.ndarray:
    features = validate_data(
        estimator,
        X,
        dtype=np.float64,
        ensure_all_finite=False,
        ensure_min_samples=2 if reset else 1,
        reset=reset,
    )
    wrong = np.flatnonzero(~np.isfinite(features).all(axis=0))
    if wrong.size:
        names = _get_feature_names(X)
        listed = [str(j) if names is None else repr(names[j]) for j in wrong[:5]]
        raise ValueError(
            f"{wrong.size} of {features.shape[1]} features hold NaN or infinite values (columns "
            f"{', '.join(listed)}{', ...' if wrong.size > 5 else ''}). "
            "Impute them before the SpearmanFilter, for example with "
            "SimpleImputer(strategy='median'), or drop the columns."
        )
    return features


def _unit_vectors(ranks: np.ndarray) -> np.ndarray:
    """Centre columns of average ranks and scale them to length 1; no column is constant."""
    # float64: in float32 rounding of 1e-6 moves pairs across the threshold.
    centred = ranks - ranks.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=0)
    return centred


def _greedy(unit: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Keep columns in order; returns the kept ones and the one that stands for each.

    Correlations are the products of the unit vectors. They are computed for a block of features
    that nothing stands for yet, with those of all later features, so that memory grows with the
    number of features and not with its square.
    """
    n_features = unit.shape[1]
    stands_for = np.full(n_features, -1, dtype=np.intp)
    position = 0
    while (free := position + np.flatnonzero(stands_for[position:] < 0)).size:
        block = free[: max(1, _CORRELATIONS_AT_ONCE // free.size)]
        correlation = np.minimum(np.abs(unit[:, block].T @ unit[:, free]), 1.0)
        redundant = correlation > threshold
        for row, j in zip(redundant, block.tolist(), strict=True):
            if stands_for[j] < 0:
                others = free[row]
                stands_for[others[stands_for[others] < 0]] = j
                stands_for[j] = j
        position = int(block[-1]) + 1
    return np.flatnonzero(stands_for == np.arange(n_features)), stands_for


def _univariate_concordance(ranks: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """Harrell's concordance of every column as a risk, shape (p,); tied values count one half."""
    if y is None:
        raise ValueError(
            'keep="univariate" ranks features by their concordance with the outcome and needs y; '
            'give y to fit, or use keep="first".'
        )
    event, time = check_outcome(y, n_patients=ranks.shape[0], require_event=True)
    # Event before censoring at the same time, so that the censored patient outlives the event.
    order = np.lexsort((~event, time))
    event, time = event[order], time[order]
    twice = np.rint(2 * ranks[order]).astype(np.int32)
    same = np.searchsorted(time, time, side="right")
    balance = np.zeros(ranks.shape[1], dtype=np.int64)
    n_pairs = 0
    for i in np.flatnonzero(event).tolist():
        # Later patients, and those censored at the very time of the event.
        first = i + int(np.count_nonzero(event[i : same[i]]))
        balance += np.sign(twice[i] - twice[first:]).sum(axis=0, dtype=np.int64)
        n_pairs += time.size - first
    if n_pairs == 0:
        raise ValueError(
            "No pair of patients can be compared: no patient is followed beyond the first event. "
            'Use keep="first".'
        )
    return 0.5 + balance / (2 * n_pairs)


class ForestSelector(SelectorMixin, BaseEstimator):
    """Keep the features with the largest impurity importance in a random forest.

    Labels are learned by a classification forest with balanced classes. For an outcome (event,
    time) a regression forest learns the martingale residuals of the null model, event - H(time)
    with the Nelson-Aalen estimate H (Therneau, Grambsch & Fleming, Biometrika 77:147-160, 1990):
    random survival forests have no impurity importance.

    Parameters
    ----------
    k : int, default=36
        Features to keep; all where there are fewer.
    n_estimators : int, default=500
        Trees.
    random_state : int, RandomState instance or None, default=None
        Seed of the forest.

    Attributes
    ----------
    importances_ : ndarray of shape (n_features,)
    support_ : ndarray of shape (n_features,), bool
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,), str
        Only when `fit` saw a DataFrame.

    References
    ----------
    Tang et al. 2025, arXiv 2508.20469, keep 36 of 1562 features.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "k": [Interval(Integral, 1, None, closed="left")],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        k: int = 36,
        n_estimators: int = 500,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.k = k
        self.n_estimators = n_estimators
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> ForestSelector:
        """Grow the forest and rank the features.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
        y : array-like of labels, or structured array (event, time), of shape (n,)

        Raises
        ------
        ValueError
            NaN or infinite values, or an outcome without events.
        """
        self._validate_params()
        features = validate_data(self, X, dtype=np.float64)
        settings = {"n_estimators": self.n_estimators, "random_state": self.random_state}
        named: Any = y
        is_outcome = is_table(named) and "event" in named
        target = as_outcome(named, X) if is_outcome else np.asarray(y)
        if target.dtype.names is not None:
            event, time = check_outcome(target, n_patients=len(features), require_event=True)
            forest = RandomForestRegressor(**settings).fit(
                features, _martingale_residuals(event, time)
            )
        else:
            forest = RandomForestClassifier(class_weight="balanced", **settings)
            forest.fit(features, target)
        self.importances_ = forest.feature_importances_
        self.support_ = np.zeros(features.shape[1], dtype=bool)
        # Of equal importances the earlier column stays.
        self.support_[np.argsort(-self.importances_, kind="stable")[: self.k]] = True
        return self

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _martingale_residuals(event: np.ndarray, time: np.ndarray) -> np.ndarray:
    _, position = np.unique(time, return_inverse=True)
    n_events = np.bincount(position, weights=event)
    at_risk = np.bincount(position)[::-1].cumsum()[::-1]
    return event - np.cumsum(n_events / at_risk)[position]
