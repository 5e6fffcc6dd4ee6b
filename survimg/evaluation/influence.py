"""Influence of each patient on a statistic: its variance without resampling.

The influence values psi_i of a statistic are the first-order changes when patient i is given a
little more weight; the sum of their squares estimates the variance (infinitesimal jackknife).
"""

from __future__ import annotations

import numpy as np

from survimg.evaluation.kaplan_meier import CensoringDistribution
from survimg.evaluation.pairs import pair_sums, pair_sums_later

__all__ = ["censoring_influence", "concordance_influence", "no_comparable_pair"]


def concordance_influence(
    event: np.ndarray,
    time: np.ndarray,
    risk: np.ndarray,
    weight: np.ndarray,
    tied_tol: float,
    event_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Concordance index with its influence values and its leave-one-out values.

    Parameters
    ----------
    event, time, risk : ndarray of shape (n,)
    weight : ndarray of shape (n,)
        Sample weights.
    tied_tol : float
    event_weight : ndarray of shape (n,), optional
        Weight of a patient's pairs as the earlier event, taken as known.

    Returns
    -------
    value : float
    influence, left_out : ndarray of shape (n,)
        Leave-one-out values are not finite where no comparable pair is left.

    Raises
    ------
    ValueError
        No comparable pair.
    """
    lead = weight if event_weight is None else weight * event_weight
    earlier = pair_sums(event, time, risk, weight, tied_tol)
    later = pair_sums_later(event, time, risk, lead, tied_tol)
    comparable = float(lead @ earlier.comparable)
    if not comparable > 0:
        raise ValueError(no_comparable_pair(event))
    score = float(lead @ earlier.score)
    own_score = lead * earlier.score + weight * later.score
    own_comparable = lead * earlier.comparable + weight * later.comparable.astype(np.float64)
    value = score / comparable
    with np.errstate(divide="ignore", invalid="ignore"):
        left_out = (score - own_score) / (comparable - own_comparable)
    return value, (own_score - value * own_comparable) / comparable, left_out


def censoring_influence(
    slope: np.ndarray, event: np.ndarray, time: np.ndarray, censoring: CensoringDistribution
) -> np.ndarray:
    r"""Influence that passes through an estimated censoring distribution.

    A statistic that uses weights :math:`1/\hat G(t_i-)` varies with :math:`\hat G` too. With
    :math:`s_i` its derivative with respect to :math:`\log(1/\hat G(t_i-))`, and the martingale
    representation of the Kaplan-Meier estimate,

    .. math:: \psi_k = \frac{(1 - \delta_k) A(t_k)}{Y(t_k)}
              - \sum_{u \le t_k} \frac{A(u)\, d\Lambda_C(u)}{Y(u)}, \qquad
              A(u) = \sum_{i: t_i > u} s_i

    Parameters
    ----------
    slope : ndarray of shape (n,)
        s_i; zero for patients without a weight.
    event, time : ndarray of shape (n,)
        The cohort that estimated the censoring distribution and is evaluated.
    censoring : CensoringDistribution
        Estimated on that cohort.

    Returns
    -------
    ndarray of shape (n,)

    References
    ----------
    .. [1] Blanche P, Dartigues JF, Jacqmin-Gadda H. Stat Med 2013;32:5381-5397, appendix.
    """
    at = np.searchsorted(censoring.time, time)
    size = censoring.time.size
    by_time = np.bincount(at, slope, minlength=size)
    # With the right limit an event at a censoring time is weighted by that censoring as well.
    after = np.cumsum(by_time[::-1])[::-1] - (by_time if censoring.limit == "left" else 0.0)
    n_at_risk = np.maximum(censoring.n_at_risk, 1)
    compensated = np.cumsum(after * censoring.hazard / n_at_risk)
    jumps = np.where(event, 0.0, (after / n_at_risk)[at])
    # Patients with the event leave the risk set of the censoring before a censoring at that time.
    until = at - event
    return jumps - np.concatenate(([0.0], compensated))[until + 1]


def no_comparable_pair(event: np.ndarray) -> str:
    """Say why no pair is comparable."""
    why = (
        f"all {event.size} patients are censored"
        if not event.any()
        else "no patient was observed for longer than any patient with an event"
    )
    return f"No comparable pair of patients: {why}. The concordance index is undefined here."
