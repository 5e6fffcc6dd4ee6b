"""High and low risk in a cross-validation: each fold's test patients by its training cut-off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from survimg.benchmark.run_folder import Run
from survimg.evaluation.estimates import too_few
from survimg.evaluation.risk_groups import learn_cutoff, logrank_test

__all__ = ["RiskGroups", "risk_groups", "too_few_tested"]


@dataclass(frozen=True)
class RiskGroups:
    """Risk groups of the test patients of all folds.

    Attributes
    ----------
    position : ndarray of shape (m,)
        Positions of the patients in the run.
    high : ndarray of shape (m,), bool
        Above the cut-off that was learned on the training patients of the patient's fold.
    fold : ndarray of shape (m,)
    p_value : float or None
        Two-sided log-rank test, stratified by fold; None where it is undefined, and with fewer than
        10 events. Training sets of the folds overlap and hold each other's test
        patients, so it rejects too often (Simon et al., Brief Bioinform 2011;12:203-214): under
        permuted outcomes at 5 % in about one of ten.
    """

    position: np.ndarray
    high: np.ndarray
    fold: np.ndarray
    p_value: float | None


def risk_groups(run: Run, model: str) -> RiskGroups:
    """Group the test patients of each fold by the median risk of the fold's training patients.

    The cut-off of a test patient does not depend on outcomes or risks of test patients. With
    several seeds or repeats, the first is used.

    Parameters
    ----------
    run : Run
    model : str

    Returns
    -------
    RiskGroups

    Raises
    ------
    ValueError
        The model has not predicted every fold; a patient is tested in several folds; all training
        patients of a fold have the same risk; or all test patients are in one group.
    """
    records = {fold: r for fold, r in run.first_repeat(model).items() if r.has_risk}
    n_folds = len(run.repeats[0])
    if len(records) < n_folds:
        raise ValueError(f"{len(records)} of {n_folds} folds have predicted risks.")
    positions, high, folds = [], [], []
    for fold, record in sorted(records.items()):
        train, test = run.folds[fold]
        cutoff = learn_cutoff(run.outcome[train], record.arrays["train_risk"])
        positions.append(test)
        high.append(cutoff.high_risk(record.arrays["test_risk"]))
        folds.append(np.full(test.size, fold))
    position = np.concatenate(positions)
    if np.unique(position).size < position.size:
        raise ValueError("Patients are tested in several folds, so groups cannot be pooled.")
    groups = np.concatenate(high)
    if groups.all() or not groups.any():
        raise ValueError(f"All {groups.size} test patients fall into one group.")
    strata = np.concatenate(folds)
    p_value = None if too_few_tested(run) else _p_value(run.outcome[position], groups, strata)
    return RiskGroups(position, groups, strata, p_value)


def too_few_tested(run: Run) -> str | None:
    """Say which tested patients are too few for statements that hold for many; None if enough.

    Parameters
    ----------
    run : Run
    """
    return too_few(run.outcome["event"][run.tested], run.label)


def _p_value(y: np.ndarray, groups: np.ndarray, strata: np.ndarray) -> float | None:
    try:
        return logrank_test(y, groups, strata=strata).p_value
    except ValueError:  # the groups are never at risk together at an event time
        return None
