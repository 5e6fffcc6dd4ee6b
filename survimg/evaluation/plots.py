"""Figures of survival studies. Each function draws into a given `ax` and returns it.

Nothing here computes statistics that are not in the other modules; pass their results, or the
arrays they take. The legend of more than three curves hangs to the right of the axes; leave room
(``constrained`` layout does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from survimg.evaluation.calibration import CalibrationGroups, SmoothCalibration
from survimg.evaluation.decision_curve import DecisionCurve
from survimg.evaluation.estimates import LEAST_EVENTS, Comparison, Estimate
from survimg.evaluation.kaplan_meier import kaplan_meier
from survimg.evaluation.nomogram_figure import plot_nomogram
from survimg.evaluation.risk_groups import logrank_test
from survimg.evaluation.roc import RocCurve
from survimg.evaluation.ticks import round_ticks
from survimg.evaluation.time_dependent_auc import TimeDependentAuc
from survimg.target import as_outcome, check_outcome, in_order_of

__all__ = [
    "plot_auc_over_time",
    "plot_calibration",
    "plot_concordance_forest",
    "plot_decision_curve",
    "plot_kaplan_meier",
    "plot_nomogram",
    "plot_roc_curves",
]

# Okabe and Ito's colours, told apart with every kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":", "-.")
# More entries would cover curves.
_MOST_ENTRIES_INSIDE = 3


def plot_kaplan_meier(
    y: npt.ArrayLike,
    groups: npt.ArrayLike,
    ax: Axes,
    *,
    strata: npt.ArrayLike | None = None,
    time_label: str = "Time",
    labels: Mapping[object, str] | None = None,
    n_ticks: int = 6,
) -> Axes:
    """Kaplan-Meier curves by group with intervals, log-rank p and numbers at risk below.

    With fewer than 10 events there is no test.

    Parameters
    ----------
    y : structured array of shape (n,)
    groups : array-like of shape (n,)
    ax : Axes
        The table of numbers at risk hangs below it; leave room (``constrained`` layout does).
    strata : array-like of shape (n,), optional
        Such as folds: the log-rank test is stratified by them.
    time_label : str, default="Time"
        With the unit, such as "Months".
    labels : mapping of group to str, optional
    n_ticks : int, default=6
        Times in the table.

    Returns
    -------
    Axes
    """
    outcome, member = as_outcome(y), np.asarray(in_order_of(y, groups, "y", "groups"))
    names = np.unique(member)
    shown = {name: str((labels or {}).get(name, name)) for name in names}
    for style, name in zip(_styles(len(names)), names, strict=True):
        colour = style["color"]
        curve = kaplan_meier(outcome[member == name])
        times = np.concatenate(([0.0], curve.time))
        ax.step(
            times,
            np.concatenate(([1.0], curve.survival)),
            where="post",
            label=shown[name],
            **style,
        )
        lower, upper = (np.concatenate(([1.0], c)) for c in (curve.lower, curve.upper))
        ax.fill_between(times, lower, upper, step="post", color=colour, alpha=0.15, linewidth=0)
        censored = curve.n_censored > 0
        ax.plot(
            curve.time[censored], curve.survival[censored], "|", color=colour, markersize=5
        )
    ax.set_ylim(0, 1.02)
    ax.set_xlim(left=0)
    ax.set_ylabel("Survival")
    if len(names) > 1:
        stratum = None if strata is None else in_order_of(y, strata, "y", "strata")
        ax.text(0.03, 0.05, _test_text(outcome, member, stratum), transform=ax.transAxes)
    _legend(ax)
    _risk_table(ax, outcome, member, shown, n_ticks, time_label)
    return ax


def plot_roc_curves(curves: Mapping[str, RocCurve], ax: Axes) -> Axes:
    """ROC curves of several models, or of one model at several horizons.

    Parameters
    ----------
    curves : mapping of label to RocCurve
        From `status_roc_curve` or `roc_curve_at_horizon`.
    ax : Axes

    Returns
    -------
    Axes
    """
    for style, (label, curve) in zip(_styles(len(curves)), curves.items(), strict=True):
        ax.plot(
            curve.false_positive_rate,
            curve.true_positive_rate,
            label=f"{label} (AUC {curve.auc:.3f})",
            **style,
        )
    _diagonal(ax)
    ax.set_xlabel("1 - specificity")
    ax.set_ylabel("Sensitivity")
    _legend(ax)
    return ax


def plot_auc_over_time(
    results: Mapping[str, TimeDependentAuc], ax: Axes, *, time_label: str = "Time"
) -> Axes:
    """Cumulative/dynamic AUC with its interval over time, for several models.

    Parameters
    ----------
    results : mapping of label to TimeDependentAuc
    ax : Axes
    time_label : str, default="Time"

    Returns
    -------
    Axes
    """
    for style, (label, result) in zip(_styles(len(results)), results.items(), strict=True):
        ax.plot(result.times, result.auc, label=label, **style)
        ax.fill_between(
            result.times, result.lower, result.upper, color=style["color"], alpha=0.15, linewidth=0
        )
    ax.axhline(0.5, color="0.6", linestyle=":", linewidth=1)
    ax.set_xlabel(time_label)
    ax.set_ylabel("Cumulative/dynamic AUC")
    _legend(ax)
    return ax


def plot_calibration(
    groups: CalibrationGroups, ax: Axes, *, smooth: SmoothCalibration | None = None
) -> Axes:
    """Observed against predicted survival at a horizon.

    Parameters
    ----------
    groups : CalibrationGroups
        Points with Kaplan-Meier intervals.
    ax : Axes
    smooth : SmoothCalibration, optional
        Drawn as a curve, on the survival scale as well.

    Returns
    -------
    Axes
    """
    has_interval = np.isfinite(groups.lower)
    bars = np.zeros((2, groups.observed.size))
    bars[0, has_interval] = (groups.observed - groups.lower)[has_interval]
    bars[1, has_interval] = (groups.upper - groups.observed)[has_interval]
    ax.errorbar(
        groups.predicted,
        groups.observed,
        yerr=bars.clip(0),
        fmt="o-",
        color=COLOURS[0],
        capsize=3,
        label="Groups",
    )
    if smooth is not None:
        ax.plot(
            1 - smooth.predicted,
            1 - smooth.observed,
            color=COLOURS[1],
            label=f"Smooth (ICI {smooth.ici:.3f})",
        )
        _legend(ax)
    _diagonal(ax)
    ax.set_xlabel(f"Predicted survival at {groups.horizon:g}")
    ax.set_ylabel(f"Observed survival at {groups.horizon:g}")
    return ax


def plot_decision_curve(curves: Mapping[str, DecisionCurve], ax: Axes) -> Axes:
    """Net benefit over threshold probabilities, with "all" and "none" for comparison.

    Parameters
    ----------
    curves : mapping of label to DecisionCurve
        Of the same patients, horizon and thresholds.
    ax : Axes

    Returns
    -------
    Axes
    """
    for style, (label, curve) in zip(_styles(len(curves)), curves.items(), strict=True):
        ax.plot(curve.thresholds, curve.net_benefit, label=label, **style)
    first = next(iter(curves.values()))
    ax.plot(first.thresholds, first.treat_all, color="0.5", linestyle="--", label="All")
    ax.axhline(0, color="0.5", linestyle=":", label="None")
    top = max(float(curve.net_benefit.max()) for curve in curves.values())
    top = max(top, float(first.treat_all.max()), 0.01)
    ax.set_ylim(-0.1 * top, 1.1 * top)
    ax.set_xlabel("Threshold probability")
    ax.set_ylabel("Net benefit")
    _legend(ax)
    return ax


def plot_concordance_forest(
    estimates: Mapping[str, Estimate],
    ax: Axes,
    *,
    differences: Mapping[str, Comparison] | None = None,
) -> Axes:
    """Forest plot of concordance indices; beside them the paired differences.

    Parameters
    ----------
    estimates : mapping of model to Estimate
        From `concordance_index` with a confidence interval, drawn from top to bottom.
    ax : Axes
    differences : mapping of model to Comparison, optional
        Paired difference to a reference model, written to the right.

    Returns
    -------
    Axes
    """
    names = list(estimates)
    rows = np.arange(len(names))[::-1]
    for row, name in zip(rows, names, strict=True):
        e = estimates[name]
        ax.plot([e.lower, e.upper], [row, row], color=COLOURS[0], linewidth=1.5)
        ax.plot(e.value, row, "s", color=COLOURS[0], markersize=6)
        limits = f"{e.lower:.3f} to {e.upper:.3f}" if np.isfinite(e.lower) else "no interval"
        text = f"{e.value:.3f} ({limits})"
        if differences is not None and name in differences:
            text += f"   {differences[name]}"
        ax.annotate(
            text,
            (1.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize="small",
            annotation_clip=False,
        )
    ax.axvline(0.5, color="0.6", linestyle=":", linewidth=1)
    ax.set_yticks(rows, names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_xlabel("Concordance index")
    return ax


def _styles(n: int) -> list[dict[str, Any]]:
    """Colour and dash of n lines: all colours with solid lines first, then with dashes."""
    pairs = list(product(_DASHES, COLOURS))
    if n > len(pairs):
        raise ValueError(
            f"{n} lines cannot be told apart in one figure; draw at most {len(pairs)}."
        )
    return [{"color": colour, "linestyle": dash} for dash, colour in pairs[:n]]


def _legend(ax: Axes) -> None:
    """Name the curves: a few where there is room between them, more beside the axes."""
    if len(ax.get_legend_handles_labels()[1]) <= _MOST_ENTRIES_INSIDE:
        ax.legend(frameon=False, loc="best")
    else:
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        ax.set_anchor("W")  # square axes leave what room there is to the legend


def _diagonal(ax: Axes) -> None:
    ax.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.set_aspect("equal")


def _test_text(outcome: np.ndarray, member: np.ndarray, stratum: npt.ArrayLike | None) -> str:
    if outcome["event"].sum() < LEAST_EVENTS:
        return f"fewer than {LEAST_EVENTS} events: no test"
    try:
        p_value = logrank_test(outcome, member, stratum).p_value
    except ValueError:  # no event time with patients of several groups at risk
        return "log-rank p undefined"
    return "log-rank p < 0.001" if p_value < 0.001 else f"log-rank p = {p_value:.3f}"


def _risk_table(
    ax: Axes,
    outcome: np.ndarray,
    member: np.ndarray,
    shown: Mapping[object, str],
    n_ticks: int,
    time_label: str,
) -> None:
    end = float(check_outcome(outcome)[1].max())
    ticks = round_ticks(0, end, max(n_ticks - 1, 1))
    ax.set_xticks(ticks)
    lines: Sequence[tuple[object, str]] = list(shown.items())
    ax.set_xlabel(time_label)
    for row, (name, label) in enumerate(lines):
        counts = kaplan_meier(outcome[member == name]).number_at_risk(ticks)
        cells = [(0.0, ("axes fraction", "axes fraction"), -18, "right", label)]
        cells += [
            (float(tick), ("data", "axes fraction"), 0, "center", f"{count:.0f}")
            for tick, count in zip(ticks, counts, strict=True)
        ]
        for x, coordinates, shift, alignment, text in cells:
            ax.annotate(
                text,
                (x, 0),
                xycoords=coordinates,
                xytext=(shift, -46 - 13 * row),
                textcoords="offset points",
                ha=alignment,
                va="center",
                fontsize="small",
                annotation_clip=False,
            )
