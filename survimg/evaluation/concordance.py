"""Harrell's concordance index, its confidence interval and the paired comparison of two models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from survimg.evaluation.bootstrap import (
    RandomState,
    bca_interval,
    bootstrap_concordance,
    bootstrap_p_value,
    percentile_interval,
    resampling_counts,
)
from survimg.evaluation.estimates import (
    Comparison,
    Estimate,
    check_level,
    logit_interval,
    require_enough_events,
)
from survimg.evaluation.influence import concordance_influence, no_comparable_pair
from survimg.evaluation.pairs import pair_sums
from survimg.evaluation.predictions import check_risk, check_weights
from survimg.survival.distributions import normal_p_value
from survimg.target import check_outcome

__all__ = [
    "ConcordanceCounts",
    "compare_concordance",
    "concordance_counts",
    "concordance_index",
]

TIED_TOL = 1e-8
IntervalMethod = Literal["analytic", "percentile", "bca"]


@dataclass(frozen=True)
class ConcordanceCounts:
    """Numbers (or weights) of patient pairs.

    Attributes
    ----------
    concordant, discordant, tied_risk : float
        Comparable pairs in which the earlier event has the higher, the lower and the same risk.
    tied_time : float
        Pairs of two events at the same time, which are not comparable.
    """

    concordant: float
    discordant: float
    tied_risk: float
    tied_time: float

    @property
    def comparable(self) -> float:
        """All comparable pairs."""
        return self.concordant + self.discordant + self.tied_risk


def concordance_counts(
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    tied_tol: float = TIED_TOL,
) -> ConcordanceCounts:
    """Count concordant, discordant and tied pairs in O(n log n).

    Parameters and definitions as in `concordance_index`.

    Returns
    -------
    ConcordanceCounts
        Whole numbers without `sample_weight`; sums of products of weights with it.
    """
    event, time = check_outcome(y)
    risk = check_risk(risk, event.size, y=y)
    weight = check_weights(sample_weight, event.size, y)
    sums = pair_sums(event, time, risk, weight, tied_tol)
    concordant = float(weight @ sums.concordant)
    tied_risk = float(weight @ sums.tied_risk)
    comparable = float(weight @ sums.comparable)
    discordant = comparable - concordant - tied_risk
    return ConcordanceCounts(concordant, discordant, tied_risk, _tied_events(event, time, weight))


@overload
def concordance_index(
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = ...,
    *,
    tied_tol: float = ...,
    confidence_interval: None = ...,
    level: float = ...,
    n_resamples: int = ...,
    random_state: RandomState = ...,
) -> float: ...


@overload
def concordance_index(
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = ...,
    *,
    tied_tol: float = ...,
    confidence_interval: IntervalMethod,
    level: float = ...,
    n_resamples: int = ...,
    random_state: RandomState = ...,
) -> Estimate: ...


def concordance_index(
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    tied_tol: float = TIED_TOL,
    confidence_interval: IntervalMethod | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    random_state: RandomState = None,
) -> float | Estimate:
    r"""Harrell's concordance index in O(n log n) time and O(n) memory.

    .. math:: \hat C = \frac{\sum_{i,j} w_i w_j c_{ij} \{1(r_i > r_j) + \tfrac12 1(r_i = r_j)\}}
                            {\sum_{i,j} w_i w_j c_{ij}}, \qquad
              c_{ij} = \delta_i \{ 1(t_i < t_j) + 1(t_i = t_j, \delta_j = 0) \}

    Estimates the probability that of two comparable patients the one with the earlier event has
    the higher risk. It depends on the censoring pattern of the cohort; `uno_concordance` does not.

    Parameters
    ----------
    y : structured array of shape (n,)
        Event and time, see `survimg.target`.
    risk : array-like of shape (n,)
        Predicted risk; higher = earlier event.
    sample_weight : array-like of shape (n,), optional
        Whole weights act like repeated patients.
    tied_tol : float, default=1e-8
        Risks that differ by at most this are tied, as in scikit-survival.
    confidence_interval : {None, "analytic", "percentile", "bca"}, default=None
        None returns the number alone. "analytic": variance of the ratio of two U-statistics by the
        infinitesimal jackknife, logit-transformed interval; needs at least 10 events. "percentile"
        and "bca": bootstrap over patients (Efron 1987).
    level : float, default=0.95
        Confidence level.
    n_resamples : int, default=1000
        Number of bootstrap resamples.
    random_state : int, Generator or None, default=None
        Seed of the bootstrap.

    Returns
    -------
    float, or Estimate when `confidence_interval` is given

    Raises
    ------
    ValueError
        No comparable pair; invalid outcome, risk or weights; an analytic interval with fewer
        than 10 events; an interval where the data hold no variation (C exactly 0 or 1).

    References
    ----------
    .. [1] Harrell FE, Lee KL, Mark DB. Stat Med 1996;15:361-387.
    .. [2] Therneau TM, Watson DA. The concordance statistic and the Cox model. Mayo Clinic
       technical report 85, 2017 (infinitesimal jackknife).
    """
    if confidence_interval is not None:
        return _with_interval(
            y, risk, sample_weight, tied_tol, confidence_interval, level, n_resamples, random_state
        )
    event, time = check_outcome(y)
    risk = check_risk(risk, event.size, y=y)
    weight = check_weights(sample_weight, event.size, y)
    sums = pair_sums(event, time, risk, weight, tied_tol)
    comparable = float(weight @ sums.comparable)
    if not comparable > 0:
        raise ValueError(no_comparable_pair(event))
    return float(weight @ sums.score) / comparable


def compare_concordance(
    y: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    method: Literal["analytic", "jackknife", "bootstrap"] = "analytic",
    level: float = 0.95,
    n_resamples: int = 1000,
    tied_tol: float = TIED_TOL,
    random_state: RandomState = None,
) -> Comparison:
    r"""Paired comparison of the concordance indices of two models on the same patients.

    Parameters
    ----------
    y : structured array of shape (n,)
    first, second : array-like of shape (n,)
        Risks predicted by the two models for the same patients; higher = earlier event.
    method : {"analytic", "jackknife", "bootstrap"}, default="analytic"
        "analytic": normal test with the infinitesimal-jackknife (U-statistic) variance
        :math:`\sum_i (\psi^a_i - \psi^b_i)^2` of the difference. "jackknife": the leave-one-out
        variance instead. "bootstrap": percentile interval over patients, and the p value
        :math:`2 \min\{P(d^* \le 0), P(d^* \ge 0)\}` with one added to both counts.
    level, n_resamples, tied_tol, random_state
        As in `concordance_index`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        No comparable pair, fewer than 10 events (but for the bootstrap), or two models that rank
        every pair alike (the difference then has no variance and needs no test).

    References
    ----------
    .. [1] Therneau TM, Watson DA. Mayo Clinic technical report 85, 2017.
    .. [2] Kang L, Chen W, Petrick NA, Gallas BD. Stat Med 2015;34:685-703.
    """
    z = check_level(level)
    event, time = check_outcome(y)
    risks = [
        check_risk(first, event.size, name="first", y=y),
        check_risk(second, event.size, name="second", y=y),
    ]
    ones = check_weights(None, event.size)
    a, psi_a, loo_a = concordance_influence(event, time, risks[0], ones, tied_tol)
    b, psi_b, loo_b = concordance_influence(event, time, risks[1], ones, tied_tol)
    difference = a - b
    if np.allclose(psi_a, psi_b, rtol=0, atol=1e-15):
        raise ValueError(
            "Both models order the comparable pairs in the same way for every patient: the "
            "difference has no variance, so a test is undefined."
        )
    if method != "bootstrap":
        require_enough_events(event)
    if method == "bootstrap":
        rng = np.random.default_rng(random_state)
        counts = resampling_counts(event.size, n_resamples, rng)
        values = bootstrap_concordance(event, time, risks, counts, tied_tol)
        differences = values[0] - values[1]
        lower, upper = percentile_interval(differences, level)
        error = float(differences.std(ddof=1))
        p_value = bootstrap_p_value(differences)
    elif method in ("analytic", "jackknife"):
        if method == "analytic":
            error = float(np.sqrt(np.sum((psi_a - psi_b) ** 2)))
        else:
            error = _jackknife_error(loo_a - loo_b)
        lower, upper = difference - z * error, difference + z * error
        p_value = normal_p_value(difference / error)
    else:
        raise ValueError(
            f"method must be 'analytic', 'jackknife' or 'bootstrap'; got {method!r}."
        )
    return Comparison(a, b, difference, lower, upper, error, p_value, level, method)


def _tied_events(event: np.ndarray, time: np.ndarray, weight: np.ndarray) -> float:
    _, at = np.unique(time[event], return_inverse=True)
    w = weight[event].astype(np.float64)
    return float(np.sum(np.bincount(at, w) ** 2 - np.bincount(at, w**2)) / 2)


def _jackknife_error(left_out: np.ndarray) -> float:
    n = left_out.size
    if not np.all(np.isfinite(left_out)):
        raise ValueError(
            "Leaving one patient out leaves no comparable pair, so the jackknife is undefined; "
            "use method='analytic'."
        )
    return float(np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2)))


def _with_interval(
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
    tied_tol: float,
    method: IntervalMethod,
    level: float,
    n_resamples: int,
    random_state: RandomState,
) -> Estimate:
    check_level(level)
    event, time = check_outcome(y)
    risk = check_risk(risk, event.size, y=y)
    weight = check_weights(sample_weight, event.size, y)
    value, influence, left_out = concordance_influence(event, time, risk, weight, tied_tol)
    if method == "analytic":
        require_enough_events(event & (weight > 0))
        error = float(np.sqrt(np.sum(influence**2)))
        lower, upper = logit_interval(value, error, level)
        return Estimate(value, lower, upper, error, level, "infinitesimal jackknife, logit")
    if method not in ("percentile", "bca"):
        raise ValueError(
            f"confidence_interval must be None, 'analytic', 'percentile' or 'bca'; got {method!r}."
        )
    if sample_weight is not None:
        raise ValueError(
            "The bootstrap resamples unweighted patients; with sample_weight use "
            "confidence_interval='analytic'."
        )
    counts = resampling_counts(event.size, n_resamples, np.random.default_rng(random_state))
    values = bootstrap_concordance(event, time, [risk], counts, tied_tol)[0]
    if method == "bca":
        lower, upper = bca_interval(values, value, left_out, level)
    else:
        lower, upper = percentile_interval(values, level)
    return Estimate(value, lower, upper, float(values.std(ddof=1)), level, f"{method} bootstrap")
