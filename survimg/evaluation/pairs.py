"""Counting comparable pairs of patients in O(n log n) time and O(n) memory.

A pair (i, j) is *comparable* when i had the event and j was observed for longer, or was censored at
the very time of i's event. It is *concordant* when i has the higher risk, *tied in risk* when the
two risks differ by no more than a tolerance. These are scikit-survival's definitions
(Harrell et al., Stat Med 1996;15:361-387, with censoring counted after events at equal times).

Patients enter a Fenwick tree over their risk ranks in order of time, so that each patient's
partners are counted by two prefix sums. Few patients, such as those of a test fold, are compared
each with each instead: that is done before the compiled kernels are loaded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["PairSums", "orders", "pair_sums", "pair_sums_later", "warn_of_swallowed_risks"]

_FEW = 128  # patients: each with each takes 0.2 ms, loading Numba 500


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
    event: np.ndarray,
    time: np.ndarray,
    risk: np.ndarray,
    weight: np.ndarray,
    tied_tol: float,
    in_order: tuple[np.ndarray, np.ndarray] | None = None,
) -> PairSums:
    """Sum, for each patient as the *earlier event*, the weights of its partners.

    Parameters
    ----------
    event, time, risk : ndarray of shape (n,)
    weight : ndarray of shape (n,), int64 or float64
        Weight of a patient as partner; integer weights are summed exactly.
    tied_tol : float
        Risks that differ by at most this are tied.
    in_order : tuple of ndarray of shape (n,), optional
        `orders` of the same patients, for who counts with many weights.

    Returns
    -------
    PairSums
        Zero for censored patients.
    """
    if _are_few_and_equal(weight):
        warn_of_swallowed_risks(np.sort(risk), tied_tol)
        kinds = _each_with_each(event, time, risk, tied_tol)
        return PairSums(*(pairs.sum(axis=1) for pairs in kinds))
    from survimg.evaluation.pair_kernels import sums_as_earlier

    by_time, by_risk = orders(time, risk, weight) if in_order is None else in_order
    warn_of_swallowed_risks(risk[by_risk], tied_tol)
    return PairSums(*sums_as_earlier(event, time, risk, weight, by_time, by_risk, tied_tol))


def warn_of_swallowed_risks(risk: np.ndarray, tied_tol: float) -> None:
    """Warn if all risks, or the middle half of them, differ, but by no more than the tolerance.

    Equal but for rounding is no finding; a scale that the tolerance swallows is. One outlier must
    not hide it; few unlike values among many equal ones do not count.

    Parameters
    ----------
    risk : ndarray of shape (n,)
        Sorted.
    tied_tol : float
    """
    if not risk.size:
        return
    at = [0, risk.size // 4, risk.size // 2, (3 * risk.size) // 4, risk.size - 1]
    low, lower, median, upper, high = risk[at].tolist()

    def differ(first: float, last: float) -> bool:
        return last - first > 1e-12 * max(abs(first), abs(last))

    several = risk.size >= 8 and differ(lower, median) and differ(median, upper)
    for which, first, last, unlike in (
        ("All", low, high, differ(low, high)),
        ("Half of the", lower, upper, several),
    ):
        if unlike and last - first <= tied_tol:
            warnings.warn(
                f"{which} risks lie within {last - first:.3g} of each other and count as tied "
                f"(tied_tol = {tied_tol:g}), so that no order is seen among them. Multiply the "
                "risks by a constant, or give a smaller tied_tol.",
                UserWarning,
                stacklevel=4,
            )
            return


def pair_sums_later(
    event: np.ndarray, time: np.ndarray, risk: np.ndarray, weight: np.ndarray, tied_tol: float
) -> PairSums:
    """Sum, for each patient as the *later observation*, the weights of its earlier events.

    Parameters and return value as in `pair_sums`; `weight` is that of the earlier event.
    """
    if _are_few_and_equal(weight):
        kinds = _each_with_each(event, time, risk, tied_tol)
        return PairSums(*(pairs.sum(axis=0) for pairs in kinds))
    from survimg.evaluation.pair_kernels import sums_as_later

    in_order = orders(time, risk, weight)
    return PairSums(*sums_as_later(event, time, risk, weight, *in_order, tied_tol))


def _are_few_and_equal(weight: np.ndarray) -> bool:
    return weight.dtype == np.int64 and weight.size <= _FEW and bool((weight == 1).all())


def _each_with_each(
    event: np.ndarray, time: np.ndarray, risk: np.ndarray, tied_tol: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tell which pairs (earlier event, later observation) are concordant, tied, comparable."""
    earlier, later = time[:, np.newaxis], time[np.newaxis]
    comparable = event[:, np.newaxis] & ((earlier < later) | ((earlier == later) & ~event))
    excess = risk[:, np.newaxis] - risk
    tied = np.abs(excess) <= tied_tol
    return comparable & (excess > tied_tol), comparable & tied, comparable


def orders(
    time: np.ndarray, risk: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the patients in order of time, and in order of risk.

    Parameters
    ----------
    time, risk, weight : ndarray of shape (n,)
    """
    # Whole numbers have one sum in any order of equal values, so the faster sort may choose it;
    # it chooses differently on different processors.
    kind: Literal["quicksort", "stable"] = "quicksort" if weight.dtype == np.int64 else "stable"
    return np.argsort(time, kind=kind), np.argsort(risk, kind=kind)
