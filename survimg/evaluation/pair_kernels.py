"""Loops over pairs of patients, compiled at their first call.

A file of their own, because importing Numba takes longer than most commands of `survimg`.
"""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel

__all__ = ["compare_values", "sums_as_earlier", "sums_as_later", "tie_bounds"]


@kernel
def tie_bounds(sorted_risk, tied_tol):  # type: ignore[no-untyped-def]
    """Return, for each sorted risk, the ranks [low, high) that are tied with it."""
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


@kernel
def _add(tree, rank, value):  # type: ignore[no-untyped-def]
    k = rank + 1
    while k < tree.shape[0]:
        tree[k] += value
        k += k & -k


@kernel
def _below(tree, rank):  # type: ignore[no-untyped-def]
    total = tree[0]  # always zero: gives the sum the type of the weights
    k = rank
    while k > 0:
        total += tree[k]
        k -= k & -k
    return total


@kernel
def sums_as_earlier(  # type: ignore[no-untyped-def]
    by_time, starts, event, rank, low, high, weight
):
    """Sum the weights of later observations for each event; see `survimg.evaluation.pairs`."""
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


@kernel
def sums_as_later(  # type: ignore[no-untyped-def]
    by_time, starts, event, rank, low, high, weight
):
    """Sum the weights of earlier events for each observation."""
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
