"""How well models rank the patients of a sub-group: the levels of a clinical column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from survimg.benchmark.run_folder import Run
from survimg.benchmark.within_fold import run_concordance
from survimg.evaluation.estimates import Estimate
from survimg.evaluation.time_dependent_auc import cumulative_dynamic_auc
from survimg.report.probabilities import survival_at
from survimg.survival.distributions import chi_squared_p_value

__all__ = [
    "Level",
    "Subgroups",
    "concordance_of",
    "evaluate_subgroups",
    "levels_of",
    "levels_of_cells",
    "statistics_of",
]

_MOST_LEVELS = 6


@dataclass(frozen=True)
class Level:
    """One model on the patients of one level.

    Attributes
    ----------
    name : str
    n_patients, n_events : int
        Of the test patients.
    concordance : Estimate or None
        Harrell's C over pairs of one test fold that are both of this level, which of labels is the
        AUC; limits NaN with fewer than 10 events (of labels also patients without), None without a
        pair.
    auc : Estimate or None
        Cumulative/dynamic AUC at the horizon, of labels that of all test patients together; None
        for models without probabilities.
    """

    name: str
    n_patients: int
    n_events: int
    concordance: Estimate | None
    auc: Estimate | None


@dataclass(frozen=True)
class Subgroups:
    """One model on the levels of one clinical column.

    Attributes
    ----------
    column, model : str
    levels : tuple of Level
    p_concordance, p_auc : float or None
        Test that the statistic is the same in all levels (Cochran's Q on the logit scale); None
        with fewer than two levels that have an interval.
    label : str or None
        What labels say of a patient.
    """

    column: str
    model: str
    levels: tuple[Level, ...]
    p_concordance: float | None
    p_auc: float | None
    label: str | None = None


def statistics_of(label: str | None) -> tuple[str, str]:
    """Names of `Level.concordance` and `Level.auc`; labels have no times, so both are AUCs."""
    return ("C", "AUC") if label is None else ("AUC within folds", "AUC of all folds")


def levels_of(run: Run, column: str) -> np.ndarray:
    """Level of each patient: the cells of a column, or halves of numbers with many values.

    Parameters
    ----------
    run : Run
    column : str

    Returns
    -------
    ndarray of shape (n,), object
        Text; ``"missing"`` where a cell is empty.

    Raises
    ------
    ValueError
        There is no such column in the run, or it is text with more than six values.
    """
    if column not in run.clinical:
        columns = ", ".join(run.clinical) or "none (was the run made by an earlier version?)"
        raise ValueError(f"The run has no clinical column {column!r}; its columns are {columns}.")
    return levels_of_cells(column, run.clinical[column])


def levels_of_cells(column: str, cells: Sequence[Any]) -> np.ndarray:
    """Level of each cell of a clinical column, see `levels_of`."""
    values = {cell for cell in cells if cell is not None}
    if len(values) <= _MOST_LEVELS:
        names = {v: f"{v:g}" if isinstance(v, float) else str(v) for v in values}
        return np.array(["missing" if c is None else names[c] for c in cells], dtype=object)
    if not all(isinstance(value, float) for value in values):
        raise ValueError(
            f"Clinical column {column!r} has {len(values)} different values; sub-groups need at "
            f"most {_MOST_LEVELS}, or numbers, which are divided at their median."
        )
    median = float(np.median([cell for cell in cells if cell is not None]))
    halves = [f"≤ {median:g}", f"> {median:g}"]
    return np.array(
        ["missing" if cell is None else halves[cell > median] for cell in cells], dtype=object
    )


def evaluate_subgroups(run: Run, model: str, column: str, horizon: float) -> Subgroups:
    """Evaluate one model on each level of a clinical column.

    Parameters
    ----------
    run : Run
    model : str
    column : str
    horizon : float
        Of the AUC.

    Returns
    -------
    Subgroups

    Raises
    ------
    ValueError
        As `levels_of`.
    """
    groups = levels_of(run, column)
    tested, event = groups[run.tested], run.outcome["event"][run.tested]
    names = sorted({*tested.tolist()} - {"missing"}, key=_in_order)
    names += ["missing"] if "missing" in tested else []
    levels = tuple(
        Level(
            name,
            int((tested == name).sum()),
            int(event[tested == name].sum()),
            concordance_of(run, model, groups, name),
            _auc_of(run, model, groups == name, horizon),
        )
        for name in names
    )
    return Subgroups(
        column,
        model,
        levels,
        heterogeneity([level.concordance for level in levels if level.name != "missing"]),
        heterogeneity([level.auc for level in levels if level.name != "missing"]),
        run.label,
    )


def concordance_of(
    run: Run, model: str, groups: np.ndarray, level: str | None
) -> Estimate | None:
    """Concordance over pairs of one fold and one level: of `level`, or of each, if it is None.

    Returns
    -------
    Estimate or None
        None without a comparable pair; limits NaN with too few events or without variation.
    """
    units = []
    for (fold, _), record in run.successful_records(model).items():
        if not record.has_risk:
            continue
        test, risk = run.folds[fold][1], record.arrays["test_risk"]
        for one in sorted({*groups[test].tolist()}) if level is None else [level]:
            inside = groups[test] == one
            if inside.any():
                units.append((test[inside], risk[inside]))
    try:
        concordance = run_concordance(run, units)
    except ValueError:  # no comparable pair
        return None
    try:
        return concordance.interval()
    except ValueError:  # too few events, or no variation
        nan, error = float("nan"), concordance.standard_error
        return Estimate(concordance.value, nan, nan, error, 0.95, "no interval")


def heterogeneity(estimates: Sequence[Estimate | None]) -> float | None:
    r"""Test that proportions of disjoint groups of patients are equal (Cochran's Q).

    .. math:: Q = \sum_k w_k (l_k - \bar l)^2, \quad l_k = \operatorname{logit} p_k,
              \quad w_k = \{p_k (1 - p_k) / s_k\}^2

    Parameters
    ----------
    estimates : sequence of Estimate or None
        Those without an interval are left out.

    Returns
    -------
    float or None
        From the chi-squared distribution with one degree of freedom less than there are groups;
        None with fewer than two.

    References
    ----------
    Cochran WG. The combination of estimates from different experiments. Biometrics 10:101-129,
    1954.
    """
    usable = [e for e in estimates if e is not None and np.isfinite(e.lower)]
    if len(usable) < 2:
        return None
    value = np.array([e.value for e in usable])
    spread = value * (1 - value)
    weight = (spread / np.array([e.standard_error for e in usable])) ** 2
    logit = np.log(value / (1 - value))
    statistic = np.sum(weight * (logit - np.average(logit, weights=weight)) ** 2)
    return chi_squared_p_value(len(usable) - 1, float(statistic))


def _auc_of(run: Run, model: str, inside: np.ndarray, horizon: float) -> Estimate | None:
    try:
        position, survival = survival_at(run, model, horizon)
        mine = inside[position]
        y = run.outcome[position][mine]
        auc = cumulative_dynamic_auc(y, y, 1 - survival[mine], [horizon])
    except ValueError:  # no probabilities, or no case or control in this level
        return None
    return Estimate(
        float(auc.auc[0]), float(auc.lower[0]), float(auc.upper[0]),
        float(auc.standard_error[0]), auc.level, "influence values, logit",
    )  # fmt: skip


def _in_order(name: str) -> tuple[int, float, str]:
    """Numbers by size, then text."""
    if name[0] in "≤>":
        return (0, float(name[0] == ">"), "")
    try:
        return (0, float(name), "")
    except ValueError:
        return (1, 0.0, name)
