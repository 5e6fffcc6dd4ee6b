"""Training curves: loss terms and scores by epoch, with mean and spread over folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from survimg.benchmark.records import Record
from survimg.report.svg import COLOURS, DASHES, Plot, shortened

__all__ = ["Curves", "history_figures", "shared_history_figures", "training_curves"]

_NOT_CURVES = frozenset({"epoch", "iteration", "seconds", "seconds_waited", "micro_batch_size"})
_VALIDATION = ("validation_", "valid_")
_TRAINING = ("train_", "")


@dataclass(frozen=True)
class Curves:
    """One quantity of one model's trainings.

    Attributes
    ----------
    x_name : str
        "iteration" if the histories have it, else "epoch".
    lines : tuple of (ndarray, ndarray)
        x and values of each fold and seed.
    x, mean, sd : ndarray of shape (n_points,)
        Over all lines, up to the end of the shortest. Empty if the lines have different x; `sd` is
        0 for a single line.
    """

    x_name: str
    lines: tuple[tuple[np.ndarray, np.ndarray], ...]
    x: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


def training_curves(records: Sequence[Record]) -> dict[str, Curves]:
    """Collect the histories of one model, quantity by quantity.

    Parameters
    ----------
    records : sequence of Record
        Of one model; those without a history are left out.

    Returns
    -------
    dict of str to Curves
        Named as in the history.
    """
    histories = [r.details["history"] for r in records if r.details.get("history")]
    names = dict.fromkeys(name for history in histories for name in history)
    return {
        name: _curves([history for history in histories if name in history], name)
        for name in names
        if name not in _NOT_CURVES
    }


def history_figures(records: Sequence[Record]) -> list[tuple[str, Markup]]:
    """Draw the trainings of one model, one small figure per quantity.

    A quantity that was measured on training and on validation patients is drawn once, with both.

    Parameters
    ----------
    records : sequence of Record
        Of one model; those without a history are left out.

    Returns
    -------
    list of (str, Markup)
        Name of the quantity and its SVG.
    """
    curves = training_curves(records)
    return [
        (_in_words(name, parts), _figure(_in_words(name, parts), parts))
        for name, parts in _paired(curves).items()
    ]


def shared_history_figures(models: Mapping[str, Sequence[Record]]) -> list[tuple[str, Markup]]:
    """Draw quantities that several models have in common, the means of all models in one figure.

    Parameters
    ----------
    models : mapping of str to sequence of Record

    Returns
    -------
    list of (str, Markup)
        Quantities of at least two models, over the same kind of x.
    """
    by_model = {model: training_curves(records) for model, records in models.items()}
    names = dict.fromkeys(name for curves in by_model.values() for name in curves)
    figures = []
    for name in names:
        having = {model: curves[name] for model, curves in by_model.items() if name in curves}
        kinds = [_kind(name, curves) for curves in having.values()]
        comparable = {
            model: curves
            for (model, curves), kind in zip(having.items(), kinds, strict=True)
            if kind == kinds[0] and curves.x.size
        }
        if len(comparable) > 1:
            title = _in_words(name, {"": next(iter(comparable.values()))})
            figures.append((title, _figure(title, comparable, with_lines=False)))
    return figures


def _curves(histories: Sequence[dict[str, Any]], name: str) -> Curves:
    x_name = "iteration" if all("iteration" in h for h in histories) else "epoch"
    lines = tuple(
        (
            np.array(history.get(x_name, range(1, len(history[name]) + 1)), dtype=np.float64),
            np.array(history[name], dtype=np.float64),
        )
        for history in histories
    )
    n = min(values.size for _, values in lines)
    x = lines[0][0][:n]
    if not all(np.array_equal(other[:n], x) for other, _ in lines):
        return Curves(x_name, lines, np.zeros(0), np.zeros(0), np.zeros(0))
    values = np.array([values[:n] for _, values in lines])
    spread = values.std(axis=0, ddof=1) if len(lines) > 1 else np.zeros(n)
    return Curves(x_name, lines, x, values.mean(axis=0), spread)


def _is_dice_loss(name: str, curves: Curves) -> bool:
    """Distinguish a Dice loss, which is negative, from a coefficient of the same name in 0..1."""
    if name.rpartition("_")[2] != "dice":
        return False
    values = np.concatenate([values for _, values in curves.lines])
    finite = values[np.isfinite(values)]
    return bool(finite.size) and float(finite.max()) <= 0


def _kind(name: str, curves: Curves) -> tuple[str, bool]:
    """Properties that must agree if curves of two models share axes."""
    return curves.x_name, _is_dice_loss(name, curves)


def _paired(curves: Mapping[str, Curves]) -> dict[str, dict[str, Curves]]:
    """Join a validation quantity with the training quantity of the same name."""
    partner = {}
    for name in curves:
        prefix = next((p for p in _VALIDATION if name.startswith(p)), None)
        if prefix is None:
            continue
        quantity = name.removeprefix(prefix)
        training = next((f"{p}{quantity}" for p in _TRAINING if f"{p}{quantity}" in curves), None)
        if training and _kind(training, curves[training]) == _kind(name, curves[name]):
            partner[training] = name
    return {
        name.removeprefix("train_") if name in partner else name: (
            {"training": curves[name], "validation": curves[partner[name]]}
            if name in partner
            else {"": curves[name]}
        )
        for name in curves
        if name not in partner.values()
    }


def _in_words(name: str, parts: Mapping[str, Curves]) -> str:
    if any(_is_dice_loss(name, curves) for curves in parts.values()):
        return f"{name.replace('_', ' ').capitalize()} loss (−Dice)"
    return name.replace("_", " ")


def _figure(title: str, parts: Mapping[str, Curves], *, with_lines: bool = True) -> Markup:
    n_entries = len(parts) if len(parts) > 1 else 0
    bottom = 36 + 13 * n_entries
    drawn = [_extremes(curves, with_lines) for curves in parts.values()]
    across, values = zip(*drawn, strict=True)
    size = 266, 144 + bottom
    plot = Plot(*size, _limits(across), _limits(values), left=50, bottom=bottom)
    entries = []
    for k, (label, curves) in enumerate(parts.items()):
        colour, dash = COLOURS[k % len(COLOURS)], DASHES[k // len(COLOURS) % len(DASHES)]
        if with_lines or not curves.x.size:
            for x, line in curves.lines:
                plot.line(x, line, colour, 0.7, opacity=0.4)
                if line.size == 1:  # a single epoch leaves no line to see
                    plot.point(x[0], line[0], colour, 3, opacity=0.4)
        if curves.x.size:
            _draw_mean(plot, curves, colour, dash, None if with_lines else label)
        entries.append((shortened(label, 24), colour, dash))
    plot.x_axis(next(iter(parts.values())).x_name)
    plot.y_axis()
    if n_entries:
        models = () if with_lines else list(parts)
        plot.legend(plot.left, plot.height - bottom + 46, entries, models)
    return plot.svg(f"{title}: {', '.join(filter(None, parts)) or 'folds'}, by epoch")


def _draw_mean(plot: Plot, curves: Curves, colour: str, dash: str, model: str | None) -> None:
    """Draw the mean with its spread, which disappear with the model if there is one."""
    mean, sd = curves.mean, curves.sd
    plot.area(curves.x, mean - sd, mean + sd, colour, 0.16, model=model)
    last = "" if model is None else f"{model}, last: {mean[-1]:.4g}"
    plot.line(curves.x, mean, colour, 1.9, dash=dash, model=model, title=last)
    for x, value in zip(curves.x, mean, strict=True) if curves.x.size < 30 else ():
        plot.point(x, value, colour, 3, model=model)


def _extremes(curves: Curves, with_lines: bool) -> tuple[np.ndarray, np.ndarray]:
    """All x and all values that are drawn."""
    lines = [(curves.x, curves.mean + sign * curves.sd) for sign in (-1, 1)]
    lines += curves.lines if with_lines or not curves.x.size else ()
    x, values = (np.concatenate(parts) for parts in zip(*lines, strict=True))
    return x, values[np.isfinite(values)]


def _limits(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    """Range of an axis, with room at either end."""
    values = np.concatenate(parts)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    room = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
    return low - room, high + room
