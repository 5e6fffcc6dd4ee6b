"""scikit-survival's random survival forest with limited memory."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted
from sksurv.ensemble import RandomSurvivalForest as _Forest

from survimg.estimators.base import SurvivalMixin
from survimg.survival import from_zero, step_functions
from survimg.target import as_outcome, check_outcome, make_outcome

__all__ = ["RandomSurvivalForest"]


class RandomSurvivalForest(SurvivalMixin, BaseEstimator):
    """Random survival forest on features, over a limited number of event times.

    Every leaf of a survival tree stores a curve over all distinct times of the training patients,
    which makes forests on continuous times slow and large (scikit-survival 0.28, 700 patients, 100
    trees: 206 MB). Here times are rounded up to a grid with the same number of events in each
    interval when there are more distinct event times than `n_time_bins`; the grouping changes
    the model slightly and is therefore a parameter. `predict` is the ensemble mortality [1]_:
    **higher = earlier event**.

    Parameters
    ----------
    n_estimators : int, default=500
        Number of trees.
    min_samples_leaf : int, default=5
        Fewest patients in a leaf; a node needs twice that number to be split.
    max_features : {"sqrt", "log2"}, int or float, default="sqrt"
        Features tried at each split.
    n_time_bins : int or None, default=100
        Largest number of distinct event times; None uses all.
    low_memory : bool, default=False
        Store the risk instead of curves in the leaves; survival functions are then not available.
    n_jobs : int, optional
        Threads.
    random_state : int, RandomState or None, default=None
        Seed of the forest.

    Attributes
    ----------
    forest_ : sksurv.ensemble.RandomSurvivalForest
    time_grid_ : ndarray of shape (n_times,), or None
        Times to which the training times were rounded up; None if they were not rounded.
    unique_times_ : ndarray of shape (n_times,)
    n_features_in_, feature_names_in_ : int, ndarray of shape (n_features,)

    References
    ----------
    .. [1] Ishwaran H, Kogalur UB, Blackstone EH, Lauer MS. Random survival forests. Ann Appl Stat
       2008;2:841-860.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "min_samples_leaf": [Interval(Integral, 1, None, closed="left")],
        "n_time_bins": [Interval(Integral, 1, None, closed="left"), None],
        # The others are checked by the forest.
        "n_estimators": "no_validation",
        "max_features": "no_validation",
        "low_memory": "no_validation",
        "n_jobs": "no_validation",
        "random_state": "no_validation",
    }

    def __init__(
        self,
        *,
        n_estimators: int = 500,
        min_samples_leaf: int = 5,
        max_features: str | int | float = "sqrt",
        n_time_bins: int | None = 100,
        low_memory: bool = False,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.n_time_bins = n_time_bins
        self.low_memory = low_memory
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: np.ndarray) -> RandomSurvivalForest:
        """Grow the forest.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
        y : structured array of shape (n,)
            (event, time).

        Raises
        ------
        ValueError
            Invalid parameters, features or outcome, no event, or one time for all patients.
        """
        self._validate_params()
        event, time = check_outcome(as_outcome(y, X), require_event=True)
        if np.unique(time).size < 2:  # scikit-survival grows it, and fails when it predicts
            raise ValueError(
                f"All {time.size} patients have the same time, {time[0]:g}; a forest needs at "
                "least two distinct times."
            )
        self.training_outcome_ = make_outcome(event, time)
        self.time_grid_ = _time_grid(event, time, self.n_time_bins)
        if self.time_grid_ is not None:
            time = self.time_grid_[np.searchsorted(self.time_grid_, time)]
        self.forest_ = _Forest(
            n_estimators=self.n_estimators,
            min_samples_leaf=self.min_samples_leaf,
            min_samples_split=2 * self.min_samples_leaf,
            max_features=self.max_features,
            low_memory=self.low_memory,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        ).fit(X, make_outcome(event, time))
        self.n_features_in_ = self.forest_.n_features_in_
        if hasattr(self.forest_, "feature_names_in_"):
            self.feature_names_in_ = self.forest_.feature_names_in_
        return self

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Predict the ensemble mortality: higher = earlier event.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,)
        """
        check_is_fitted(self)
        return np.array(self.forest_.predict(X), dtype=np.float64)

    def predict_survival_function(
        self, X: npt.ArrayLike, return_array: bool = False
    ) -> np.ndarray:
        """Predict survival curves, averaged over the trees.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
        return_array : bool, default=False
            Return values at `unique_times_` instead of functions.
        """
        check_is_fitted(self)
        survival = self.forest_.predict_survival_function(X, return_array=True)
        times, survival = from_zero(self.forest_.unique_times_, survival, 1.0)
        return survival if return_array else step_functions(times, survival)

    def predict_cumulative_hazard_function(
        self, X: npt.ArrayLike, return_array: bool = False
    ) -> np.ndarray:
        """Predict cumulative hazards, averaged over the trees.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
        return_array : bool, default=False
            Return values at `unique_times_` instead of functions.
        """
        check_is_fitted(self)
        hazard = self.forest_.predict_cumulative_hazard_function(X, return_array=True)
        times, hazard = from_zero(self.forest_.unique_times_, hazard, 0.0)
        return hazard if return_array else step_functions(times, hazard)

    @property
    def unique_times_(self) -> np.ndarray:
        """0, where survival is 1, and the distinct times of the training patients, rounded."""
        check_is_fitted(self)
        return np.union1d([0.0], self.forest_.unique_times_)


def _time_grid(event: np.ndarray, time: np.ndarray, n_time_bins: int | None) -> np.ndarray | None:
    """Return the times to round up to: observed event times, then the last time; None for all."""
    event_times = time[event]
    if n_time_bins is None or np.unique(event_times).size <= n_time_bins:
        return None
    shares = np.linspace(0, 1, n_time_bins + 1)[1:]
    grid = np.quantile(event_times, shares, method="inverted_cdf")
    return np.unique(np.append(grid, time.max()))
