"""Cox's proportional hazards model for statistics: coefficients, intervals, tests.

This fit serves tables and hazard ratios. Models that predict are estimators, in another room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from survimg.evaluation.estimates import Estimate, check_level
from survimg.evaluation.predictions import check_weights
from survimg.target import as_outcome, check_outcome

__all__ = ["CoxFit", "RiskSets", "fit_cox", "hazard_ratio"]

Ties = Literal["efron", "breslow"]


@dataclass(frozen=True)
class CoxFit:
    """A fitted Cox model.

    Attributes
    ----------
    names : tuple of str
        Covariates.
    coefficients : ndarray of shape (p,)
        Log hazard ratios per unit of each covariate.
    covariance : ndarray of shape (p, p)
        Inverse of the observed information.
    log_likelihood, null_log_likelihood : float
        Partial log-likelihood at the coefficients and at zero.
    score_statistic : float
        Rao's score test statistic of all coefficients (log-rank type).
    n_patients, n_events : int
    ties : str
    means : ndarray of shape (p,)
        Covariate means, at which the baseline hazard stands.
    event_times, cumulative_baseline_hazard : ndarray of shape (m,)
        Cumulative hazard of a patient with mean covariates (Breslow's, or Efron's, estimate).
    """

    names: tuple[str, ...]
    coefficients: np.ndarray
    covariance: np.ndarray
    log_likelihood: float
    null_log_likelihood: float
    score_statistic: float
    n_patients: int
    n_events: int
    ties: str
    means: np.ndarray
    event_times: np.ndarray
    cumulative_baseline_hazard: np.ndarray

    @property
    def standard_errors(self) -> np.ndarray:
        """Standard errors of the coefficients."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def wald_p_values(self) -> np.ndarray:
        """Two-sided Wald test of each coefficient."""
        return 2 * stats.norm.sf(np.abs(self.coefficients) / self.standard_errors)

    @property
    def likelihood_ratio_test(self) -> tuple[float, int, float]:
        """Statistic, degrees of freedom and p value of the test against the empty model."""
        statistic = 2 * (self.log_likelihood - self.null_log_likelihood)
        df = self.coefficients.size
        return float(statistic), df, float(stats.chi2.sf(statistic, df))

    @property
    def score_test(self) -> tuple[float, int, float]:
        """Statistic, degrees of freedom and p value of Rao's score test."""
        df = self.coefficients.size
        return self.score_statistic, df, float(stats.chi2.sf(self.score_statistic, df))

    def hazard_ratios(self, level: float = 0.95) -> list[Estimate]:
        """Hazard ratio of each covariate with its Wald interval and p value."""
        z = check_level(level)
        columns = zip(self.coefficients, self.standard_errors, self.wald_p_values, strict=True)
        return [
            Estimate(
                float(np.exp(beta)),
                float(np.exp(beta - z * error)),
                float(np.exp(beta + z * error)),
                float(error),
                level,
                "Wald (standard error of the log hazard ratio)",
                float(p_value),
            )
            for beta, error, p_value in columns
        ]

    def linear_predictor(self, covariates: npt.ArrayLike) -> np.ndarray:
        """``X @ coefficients``, the log risk up to a constant."""
        return np.asarray(covariates, dtype=np.float64) @ self.coefficients

    def survival(self, covariates: npt.ArrayLike, times: npt.ArrayLike) -> np.ndarray:
        """Predicted survival ``S(t | x)``, of shape (n, n_times).

        Raises
        ------
        ValueError
            A time beyond the last event: the baseline is unknown there.
        """
        grid = np.atleast_1d(np.asarray(times, dtype=np.float64))
        if np.any(grid > self.event_times[-1]):
            raise ValueError(
                f"The last event was at {self.event_times[-1]:g}; survival at {grid.max():g} is "
                "not estimable."
            )
        position = np.searchsorted(self.event_times, grid, side="right")
        baseline = np.concatenate(([0.0], self.cumulative_baseline_hazard))[position]
        X = np.asarray(covariates, dtype=np.float64) - self.means
        return np.exp(-np.exp(X @ self.coefficients)[:, np.newaxis] * baseline)


class RiskSets:
    """The risk sets of a cohort, and sums over them for given coefficients.

    Every event contributes one *row*: its event time, and for Efron's ties the fraction ``l / d``
    by which the patients dying at that time are taken out of the risk set (Efron 1977).
    """

    def __init__(
        self, event: np.ndarray, time: np.ndarray, weight: np.ndarray, ties: Ties = "efron"
    ) -> None:
        if ties not in ("efron", "breslow"):
            raise ValueError(f"ties must be 'efron' or 'breslow'; got {ties!r}.")
        self.order = np.argsort(time, kind="stable")
        time, event, weight = time[self.order], event[self.order], weight[self.order]
        self.weight = weight.astype(np.float64)
        self.deaths = np.flatnonzero(event)
        self.event_times, self.block = np.unique(time[event], return_inverse=True)
        n_deaths = np.bincount(self.block)
        first_row = np.cumsum(n_deaths) - n_deaths
        within = np.arange(self.block.size) - first_row[self.block]
        self.fraction = within / n_deaths[self.block] if ties == "efron" else 0.0 * within
        self.row_weight = (np.bincount(self.block, self.weight[self.deaths]) / n_deaths)[self.block]
        self.row_start = np.searchsorted(time, self.event_times, side="left")[self.block]
        self.rows_seen = np.searchsorted(time[event], time, side="right")

    def at(self, X: np.ndarray, coefficients: np.ndarray) -> RiskSetSums:
        """Form the sums for sorted covariates ``X[order]`` at the given coefficients."""
        return RiskSetSums(self, X, coefficients)


class RiskSetSums:
    """Log-likelihood, score and information of the partial likelihood.

    Parameters
    ----------
    sets : RiskSets
    X : ndarray of shape (n, p)
        Covariates in the order of `sets`.
    coefficients : ndarray of shape (p,)
    """

    def __init__(self, sets: RiskSets, X: np.ndarray, coefficients: np.ndarray) -> None:
        self.sets, self.X = sets, X
        log_risk = X @ coefficients
        self.shift = log_risk.max()  # cancels in the likelihood; exp cannot overflow
        self.log_risk = log_risk - self.shift
        self.risk = sets.weight * np.exp(self.log_risk)
        weighted = self.risk[:, np.newaxis] * X
        self.total = self._over_rows(self.risk[:, np.newaxis])[:, 0]
        self.mean = self._over_rows(weighted) / self.total[:, np.newaxis]

    def log_likelihood(self) -> float:
        """Partial log-likelihood."""
        sets = self.sets
        own = sets.weight[sets.deaths] @ self.log_risk[sets.deaths]
        return float(own - sets.row_weight @ np.log(self.total))

    def hazard(self) -> np.ndarray:
        """Increment of the baseline hazard (covariates 0) in each row."""
        return self.sets.row_weight / (self.total * np.exp(self.shift))

    def residuals(self) -> np.ndarray:
        """Schoenfeld residuals: covariates of each death minus the mean of its risk set."""
        # Efron's means differ between the deaths of one time; each is credited with their average.
        counts = np.bincount(self.sets.block)[:, np.newaxis]
        sums = np.zeros((counts.size, self.X.shape[1]))
        np.add.at(sums, self.sets.block, self.mean)
        return self.X[self.sets.deaths] - (sums / counts)[self.sets.block]

    def score(self, row_factor: np.ndarray | float = 1.0) -> np.ndarray:
        """Score vector, each event time multiplied by `row_factor` (n_rows,)."""
        own = self.sets.weight[self.sets.deaths] * row_factor
        return own @ self.X[self.sets.deaths] - (self.sets.row_weight * row_factor) @ self.mean

    def information(self, row_factor: np.ndarray | float = 1.0) -> np.ndarray:
        """Observed information, each event time multiplied by `row_factor` (n_rows,)."""
        sets = self.sets
        row = sets.row_weight * row_factor
        hazard = row / self.total
        # A patient enters the second moments of all rows up to its time, less the Efron fraction
        # at the time of its own death.
        passed = np.concatenate(([0.0], np.cumsum(hazard)))[sets.rows_seen]
        passed[sets.deaths] -= np.bincount(sets.block, hazard * sets.fraction)[sets.block]
        second = (self.X * (self.risk * passed)[:, np.newaxis]).T @ self.X
        return second - (self.mean * row[:, np.newaxis]).T @ self.mean

    def _over_rows(self, values: np.ndarray) -> np.ndarray:
        sets = self.sets
        remaining = np.cumsum(values[::-1], axis=0)[::-1][sets.row_start]
        dying = np.zeros((sets.event_times.size, values.shape[1]))
        np.add.at(dying, sets.block, values[sets.deaths])
        return remaining - sets.fraction[:, np.newaxis] * dying[sets.block]


def fit_cox(
    y: npt.ArrayLike,
    covariates: npt.ArrayLike | pd.DataFrame,
    sample_weight: npt.ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    ties: Ties = "efron",
) -> CoxFit:
    r"""Fit Cox's model by Newton-Raphson on the partial likelihood.

    .. math:: \ell(\beta) = \sum_{i: \delta_i = 1} \Big( x_i^T \beta -
              \log \sum_{j: t_j \ge t_i} e^{x_j^T \beta} \Big)

    with Efron's or Breslow's approximation for tied event times.

    Parameters
    ----------
    y : structured array of shape (n,)
    covariates : array-like or DataFrame of shape (n, p)
        Numbers; `cox_table` codes categories.
    sample_weight : array-like of shape (n,), optional
        Case weights. The covariance stays model-based, so weights should be frequencies.
    names : sequence of str, optional
        Names of the columns; by default those of the frame, or x0, x1, ...
    ties : {"efron", "breslow"}, default="efron"
        "efron" is R's default, "breslow" that of SPSS and scikit-survival.

    Returns
    -------
    CoxFit

    Raises
    ------
    ValueError
        Missing values, no event, a constant or collinear covariate, or a likelihood without a
        maximum (a covariate that separates the events completely).

    References
    ----------
    .. [1] Cox DR. J R Stat Soc B 1972;34:187-220.
    .. [2] Efron B. J Am Stat Assoc 1977;72:557-565.
    """
    event, time = check_outcome(y, require_event=True)
    X, columns = design(covariates, event.size, names)
    weight = check_weights(sample_weight, event.size)
    if not np.all(weight > 0):  # a weight of 0 leaves a patient out of all risk sets
        kept = weight > 0
        return fit_cox(as_outcome(y)[kept], X[kept], weight[kept], names=columns, ties=ties)
    sets = RiskSets(event, time, weight, ties)
    scale = X.std(axis=0)
    if np.any(scale == 0):
        constant = [columns[k] for k in np.flatnonzero(scale == 0)]
        raise ValueError(f"Covariates {constant} are constant; leave them out.")
    Z = ((X - X.mean(axis=0)) / scale)[sets.order]
    if np.linalg.matrix_rank(Z) < Z.shape[1]:
        raise ValueError(f"Covariates {list(columns)} are collinear; leave one out.")
    start = sets.at(Z, np.zeros(Z.shape[1]))
    score = start.score()
    information = start.information()
    # One unit per event is what standardised covariates hold at most on average; against their own
    # trace, the rounding errors of covariates that are constant in every risk set would pass.
    size = max(float(np.trace(information)), float(sets.row_weight.sum()))
    score_statistic = float(score @ np.linalg.solve(_positive(information, size, columns), score))
    beta, sums = _newton(sets, Z, columns, start, size)
    information = _positive(sums.information(), size, columns)
    covariance = np.linalg.inv(information) / np.outer(scale, scale)
    return CoxFit(
        columns,
        beta / scale,
        covariance,
        sums.log_likelihood(),
        start.log_likelihood(),
        score_statistic,
        event.size,
        int(event.sum()),
        ties,
        X.mean(axis=0),
        sets.event_times,
        np.cumsum(np.bincount(sets.block, sums.hazard())),
    )


def hazard_ratio(
    y: npt.ArrayLike, high: npt.ArrayLike, *, level: float = 0.95, ties: Ties = "efron"
) -> Estimate:
    """Hazard ratio of one group of patients against the others.

    Parameters
    ----------
    y : structured array of shape (n,)
    high : array-like of shape (n,)
        True for the (high-risk) group whose hazard is the numerator.
    level : float, default=0.95
    ties : {"efron", "breslow"}, default="efron"

    Returns
    -------
    Estimate
        Wald interval and p value from a univariate Cox model; `standard_error` is that of the log.

    Raises
    ------
    ValueError
        One group is empty or without events: the ratio is then 0, infinite or undefined.
    """
    event, _ = check_outcome(y, require_event=True)
    group = np.asarray(high)
    if group.shape != event.shape or not np.isin(group, (0, 1)).all():
        raise ValueError("high must hold one True/False (or 1/0) per patient.")
    group = group.astype(bool)
    for members, label in ((group, "high"), (~group, "other")):
        if not event[members].any():
            raise ValueError(
                f"The {label} group has {int(members.sum())} patients and no event; the hazard "
                "ratio needs events in both groups."
            )
    return fit_cox(y, group[:, np.newaxis].astype(float), names=["high"], ties=ties).hazard_ratios(
        level
    )[0]


def _newton(
    sets: RiskSets, Z: np.ndarray, columns: tuple[str, ...], start: RiskSetSums, size: float
) -> tuple[np.ndarray, RiskSetSums]:
    beta, sums, current = np.zeros(Z.shape[1]), start, start.log_likelihood()
    for _ in range(50):
        step = np.linalg.solve(_positive(sums.information(), size, columns), sums.score())
        for _ in range(30):
            with np.errstate(divide="ignore", invalid="ignore"):  # of a step that is far too long
                proposal = sets.at(Z, beta + step)
                value = proposal.log_likelihood()
            if value >= current - 1e-12 * (1 + abs(current)):
                break
            step = step / 2
        beta, sums, current = beta + step, proposal, value
        if np.max(np.abs(step)) < 1e-10 * (1 + np.max(np.abs(beta))):
            return beta, sums
        if np.max(np.abs(beta)) > 30:  # e**30 per standard deviation
            break
    worst = columns[int(np.argmax(np.abs(beta)))]
    raise ValueError(
        f"The partial likelihood has no maximum: the coefficient of {worst!r} grows without bound "
        "because the covariates separate the events completely. Drop or pool categories, or use a "
        "penalised model."
    )


def _positive(information: np.ndarray, size: float, columns: tuple[str, ...]) -> np.ndarray:
    """Refuse information that has all but vanished in some direction, against its usual size."""
    if not np.linalg.eigvalsh(information)[0] > 1e-10 * size:
        raise ValueError(
            f"The information matrix of covariates {list(columns)} is singular: within the risk "
            "sets they are constant, collinear or separate the events completely."
        )
    return information


def design(
    covariates: npt.ArrayLike | pd.DataFrame, n_patients: int, names: Sequence[str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    if names is None and isinstance(covariates, pd.DataFrame):
        names = [str(column) for column in covariates.columns]
    X = np.asarray(covariates, dtype=np.float64)
    X = X[:, np.newaxis] if X.ndim == 1 else X
    if X.ndim != 2 or X.shape[0] != n_patients or X.shape[1] == 0:
        raise ValueError(
            f"covariates must have shape ({n_patients}, at least 1); got {X.shape}."
        )
    columns = tuple(names) if names is not None else tuple(f"x{k}" for k in range(X.shape[1]))
    if len(columns) != X.shape[1]:
        raise ValueError(f"{X.shape[1]} covariates but {len(columns)} names.")
    wrong = ~np.isfinite(X).all(axis=0)
    if wrong.any():
        raise ValueError(
            f"Covariates {[columns[k] for k in np.flatnonzero(wrong)]} have missing or infinite "
            "values; impute them, or leave the patients out and say so."
        )
    return X, columns
