"""Concordance over several test folds, counting pairs within a fold only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from survimg.benchmark.run_folder import Run
from survimg.evaluation.concordance import no_comparable_pair
from survimg.evaluation.estimates import (
    Comparison,
    Estimate,
    logit_interval,
    normal_interval,
    too_few,
)
from survimg.evaluation.pairs import pair_sums, pair_sums_later
from survimg.survival.distributions import normal_p_value

__all__ = [
    "WithinFoldConcordance", "compare_within_folds", "patient_pairs", "run_concordance",
    "within_fold_concordance",
]

_TIED_TOL = 1e-8  # as in survimg.evaluation.concordance_index
Unit = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class WithinFoldConcordance:
    """Concordance index over folds, with the effect of each patient.

    Attributes
    ----------
    value : float
        Concordant (half of the tied) pairs of all folds, divided by the comparable pairs of all.
    influence : ndarray of shape (n_patients,)
        Effect of each patient on `value`; the sum of squares is its variance.
    event : ndarray of shape (n_tested,), bool
        Of each tested patient.
    label : str or None
        What the events stand for, where they are labels.
    """

    value: float
    influence: np.ndarray
    event: np.ndarray
    label: str | None = None

    @property
    def too_few(self) -> str | None:
        """Which tested patients are too few for an interval; None if there are enough."""
        return too_few(self.event, self.label)

    @property
    def standard_error(self) -> float:
        """Infinitesimal-jackknife standard error over patients."""
        return float(np.sqrt(np.sum(self.influence**2)))

    def interval(self, level: float = 0.95) -> Estimate:
        """Confidence interval on the logit scale.

        Raises
        ------
        ValueError
            Fewer than 10 events, or of labels fewer than 10 patients without it; the value is 0 or
            1, so there is no variation to estimate an error from.
        """
        if self.too_few is not None:
            raise ValueError(f"There are {self.too_few}: too few for an interval.")
        error = self.standard_error
        lower, upper = logit_interval(self.value, error, level)
        return Estimate(self.value, lower, upper, error, level, "infinitesimal jackknife, logit")


def run_concordance(run: Run, units: Sequence[Unit]) -> WithinFoldConcordance:
    """Concordance of risks of the test patients of a run, see `within_fold_concordance`."""
    event, time = run.outcome["event"], run.outcome["time"]
    concordance = within_fold_concordance(event, time, units, run.clusters, run.sample_weight)
    return replace(concordance, label=run.label)


def within_fold_concordance(
    event: np.ndarray,
    time: np.ndarray,
    units: Sequence[Unit],
    clusters: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> WithinFoldConcordance:
    r"""Harrell's C over the test folds of a cross-validation.

    .. math:: C = \frac{\sum_f \sum_{i, j \in f} c_{ij} s_{ij}}{\sum_f \sum_{i, j \in f} c_{ij}}

    Risks of different folds come from different fits and need not share a scale, so a pair counts
    only if one fit has predicted both its patients. The variance is that of a ratio of
    U-statistics. The contributions of a patient in several units (folds of several seeds or
    repeats) are added before they are squared, so that repeating a cross-validation does not
    increase the number of patients. It covers the choice of patients, given the fitted models.

    Parameters
    ----------
    event, time : ndarray of shape (n,)
        Outcome of all patients.
    units : sequence of (test, risk)
        Positions of the test patients and their risks (higher = earlier event), one per fold and
        seed.
    clusters : ndarray of shape (n,), optional
        Patient of each row, if patients have several images; contributions are added by patient.
    sample_weight : ndarray of shape (n,), optional
        A pair counts as the product of its patients' weights.

    Returns
    -------
    WithinFoldConcordance

    Raises
    ------
    ValueError
        No comparable pair in any unit.

    References
    ----------
    .. [1] Therneau TM, Watson DA. The concordance statistic and the Cox model. Mayo Clinic
       technical report 85, 2017 (stratified concordance, infinitesimal jackknife).
    """
    own_score, own_pairs = patient_pairs(event, time, units, sample_weight)
    score, pairs = own_score.sum() / 2, own_pairs.sum() / 2  # each pair counts for both patients
    if not pairs > 0:
        raise ValueError(no_comparable_pair(event))
    value = float(score / pairs)
    influence = (own_score - value * own_pairs) / pairs
    tested = np.unique(np.concatenate([test for test, _ in units]))
    if clusters is not None:
        _, member = np.unique(clusters, return_inverse=True)
        if np.unique(member[tested]).size < 2:
            raise ValueError(
                "All tested images belong to one patient (group), so that nothing can be said of "
                "other patients. Are the groups centres? Then do not pass them as patients."
            )
        summed: np.ndarray = np.bincount(member, weights=influence)
        return WithinFoldConcordance(value, summed, event[tested])
    return WithinFoldConcordance(value, influence, event[tested])


def patient_pairs(
    event: np.ndarray,
    time: np.ndarray,
    units: Sequence[Unit],
    sample_weight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Count the pairs of each patient within test folds.

    Parameters
    ----------
    event, time, units, sample_weight
        See `within_fold_concordance`.

    Returns
    -------
    score, pairs : ndarray of shape (n,)
        Concordant pairs (half of the tied ones) and comparable pairs that a patient is in, or
        their weights.
    """
    weight = np.ones(event.size, dtype=np.int64) if sample_weight is None else sample_weight
    score, pairs = np.zeros(event.size), np.zeros(event.size)
    for test, risk in units:
        outcome = event[test], time[test], risk, weight[test]
        for count in (pair_sums, pair_sums_later):
            part = count(*outcome, _TIED_TOL)
            score[test] += weight[test] * part.score
            pairs[test] += weight[test] * part.comparable
    return score, pairs


def compare_within_folds(
    first: WithinFoldConcordance, second: WithinFoldConcordance, level: float = 0.95
) -> Comparison | None:
    """Paired comparison of two models over the same units.

    Returns
    -------
    Comparison or None
        None if both models order the pairs alike: the difference is 0 and has no variance.
    """
    difference = first.value - second.value
    gap = first.influence - second.influence
    if np.allclose(gap, 0, rtol=0, atol=1e-15):
        return None
    error = float(np.sqrt(np.sum(gap**2)))
    lower, upper = normal_interval(difference, error, level)
    p_value = normal_p_value(difference / error)
    return Comparison(
        first.value, second.value, difference, lower, upper, error, p_value, level, "analytic"
    )
