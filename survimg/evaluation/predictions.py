"""Checks of predictions: risks, survival curves and their times."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from survimg.survival.curves import check_curves
from survimg.survival.risk import finite_risk
from survimg.target import as_times, in_order_of

__all__ = [
    "as_array",
    "check_horizon",
    "check_risk",
    "check_survival_curves",
    "check_weights",
    "step_values",
]


def as_array(values: Any) -> np.ndarray:
    """Return an array of what may be a torch tensor: on a GPU, with gradients, or in bfloat16.

    Parameters
    ----------
    values : array-like or torch.Tensor of shape (...)

    Returns
    -------
    ndarray of shape (...)
        float64 for a tensor of any floating type.
    """
    if hasattr(values, "detach"):  # torch itself is not loaded here
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def check_risk(
    risk: npt.ArrayLike, n_patients: int, *, name: str = "risk", y: Any = None
) -> np.ndarray:
    """Check a vector of risks (higher = earlier event).

    Parameters
    ----------
    risk : array-like of shape (n,) or (n, 1)
    n_patients : int
        Length that `risk` must have.
    name : str, default="risk"
        Name used in error messages.
    y : object, optional
        The outcome; a Series of risks is put into the order of a table of outcomes.

    Returns
    -------
    ndarray of shape (n,), float64

    Raises
    ------
    ValueError
        No patient, wrong shape, a value that is not finite, or other patients than in `y`.
    """
    if n_patients == 0:
        raise ValueError("There is no patient to evaluate.")
    return finite_risk(as_array(in_order_of(y, risk, "y", name)), name, n_patients)


def check_weights(
    sample_weight: npt.ArrayLike | None, n_patients: int, y: Any = None
) -> np.ndarray:
    """Check sample weights; None stands for one per patient. For `y` see `check_risk`.

    Returns
    -------
    ndarray of shape (n,)
        int64 ones when `sample_weight` is None (counts then stay exact), float64 otherwise.

    Raises
    ------
    ValueError
        Wrong shape, a negative or non-finite weight, or all weights zero.
    """
    if sample_weight is None:
        return np.ones(n_patients, dtype=np.int64)
    named = in_order_of(y, sample_weight, "y", "sample_weight")
    weights = as_array(named).astype(np.float64)
    if weights.shape != (n_patients,):
        raise ValueError(
            f"sample_weight must have shape ({n_patients},); got {weights.shape}."
        )
    if not np.all(np.isfinite(weights)) or np.any(weights < 0) or not np.any(weights > 0):
        raise ValueError("sample_weight must be finite and non-negative, and not all zero.")
    return weights


def check_survival_curves(
    survival: npt.ArrayLike, times: npt.ArrayLike, n_patients: int, y: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Check survival probabilities on a time grid.

    Parameters
    ----------
    survival : array-like of shape (n, n_times)
        S(t | x) of every patient at `times`; one row per patient.
    times : array-like of shape (n_times,)
        Strictly increasing, non-negative.
    n_patients : int
    y : object, optional
        As in `check_risk`.

    Returns
    -------
    survival : ndarray of shape (n, n_times), float64
    times : ndarray of shape (n_times,), float64

    Raises
    ------
    ValueError
        Wrong shapes, probabilities outside [0, 1], curves that increase, or times that do not.
    """
    grid = np.atleast_1d(as_times(as_array(times), "times"))
    if grid.ndim != 1 or not np.all(np.isfinite(grid)) or np.any(grid < 0):
        raise ValueError("times must be a one-dimensional array of finite, non-negative times.")
    if np.any(np.diff(grid) <= 0):
        raise ValueError("times must be strictly increasing.")
    curves = as_array(in_order_of(y, survival, "y", "survival")).astype(np.float64)
    if curves.ndim == 1 and grid.size == 1:
        curves = curves[:, np.newaxis]
    if curves.shape != (n_patients, grid.size):
        raise ValueError(
            f"survival must have shape (n_patients, n_times) = ({n_patients}, {grid.size}); got "
            f"{curves.shape}. StepFunction objects become such an array with "
            "predict_survival_function(X, return_array=True) or np.vstack([f(times) for f in s])."
        )
    check_curves(curves)
    return np.clip(curves, 0.0, 1.0), grid


def check_horizon(horizon: float) -> float:
    """Check that a time point is one finite positive number.

    Raises
    ------
    ValueError
        Otherwise.
    """
    value = float(horizon)
    if not np.isfinite(value) or value <= 0:
        raise ValueError(f"horizon must be a finite, positive time; got {horizon}.")
    return value


def step_values(survival: np.ndarray, times: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Read right-continuous survival step functions at any times up to the end of their grid.

    Parameters
    ----------
    survival : ndarray of shape (n, n_times)
    times : ndarray of shape (n_times,)
        Increasing.
    at : ndarray of shape (m,)

    Returns
    -------
    ndarray of shape (n, m)
        The value at the last grid time up to each time; 1 before the first.

    Raises
    ------
    ValueError
        A time beyond the grid.
    """
    if np.any(at > times[-1]):
        raise ValueError(
            f"The predicted curves end at {times[-1]:g}; survival at {np.max(at):g} is unknown."
        )
    position = np.searchsorted(times, at, side="right")
    padded = np.concatenate((np.ones((survival.shape[0], 1)), survival), axis=1)
    return padded[:, position]
