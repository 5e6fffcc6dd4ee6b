"""Figures of calibration and net benefit."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from survimg.report.figures import BLUE, COLOURS, LINES, VERMILION, shortened
from survimg.report.probabilities import Probabilities
from survimg.report.svg import GREY, STYLE, mark, mark_legend, svg

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
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.7, 3.9), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        if smooth is not None:
            axes.plot(smooth.predicted, smooth.observed, color=VERMILION, lw=1.8, label="smooth")
        if groups is not None:
            observed = 1 - groups.observed
            has_limits = np.isfinite(groups.lower)
            limits = np.where(has_limits, [1 - groups.upper, 1 - groups.lower], observed)
            bars = np.abs(limits - observed)
            label = f"{observed.size} groups"
            if has_limits.any():
                label += ", 95 % CI" if has_limits.all() else f", 95 % CI of {has_limits.sum()}"
            axes.errorbar(
                1 - groups.predicted, observed, yerr=bars, fmt="o", color=BLUE, ms=5, capsize=3,
                lw=1.2, label=label,
            )
            for x, y, (low, high) in zip(1 - groups.predicted, observed, limits.T, strict=True):
                (point,) = axes.plot(x, y, "o", color=BLUE, ms=9, alpha=0)
                mark(point, f"predicted {x:.2f}, observed {y:.2f} ({low:.2f} to {high:.2f})")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.set_xlabel(f"predicted probability {when}")
        axes.set_ylabel("observed")
        figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=2)
    return svg(figure, f"Calibration of {probabilities.model} {when}")


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
    with mpl.rc_context(STYLE):
        height = 3.4 + 0.19 * (len(curves) + 2)
        figure = Figure(figsize=(4.4, height), layout="constrained")
        axes = figure.subplots()
        for k, (name, curve) in enumerate(curves.items()):
            style = LINES[k // len(COLOURS) % len(LINES)]
            colour = COLOURS[k % len(COLOURS)]
            label = shortened(name, 30)
            x, y = curve.thresholds, curve.net_benefit
            (line,) = axes.plot(x, y, color=colour, ls=style, lw=1.6, label=label)
            mark(line, name, model=name)
            for at, benefit in zip(x[::4], y[::4], strict=True):
                (point,) = axes.plot(at, benefit, "o", color=colour, ms=7, alpha=0)
                mark(point, f"{name}, threshold {at:.2f}: {benefit:.3f}", model=name)
        axes.plot(
            longest.thresholds, longest.treat_all, color="black", lw=1, ls=(0, (4, 3)),
            label="act on everybody",
        )
        axes.axhline(0, color="black", linewidth=1, label="act on nobody")
        axes.set_ylim(-0.25 * top, 1.08 * top)
        axes.set_xlim(0, float(longest.thresholds.max()))
        axes.set_xlabel(f"threshold: predicted probability {when}")
        axes.set_ylabel("net benefit")
        legend = figure.legend(loc="outside lower center", frameon=False, fontsize=9)
        mark_legend(legend, curves)
    return svg(figure, f"Decision curves of {', '.join(curves)} {when}")
