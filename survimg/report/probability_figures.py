"""Figures of calibration and net benefit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from survimg.report.probabilities import Probabilities
from survimg.report.svg import CHANCE, COLOURS, DASHES, Plot, shortened

__all__ = ["calibration_figure", "decision_figure"]


def calibration_figure(probabilities: Probabilities, when: str) -> Markup | None:
    """Draw observed against predicted probability of the event.

    Parameters
    ----------
    probabilities : Probabilities
    when : str
        Of what event, in words: "at 36 months", or "of metastasis".

    Returns
    -------
    Markup or None
        None where neither groups nor a smooth curve could be estimated.
    """
    groups, smooth = probabilities.groups, probabilities.smooth
    if groups is None and smooth is None:
        return None
    limits = (-0.02, 1.02)
    plot = Plot(266, 290, limits, limits, bottom=68)
    plot.line([0, 1], [0, 1], "figure-grey", dash=CHANCE)
    entries = []
    if smooth is not None:
        plot.line(smooth.predicted, smooth.observed, "vermilion", 1.8)
        entries.append(("smooth", "vermilion", ""))
    if groups is not None:
        predicted, observed = 1 - groups.predicted, 1 - groups.observed
        has_limits = np.isfinite(groups.lower)
        ends = np.where(has_limits, [1 - groups.upper, 1 - groups.lower], observed)
        label = f"{observed.size} groups"
        if has_limits.any():
            label += ", 95 % CI" if has_limits.all() else f", 95 % CI of {has_limits.sum()}"
        entries.append((label, "blue", ""))
        for x, y, (low, high), has in zip(predicted, observed, ends.T, has_limits, strict=True):
            text = f"predicted {x:.2f}, observed {y:.2f}"
            text += f" ({low:.2f} to {high:.2f})" if has else " (no interval)"
            plot.line([x, x], [low, high], "blue", 1.2, title=text)
            plot.point(x, y, "blue", 5, title=text)
    plot.x_axis(f"predicted probability {when}")
    plot.y_axis("observed")
    plot.legend(plot.left, plot.height - 20, entries)
    return plot.svg(f"Calibration of {probabilities.model} {when}")


def decision_figure(models: Sequence[Probabilities], when: str) -> Markup | None:
    """Draw the net benefit of acting on each model, on everybody and on nobody.

    Parameters
    ----------
    models : sequence of Probabilities
        Of the same patients.
    when : str
        As in `calibration_figure`.

    Returns
    -------
    Markup or None
        None where no model has a curve.
    """
    curves = {p.model: p.decision for p in models if p.decision is not None}
    if not curves:
        return None
    longest = max(curves.values(), key=lambda curve: curve.thresholds.size)
    top = max(float(curve.net_benefit.max()) for curve in curves.values())
    top = max(top, float(longest.treat_all.max()), 0.01)
    end, bottom = float(longest.thresholds.max()), 40 + 13 * (len(curves) + 2)
    plot = Plot(317, 210 + bottom, (0, end), (-0.25 * top, 1.08 * top), left=50, bottom=bottom)

    def inside(benefit: np.ndarray) -> np.ndarray:
        return np.where(benefit < plot.y_limits[0], np.nan, benefit)

    entries = []
    for k, (name, curve) in enumerate(curves.items()):
        colour, dash = COLOURS[k % len(COLOURS)], DASHES[k // len(COLOURS) % len(DASHES)]
        x, y = curve.thresholds, curve.net_benefit
        plot.line(x, inside(y), colour, 1.6, dash=dash, model=name, title=name)
        for at, benefit in zip(x[::4], inside(y)[::4], strict=True):
            text = f"{name}, threshold {at:.2f}: {benefit:.3f}"
            plot.point(at, benefit, colour, 7, opacity=0, model=name, title=text)
        entries.append((shortened(name, 30), colour, dash))
    plot.line(longest.thresholds, inside(longest.treat_all), "ink", dash=CHANCE)
    plot.line([0, end], [0, 0], "ink")
    entries += [("act on everybody", "ink", CHANCE), ("act on nobody", "ink", "")]
    plot.x_axis(f"threshold: predicted probability {when}")
    plot.y_axis("net benefit")
    plot.legend(plot.left, plot.height - bottom + 46, entries, list(curves))
    return plot.svg(f"Decision curves of {', '.join(curves)} {when}")
