"""Counting comparable pairs of patients in O(n log n) time and O(n) memory.

A pair (i, j) is *comparable* when i had the event and j was observed for longer, or was censored at
the very time of i's event. It is *concordant* when i has the higher risk, *tied in risk* when the
two risks differ by no more than a tolerance. These are scikit-survival's definitions
(Harrell et al., Stat Med 1996;15:361-387, with censoring counted after events at equal times).

Patients enter a Fenwick tree over their risk ranks in order of time, so that each patient's
partners are counted by two prefix sums.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numba import njit

__all__ = ["PairSums", "pair_sums", "pair_sums_later"]


@dataclass(frozen=True)
class PairSums:
    """Sums of partner weights, one entry per patient.

    Attributes
    ----------
    concordant, tied_risk, comparable : ndarray of shape (n,)
        Weight of the partners with which the patient forms concordant pairs, pairs tied in risk
        and comparable pairs, in one role (earlier event, or later observation).
    """

    concordant: np.ndarray
    tied_risk: np.ndarray
    comparable: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """Concordant weight plus half of the weight tied in risk."""
        return self.concordant + 0.5 * self.tied_risk


def pair_sums(
    event: np.ndarray, time: np.ndarray, risk: np.ndarray, weight: np.ndarray, tied_tol: float
) -> PairSums:
    """Sum, for each patient as the *earlier event*, the weights of its partners.

    Parameters
    ----------
    event, time, risk : ndarray of shape (n,)
    weight : ndarray of shape (n,), int64 or float64
        Weight of a patient as partner; integer weights are summed exactly.
    tied_tol : float
        Risks that differ by at most this are tied.

    Returns
    -------
    PairSums
        Zero for censored patients.
    """
    spread = float(np.ptp(risk)) if risk.size else 0.0
    # Equal but for rounding is no finding; a scale that the tolerance swallows is.
    if 1e-12 * float(np.abs(risk).max(initial=0.0)) < spread <= tied_tol:
        warnings.warn(
            f"All risks lie within {spread:.3g} of each other and count as tied (tied_tol = "
            f"{tied_tol:g}), so that no order is seen. Multiply the risks by a constant, or give a "
            "smaller tied_tol.",
            UserWarning,
            stacklevel=3,
        )
    by_time, starts, rank, low, high = _ranked(time, risk, tied_tol)
    return PairSums(*_sums_as_earlier(by_time, starts, event, rank, low, high, weight))


def pair_sums_later(
    event: np.ndarray, time: np.ndarray, risk: np.ndarray, weight: np.ndarray, tied_tol: float
) -> PairSums:
    """Sum, for each patient as the *later observation*, the weights of its earlier events.

    Parameters and return value as in `pair_sums`; `weight` is that of the earlier event.
    """
    by_time, starts, rank, low, high = _ranked(time, risk, tied_tol)
    return PairSums(*_sums_as_later(by_time, starts, event, rank, low, high, weight))


def _ranked(
    time: np.ndarray, risk: np.ndarray, tied_tol: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    by_time = np.argsort(time, kind="stable")
    sorted_time = time[by_time]
    starts = np.flatnonzero(np.concatenate(([True], sorted_time[1:] != sorted_time[:-1], [True])))
    by_risk = np.argsort(risk, kind="stable")
    rank = np.empty(by_risk.shape[0], dtype=np.int64)
    rank[by_risk] = np.arange(by_risk.shape[0])
    low, high = _tie_bounds(risk[by_risk], tied_tol)
    return by_time, starts, rank, low, high


@njit(cache=True, nogil=True)
def _tie_bounds(sorted_risk, tied_tol):  # type: ignore[no-untyped-def]
    # Ranks [low, high) are tied with rank k; the differences are formed as in a direct comparison
    # of two risks, so rounding decides each tie as it would there.
    n = sorted_risk.shape[0]
    low = np.empty(n, np.int64)
    high = np.empty(n, np.int64)
    first = 0
    last = 0
    for k in range(n):
        while sorted_risk[k] - sorted_risk[first] > tied_tol:
            first += 1
        last = max(last, k + 1)
        while last < n and sorted_risk[last] - sorted_risk[k] <= tied_tol:
            last += 1
        low[k] = first
        high[k] = last
    return low, high


@njit(cache=True, nogil=True, inline="always")
def _add(tree, rank, value):  # type: ignore[no-untyped-def]
    k = rank + 1
    while k < tree.shape[0]:
        tree[k] += value
        k += k & -k


@njit(cache=True, nogil=True, inline="always")
def _below(tree, rank):  # type: ignore[no-untyped-def]
    total = tree[0]  # always zero: gives the sum the type of the weights
    k = rank
    while k > 0:
        total += tree[k]
        k -= k & -k
    return total


@njit(cache=True, nogil=True)
def _sums_as_earlier(  # type: ignore[no-untyped-def]
    by_time, starts, event, rank, low, high, weight
):
    n = by_time.shape[0]
    tree = np.zeros(n + 1, weight.dtype)
    concordant = np.zeros(n, weight.dtype)
    tied = np.zeros(n, weight.dtype)
    comparable = np.zeros(n, weight.dtype)
    total = tree[0]
    for block in range(starts.shape[0] - 2, -1, -1):
        begin, end = starts[block], starts[block + 1]
        for position in range(begin, end):
            j = by_time[position]
            if not event[j]:
                _add(tree, rank[j], weight[j])
                total += weight[j]
        for position in range(begin, end):
            i = by_time[position]
            if event[i]:
                lower = _below(tree, low[rank[i]])
                concordant[i] = lower
                tied[i] = _below(tree, high[rank[i]]) - lower
                comparable[i] = total
        for position in range(begin, end):
            j = by_time[position]
            if event[j]:
                _add(tree, rank[j], weight[j])
                total += weight[j]
    return concordant, tied, comparable


@njit(cache=True, nogil=True)
def _sums_as_later(  # type: ignore[no-untyped-def]
    by_time, starts, event, rank, low, high, weight
):
    n = by_time.shape[0]
    tree = np.zeros(n + 1, weight.dtype)
    concordant = np.zeros(n, weight.dtype)
    tied = np.zeros(n, weight.dtype)
    comparable = np.zeros(n, weight.dtype)
    total = tree[0]
    for block in range(starts.shape[0] - 1):
        begin, end = starts[block], starts[block + 1]
        for censored_turn in range(2):  # events see earlier events only; censored see ties as well
            for position in range(begin, end):
                j = by_time[position]
                if event[j] == (censored_turn == 0):
                    upper = _below(tree, high[rank[j]])
                    concordant[j] = total - upper
                    tied[j] = upper - _below(tree, low[rank[j]])
                    comparable[j] = total
            if censored_turn == 0:
                for position in range(begin, end):
                    i = by_time[position]
                    if event[i]:
                        _add(tree, rank[i], weight[i])
                        total += weight[i]
    return concordant, tied, comparable
