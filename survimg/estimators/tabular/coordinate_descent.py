"""What the path of penalised Cox models computes most often, compiled."""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel

__all__ = ["descend", "partial_likelihood"]


@kernel
def descend(
    hessian: np.ndarray,
    gradient: np.ndarray,
    start: np.ndarray,
    l1: np.ndarray,
    l2: np.ndarray,
    tol: float,
    max_sweeps: int,
) -> tuple[np.ndarray, int]:
    r"""Minimise the penalised quadratic model of a function around a point.

    .. math:: \tfrac12 (b - b_0)^T H (b - b_0) - g^T (b - b_0)
        + \sum_j \bigl( l_{1j} |b_j| + \tfrac12 l_{2j} b_j^2 \bigr)

    Parameters
    ----------
    hessian : ndarray of shape (p, p)
        H, symmetric and positive semi-definite.
    gradient, start : ndarray of shape (p,)
        g (of the function that is maximised) and b0.
    l1, l2 : ndarray of shape (p,)
    tol : float
        The last sweep moves no coordinate by more than its square root.
    max_sweeps : int

    Returns
    -------
    b : ndarray of shape (p,)
    n_sweeps : int
    """
    b = start.copy()
    residual = gradient.copy()  # g - H (b - b0)
    for sweep in range(max_sweeps):
        largest = 0.0
        for j in range(len(b)):
            curvature = hessian[j, j]
            if curvature + l2[j] < 1e-14:  # the outcome says nothing about this coordinate
                continue
            pull = residual[j] + curvature * b[j]
            shrunken = max(abs(pull) - l1[j], 0.0) * np.sign(pull) / (curvature + l2[j])
            step = shrunken - b[j]
            if step != 0.0:
                b[j] = shrunken
                for k in range(len(b)):
                    residual[k] -= hessian[j, k] * step
                largest = max(largest, step * step)
        if largest <= tol:
            return b, sweep + 1
    return b, max_sweeps


@kernel
def partial_likelihood(
    linear: np.ndarray, event: np.ndarray, last_at_risk: np.ndarray, n_failing: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Log partial likelihood with Breslow's ties, of patients in the order of descending time.

    Parameters
    ----------
    linear : ndarray of shape (n,)
        Log-hazard ratios.
    event : ndarray of shape (n,), bool
    last_at_risk : ndarray of shape (m,), int
        Position of the last patient at risk at each distinct event time, latest first.
    n_failing : ndarray of shape (m,), int
        Events at each of them.

    Returns
    -------
    value : float
    expected : ndarray of shape (n,)
        Cumulative hazard of each patient until his time.
    hazard : ndarray of shape (n,)
        Exponentials of `linear`, over the largest of them.
    at_risk : ndarray of shape (m,)
        Sums of `hazard` over the patients at risk.
    """
    top = linear.max()
    hazard = np.exp(linear - top)
    at_risk = np.empty(len(last_at_risk))
    value = total = 0.0
    first = 0
    for k in range(len(last_at_risk)):
        for i in range(first, last_at_risk[k] + 1):
            total += hazard[i]
            if event[i]:
                value += linear[i]
        first = last_at_risk[k] + 1
        at_risk[k] = total
        value -= n_failing[k] * (np.log(total) + top)
    expected = np.zeros(len(linear))
    increments = 0.0
    for k in range(len(last_at_risk) - 1, -1, -1):
        increments += n_failing[k] / at_risk[k]
        for i in range(last_at_risk[k - 1] + 1 if k else 0, last_at_risk[k] + 1):
            expected[i] = hazard[i] * increments
    return value, expected, hazard, at_risk
