"""Survival and cumulative hazard curves: functions of time that begin at 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from survimg.target import as_times

__all__ = [
    "InterpolatedSurvival",
    "StepFunction",
    "check_curves",
    "from_zero",
    "functions_from_zero",
    "step_functions",
    "survival_values",
]

# By which sums of a model in single precision may leave [0, 1], or rise.
_ROUNDING = 1e-6


class StepFunction:
    r"""A right-continuous step function from time 0: :math:`f(t) = y_i` for t in [x_i, x_{i+1}).

    Parameters
    ----------
    x : ndarray of shape (n_points,)
        Increasing times, the first of them 0.
    y : ndarray of shape (n_points,)
        Values from each time on.

    Attributes
    ----------
    domain : tuple of float
        (0, the last time): where the function is known.

    Raises
    ------
    ValueError
        Unequal lengths, or times that do not increase from 0.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        if np.shape(x) != np.shape(y) or np.ndim(x) != 1:
            raise ValueError(f"x and y differ in shape: {np.shape(x)} and {np.shape(y)}.")
        if not (len(x) and x[0] == 0 and (np.diff(x) > 0).all()):
            raise ValueError("x must increase from 0.")
        self.x, self.y = x, y

    @property
    def domain(self) -> tuple[float, float]:
        """First and last time at which the function is known."""
        return 0.0, float(self.x[-1])

    def __call__(self, x: npt.ArrayLike) -> Any:
        """Evaluate at one time or several.

        Parameters
        ----------
        x : float or array-like of shape (n_times,)

        Returns
        -------
        float or ndarray of shape (n_times,)

        Raises
        ------
        ValueError
            Times outside `domain`, about which the model says nothing.
        """
        times = np.asarray(x, dtype=np.float64)
        lower, upper = self.domain
        if not ((times >= lower) & (times <= upper)).all():
            raise ValueError(
                f"The model describes the times from {lower:g} to {upper:g}; got times from "
                f"{times.min():g} to {times.max():g}."
            )
        return self._values(times)

    def _values(self, times: np.ndarray) -> Any:
        return self.y[np.searchsorted(self.x, times, side="right") - 1]

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is type(self)
            and np.array_equal(self.x, other.x)
            and np.array_equal(self.y, other.y)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(x={self.x!r}, y={self.y!r})"


class InterpolatedSurvival(StepFunction):
    """Survival, or cumulative hazard, of one patient between the cuts of a discrete-time model.

    Survival is linear in time between its values, as in the figures of Gensheimer & Narasimhan
    (PeerJ 7:e6257, 2019). Defined from 0 to the last cut.

    Parameters
    ----------
    x : ndarray of shape (n_times,)
        0 and the cuts.
    y : ndarray of shape (n_times,)
        Survival at `x`.
    cumulative_hazard : bool, default=False
        Return -log S(t) instead.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, *, cumulative_hazard: bool = False) -> None:
        super().__init__(x, y)
        self.cumulative_hazard = cumulative_hazard

    def _values(self, times: np.ndarray) -> Any:
        survival = np.interp(times, self.x, self.y)
        if not self.cumulative_hazard:
            return survival
        with np.errstate(divide="ignore"):
            return -np.log(survival)


def from_zero(
    times: np.ndarray, values: np.ndarray, start: float
) -> tuple[np.ndarray, np.ndarray]:
    """Begin curves at time 0, where nobody has had the event yet.

    Parameters
    ----------
    times : ndarray of shape (n_times,)
    values : ndarray of shape (n, n_times)
    start : float
        Value at 0: 1 for survival, 0 for a cumulative hazard.

    Returns
    -------
    times : ndarray of shape (n_times,) or (n_times + 1,)
        As given if they begin at 0 (somebody was observed for a time of 0).
    values : ndarray of shape (n, ...)
    """
    if len(times) and times[0] == 0:
        return times, values
    first = np.full((len(values), 1), start)
    return np.concatenate(([0.0], times)), np.concatenate((first, values), axis=1)


def step_functions(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Make a function of each row of values, shape (n,) of `StepFunction`; times begin at 0."""
    functions = np.empty(len(values), dtype=object)
    for i, row in enumerate(values):
        functions[i] = StepFunction(times, row)
    return functions


def functions_from_zero(functions: Sequence[Any], start: float) -> np.ndarray:
    """Begin step functions of another library at 0; those that do so already stay as they are.

    Parameters
    ----------
    functions : sequence of callable
        With times ``x``, as scikit-survival's, which before their first time give its value.
    start : float
        Value at 0: 1 for survival, 0 for a cumulative hazard.

    Returns
    -------
    ndarray of shape (n,), object
    """
    begun = np.empty(len(functions), dtype=object)
    for i, function in enumerate(functions):
        if function.x[0] == 0:
            begun[i] = function
        else:
            values = np.asarray(function(function.x), dtype=np.float64).reshape(1, -1)
            times, values = from_zero(np.asarray(function.x), values, start)
            begun[i] = StepFunction(times, values[0])
    return begun


def survival_values(
    functions: Sequence[Any], times: npt.ArrayLike, *, past_end: Literal["raise", "nan"] = "raise"
) -> np.ndarray:
    """Read survival functions of any library; 1 before the first time that a function knows.

    Parameters
    ----------
    functions : sequence of callable
        With times ``x``, at which they may change, and their ``domain``.
    times : array-like of shape (n_times,)
    past_end : {"raise", "nan"}, default="raise"
        Whether a time after the end of a function's domain is an error, or NaN there.

    Returns
    -------
    ndarray of shape (n, n_times)

    Raises
    ------
    ValueError
        A function that is no survival curve at these times (NaN, outside [0, 1], or rising), or a
        time after its end.
    """
    grid = np.atleast_1d(as_times(times, "times"))
    values = np.ones((len(functions), grid.size))
    in_domain = np.ones(values.shape, dtype=bool)
    if past_end == "nan":
        in_domain = grid <= np.array([function.domain[1] for function in functions]).reshape(-1, 1)
    for row, inside, function in zip(values, in_domain, functions, strict=True):
        after_start = inside & (grid >= function.x[0])
        if after_start.any():
            row[after_start] = function(grid[after_start])
    order = np.argsort(grid, kind="stable")
    check_curves(np.where(in_domain, values, 0.0)[:, order])
    return np.where(in_domain, values, np.nan)


def check_curves(curves: np.ndarray) -> None:
    """Refuse what is no survival curve, but for the rounding of single precision.

    Parameters
    ----------
    curves : ndarray of shape (n, n_times)
        S(t) at increasing times.

    Raises
    ------
    ValueError
        NaN, values outside [0, 1], or curves that rise; the patient's position is named.
    """
    outside = ~((curves >= -_ROUNDING) & (curves <= 1 + _ROUNDING))
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            "survival must hold probabilities in [0, 1]; the patient at position "
            f"{row} has the value {curves[row, column]}."
        )
    rising = np.any(np.diff(curves, axis=1) > _ROUNDING, axis=1)
    if rising.any():
        raise ValueError(
            "survival curves must not increase with time; the curve of the patient at position "
            f"{int(np.flatnonzero(rising)[0])} does."
        )
