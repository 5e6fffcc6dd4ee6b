"""Loops over pairs of patients, compiled at their first call.

A file of their own, because importing Numba takes longer than most commands of `survimg`.
"""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel

__all__ = ["compare_values", "sums_as_earlier", "sums_as_later"]


@kernel
def _blocks(sorted_time):  # type: ignore[no-untyped-def]
    """Return where each distinct time begins, and the end."""
    n = sorted_time.shape[0]
    starts = np.empty(n + 1, np.int64)
    n_blocks = 0
    for k in range(n):
        if k == 0 or sorted_time[k] != sorted_time[k - 1]:
            starts[n_blocks] = k
            n_blocks += 1
    starts[n_blocks] = n
    return starts[: n_blocks + 1]


@kernel
def _bounds_of_each(sorted_risk, tied_tol):  # type: ignore[no-untyped-def]
    n = sorted_risk.shape[0]
    low = np.empty(n, np.int32)
    high = np.empty(n, np.int32)
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
    return np.arange(n).astype(np.int32), low, high


@kernel
def _tie_bounds(sorted_risk, tied_tol):  # type: ignore[no-untyped-def]
    """Return the place of each sorted risk in the tree, and the places [low, high) tied with it.

    Risks that are tied share a place where being tied is transitive; otherwise each has its own.
    """
    # The differences are formed as in a direct comparison of two risks, so rounding decides each
    # tie as it would there.
    n = sorted_risk.shape[0]
    place = np.empty(n, np.int32)
    n_places = 0
    first = 0
    for k in range(n):
        if k == 0 or sorted_risk[k] - sorted_risk[k - 1] > tied_tol:
            first = k
            n_places += 1
        elif sorted_risk[k] - sorted_risk[first] > tied_tol:
            return _bounds_of_each(sorted_risk, tied_tol)
        place[k] = n_places - 1
    low = np.arange(n_places).astype(np.int32)
    return place, low, low + np.int32(1)


@kernel
def _places(risk, by_risk, by_time, tied_tol):  # type: ignore[no-untyped-def]
    """Return the places of patients in order of time, and the places tied with each place."""
    sorted_place, low, high = _tie_bounds(risk[by_risk], tied_tol)
    of_patient = np.empty_like(sorted_place)
    for k in range(by_risk.shape[0]):
        of_patient[by_risk[k]] = sorted_place[k]
    return of_patient[by_time], low, high


@kernel
def _add(tree, at, place, value):  # type: ignore[no-untyped-def]
    at[place] += value
    k = place + 1
    while k < tree.shape[0]:
        tree[k] += value
        k += k & -k


@kernel
def _below(tree, place):  # type: ignore[no-untyped-def]
    total = tree[0]  # always zero: gives the sum the type of the weights
    k = place
    while k > 0:
        total += tree[k]
        k -= k & -k
    return total


@kernel
def _between(tree, at, low, high, below_low):  # type: ignore[no-untyped-def]
    return at[low] if high == low + 1 else _below(tree, high) - below_low


@kernel
def sums_as_earlier(  # type: ignore[no-untyped-def]
    event, time, risk, weight, by_time, by_risk, tied_tol
):
    """Sum the weights of later observations for each event; see `survimg.evaluation.pairs`."""
    n = event.shape[0]
    starts = _blocks(time[by_time])
    place, low, high = _places(risk, by_risk, by_time, tied_tol)
    event, weight = event[by_time], weight[by_time]
    tree = np.zeros(low.shape[0] + 1, weight.dtype)
    at = np.zeros(low.shape[0], weight.dtype)
    concordant = np.zeros(n, weight.dtype)
    tied = np.zeros(n, weight.dtype)
    comparable = np.zeros(n, weight.dtype)
    total = tree[0]
    for block in range(starts.shape[0] - 2, -1, -1):
        begin, end = starts[block], starts[block + 1]
        for k in range(begin, end):
            if not event[k]:
                _add(tree, at, place[k], weight[k])
                total += weight[k]
        for k in range(begin, end):
            if event[k]:
                i = by_time[k]
                first, last = low[place[k]], high[place[k]]
                lower = _below(tree, first)
                concordant[i] = lower
                tied[i] = _between(tree, at, first, last, lower)
                comparable[i] = total
        for k in range(begin, end):
            if event[k]:
                _add(tree, at, place[k], weight[k])
                total += weight[k]
    return concordant, tied, comparable


@kernel
def sums_as_later(  # type: ignore[no-untyped-def]
    event, time, risk, weight, by_time, by_risk, tied_tol
):
    """Sum the weights of earlier events for each observation."""
    n = event.shape[0]
    starts = _blocks(time[by_time])
    place, low, high = _places(risk, by_risk, by_time, tied_tol)
    event, weight = event[by_time], weight[by_time]
    tree = np.zeros(low.shape[0] + 1, weight.dtype)
    at = np.zeros(low.shape[0], weight.dtype)
    concordant = np.zeros(n, weight.dtype)
    tied = np.zeros(n, weight.dtype)
    comparable = np.zeros(n, weight.dtype)
    total = tree[0]
    for block in range(starts.shape[0] - 1):
        begin, end = starts[block], starts[block + 1]
        for censored_turn in range(2):  # events see earlier events only; censored see ties as well
            for k in range(begin, end):
                if event[k] == (censored_turn == 0):
                    j = by_time[k]
                    first, last = low[place[k]], high[place[k]]
                    lower = _below(tree, first)
                    tied[j] = _between(tree, at, first, last, lower)
                    concordant[j] = total - lower - tied[j]
                    comparable[j] = total
            if censored_turn == 0:
                for k in range(begin, end):
                    if event[k]:
                        _add(tree, at, place[k], weight[k])
                        total += weight[k]
    return concordant, tied, comparable


@kernel
def compare_values(dying, surviving, tied_tol):  # type: ignore[no-untyped-def]
    """Count pairs in which the first value is lower, and pairs that are tied."""
    better = 0
    tied = 0
    for survival in dying:
        for other in surviving:
            if abs(other - survival) <= tied_tol:
                tied += 1
            elif survival < other:
                better += 1
    return better, tied
