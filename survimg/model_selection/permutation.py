"""Outcomes without any relation to the patients, for negative controls."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from survimg.target import check_outcome, make_outcome

__all__ = ["permute_outcome"]


def permute_outcome(
    y: npt.ArrayLike,
    random_state: int | np.random.RandomState | None = None,
    *,
    within: npt.ArrayLike | None = None,
) -> np.ndarray:
    """Permute the pairs (event, time) among the patients.

    No property of a patient is then related to the outcome: a model that still ranks test patients
    better than chance has used what it must not know.

    Parameters
    ----------
    y : structured array of shape (n,)
    random_state : int or RandomState, optional
    within : array-like of shape (n,), optional
        Strata (centres, cohorts) whose outcomes stay among their own patients, so that each keeps
        its number of events.

    Returns
    -------
    structured array of shape (n,)
        The same pairs in another order.

    Raises
    ------
    ValueError
        Invalid outcome, or `within` of another length.
    """
    event, time = check_outcome(y)
    strata = np.zeros(event.size, dtype=int) if within is None else np.asarray(within)
    if strata.shape != event.shape:
        raise ValueError(
            f"within must have one entry per patient, shape {event.shape}; got {strata.shape}."
        )
    rng = check_random_state(random_state)
    order = np.arange(event.size)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        order[members] = rng.permutation(members)
    return make_outcome(event[order], time[order])
