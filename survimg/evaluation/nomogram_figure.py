"""The usual drawing of a nomogram: an axis per covariate, total points, probability scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from survimg.evaluation.nomogram import Nomogram
from survimg.evaluation.ticks import round_ticks

__all__ = ["plot_nomogram"]

_PROBABILITIES = (0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.01)
# Of the width of the figure: closer labels would touch.
_CLOSEST = 4.2


def plot_nomogram(
    nomogram: Nomogram,
    ax: Axes,
    *,
    horizons: Sequence[float],
    ticks: Mapping[str, Sequence[float]] | None = None,
    survival_ticks: Sequence[float] = _PROBABILITIES,
    time_unit: str = "",
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """Draw points, covariate axes, total points and predicted survival.

    Parameters
    ----------
    nomogram : Nomogram
    ax : Axes
        About 0.5 inch high per axis; labels stand to its left (``constrained`` layout makes room).
    horizons : sequence of float
        Times of the survival axes, such as 36 and 60 months.
    ticks : mapping of covariate to sequence of float, optional
        Marked values; round ones by default, and every level of a categorical covariate.
    survival_ticks : sequence of float, optional
        Probabilities to mark where they can occur.
    time_unit : str, optional
    labels : mapping of covariate to str, optional
        Texts beside the axes; by default the covariates' names.

    Returns
    -------
    Axes
    """
    rows = len(nomogram.axes) + 2 + len(horizons)
    row = rows - 1
    whole = np.arange(0, 101, 10.0)
    _draw(ax, row, "Points", (0, 100), whole, [f"{p:.0f}" for p in whole], np.arange(0, 101, 2.0))
    last = row - len(nomogram.axes)
    ax.vlines(whole, last, row - 0.35, color="0.9", linewidth=0.6, zorder=0)
    for axis in nomogram.axes:
        row -= 1
        marks = nomogram.marks(axis, ticks)
        positions = nomogram.points(axis.label, marks)
        ends, minor = positions, np.array([])
        if not axis.levels:
            ends = nomogram.points(axis.label, [axis.low, axis.high])
            if ticks is None or axis.label not in ticks:
                finer = round_ticks(axis.low, axis.high, 5 * len(marks))
                minor = nomogram.points(axis.label, finer)
        texts = [mark if axis.levels else f"{mark:.6g}".replace("-", "\u2212") for mark in marks]
        label = (labels or {}).get(axis.label, axis.label)
        _draw(ax, row, label, (ends.min(), ends.max()), positions, texts, minor)
    row -= 1
    total = nomogram.largest_total
    scale = 100 / total
    steps, finer = round_ticks(0, total, 11), round_ticks(0, total, 55)
    texts = [f"{p:.0f}" for p in steps]
    _draw(ax, row, "Total points", (0, 100), steps * scale, texts, finer * scale)
    for horizon in horizons:
        row -= 1
        label = f"Survival at {horizon:g} {time_unit}".strip()
        _draw_survival(ax, row, label, nomogram, horizon, survival_ticks)
    ax.set_xlim(-1, 101)
    ax.set_ylim(-0.6, rows - 0.45)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_frame_on(False)
    return ax


def _draw_survival(
    ax: Axes,
    row: int,
    label: str,
    nomogram: Nomogram,
    horizon: float,
    survival_ticks: Sequence[float],
) -> None:
    total = nomogram.largest_total
    highest, lowest = nomogram.survival([0.0, total], horizon)

    def places(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = values[(values <= highest) & (values >= lowest) & (values > 0) & (values < 1)]
        return inside, nomogram.points_for_survival(inside, horizon) * 100 / total

    probabilities = np.sort(np.asarray(survival_ticks, dtype=np.float64))[::-1]
    marks, positions = places(probabilities)
    _, minor = places(np.round(np.arange(0.99, 0.0, -0.01), 2))
    if positions.size == 0:  # a range between two marks: its ends are better than nothing
        marks, positions = np.array([highest, lowest]), np.array([0.0, 100.0])
    texts = [f"{value:.3g}" for value in marks]
    both = np.concatenate([positions, minor])
    _draw(ax, row, label, (both.min(), both.max()), positions, texts, minor)


def _draw(
    ax: Axes,
    row: float,
    label: str,
    ends: tuple[float, float],
    positions: np.ndarray,
    texts: Sequence[str],
    minor: np.ndarray,
) -> None:
    """One axis: a line from end to end, marks with texts, and unlabelled marks between."""
    ax.hlines(row, *ends, color="black", linewidth=1)
    ax.vlines(positions, row - 0.16, row, color="black", linewidth=1)
    ax.vlines(_apart(minor, 0.5), row - 0.08, row, color="black", linewidth=0.5)
    for position, text, above in _labels(positions, texts):
        shift, va = (0.06, "bottom") if above else (-0.2, "top")
        ax.annotate(
            text, (position, row + shift), ha="center", va=va, fontsize="small", clip_on=False
        )
    ax.annotate(
        label,
        (-0.015, row),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="center",
        annotation_clip=False,
    )


def _labels(positions: np.ndarray, texts: Sequence[str]) -> list[tuple[float, str, bool]]:
    """Place texts below the axis, above it where the last one below is too near, else nowhere."""
    placed = []
    reach = {False: -np.inf, True: -np.inf}  # right end of the last label, by side
    for k in np.argsort(positions, kind="stable"):
        half = max(len(texts[k]) * 0.62, _CLOSEST / 2 - 0.5)
        for above in (False, True):
            if positions[k] - half > reach[above]:
                placed.append((float(positions[k]), texts[k], above))
                reach[above] = positions[k] + half + 0.4
                break
    return placed


def _apart(positions: np.ndarray, distance: float) -> np.ndarray:
    """Leave out marks that are nearer than `distance` to the one before."""
    marks: list[float] = []
    for position in np.sort(positions):
        if not marks or position - marks[-1] >= distance:
            marks.append(float(position))
    return np.array(marks)
