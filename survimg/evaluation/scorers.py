"""Scorers for ``cross_validate`` and ``GridSearchCV`` that no fold can break.

Censoring-weighted metrics are undefined beyond what the training and the test patients were
followed for, and folds differ in that. These scorers cut the horizon to what a fold supports;
the scorer "horizon" reports the result next to the scores. A fold that cannot be scored at all
gives NaN with an `UndefinedScoreWarning` that says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from survimg.evaluation.brier import integrated_brier_score, nobody_survives
from survimg.evaluation.concordance import concordance_index
from survimg.evaluation.kaplan_meier import CensoringDistribution
from survimg.evaluation.predictions import step_values
from survimg.evaluation.time_dependent_auc import cumulative_dynamic_auc
from survimg.evaluation.uno import antolini_concordance, uno_concordance
from survimg.survival import risk_of
from survimg.survival.curves import survival_values
from survimg.target import check_outcome

__all__ = [
    "ClippedHorizonWarning",
    "MultiSurvivalScorer",
    "SurvivalScorer",
    "UndefinedScoreWarning",
    "survival_scorer",
    "survival_scorers",
]

Metric = Literal["concordance", "uno", "auc", "neg_brier", "antolini", "horizon"]
METRICS: tuple[Metric, ...] = ("concordance", "uno", "auc", "neg_brier", "antolini", "horizon")


class UndefinedScoreWarning(UserWarning):
    """A fold could not be scored; its score is NaN."""


class ClippedHorizonWarning(UserWarning):
    """The requested horizon exceeds what the fold supports and was cut."""


@dataclass(frozen=True)
class SurvivalScorer:
    """One metric as a scikit-learn scorer: ``scorer(estimator, X, y) -> float``.

    Parameters
    ----------
    metric : {"concordance", "uno", "auc", "neg_brier", "antolini", "horizon"}
        Harrell's and Uno's concordance and the mean cumulative/dynamic AUC of the risk (see
        `survimg.survival.risk_of`); the
        integrated Brier score (negative, so that greater is better) and Antolini's concordance of
        ``predict_survival_function``; or the horizon that the other scorers use on the fold.
    horizon : float, optional
        Latest time to be judged; by default as late as the fold supports.
    y_train : structured array of shape (m,), optional
        Outcomes that estimate the censoring distribution. Pass those of the cohort that is
        cross-validated: weights then are the same in all folds. By default the fitted
        estimator's own (``training_outcome_``, also inside a pipeline or a search), else the
        test fold itself (as R's timeROC and riskRegression do), since scikit-learn does not show a
        scorer the training fold.

    Notes
    -----
    The horizon used is the earliest of `horizon`, the last time of the test fold, the last time at
    which the censoring distribution is positive, and, for curves, their last time.

    Examples
    --------
    >>> scoring = survival_scorers(y)                                      # doctest: +SKIP
    >>> cross_validate(model, X, y, cv=cv, scoring=scoring)["test_uno"]    # doctest: +SKIP
    """

    metric: Metric
    horizon: float | None = None
    y_train: npt.ArrayLike | None = None

    def __call__(self, estimator: Any, X: Any, y: npt.ArrayLike) -> float:
        """Score a fitted estimator on one fold."""
        return _score_fold([self.metric], self.horizon, self.y_train, estimator, X, y)[self.metric]


@dataclass(frozen=True)
class MultiSurvivalScorer:
    """Several metrics from one pass of predictions: ``scorer(estimator, X, y) -> dict``.

    The predictions of a network over volumes are expensive; a dict of single scorers repeats them
    for each metric, this scorer does not. It serves as `scoring` of ``cross_validate`` and, with
    ``refit="uno"`` for example, of ``GridSearchCV``.

    Parameters
    ----------
    metrics : sequence of str, default=("concordance", "uno", "auc", "neg_brier", "horizon")
    horizon, y_train
        As in `SurvivalScorer`.
    """

    metrics: Sequence[Metric] = ("concordance", "uno", "auc", "neg_brier", "horizon")
    horizon: float | None = None
    y_train: npt.ArrayLike | None = None

    def __call__(self, estimator: Any, X: Any, y: npt.ArrayLike) -> dict[str, float]:
        """Score a fitted estimator on one fold."""
        return _score_fold(list(self.metrics), self.horizon, self.y_train, estimator, X, y)


def survival_scorer(
    metric: Metric, *, horizon: float | None = None, y_train: npt.ArrayLike | None = None
) -> SurvivalScorer:
    """Return the scorer of a metric by its name, for `scoring` in scikit-learn's tools.

    Parameters
    ----------
    metric : {"concordance", "uno", "auc", "neg_brier", "antolini", "horizon"}
    horizon, y_train
        As in `SurvivalScorer`.

    Returns
    -------
    SurvivalScorer

    Raises
    ------
    ValueError
        An unknown name.

    Examples
    --------
    >>> survival_scorer("concordance").metric
    'concordance'
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}; got {metric!r}.")
    return SurvivalScorer(metric, horizon, y_train)


def survival_scorers(
    y_train: npt.ArrayLike | None = None,
    *,
    horizon: float | None = None,
    metrics: Sequence[Metric] = ("concordance", "uno", "auc", "neg_brier", "horizon"),
) -> dict[str, SurvivalScorer]:
    """Build a dict of scorers for the `scoring` argument of scikit-learn's tools.

    Parameters
    ----------
    y_train : structured array of shape (m,), optional
        See `SurvivalScorer`.
    horizon : float, optional
    metrics : sequence of str, default=("concordance", "uno", "auc", "neg_brier", "horizon")

    Returns
    -------
    dict of str to SurvivalScorer
    """
    return {metric: SurvivalScorer(metric, horizon, y_train) for metric in metrics}


def _score_fold(
    metrics: list[Metric],
    horizon: float | None,
    y_train: npt.ArrayLike | None,
    estimator: Any,
    X: Any,
    y: npt.ArrayLike,
) -> dict[str, float]:
    unknown = set(metrics) - set(METRICS)
    if unknown:
        raise ValueError(f"metric must be one of {METRICS}; got {sorted(unknown)}.")
    fold = _Fold(estimator, X, y, horizon, y_train)
    scores = {}
    for metric in metrics:
        try:
            scores[str(metric)] = fold.score(metric)
        except UndefinedOnFoldError as reason:
            warnings.warn(
                f"{metric} is undefined on a fold of {fold.time.size} patients with "
                f"{int(fold.event.sum())} events, its score is NaN: {reason}",
                UndefinedScoreWarning,
                stacklevel=4,
            )
            scores[str(metric)] = float("nan")
    return scores


class UndefinedOnFoldError(ValueError):
    """A metric is undefined for the outcomes of a fold (never for a bad prediction)."""


class _Fold:
    """Predictions and support of one fold, each computed once."""

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: npt.ArrayLike,
        horizon: float | None,
        y_train: npt.ArrayLike | None,
    ) -> None:
        self.estimator, self.X, self.y = estimator, X, y
        self.event, self.time = check_outcome(y)
        censored_as = y_train if y_train is not None else _training_outcome(estimator)
        self.reference = y if censored_as is None else censored_as
        self.horizon = horizon
        self._risk: np.ndarray | None = None
        self._curves: tuple[np.ndarray, np.ndarray] | None = None

    def score(self, metric: Metric) -> float:
        if metric == "concordance":
            self._require_pairs(None)
            return concordance_index(self.y, self.risk())
        if metric == "antolini":
            curves, grid = self.curves()
            tau = self.support(float(grid[-1]))
            self._require_pairs(tau)
            return antolini_concordance(self.y, curves, grid, tau)
        if metric == "neg_brier":
            return self._negative_brier()
        end = self.support()
        if metric == "horizon":
            return end
        if metric == "uno":
            self._require_pairs(end)
            tau = float(np.nextafter(end, np.inf))  # events at the end itself count
            return uno_concordance(self.reference, self.y, self.risk(), tau)
        inside = (self.time > 0) & (self.time <= end) & (self.time < self.time.max())
        times = np.unique(self.time[self.event & inside])
        if not times.size:
            raise UndefinedOnFoldError(f"no event up to {end:g} with a patient followed beyond")
        return cumulative_dynamic_auc(self.reference, self.y, self.risk(), times).mean_auc

    def support(self, curve_end: float = np.inf) -> float:
        """Latest time at which the fold can be judged, at most the requested horizon."""
        censoring = CensoringDistribution(self.reference)
        positive = censoring.time[censoring.probability > 0]
        end = min(float(self.time.max()), curve_end, float(positive[-1]) if positive.size else 0.0)
        if end <= 0:
            raise UndefinedOnFoldError("nobody was followed beyond time 0")
        if self.horizon is None:
            return end
        if self.horizon > end:
            warnings.warn(
                f"The horizon {self.horizon:g} exceeds what the fold supports; it is cut to "
                f"{end:g}.",
                ClippedHorizonWarning,
                stacklevel=5,
            )
        return min(float(self.horizon), end)

    def risk(self) -> np.ndarray:
        if self._risk is None:
            self._risk = risk_of(self.estimator, self.X)
        return self._risk

    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """Survival curves on their own grid."""
        if self._curves is None:
            functions = _with_curves(self.estimator).predict_survival_function(self.X)
            grid = np.unique(np.concatenate([f.x for f in functions]))
            grid = grid[grid <= min(f.domain[1] for f in functions)]
            self._curves = survival_values(functions, grid), grid
        return self._curves

    def _negative_brier(self) -> float:
        curves, grid = self.curves()
        end = self.support(float(grid[-1]))
        inside = self.time[(self.time > 0) & (self.time < end)]
        # Where follow-up ends with a censoring the score has a limit at the end, but no value.
        ends_censored = nobody_survives(self.event, self.time, end)
        times = np.unique(np.append(inside, np.nextafter(end, 0.0) if ends_censored else end))
        if times.size < 2:
            raise UndefinedOnFoldError(f"fewer than two distinct times up to {end:g}")
        at_times = step_values(curves, grid, times)
        return -integrated_brier_score(self.reference, self.y, at_times, times)

    def _require_pairs(self, end: float | None) -> None:
        events = self.event if end is None else self.event & (self.time <= end)
        if not events.any():
            when = "" if end is None else f" up to time {end:g}"
            raise UndefinedOnFoldError(f"no event{when}")
        first = self.time[events].min()
        if not np.any((self.time > first) | ((self.time == first) & ~self.event)):
            raise UndefinedOnFoldError("nobody was followed longer than a patient with an event")


def _with_curves(estimator: Any) -> Any:
    """Return what predicts curves: searches do not hand on those of their best estimator."""
    while not hasattr(estimator, "predict_survival_function"):
        if not hasattr(estimator, "best_estimator_"):
            raise TypeError(
                f"{type(estimator).__name__} predicts no survival curves (it has no "
                "predict_survival_function), which the metrics 'neg_brier' and 'antolini' need; "
                "score it by 'concordance', 'uno' and 'auc'."
            )
        estimator = estimator.best_estimator_
    return estimator


def _training_outcome(estimator: Any) -> npt.ArrayLike | None:
    """Return the training outcome of a fitted estimator, also inside pipelines and searches."""
    while estimator is not None:
        outcome = getattr(estimator, "training_outcome_", None)
        if outcome is not None:
            return outcome
        steps = getattr(estimator, "steps", None)
        best = getattr(estimator, "best_estimator_", None)
        estimator = steps[-1][1] if isinstance(steps, list) else best
    return None
