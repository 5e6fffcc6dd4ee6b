"""ICARE: a sum of standardised features that learns nothing of each but its sign."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from survimg.estimators.base import ProportionalHazardsMixin
from survimg.estimators.tabular.icare_columns import Signs, redundant, usable
from survimg.survival.slope import calibration_slope
from survimg.target import check_outcome

__all__ = ["ICARE"]

_PER_MEMBER = ("rho", "cmin", "fraction")


class ICARE(ProportionalHazardsMixin, BaseEstimator):
    r"""Individual coefficient approximation for risk estimation: votes of decorrelated features.

    Few patients cannot support a coefficient for each feature, but they can show its direction.
    A member of the model

    1. takes a random `fraction` of the columns,
    2. visits them in random order and drops each whose absolute correlation with an earlier one
       exceeds `rho`,
    3. scores each remaining column by `sign_methods` on the patients that have it, and gives it the
       sign :math:`s_j = -1` for a score below 0.5, else :math:`+1`; a column on which the methods
       disagree is not used, nor is one whose mean :math:`\max(c, 1 - c)` is below `cmin`,
    4. predicts :math:`\tfrac{1}{|J|} \sum_{j \in J} s_j (x_j - \mu_j) / \sigma_j` over the columns
       that the patient has.

    The model averages many members, each fitted to a bootstrap sample of the patients [1]_. It won
    the prognosis task of HECKTOR 2022. Missing values need no imputation. `predict` returns that
    average: **higher = earlier event**.

    Parameters
    ----------
    n_estimators : int or None, default=200
        Number of members, each with its own bootstrap sample; None fits one member to all patients.
    rho : float, default=0.7
        Absolute correlation above which the later of two columns is dropped; in (0, 1]. 1 keeps
        all.
    correlation : {"spearman", "pearson"}, default="spearman"
        Which correlation; over the patients that have both columns.
    cmin : float, optional
        Least mean score of a column's better direction, in [0.5, 1). None uses every column.
    fraction : float, optional
        Part of the columns, or of the `groups`, that a member draws, in (0, 1]; at least one. None
        takes all.
    groups : array-like of shape (n_features,), optional
        Label of each column; columns of one label are drawn together.
    mandatory : sequence of str, optional
        Columns, or shell-style patterns of them (``"clinical__*"``), that every member takes and
        visits first, so that only one another can make them redundant.
    sign_methods : sequence of {"harrell", "uno", "auc"}, default=("harrell",)
        Harrell's concordance, Uno's, and the mean cumulative/dynamic AUC at 25 percentiles (10 to
        81) of the observed times.
    parameter_sets : sequence of dict, optional
        Values of `rho`, `cmin` and `fraction` that replace those above; each member draws one set.
    aggregation : {"mean", "median"}, default="mean"
        How the values of the members are joined; those without a value for a patient do not count.
    random_state : int, RandomState or None, default=None
        Seed of the draws.

    Attributes
    ----------
    signs_ : ndarray of shape (n_members, n_features), int8
        1, -1, and 0 for columns that the member does not use.
    means_, scales_ : ndarray of shape (n_members, n_features)
        Mean and standard deviation (divisor n) of the member's patients; NaN where the sign is 0.
    importance_ : ndarray of shape (n_features,)
        Mean sign over the members, from -1 to 1.
    slope_ : float
        Log-hazard ratio per unit of `predict`, for the curves: from out-of-bag values, with one
        member from the training patients.
    unique_times_ : ndarray of shape (n_times,)
    n_features_in_, feature_names_in_ : int, ndarray of shape (n_features,)

    Warns
    -----
    UserWarning
        No member uses any column. Every risk is zero.

    Notes
    -----
    Deviations: a member that uses no column has no value and does not count, where [1]_ lets it
    predict a constant; "earlier" columns of step 2 include those that were dropped themselves;
    ranks of a column with missing values are those of the patients that have it; the mean AUC is a
    plain mean over times; curves, which [1]_ does not have, are Breslow's for `slope_` times the
    risk.

    The winning entry took the median of 100,000 members with parameter sets from a search (`rho`
    0.57 to 0.87, `cmin` 0.51 to 0.59, `fraction` 0.006 to 0.16); 1,000 members rank patients nearly
    alike.

    References
    ----------
    .. [1] Rebaud L, Escobar T, Khalid F, Girum K, Buvat I. Simplicity is all you need:
       out-of-the-box nnUNet followed by binary-weighted radiomic model for segmentation and outcome
       prediction in head and neck PET/CT. HECKTOR 2022, LNCS 13626:121-134, Springer 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from survimg.estimators import ICARE
    >>> from survimg.target import make_outcome
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> y = make_outcome(np.ones(40, bool), np.exp(-X[:, 0]) + 0.1)
    >>> ICARE(n_estimators=None, cmin=0.7).fit(X, y).importance_
    array([1., 0., 0.])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_estimators": [Interval(Integral, 1, None, closed="left"), None],
        "rho": [Interval(Real, 0, 1, closed="right")],
        "correlation": [StrOptions({"spearman", "pearson"})],
        "cmin": [Interval(Real, 0.5, 1, closed="left"), None],
        "fraction": [Interval(Real, 0, 1, closed="right"), None],
        "groups": ["array-like", None],
        "mandatory": [list, tuple, None],
        "sign_methods": [list, tuple],
        "parameter_sets": [list, tuple, None],
        "aggregation": [StrOptions({"mean", "median"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        n_estimators: int | None = 200,
        rho: float = 0.7,
        correlation: str = "spearman",
        cmin: float | None = None,
        fraction: float | None = None,
        groups: npt.ArrayLike | None = None,
        mandatory: Sequence[str] | None = None,
        sign_methods: Sequence[str] = ("harrell",),
        parameter_sets: Sequence[Mapping[str, Any]] | None = None,
        aggregation: str = "mean",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.rho = rho
        self.correlation = correlation
        self.cmin = cmin
        self.fraction = fraction
        self.groups = groups
        self.mandatory = mandatory
        self.sign_methods = sign_methods
        self.parameter_sets = parameter_sets
        self.aggregation = aggregation
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: np.ndarray) -> ICARE:
        """Fit the members, and the baseline hazard of the curves.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
            NaN where a value is missing.
        y : structured array of shape (n,)
            (event, time).

        Raises
        ------
        ValueError
            Invalid parameters, infinite values, no events, or a patient who has none of the columns
            that the members use.
        """
        self._validate_params()
        features = validate_data(
            self, X, dtype=np.float64, ensure_min_samples=2, ensure_all_finite="allow-nan"
        )
        event, time = check_outcome(y, n_patients=features.shape[0], require_event=True)
        sets, draws = self._parameter_sets(), _Columns(*self._units(), self._mandatory())
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=self._n_members())
        shape = (len(seeds), self.n_features_in_)
        self.signs_ = np.zeros(shape, dtype=np.int8)
        self.means_, self.scales_ = np.full(shape, np.nan), np.full(shape, np.nan)
        in_bag = np.ones((len(seeds), features.shape[0]), dtype=bool)
        for m, seed in enumerate(seeds.tolist()):
            rng = np.random.default_rng(seed)
            rows = np.arange(features.shape[0])
            if self.n_estimators is not None:
                rows = rng.integers(rows.size, size=rows.size)
                in_bag[m] = np.bincount(rows, minlength=rows.size) > 0
            parameters = sets[rng.integers(len(sets))]
            columns = draws.draw(rng, parameters["fraction"])
            self._fit_member(m, features[rows], (event[rows], time[rows]), columns, parameters)
        self._fit_curves(features, event, time, in_bag)
        return self

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Predict the mean vote of the members.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
            NaN where a value is missing.

        Returns
        -------
        ndarray of shape (n,)
            Higher = earlier event; 0 for a patient who is average in every column.

        Raises
        ------
        ValueError
            Infinite values, or a patient who has none of the columns that the members use.
        """
        check_is_fitted(self)
        features = validate_data(
            self, X, dtype=np.float64, reset=False, ensure_all_finite="allow-nan"
        )
        return self._risk(self._votes(features))

    def importance_table(self) -> pd.DataFrame:
        """Return the columns that the members use, the most agreed on first.

        Returns
        -------
        DataFrame indexed by feature name
            ``importance``: the mean sign; ``used``: the part of members that use the column.
        """
        check_is_fitted(self)
        table = pd.DataFrame(
            {"importance": self.importance_, "used": (self.signs_ != 0).mean(axis=0)},
            index=pd.Index(self._feature_names(), name="feature"),
        )
        strongest_first = np.argsort(-np.abs(self.importance_), kind="stable")
        return table.iloc[strongest_first[table["used"].to_numpy()[strongest_first] > 0]]

    @property
    def importance_(self) -> np.ndarray:
        """Mean sign of each column over the members."""
        check_is_fitted(self)
        return self.signs_.mean(axis=0)

    def _fit_member(
        self,
        member: int,
        features: np.ndarray,
        outcome: tuple[np.ndarray, np.ndarray],
        columns: np.ndarray,
        parameters: Mapping[str, Any],
    ) -> None:
        columns = columns[usable(features[:, columns])]
        ranked = self.correlation == "spearman"
        drop = redundant(features[:, columns], float(parameters["rho"]), ranked=ranked)
        columns = columns[~drop]
        signs = Signs(*outcome, self.sign_methods, parameters["cmin"]).of(features[:, columns])
        used = columns[signs != 0]
        self.signs_[member, used] = signs[signs != 0]
        self.means_[member, used] = np.nanmean(features[:, used], axis=0)
        self.scales_[member, used] = np.nanstd(features[:, used], axis=0)

    def _fit_curves(
        self, features: np.ndarray, event: np.ndarray, time: np.ndarray, in_bag: np.ndarray
    ) -> None:
        votes = self._votes(features)
        risk = self._risk(votes)
        if not self.signs_.any():
            warnings.warn(
                f"No member of ICARE uses any of the {self.n_features_in_} features; a lower cmin "
                "or fewer sign_methods leave more of them. All predicted risks are zero.",
                UserWarning,
                stacklevel=3,
            )
        # With one member every patient is in the bag, and judges the member that saw it.
        judges = votes if self.n_estimators is None else np.where(in_bag, np.nan, votes)
        rows = np.isfinite(judges).any(axis=0)
        slope = 0.0
        if event[rows].any():
            slope = calibration_slope(self._joined(judges[:, rows]), event[rows], time[rows])
        self._fit_baseline(risk, event, time, slope)

    def _votes(self, features: np.ndarray) -> np.ndarray:
        """Values of the members, shape (n_members, n); NaN where a member has none."""
        votes = np.full((len(self.signs_), features.shape[0]), np.nan)
        for m, signs in enumerate(self.signs_):
            used = np.flatnonzero(signs)
            if used.size:
                z = (features[:, used] - self.means_[m, used]) / self.scales_[m, used]
                there = np.isfinite(z).sum(axis=1)
                total = np.nansum(z * signs[used], axis=1)
                np.divide(total, there, out=votes[m], where=there > 0)
        return votes

    def _joined(self, votes: np.ndarray) -> np.ndarray:
        join = np.nanmean if self.aggregation == "mean" else np.nanmedian
        joined: np.ndarray = join(votes, axis=0)
        return joined

    def _risk(self, votes: np.ndarray) -> np.ndarray:
        if not self.signs_.any():
            return np.zeros(votes.shape[1])
        silent = np.flatnonzero(np.isnan(votes).all(axis=0))
        if silent.size:
            raise ValueError(
                f"Row {silent[0]} of X ({silent.size} of {votes.shape[1]} rows) has a value in no "
                "column that ICARE uses. Leave the patient out, or fill the columns."
            )
        return self._joined(votes)

    def _n_members(self) -> int:
        return 1 if self.n_estimators is None else int(self.n_estimators)

    def _feature_names(self) -> np.ndarray:
        return np.asarray(_check_feature_names_in(self), dtype=object)

    def _parameter_sets(self) -> list[dict[str, Any]]:
        parameter_sets = [{}] if self.parameter_sets is None else list(self.parameter_sets)
        if not parameter_sets:
            raise ValueError("parameter_sets must hold one or more sets, or be None.")
        sets = []
        for values in parameter_sets:
            unknown = sorted(set(values) - set(_PER_MEMBER))
            if unknown:
                raise ValueError(
                    f"parameter_sets names {unknown}; a set may hold {', '.join(_PER_MEMBER)}."
                )
            parameters = {name: getattr(self, name) for name in _PER_MEMBER} | dict(values)
            ICARE(**parameters)._validate_params()
            sets.append(parameters)
        unknown = sorted(set(self.sign_methods) - {"harrell", "uno", "auc"})
        if unknown or not self.sign_methods:
            raise ValueError(
                "sign_methods must name one or more of harrell, uno, auc; got "
                f"{self.sign_methods}."
            )
        return sets

    def _units(self) -> tuple[np.ndarray, int]:
        """Return the unit that each column is drawn with, and how many units there are."""
        if self.groups is None:
            return np.arange(self.n_features_in_), self.n_features_in_
        labels = np.asarray(self.groups)
        if labels.shape != (self.n_features_in_,):
            raise ValueError(
                f"groups must hold {self.n_features_in_} labels, one per feature; got shape "
                f"{labels.shape}."
            )
        levels, units = np.unique(labels, return_inverse=True)
        return units, levels.size

    def _mandatory(self) -> np.ndarray:
        names = [str(name) for name in self._feature_names()]
        mandatory = np.zeros(len(names), dtype=bool)
        for pattern in self.mandatory or ():
            matched = np.array([name == pattern or fnmatchcase(name, pattern) for name in names])
            if not matched.any():
                raise ValueError(
                    f"mandatory names {pattern!r}, which matches none of the {len(names)} features "
                    f"(first: {', '.join(names[:3])})."
                )
            mandatory |= matched
        return mandatory

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class _Columns(NamedTuple):
    """What columns a member may draw."""

    units: np.ndarray
    n_units: int
    mandatory: np.ndarray

    def draw(self, rng: np.random.Generator, fraction: float | None) -> np.ndarray:
        """Columns of one member in the order of their visit."""
        n = self.n_units if fraction is None else max(1, round(fraction * self.n_units))
        drawn = np.isin(self.units, rng.permutation(self.n_units)[:n]) & ~self.mandatory
        first = np.flatnonzero(self.mandatory)
        return np.concatenate([rng.permutation(first), rng.permutation(np.flatnonzero(drawn))])
