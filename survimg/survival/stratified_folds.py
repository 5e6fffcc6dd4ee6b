"""Patients dealt to folds in turn, by stratum."""

from __future__ import annotations

import numpy as np

__all__ = ["deal"]


def deal(labels: np.ndarray, n_folds: int, order: np.ndarray) -> np.ndarray:
    """Return the fold of each patient.

    Parameters
    ----------
    labels : ndarray of shape (n,), int
        Stratum; 0 for censored patients, above it for events.
    n_folds : int
    order : ndarray of shape (n,), int
        Positions of the patients in the order in which each stratum is dealt.

    Returns
    -------
    ndarray of shape (n,), int
        From 0 to ``n_folds - 1``. The numbers of patients in any two folds differ by at most one,
        those of events too, and those of each stratum.
    """
    # Events come first and strata follow each other, so this balances each stratum, the events as
    # a whole and the patients as a whole.
    dealt = order[np.argsort(-labels[order], kind="stable")]
    fold = np.empty(labels.size, dtype=np.intp)
    fold[dealt] = np.arange(labels.size) % n_folds
    return fold
