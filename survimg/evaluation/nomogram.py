"""Nomograms: reading a Cox model off paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from survimg.evaluation.estimates import check_level
from survimg.evaluation.nomogram_terms import CoxTerms, cox_terms
from survimg.evaluation.ticks import round_ticks

__all__ = ["Axis", "Nomogram"]

Levels = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Axis:
    """One covariate as the nomogram shows it.

    Attributes
    ----------
    label : str
    columns : tuple of int
        Positions of its columns among the covariates of the model.
    low, high : float
        Range of a continuous covariate; NaN for a categorical one.
    levels : dict of str to ndarray
        Values of `columns` for each level; empty for a continuous covariate.
    """

    label: str
    columns: tuple[int, ...]
    low: float
    high: float
    levels: dict[str, np.ndarray]


@dataclass(frozen=True)
class Nomogram:
    r"""Points of a Cox model.

    The axis whose contribution :math:`\beta_k x_k` has the largest range spans 100 points; the
    others are on the same scale, and every axis has 0 points at its value with the lowest risk.

    Parameters
    ----------
    fit : fitted Cox model
        `survimg.evaluation.CoxFit`, `survimg.estimators.MTDLR` and its comparators, lifelines'
        ``CoxPHFitter`` or scikit-survival's ``CoxPHSurvivalAnalysis``: see
        `survimg.evaluation.nomogram_terms.cox_terms`.
    ranges : mapping of name to (low, high), or to levels
        What each axis covers. ``"age": (30, 80)`` is a continuous covariate. A categorical one,
        under a label of its own, maps levels to the values of its columns, those not named being
        0: ``"Stage": {"III": {}, "IVa": {"stage_IVa": 1}}``. Every covariate of the model must be
        on one axis; ranges of other covariates are passed over.
    covariates : DataFrame or array-like of shape (n, p), optional
    y : structured array of shape (n,), optional
        Patients that `fit` was fitted on, for intervals; an MTDLR brings its own.

    Attributes
    ----------
    axes : tuple of Axis
    terms : CoxTerms

    Raises
    ------
    ValueError
        A covariate without an axis or on two, an empty range, a single level, no axis with any
        effect, or other patients than the model was fitted on.
    TypeError
        `fit` is no Cox model.

    References
    ----------
    .. [1] Harrell FE. Regression Modeling Strategies, 2nd ed. Springer 2015 (its ``nomogram``).
    .. [2] Iasonos A, Schrag D, Raj GV, Panageas KS. J Clin Oncol 2008;26:1364-1370.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from survimg.evaluation import fit_cox
    >>> from survimg.evaluation.nomogram import Nomogram
    >>> from survimg.target import make_outcome
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"score": rng.normal(size=100), "IVa": rng.integers(0, 2, 100)})
    >>> time = rng.exponential(30 * np.exp(-X["score"] - 0.5 * X["IVa"]))
    >>> y = make_outcome(time < 60, np.minimum(time, 60))
    >>> ranges = {"score": (-2, 2), "Stage": {"III": {}, "IVa": {"IVa": 1}}}
    >>> nomogram = Nomogram(fit_cox(y, X), ranges, X, y)
    >>> nomogram.points("score", [-2, 0, 2]).round().tolist()
    [0.0, 50.0, 100.0]
    >>> nomogram.predict(X[:2], time=36).columns.tolist()
    ['points', 'survival', 'lower', 'upper']
    """

    fit: Any
    ranges: Mapping[str, tuple[float, float] | Levels]
    covariates: npt.ArrayLike | pd.DataFrame | None = None
    y: npt.ArrayLike | None = None
    terms: CoxTerms = field(init=False)
    axes: tuple[Axis, ...] = field(init=False)

    def __post_init__(self) -> None:
        # The class is frozen for its users.
        object.__setattr__(self, "terms", cox_terms(self.fit, self.covariates, self.y))
        object.__setattr__(self, "axes", _axes(self.terms.names, self.ranges))
        if not self._spans().max() > 0:
            raise ValueError("No covariate changes the risk over its range; there are no points.")

    @property
    def points_per_log_hazard(self) -> float:
        """Points of one unit of the linear predictor."""
        return 100 / float(self._spans().max())

    @property
    def largest_total(self) -> float:
        """Total points of the patient with the highest risk on every axis."""
        return float(self._spans().sum()) * self.points_per_log_hazard

    def points(self, name: str, values: Any) -> np.ndarray:
        """Points of values of one covariate.

        Parameters
        ----------
        name : str
            Label of the axis.
        values : array-like of shape (n,)
            Numbers, or names of levels.

        Raises
        ------
        ValueError
            No such axis, or no such level.
        """
        axis = self._axis(name)
        effect = self._effect(axis, values)
        return (effect - self._lowest(axis)) * self.points_per_log_hazard

    def total_points(self, covariates: npt.ArrayLike | pd.DataFrame) -> np.ndarray:
        """Total points of patients, of shape (n,)."""
        linear = self.terms.matrix(covariates) @ self.terms.coefficients
        return (linear - self._lowest_linear()) * self.points_per_log_hazard

    def survival(self, total_points: npt.ArrayLike, time: float) -> np.ndarray:
        """Predicted survival at a time for given total points.

        Raises
        ------
        ValueError
            A time beyond the last event.
        """
        points = np.atleast_1d(np.asarray(total_points, dtype=np.float64))
        linear = self._lowest_linear() + points / self.points_per_log_hazard
        return np.exp(-self._hazard(time) * np.exp(linear - self.terms.offset))

    def points_for_survival(self, survival: npt.ArrayLike, time: float) -> np.ndarray:
        """Total points at which the predicted survival takes given values."""
        hazard = self._hazard(time)
        if hazard == 0:
            raise ValueError(f"No event happened by {time:g}: survival is 1 whatever the points.")
        linear = np.log(-np.log(np.asarray(survival, dtype=np.float64)) / hazard)
        return (linear + self.terms.offset - self._lowest_linear()) * self.points_per_log_hazard

    def predict(
        self, covariates: npt.ArrayLike | pd.DataFrame, time: float, *, level: float = 0.95
    ) -> pd.DataFrame:
        """Total points and survival of patients, with the interval of the survival.

        Parameters
        ----------
        covariates : DataFrame or array-like of shape (n, p)
        time : float
        level : float, default=0.95

        Returns
        -------
        DataFrame of n rows
            ``points``, ``survival``, ``lower`` and ``upper``. The interval is made on the scale of
            log(-log S) and holds the uncertainty of coefficients and baseline; it is NaN where the
            training patients are unknown, and before the first event.
        """
        z = check_level(level)
        X = self.terms.matrix(covariates)
        points = self.total_points(X)
        survival = self.survival(points, time)
        spread = np.full(len(X), np.nan)
        if self.terms.has_intervals:
            spread = z * np.sqrt(self.terms.log_hazard_variance(X, time))
        return pd.DataFrame(
            {
                "points": points,
                "survival": survival,
                "lower": survival ** np.exp(spread),
                "upper": survival ** np.exp(-spread),
            }
        )

    def points_table(self, ticks: Mapping[str, Sequence[float]] | None = None) -> pd.DataFrame:
        """Points by covariate and value, as printed beside a nomogram.

        Parameters
        ----------
        ticks : mapping of axis to values, optional
            By default every level, and round values over the range.

        Returns
        -------
        DataFrame indexed by ``covariate`` and ``value``, with ``points``
        """
        parts = []
        for axis in self.axes:
            values = self.marks(axis, ticks)
            index = pd.MultiIndex.from_product(
                [[axis.label], values], names=["covariate", "value"]
            )
            parts.append(pd.DataFrame({"points": self.points(axis.label, values)}, index=index))
        return pd.concat(parts)

    def survival_table(
        self, horizons: Sequence[float], total_points: Sequence[float] | None = None
    ) -> pd.DataFrame:
        """Survival by total points at each horizon.

        Parameters
        ----------
        horizons : sequence of float
        total_points : sequence of float, optional
            By default round values up to the largest total.

        Returns
        -------
        DataFrame indexed by ``total_points``, one column per horizon
        """
        if total_points is None:
            total_points = round_ticks(0, self.largest_total, 12).tolist()
        columns = {horizon: self.survival(total_points, horizon) for horizon in horizons}
        return pd.DataFrame(columns, index=pd.Index(total_points, name="total_points"))

    def marks(self, axis: Axis, ticks: Mapping[str, Sequence[float]] | None = None) -> list[Any]:
        """Values that are marked on an axis."""
        if axis.levels:
            return list(axis.levels)
        if ticks is not None and axis.label in ticks:
            return list(ticks[axis.label])
        return round_ticks(axis.low, axis.high, 8).tolist()

    def _axis(self, name: str) -> Axis:
        for axis in self.axes:
            if axis.label == name:
                return axis
        raise ValueError(
            f"The nomogram has no axis {name!r}; it has {', '.join(a.label for a in self.axes)}."
        )

    def _effect(self, axis: Axis, values: Any) -> np.ndarray:
        """Contribution of an axis to the linear predictor."""
        beta = self.terms.coefficients[list(axis.columns)]
        if not axis.levels:
            return beta[0] * np.asarray(values, dtype=np.float64)
        names = np.asarray(values, dtype=object)
        unknown = sorted({str(v) for v in names.ravel()} - set(axis.levels))
        if unknown:
            raise ValueError(
                f"{axis.label!r} has the levels {', '.join(axis.levels)}; got {unknown}."
            )
        effects = [float(axis.levels[str(v)] @ beta) for v in names.ravel()]
        return np.array(effects).reshape(names.shape)

    def _ends(self, axis: Axis) -> np.ndarray:
        return self._effect(axis, list(axis.levels) if axis.levels else [axis.low, axis.high])

    def _lowest(self, axis: Axis) -> float:
        return float(self._ends(axis).min())

    def _lowest_linear(self) -> float:
        return sum(self._lowest(axis) for axis in self.axes)

    def _spans(self) -> np.ndarray:
        return np.array([np.ptp(self._ends(axis)) for axis in self.axes])

    def _hazard(self, time: float) -> float:
        position = self.terms.position(time)
        return 0.0 if position < 0 else float(self.terms.hazard[position])


def _axes(
    names: tuple[str, ...], ranges: Mapping[str, tuple[float, float] | Levels]
) -> tuple[Axis, ...]:
    axes: list[Axis] = []
    owner: dict[int, str] = {}
    for label, values in ranges.items():
        if isinstance(values, Mapping):
            axis = _categorical(label, values, names)
        elif label in names:
            low, high = values
            if not low < high:
                raise ValueError(f"The range of {label!r} must rise; got {(low, high)}.")
            axis = Axis(label, (names.index(label),), float(low), float(high), {})
        else:
            continue  # ranges may serve several models
        for column in axis.columns:
            if column in owner:
                raise ValueError(
                    f"Covariate {names[column]!r} is on two axes, {owner[column]!r} and {label!r}."
                )
            owner[column] = label
        axes.append(axis)
    for column, name in enumerate(names):
        if column not in owner:
            raise ValueError(f"The nomogram needs the range of covariate {name!r}.")
    return tuple(sorted(axes, key=lambda axis: min(axis.columns)))


def _categorical(label: str, levels: Levels, names: tuple[str, ...]) -> Axis:
    columns = sorted({names.index(c) for v in levels.values() for c in v if c in names})
    unknown = sorted({c for v in levels.values() for c in v if c not in names})
    if unknown or not columns or len(levels) < 2:
        raise ValueError(
            f"Levels of {label!r} must be two or more, and name covariates of the model "
            f"({', '.join(names)}); got {dict(levels)}."
        )
    values = {
        str(level): np.array([float(covariates.get(names[c], 0.0)) for c in columns])
        for level, covariates in levels.items()
    }
    return Axis(label, tuple(columns), np.nan, np.nan, values)
