"""Figures of the report, as SVG that goes into the page itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from survimg.benchmark.risk_groups import RiskGroups
from survimg.benchmark.scores import ORACLE, ModelScore
from survimg.evaluation.estimates import Estimate
from survimg.evaluation.kaplan_meier import KaplanMeier, kaplan_meier
from survimg.evaluation.ticks import round_ticks
from survimg.report.ranks import RankSummary
from survimg.report.svg import CHANCE, FOLLOWED, Plot, shortened, steps, text_width

__all__ = ["concordance_figure", "dice_figure", "kaplan_meier_figure", "rank_figure"]

_MOST_POINTS = 40  # of a curve that show their values to the pointer


def concordance_figure(scores: Sequence[ModelScore], *, narrow: bool = False) -> Markup | None:
    """Draw each model's concordance index with its 95 % interval, folds as small dots.

    Parameters
    ----------
    scores : sequence of ModelScore
        Models without predictions are left out.
    narrow : bool, default=False
        For small screens: names and values are above each row instead of beside it.

    Returns
    -------
    Markup or None
        None if no model has predictions.
    """
    shown = {score.model: score for score in scores if score.within_folds is not None}
    if not shown:
        return None
    lowest = min(_lowest(score) for score in shown.values())
    limits = (min(0.4, np.floor(lowest * 20) / 20 - 0.02), 1.02)
    values = {name: _value_text(score.within_folds) for name, score in shown.items()}
    if narrow:
        plot = Plot(302, 49 * len(shown) + 46, limits, (-0.45, len(shown) - 0.2), left=12)
    else:
        names = max(text_width(shortened(name, 34)) for name in shown)
        room = max(map(text_width, values.values()))
        plot = Plot(
            691, 36 * len(shown) + 44, limits, (-0.45, len(shown) - 0.5), left=names + 12,
            right=room + 12,
        )  # fmt: skip
    plot.vertical(0.5, "figure-grey", CHANCE)
    for row, (name, score) in enumerate(reversed(shown.items())):
        _draw_row(plot, row, score)
        middle = float(plot.y(row))
        if narrow:
            text = f"{shortened(name, 24)}:  {values[name]}"
            plot.text(plot.left, middle - 11, text, model=name)
        else:
            plot.text(plot.left - 8, middle + 3.5, shortened(name, 34), anchor="end", model=name)
            place = plot.width - plot.right + 8
            plot.text(place, middle + 3.5, values[name], colour="figure-text", model=name)
    index = "AUC" if any(score.index == "AUC" for score in scores) else "C-index"
    plot.x_axis(f"{index} (0.5 = chance, 1 = perfect order)")
    return plot.svg(f"{index}: {'; '.join(f'{name} {text}' for name, text in values.items())}")


def kaplan_meier_figure(
    y: np.ndarray, groups: RiskGroups, time_unit: str | None, model: str
) -> Markup:
    """Draw Kaplan-Meier curves of the risk groups, with numbers at risk.

    Parameters
    ----------
    y : structured array of shape (n,)
        Outcome of all patients of the run.
    groups : RiskGroups
    time_unit : str or None
    model : str
    """
    outcome = y[groups.position]
    halves = (("low risk", "blue", ~groups.high), ("high risk", "vermilion", groups.high))
    curves = {name: (colour, kaplan_meier(outcome[half])) for name, colour, half in halves}
    end = float(outcome[outcome.dtype.names[1]].max()) * 1.02
    plot = Plot(281, 245, (0, end), (0, 1.03), left=50, bottom=70)
    for name, (colour, curve) in curves.items():
        _draw_curve(plot, curve, colour, name)
    ticks = round_ticks(0, end, 5)
    plot.x_axis("time" if time_unit is None else f"time ({time_unit})", ticks)
    plot.y_axis("event-free")
    entries = [
        (f"{name} (n = {int(curve.n_at_risk[0])})", colour, "")
        for name, (colour, curve) in curves.items()
    ]
    room = max(text_width(label, 9) for label, *_ in entries) + 20
    plot.legend(plot.width - plot.right - room, plot.top + 10, entries)
    floor = plot.height - plot.bottom
    plot.text(plot.left - 12, floor + 43, "at risk", anchor="end", colour="figure-text", size=9)
    for line, (colour, curve) in enumerate(curves.values()):
        for tick, number in zip(ticks, curve.number_at_risk(ticks), strict=True):
            place = float(plot.x(tick)), floor + 43 + 13 * line
            plot.text(*place, str(int(number)), anchor="middle", colour=colour, size=9)
    return plot.svg(f"Kaplan-Meier curves of low and high risk by {model}")


def dice_figure(scores: Sequence[ModelScore]) -> Markup | None:
    """Draw the Dice coefficients of the test patients, one row per model that segments.

    Parameters
    ----------
    scores : sequence of ModelScore

    Returns
    -------
    Markup or None
        Box (quartiles, median, extremes) and a dot per patient; None if no model segments.
    """
    shown = [score for score in scores if score.dice.size]
    if not shown:
        return None
    size = 317, 61 * len(shown) + 43
    plot = Plot(*size, (-0.01, 1.01), (-0.45, len(shown) - 0.4), left=12)
    for row, score in enumerate(reversed(shown)):
        dice, name = np.sort(score.dice), score.model
        low, median, high = np.quantile(dice, (0.25, 0.5, 0.75))
        limits = f"quartiles {low:.3f} to {high:.3f}, lowest {dice[0]:.3f}"
        title = f"{name}: median {median:.3f}, {limits}"
        plot.line(dice[[0, -1]], [row, row], "blue", model=name, title=title)
        bottom, top = row - 0.15, row + 0.15
        plot.area([low, high], [bottom] * 2, [top] * 2, "figure-box", 1, model=name)
        box = [low, high, high, low, low], [bottom, bottom, top, top, bottom]
        plot.line(*box, "blue", model=name, title=title)
        plot.line([median] * 2, [bottom, top], "blue", 2.2, model=name, title=title)
        # Patients in a fixed zigzag below the box: no random jitter, the same page each time.
        for value, offset in zip(dice, np.resize((0.26, 0.32, 0.29, 0.35), dice.size), strict=True):
            plot.point(value, row - offset, "figure-text", 3, opacity=0.5, model=name)
        label = f"{shortened(name, 24)}:  median {median:.3f}"
        plot.text(plot.left, float(plot.y(row + 0.22)), label, model=name)
    plot.x_axis("Dice of a test patient (1 = same mask)")
    return plot.svg("Dice coefficients of the test patients by model")


def rank_figure(summary: RankSummary) -> Markup:
    """Draw average ranks; vertical lines join models that do not differ significantly.

    Parameters
    ----------
    summary : RankSummary

    Returns
    -------
    Markup
    """
    n = len(summary.ranks)
    end = n + 0.4 + 0.16 * len(summary.groups)
    plot = Plot(317, 33 * n + 54, (0.9, end), (-0.4, n - 0.3), left=12)
    row_of = {name: n - 1 - k for k, name in enumerate(summary.ranks)}
    for name, rank in summary.ranks.items():
        plot.line([1, rank], [row_of[name]] * 2, "line")
        title = f"{name}: average rank {rank:.2f}"
        plot.point(rank, row_of[name], "blue", 5.5, shape="diamond", model=name, title=title)
        text = f"{shortened(name, 28)}:  {rank:.2f}"
        plot.text(float(plot.x(1)), float(plot.y(row_of[name])) - 8, text, model=name)
    for k, group in enumerate(summary.groups):
        ends = [row_of[group[0]] + 0.15, row_of[group[-1]] - 0.15]
        plot.line([n + 0.25 + 0.16 * k] * 2, ends, "figure-text", 3)
    plot.x_axis("average rank over folds (1 = best)", range(1, n + 1))
    values = ", ".join(f"{name} {rank:.2f}" for name, rank in summary.ranks.items())
    return plot.svg(f"Average ranks: {values}")


def _draw_row(plot: Plot, row: int, score: ModelScore) -> None:
    interval, name = score.within_folds, score.model
    if interval is None:
        return
    colour = "green" if name == ORACLE else "blue"
    if name == ORACLE:
        plot.vertical(interval.value, colour, FOLLOWED)
    for (fold, seed), value in score.fold_c.items():
        text = f"{name}, fold {fold + 1}, seed {seed}: C = {value:.3f}"
        plot.point(value, row - 0.17, colour, 4, opacity=0.45, model=name, title=text)
    text = f"{name}: C = {_value_text(interval)}"
    plot.line([interval.lower, interval.upper], [row, row], colour, 2, model=name, title=text)
    plot.point(interval.value, row, colour, 5, shape="diamond", model=name, title=text)


def _value_text(interval: Estimate | None) -> str:
    if interval is None:
        return ""
    if not np.isfinite(interval.lower):
        return f"{interval.value:.3f} (no interval)"
    return f"{interval.value:.3f} ({interval.lower:.3f} to {interval.upper:.3f})"


def _draw_curve(plot: Plot, curve: KaplanMeier, colour: str, name: str) -> None:
    time = np.concatenate(([0.0], curve.time))
    survival, lower, upper = (
        np.concatenate(([1.0], values)) for values in (curve.survival, curve.lower, curve.upper)
    )
    across, low = steps(time, lower)
    plot.area(across, low, steps(time, upper)[1], colour, 0.13)
    plot.line(*steps(time, survival), colour, 1.8)
    for k in np.flatnonzero(curve.n_censored > 0):
        ends = curve.survival[k] + np.array([-0.02, 0.02])
        plot.line([curve.time[k]] * 2, ends, colour)
    events = np.flatnonzero(curve.n_events > 0)
    for k in events[:: max(1, events.size // _MOST_POINTS)]:
        limits = f"{curve.lower[k]:.2f} to {curve.upper[k]:.2f}"
        text = f"{name}, {curve.time[k]:.3g}: {curve.survival[k]:.2f} ({limits})"
        plot.point(curve.time[k], curve.survival[k], colour, 7, opacity=0, title=text)


def _lowest(score: ModelScore) -> float:
    limit = np.nan if score.within_folds is None else score.within_folds.lower
    return float(np.nanmin([*score.fold_c.values(), limit]))
