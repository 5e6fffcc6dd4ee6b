"""Cox's proportional hazards model: one solver for all that fits one, and what a fit says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from survimg.survival.distributions import chi_squared_p_value, normal_p_value
from survimg.survival.risk_sets import RiskSets, RiskSetSums, Ties
from survimg.survival.standardisation import column_scale, is_constant
from survimg.target import as_times

__all__ = ["CoxModel", "CoxSolution", "maximise_partial_likelihood"]

# Information per event and squared standard deviation below which there is as good as none.
_NO_INFORMATION = 1e-10
_MOST_STEPS = 100
_MOST_HALVINGS = 30


@dataclass(frozen=True)
class CoxModel:
    r"""A fitted Cox model :math:`H(t \mid x) = H_0(t) \exp\{\beta^T (x - \bar x)\}`.

    Attributes
    ----------
    names : tuple of str
        Covariates.
    coefficients : ndarray of shape (p,)
        Log-hazard ratios per unit of each covariate.
    covariance : ndarray of shape (p, p)
        Inverse of the observed information; with a ridge penalty Gray's sandwich.
    means : ndarray of shape (p,)
        Covariate means, at which the baseline hazard stands.
    event_times, cumulative_baseline_hazard : ndarray of shape (m,)
        Cumulative hazard of a patient with mean covariates, at the distinct event times.
    n_patients, n_events : int
    """

    names: tuple[str, ...]
    coefficients: np.ndarray
    covariance: np.ndarray
    means: np.ndarray
    event_times: np.ndarray
    cumulative_baseline_hazard: np.ndarray
    n_patients: int
    n_events: int

    @property
    def standard_errors(self) -> np.ndarray:
        """Standard errors of the coefficients."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def wald_p_values(self) -> np.ndarray:
        """Two-sided Wald test of each coefficient."""
        return np.array([normal_p_value(z) for z in self.coefficients / self.standard_errors])

    def wald_p_value(self, names: Sequence[str]) -> float:
        """Wald test that the coefficients of `names` are all zero."""
        positions = [self.names.index(name) for name in names]
        beta = self.coefficients[positions]
        block = self.covariance[np.ix_(positions, positions)]
        return chi_squared_p_value(len(positions), float(beta @ np.linalg.solve(block, beta)))

    def survival(self, covariates: npt.ArrayLike, times: npt.ArrayLike) -> np.ndarray:
        """Predicted survival ``S(t | x)``, of shape (n, n_times); 1 before the first event.

        Raises
        ------
        ValueError
            A negative time, or one beyond the last event: the baseline is unknown there.
        """
        grid = np.atleast_1d(as_times(times, "times"))
        last = self.event_times[-1]
        if not np.all((grid >= 0) & (grid <= last)):
            raise ValueError(
                f"The model knows survival from 0 to its last event at {last:g}; times "
                f"{grid.tolist()} were asked for."
            )
        position = np.searchsorted(self.event_times, grid, side="right")
        baseline = np.concatenate(([0.0], self.cumulative_baseline_hazard))[position]
        X = np.asarray(covariates, dtype=np.float64) - self.means
        return np.exp(-np.exp(X @ self.coefficients)[:, np.newaxis] * baseline)


@dataclass(frozen=True, eq=False)
class CoxSolution:
    """The maximum of a log partial likelihood, with a ridge penalty or without.

    Attributes
    ----------
    sets : RiskSets
        Of the patients with a weight above 0.
    sums : RiskSetSums
        At the maximum, of covariates minus `means` over `scale`.
    means, scale : ndarray of shape (p,)
        `scale` is the standard deviation, or 1 for columns of zeros and ones.
    coefficients : ndarray of shape (p,)
        Log-hazard ratios per unit.
    alpha : float
        Strength of the penalty on log-hazard ratios per `scale`.
    log_risk : ndarray of shape (n,)
        Of the patients in `sets`: log-hazard ratios to the mean covariates, offset included.
    log_likelihood, null_log_likelihood : float
        At the maximum, without the penalty, and for coefficients of 0.
    score_statistic : float
        Rao's score test of all coefficients (log-rank type).
    n_patients, n_events : int
        In `sets`.
    """

    sets: RiskSets
    sums: RiskSetSums
    means: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    alpha: float
    log_risk: np.ndarray
    log_likelihood: float
    null_log_likelihood: float
    score_statistic: float
    n_patients: int
    n_events: int

    @property
    def information(self) -> np.ndarray:
        """Observed information per unit, without the penalty, of shape (p, p)."""
        return self.sums.information() * np.outer(self.scale, self.scale)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the coefficients per unit, of shape (p, p).

        The inverse of the information I; with a penalty :math:`H^{-1} I H^{-1}` with H = I +
        penalty (Gray, J Am Stat Assoc 1992;87:942-951).
        """
        information = self.sums.information()
        if self.alpha == 0:
            inverse = np.linalg.inv(information)
        else:
            bread = np.linalg.inv(information + self.alpha * np.eye(self.scale.size))
            inverse = bread @ information @ bread
        return inverse / np.outer(self.scale, self.scale)


def maximise_partial_likelihood(
    X: np.ndarray,
    event: np.ndarray,
    time: np.ndarray,
    *,
    names: Sequence[str] | None = None,
    weight: np.ndarray | None = None,
    offset: np.ndarray | None = None,
    alpha: float = 0.0,
    ties: Ties = "efron",
) -> CoxSolution:
    r"""Fit Cox's model by Newton's method with step-halving.

    The objective is :math:`\ell(\beta) - \tfrac{\alpha}{2} \sum_j (s_j \beta_j)^2` with the log
    partial likelihood of `survimg.survival.risk_sets` and :math:`s_j` the standard deviation of a
    covariate, or 1 for a covariate of zeros and ones.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,)
    names : sequence of str, optional
        Of the covariates, for messages; by default x0, x1, ...
    weight : ndarray of shape (n,), optional
        Case weights; 0 leaves a patient out.
    offset : ndarray of shape (n,), optional
        Log-hazard ratios that are known beforehand.
    alpha : float, default=0
        Ridge penalty. Above 0, constant and collinear covariates are allowed.
    ties : {"efron", "breslow"}, default="efron"

    Returns
    -------
    CoxSolution

    Raises
    ------
    ValueError
        Wrong shapes, values that are not finite, no event; without a penalty constant or collinear
        covariates, or no maximum because covariates separate the events. The message names them.
    """
    names = tuple(names) if names is not None else tuple(f"x{k}" for k in range(X.shape[-1]))
    X, weight, offset = _checked(X, event, time, names, weight, offset, alpha)
    if not (weight > 0).all():
        inside = weight > 0
        X, event, time = X[inside], event[inside], time[inside]
        weight, offset = weight[inside], offset[inside]
    sets = RiskSets(event, time, weight, ties)
    means, scale = X.mean(axis=0), column_scale(X, keep_indicators=True)
    Z = (X - means) / scale
    if alpha == 0:
        _check_full_rank(X, Z, names)
    problem = _Problem(sets, Z, offset, alpha, names, int(event.sum()))
    start = problem.derivatives(np.zeros(scale.size))
    beta = _newton(problem)
    log_risk = Z @ beta + offset
    return CoxSolution(
        sets,
        sets.at(Z, log_risk),
        means,
        scale,
        beta / scale,
        alpha,
        log_risk,
        float(sets.log_likelihood(log_risk)),
        float(sets.log_likelihood(offset)),
        float(start.gradient @ np.linalg.solve(start.curvature, start.gradient)),
        event.size,
        int(event.sum()),
    )


@dataclass(frozen=True)
class _Derivatives:
    """Gradient, and the negative of the second derivatives."""

    gradient: np.ndarray
    curvature: np.ndarray


@dataclass(frozen=True)
class _Problem:
    """A penalised log partial likelihood of standardised covariates."""

    sets: RiskSets
    Z: np.ndarray
    offset: np.ndarray
    alpha: float
    names: tuple[str, ...]
    n_events: int

    def value(self, beta: np.ndarray) -> float:
        with np.errstate(over="ignore", invalid="ignore"):  # of a step that is far too long
            log_risk = self.Z @ beta + self.offset
            return float(self.sets.log_likelihood(log_risk) - self.alpha / 2 * beta @ beta)

    def derivatives(self, beta: np.ndarray) -> _Derivatives:
        """Differentiate.

        Raises
        ------
        ValueError
            The likelihood is flat in some direction: it has no maximum.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            sums = self.sets.at(self.Z, self.Z @ beta + self.offset)
            gradient, information = sums.score() - self.alpha * beta, sums.information()
        curvature = information + self.alpha * np.eye(beta.size)
        # A standardised covariate holds about one unit of information per event; against their own
        # trace, rounding errors of covariates that are constant in every risk set would pass.
        floor = _NO_INFORMATION * float(self.sets.row_weight.sum()) if self.alpha == 0 else 0.0
        if not np.isfinite(curvature).all() or not np.linalg.eigvalsh(curvature)[0] > floor:
            raise ValueError(self.no_maximum())
        return _Derivatives(gradient, curvature)

    def no_maximum(self) -> str:
        return (
            f"The Cox model on {', '.join(map(repr, self.names))} ({self.Z.shape[0]} patients, "
            f"{self.n_events} events, alpha={self.alpha:g}) has no maximum: within the risk sets "
            "the covariates are constant, collinear or separate the events completely. Use fewer "
            "covariates, pool rare categories, or use a larger ridge penalty (alpha)."
        )


def _newton(problem: _Problem) -> np.ndarray:
    beta = np.zeros(problem.Z.shape[1])
    current = problem.value(beta)
    for _ in range(_MOST_STEPS):
        at = problem.derivatives(beta)
        step = np.linalg.solve(at.curvature, at.gradient)
        for _ in range(_MOST_HALVINGS):
            value = problem.value(beta + step)
            if value >= current - 1e-12 * (1 + abs(current)):
                break
            step = step / 2
        beta, current = beta + step, value
        if np.max(np.abs(step)) < 1e-10 * (1 + np.max(np.abs(beta))):
            return beta
    raise ValueError(problem.no_maximum())


def _checked(
    X: np.ndarray,
    event: np.ndarray,
    time: np.ndarray,
    names: tuple[str, ...],
    weight: np.ndarray | None,
    offset: np.ndarray | None,
    alpha: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = event.size
    if X.ndim != 2 or X.shape[0] != n or X.shape[1] == 0:
        raise ValueError(f"covariates must have shape ({n}, at least 1); got {X.shape}.")
    if len(names) != X.shape[1]:
        raise ValueError(f"{X.shape[1]} covariates but {len(names)} names.")
    wrong = ~np.isfinite(X).all(axis=0)
    if wrong.any():
        raise ValueError(
            f"Covariates {[names[k] for k in np.flatnonzero(wrong)]} have missing or infinite "
            "values; impute them, or leave the patients out and say so."
        )
    weight = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    offset = np.zeros(n) if offset is None else np.asarray(offset, dtype=np.float64)
    for name, values in (("time", time), ("weight", weight), ("offset", offset)):
        if values.shape != (n,) or not np.isfinite(values).all():
            raise ValueError(f"{name} must hold {n} finite numbers, one for each patient.")
    if (weight < 0).any() or not np.isfinite(alpha) or alpha < 0:
        raise ValueError("Weights and alpha must not be negative.")
    if not event[weight > 0].any():
        raise ValueError(
            f"All {np.count_nonzero(weight > 0)} patients are censored; a Cox model needs events."
        )
    return np.asarray(X, dtype=np.float64), weight, offset


def _check_full_rank(X: np.ndarray, Z: np.ndarray, names: tuple[str, ...]) -> None:
    constant = is_constant(X)
    if constant.any():
        raise ValueError(
            f"Covariates {[names[k] for k in np.flatnonzero(constant)]} are constant; leave them "
            "out."
        )
    if np.linalg.matrix_rank(Z) < Z.shape[1]:
        raise ValueError(f"Covariates {list(names)} are collinear; leave one out.")
