"""The regularisation path of Cox regression: Newton steps, coordinate descent within each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from survimg.survival.risk_sets import RiskSets
from survimg.survival.standardisation import column_scale, is_constant

__all__ = ["CoxnetPath"]

# Log-hazards of training patients that lie farther apart by features without a penalty have no
# maximum of the likelihood. Penalised features have one, if far out: there only overflow is feared.
_LARGEST_FREE_SPREAD, _LARGEST_SPREAD = 30.0, 300.0
_MOST_HALVINGS = 30
# Features with a gradient above this share of their penalty are kept at hand.
_NEAR = 0.8
# The Hessian is kept as long as a squared step is smaller than the one before by this factor.
_SLOW = 0.01
_FIRST_SWEEPS = 20


@dataclass(frozen=True)
class CoxnetPath:
    """Coefficients along a sequence of penalties; standardises and keeps constant columns out.

    At each penalty, from the solution at the one before: Newton steps on the partial likelihood
    with its full Hessian, each solved by coordinate descent over the features that are in the
    model or about to enter it, so that the cost of a step hardly depends on the number of features.
    The Hessian of an earlier step serves as long as the steps shrink fast.

    Parameters
    ----------
    penalty_factor : ndarray of shape (n_features,)
        Multiplies the penalty of each feature.
    l1_ratio, tol, max_iter
        As in `LassoCox`.
    """

    penalty_factor: np.ndarray
    l1_ratio: float
    tol: float
    max_iter: int

    def largest_alpha(self, features: np.ndarray, event: np.ndarray, time: np.ndarray) -> float:
        """Return the smallest penalty at which every penalised coefficient is zero."""
        standardised, _, varies = _standardise(features)
        factor = self.penalty_factor[varies]
        if not factor.any():
            raise ValueError(
                f"All penalised features are constant over the {features.shape[0]} training "
                "patients; there is nothing to select from."
            )
        solver = _Solver(standardised, event, time, self.tol, self.max_iter)
        if not solver.solve(np.where(factor > 0, np.inf, 0.0), np.zeros(factor.size)):
            raise ValueError(
                "The Cox model on the unpenalised features alone could not be fitted; they must "
                "not predict the events perfectly, and max_iter must suffice."
            )
        penalised = factor > 0
        gradient = np.abs(solver.gradient[penalised])
        # A ridge keeps no coefficient at zero; as glmnet, which begins at that of a ratio of 0.001.
        return float(np.max(gradient / factor[penalised]) / max(self.l1_ratio, 1e-3))

    def coefficients(
        self,
        features: np.ndarray,
        event: np.ndarray,
        time: np.ndarray,
        alphas: np.ndarray,
        may_stop: bool = False,
    ) -> Iterator[np.ndarray]:
        """Yield coefficients on the scale of the input, (n_features,), at each penalty in turn.

        The path ends early, as in glmnet, where the solver overflows or does not converge (the
        likelihood of separated patients has no maximum), and, with `may_stop`, where the deviance
        has stopped falling.

        Raises
        ------
        ValueError
            The solver fails at the largest penalty already.
        """
        standardised, scale, varies = _standardise(features)
        factor = self.penalty_factor[varies]
        solver = _Solver(standardised, event, time, self.tol, self.max_iter)
        saturated = RiskSets(event, time, ties="breslow").saturated_log_likelihood()
        deviances: list[float] = []
        for alpha in alphas:
            l1, l2 = alpha * self.l1_ratio * factor, alpha * (1 - self.l1_ratio) * factor
            if not solver.solve(l1, l2):
                break
            coef = np.zeros(features.shape[1])
            coef[varies] = solver.coef / scale
            yield coef
            deviances.append(2 * (saturated - event.size * solver.value))
            if may_stop and _has_stopped_falling(deviances):
                break
        if not deviances:
            raise ValueError(
                f"The lasso did not converge at the largest penalty, {alphas[0]:.3g}, within "
                f"max_iter={self.max_iter} iterations. Raise max_iter or the penalties; "
                "unpenalised features must not predict the events perfectly."
            )


class _Solver:
    """Penalised Cox models of one table, each reached from the one before.

    Parameters
    ----------
    features : ndarray of shape (n, p)
        Standardised.
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,)
    tol, max_iter
        As in `LassoCox`.

    Attributes
    ----------
    coef, gradient : ndarray of shape (p,)
        Where the solver stands, and the gradient of the log partial likelihood there.
    value : float
        That log partial likelihood; like the gradient, over the number of patients.
    """

    def __init__(
        self, features: np.ndarray, event: np.ndarray, time: np.ndarray, tol: float, max_iter: int
    ) -> None:
        latest_first = np.argsort(-time, kind="stable")
        self._event, descending = event[latest_first], -time[latest_first]
        # Columns are taken out of it, so they lie in one piece each.
        self._features = np.asfortranarray(features[latest_first])
        failing, self._n_failing = np.unique(descending[self._event], return_counts=True)
        # The risk set of a time ends with the last patient who is tied to it.
        self._last_at_risk = np.searchsorted(descending, failing, side="right") - 1
        self._tol, self._max_iter = tol, max_iter
        self.coef = np.zeros(features.shape[1])
        self._take(np.zeros(0, dtype=np.intp), np.zeros(event.size))

    def solve(self, l1: np.ndarray, l2: np.ndarray) -> bool:
        """Go to the minimum for penalties l1 |b| + l2 b^2 / 2; False where it is not reached."""
        sweeps_left, last_size, slow = self._max_iter, np.inf, False
        free = np.flatnonzero((l1 == 0) & (l2 == 0))
        while sweeps_left > 0 and self._has_bounded_spread(free):
            missing = (l1 == 0) | self._enter(l1)
            missing[self._columns] = False
            fresh = slow or bool(missing.any())
            if fresh:
                self._choose_columns(l1)
            start = self.coef[self._columns]
            goal, n_sweeps = self._newton_goal(start, l1[self._columns], l2[self._columns])
            sweeps_left -= n_sweeps
            size = self._move(start, goal - start, l1[self._columns], l2[self._columns])
            if size is None and fresh:
                return False
            if size is not None:
                # Steps shrink by about the same factor each time: how large would the next one be?
                next_size = size if np.isinf(last_size) else size * min(1.0, size / last_size)
                if next_size <= self._tol and not (self._enter(l1) & (self.coef == 0)).any():
                    return True
            slow = size is None or size > _SLOW * last_size
            last_size = np.inf if size is None else size
        return False

    def _has_bounded_spread(self, free: np.ndarray) -> bool:
        by_free = self._features[:, free] @ self.coef[free]
        return bool(
            np.ptp(by_free) < _LARGEST_FREE_SPREAD and np.ptp(self._linear) < _LARGEST_SPREAD
        )

    def _enter(self, l1: np.ndarray) -> np.ndarray:
        """Which features would leave zero."""
        entering: np.ndarray = np.abs(self.gradient) > l1 * (1 + 1e-6)
        return entering

    def _newton_goal(
        self, start: np.ndarray, l1: np.ndarray, l2: np.ndarray
    ) -> tuple[np.ndarray, int]:
        """Minimise the quadratic model at the columns; returns the minimum and sweeps.

        Coordinate descent says soon which coefficients are not zero, but needs many sweeps for
        their values where features are correlated: these are solved for, if they keep their signs.
        """
        from survimg.estimators.tabular.coordinate_descent import descend  # loads Numba

        problem = self._hessian, self.gradient[self._columns], start, l1, l2, 0.01 * self._tol
        goal, n_sweeps = descend(*problem, min(_FIRST_SWEEPS, self._max_iter))
        if n_sweeps < _FIRST_SWEEPS:
            return goal, n_sweeps
        inside = np.flatnonzero(goal)
        sign = np.sign(goal[inside])
        hessian = self._hessian[np.ix_(inside, inside)] + np.diag(l2[inside])
        pull = (self.gradient[self._columns] + self._hessian @ start)[inside]
        try:
            exact = np.linalg.solve(hessian, pull - l1[inside] * sign)
        except np.linalg.LinAlgError:  # columns that repeat each other
            return descend(*problem, self._max_iter)
        if (np.sign(exact) != sign).any():
            return descend(*problem, self._max_iter)
        goal = np.zeros(goal.size)
        goal[inside] = exact
        return goal, n_sweeps

    def _choose_columns(self, l1: np.ndarray) -> None:
        """Take the features that are in the model or about to enter it, and the Hessian here."""
        near = np.abs(self.gradient) > _NEAR * l1
        columns = np.flatnonzero((self.coef != 0) | near | (l1 == 0))
        self._take(columns, self._features[:, columns] @ self.coef[columns])
        sums = np.cumsum(self._block * self._hazard[:, np.newaxis], axis=0)[self._last_at_risk]
        means = sums / self._at_risk[:, np.newaxis]
        second = self._block.T @ (self._block * self._expected[:, np.newaxis])
        between = means.T @ (means * self._n_failing[:, np.newaxis])
        self._hessian = (second - between) / self._event.size

    def _take(self, columns: np.ndarray, linear: np.ndarray) -> None:
        self._columns, self._block = columns, self._features[:, columns]
        self._hessian = np.zeros((columns.size, columns.size))
        self._arrive(linear, self._evaluate(linear))

    def _evaluate(self, linear: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        from survimg.estimators.tabular.coordinate_descent import partial_likelihood

        return partial_likelihood(linear, self._event, self._last_at_risk, self._n_failing)

    def _arrive(self, linear: np.ndarray, evaluated: tuple[float, Any, Any, Any]) -> None:
        self._linear = linear
        value, self._expected, self._hazard, self._at_risk = evaluated
        self.value = value / self._event.size
        self.gradient = (self._event - self._expected) @ self._features / self._event.size

    def _move(
        self, start: np.ndarray, step: np.ndarray, l1: np.ndarray, l2: np.ndarray
    ) -> float | None:
        """Go a step, or as much of it as lowers the objective; return its size, squared."""
        before = _penalty(start, l1, l2) - self.value
        change = self._block @ step
        for halvings in range(_MOST_HALVINGS):
            share = 0.5**halvings
            coef, linear = start + share * step, self._linear + share * change
            evaluated = self._evaluate(linear)
            after = _penalty(coef, l1, l2) - evaluated[0] / self._event.size
            if after <= before + 1e-12 * abs(before):
                self.coef = self.coef.copy()
                self.coef[self._columns] = coef
                self._arrive(linear, evaluated)
                return float(np.max(np.square(share * step), initial=0.0))
        return None


def _penalty(coef: np.ndarray, l1: np.ndarray, l2: np.ndarray) -> float:
    return float(l1 @ np.abs(coef) + 0.5 * (l2 @ np.square(coef)))


def _standardise(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centred columns over their SD (divisor n), the SDs, and which columns vary."""
    varies = ~is_constant(features)
    varying = features[:, varies]
    scale = column_scale(varying)
    return (varying - varying.mean(axis=0)) / scale, scale, varies


def _has_stopped_falling(deviances: list[float]) -> bool:
    """Whether the last penalty of a path brought hardly anything.

    As in glmnet: less than a thousandth of the fall so far came with the last four penalties, or
    999 thousandths of the null deviance (that of the first penalty) are explained.
    """
    if len(deviances) < 6:
        return False
    fall = [1.0 - value / deviances[0] for value in (deviances[-1], deviances[-5])]
    return fall[0] - fall[1] < 1e-3 * fall[0] or fall[0] > 0.999
