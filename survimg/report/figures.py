"""Figures of the report: SVG (PNG for images) as text that goes into the page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from survimg.benchmark.records import Record
from survimg.benchmark.risk_groups import RiskGroups
from survimg.benchmark.scores import ORACLE, ModelScore
from survimg.evaluation.estimates import Estimate
from survimg.evaluation.kaplan_meier import KaplanMeier, kaplan_meier
from survimg.files import writing
from survimg.report.ranks import RankSummary
from survimg.report.svg import CLEAR, GREY, STYLE, mark, svg

__all__ = [
    "COLOURS",
    "LINES",
    "concordance_figure",
    "dice_figure",
    "draw_concordance",
    "draw_kaplan_meier",
    "example_figure",
    "kaplan_meier_figure",
    "rank_figure",
    "shortened",
    "write_png",
]

# Okabe and Ito's palette: told apart with any colour vision.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
DARK = "#374151"
#: One per model in figures that hold several; line styles tell those apart that share one.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6b7280")
LINES = ("solid", "dashed", "dotted", "dashdot")
_MOST_POINTS = 40  # of a curve that show their values to the pointer



def concordance_figure(scores: Sequence[ModelScore], *, narrow: bool = False) -> Markup | None:
    """Draw `draw_concordance` as SVG.

    Parameters
    ----------
    scores : sequence of ModelScore
    narrow : bool, default=False
        For small screens: names and values are above each row instead of beside it.

    Returns
    -------
    Markup or None
        SVG; None if no model has predictions.
    """
    figure = draw_concordance(scores, narrow=narrow)
    values = [f"{s.model} {_value_text(s.within_folds)}" for s in scores if s.within_folds]
    return None if figure is None else svg(figure, f"{_index_name(scores)}: {'; '.join(values)}")


def _index_name(scores: Sequence[ModelScore]) -> str:
    return "AUC" if any(score.index == "AUC" for score in scores) else "C-index"


def draw_concordance(scores: Sequence[ModelScore], *, narrow: bool = False) -> Figure | None:
    """Draw each model's concordance index with its 95 % interval, folds as small dots.

    Parameters
    ----------
    scores : sequence of ModelScore
        Models without predictions are left out.
    narrow : bool, default=False

    Returns
    -------
    Figure or None
        None if no model has predictions.
    """
    shown = [score for score in scores if score.within_folds is not None]
    if not shown:
        return None
    size = (4.2, 0.68 * len(shown) + 0.75) if narrow else (9.6, 0.5 * len(shown) + 0.8)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        for row, score in enumerate(reversed(shown)):
            _draw_row(axes, row, score)
            (_label_above if narrow else _label_beside)(axes, row, score)
        lowest = min(_lowest(score) for score in shown)
        axes.axvline(0.5, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.set_xlim(min(0.4, np.floor(lowest * 20) / 20 - 0.02), 1.02)
        axes.set_ylim(-0.45, len(shown) - (0.2 if narrow else 0.5))
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"{_index_name(scores)} (0.5 = chance, 1 = perfect order)")
    return figure


def kaplan_meier_figure(
    y: np.ndarray, groups: RiskGroups, time_unit: str | None, model: str
) -> Markup:
    """Draw `draw_kaplan_meier` as SVG, named after the model."""
    figure = draw_kaplan_meier(y, groups, time_unit)
    return svg(figure, f"Kaplan-Meier curves of low and high risk by {model}")


def draw_kaplan_meier(y: np.ndarray, groups: RiskGroups, time_unit: str | None) -> Figure:
    """Draw Kaplan-Meier curves of the risk groups, with numbers at risk.

    Parameters
    ----------
    y : structured array of shape (n,)
        Outcome of all patients of the run.
    groups : RiskGroups
    time_unit : str or None
    """
    outcome = y[groups.position]
    time = outcome[outcome.dtype.names[1]]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.9, 3.4))
        axes = figure.subplots()
        figure.subplots_adjust(left=0.15, right=0.97, top=0.98, bottom=0.32)
        halves = (("low risk", BLUE, ~groups.high), ("high risk", VERMILION, groups.high))
        curves = {name: (colour, kaplan_meier(outcome[half])) for name, colour, half in halves}
        for name, (colour, curve) in curves.items():
            _draw_curve(axes, curve, colour, f"{name} (n = {int(curve.n_at_risk[0])})")
        axes.set_ylim(0, 1.03)
        axes.set_xlim(0, time.max() * 1.02)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(6, steps=[1, 2, 3, 5, 10]))
        axes.set_ylabel("event-free", labelpad=2)
        axes.set_xlabel("time" if time_unit is None else f"time ({time_unit})")
        axes.legend(loc="upper right", frameon=False, fontsize=9)
        _write_numbers_at_risk(axes, curves)
    return figure


def example_figure(record: Record, k: int) -> Markup:
    """Draw one example slice, a panel per channel, with the true and the predicted contour.

    Returns
    -------
    Markup
        Source of an HTML image (PNG in a data URI).
    """
    example = record.details["examples"][k]
    image = record.arrays[f"example{k}_image"]
    truth, predicted = (record.arrays[f"example{k}_{name}"] for name in ("truth", "predicted"))
    spacing = example["spacing"] or [1.0, 1.0]
    aspect = spacing[0] / spacing[1]
    n_channels, height, width = image.shape
    with mpl.rc_context(STYLE):
        size = (2.1 * n_channels, 2.1 * aspect * height / width)
        figure = Figure(figsize=size, dpi=130)
        panels = figure.subplots(1, n_channels, squeeze=False)[0]
        for axes, channel, name in zip(panels, image, example["channels"], strict=True):
            low, high = np.percentile(channel, (1, 99.5))
            colours = "gray_r" if name.upper() in ("PET", "PT") else "gray"
            axes.imshow(channel, cmap=colours, vmin=low, vmax=max(high, low + 1e-6), aspect=aspect)
            for mask, colour, line in ((truth, GREEN, "solid"), (predicted, VERMILION, "dashed")):
                if mask.any() and not mask.all():
                    axes.contour(mask, [0.5], colors=colour, linestyles=line, linewidths=1.5)
            axes.set_axis_off()
        figure.subplots_adjust(0, 0, 1, 1, wspace=0.03)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", transparent=True, metadata={"Software": None})
    return Markup("data:image/png;base64,") + base64.b64encode(buffer.getvalue()).decode()


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
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 0.85 * len(shown) + 0.6), layout="constrained")
        axes = figure.subplots()
        for row, score in enumerate(reversed(shown)):
            quartiles = np.quantile(score.dice, (0.25, 0.5, 0.75))
            ends = [score.dice.min(), score.dice.max()]
            parts: list[Artist] = [*axes.plot(ends, [row, row], color=BLUE, linewidth=1)]
            box = axes.barh(row, np.ptp(quartiles[[0, 2]]), 0.3, quartiles[0], color="#cfe3f1")
            box[0].set_edgecolor(BLUE)
            parts += [box[0]]
            parts += axes.plot([quartiles[1]] * 2, [row - 0.15, row + 0.15], color=BLUE, lw=2.2)
            # Patients in a fixed zigzag below the box: no random jitter, the same page each time.
            offset = np.resize((0.26, 0.32, 0.29, 0.35), score.dice.size)
            dice = np.sort(score.dice)
            parts += axes.plot(dice, row - offset, "o", color=DARK, ms=3, mew=0, alpha=0.5)
            label = f"{shortened(score.model, 24)}:  median {quartiles[1]:.3f}"
            edge = axes.get_yaxis_transform()
            parts += [axes.text(0.0, row + 0.2, label, transform=edge, ha="left", va="bottom")]
            limits = f"quartiles {quartiles[0]:.3f} to {quartiles[2]:.3f}, lowest {ends[0]:.3f}"
            for part in parts:
                mark(part, f"{score.model}: median {quartiles[1]:.3f}, {limits}", model=score.model)
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.45, len(shown) - 0.4)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("Dice of a test patient (1 = same mask)")
    return svg(figure, "Dice coefficients of the test patients by model")


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
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 0.46 * n + 0.75), layout="constrained")
        axes = figure.subplots()
        row_of = {name: n - 1 - k for k, name in enumerate(summary.ranks)}
        for name, rank in summary.ranks.items():
            axes.plot([1, rank], [row_of[name]] * 2, color="#e5e7eb", linewidth=1, zorder=0)
            (point,) = axes.plot(rank, row_of[name], "D", color=BLUE, markersize=6)
            text = f"{shortened(name, 28)}:  {rank:.2f}"
            label = axes.text(1, row_of[name] + 0.14, text, ha="left", va="bottom")
            for part in (point, label):
                mark(part, f"{name}: average rank {rank:.2f}", model=name)
        for k, group in enumerate(summary.groups):
            x = n + 0.25 + 0.16 * k
            ends = [row_of[group[0]] + 0.15, row_of[group[-1]] - 0.15]
            axes.plot([x, x], ends, color=DARK, linewidth=3, solid_capstyle="butt")
        axes.set_xlim(0.9, n + 0.4 + 0.16 * len(summary.groups))
        axes.set_ylim(-0.4, n - 0.3)
        axes.set_xticks(range(1, n + 1))
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("average rank over folds (1 = best)")
    values = ", ".join(f"{name} {rank:.2f}" for name, rank in summary.ranks.items())
    return svg(figure, f"Average ranks: {values}")


def write_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, 160 dots an inch."""
    with mpl.rc_context(STYLE), writing(path) as temporary:
        figure.savefig(temporary, dpi=160, metadata={"Software": None})


def _draw_row(axes: Axes, row: int, score: ModelScore) -> None:
    interval = score.within_folds
    if interval is None:
        return
    colour = GREEN if score.model == ORACLE else BLUE
    if score.model == ORACLE:
        axes.axvline(interval.value, color=GREEN, linewidth=1, linestyle=(0, (1, 2)), zorder=0)
    for (fold, seed), value in score.fold_c.items():
        (dot,) = axes.plot(value, row - 0.17, "o", color=colour, alpha=0.45, markersize=4, mew=0)
        text = f"{score.model}, fold {fold + 1}, seed {seed}: C = {value:.3f}"
        mark(dot, text, model=score.model)
    text = f"{score.model}: C = {_value_text(interval)}"
    if np.isfinite(interval.lower):
        (bar,) = axes.plot([interval.lower, interval.upper], [row, row], color=colour, linewidth=2)
        mark(bar, text, model=score.model)
    (point,) = axes.plot(interval.value, row, "D", color=colour, ms=6.5, mec="white", mew=0.8)
    mark(point, text, model=score.model)


def _label_beside(axes: Axes, row: int, score: ModelScore) -> None:
    """Write the name to the left and the value to the right of the axes."""
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    name = axes.text(-0.015, row, shortened(score.model, 34), ha="right", **place)
    value = axes.text(1.015, row, _value_text(score.within_folds), ha="left", color=DARK, **place)
    for text in (name, value):
        mark(text, model=score.model)


def _label_above(axes: Axes, row: int, score: ModelScore) -> None:
    text = f"{shortened(score.model, 24)}:  {_value_text(score.within_folds)}"
    edge = axes.get_yaxis_transform()
    label = axes.text(0.0, row + 0.22, text, transform=edge, ha="left", va="bottom", bbox=CLEAR)
    mark(label, model=score.model)


def shortened(name: str, length: int) -> str:
    """Cut a name that is too long, and mark it with an ellipsis."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _value_text(interval: Estimate | None) -> str:
    if interval is None:
        return ""
    if not np.isfinite(interval.lower):
        return f"{interval.value:.3f} (no interval)"
    return f"{interval.value:.3f} ({interval.lower:.3f} to {interval.upper:.3f})"


def _draw_curve(axes: Axes, curve: KaplanMeier, colour: str, label: str) -> None:
    time = np.concatenate(([0.0], curve.time))
    survival = np.concatenate(([1.0], curve.survival))
    axes.step(time, survival, where="post", color=colour, linewidth=1.8, label=label)
    lower, upper = (np.concatenate(([1.0], limit)) for limit in (curve.lower, curve.upper))
    axes.fill_between(time, lower, upper, step="post", color=colour, alpha=0.13, linewidth=0)
    censored = curve.n_censored > 0
    axes.plot(curve.time[censored], curve.survival[censored], "|", color=colour, markersize=6)
    events = np.flatnonzero(curve.n_events > 0)
    for k in events[:: max(1, events.size // _MOST_POINTS)]:
        (point,) = axes.plot(curve.time[k], curve.survival[k], "o", color=colour, ms=7, alpha=0)
        limits = f"{curve.lower[k]:.2f} to {curve.upper[k]:.2f}"
        name = label.partition(" (")[0]
        mark(point, f"{name}, {curve.time[k]:.3g}: {curve.survival[k]:.2f} ({limits})")


def _write_numbers_at_risk(axes: Axes, curves: Mapping[str, tuple[str, KaplanMeier]]) -> None:
    ticks = [t for t in axes.get_xticks() if 0 <= t <= axes.get_xlim()[1]]
    below = axes.get_xaxis_transform()
    axes.text(0, -0.29, "at risk", transform=below, fontsize=9, color=DARK, ha="center")
    for line, (colour, curve) in enumerate(curves.values()):
        for tick, number in zip(ticks, curve.number_at_risk(ticks), strict=True):
            text = str(int(number))
            y = -0.37 - 0.085 * line
            axes.text(tick, y, text, transform=below, ha="center", fontsize=9, color=colour)


def _lowest(score: ModelScore) -> float:
    limit = np.nan if score.within_folds is None else score.within_folds.lower
    return float(np.nanmin([*score.fold_c.values(), limit]))
