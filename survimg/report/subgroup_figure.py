"""Forest plots of sub-groups."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from survimg.evaluation.estimates import Estimate
from survimg.report.figures import BLUE, VERMILION, shortened
from survimg.report.subgroups import Level, Subgroups
from survimg.report.svg import CLEAR, GREY, STYLE, mark, svg
from survimg.report.table_formats import interval_text, p_text

__all__ = ["forest_figure"]


def forest_figure(subgroups: Subgroups, overall: Estimate | None) -> Markup | None:
    """Draw C and AUC of one model by level, with intervals and the tests of interaction.

    Parameters
    ----------
    subgroups : Subgroups
    overall : Estimate or None
        Concordance of all patients, a vertical line.

    Returns
    -------
    Markup or None
        None where no level has a concordance.
    """
    levels = [level for level in subgroups.levels if level.concordance is not None]
    if not levels:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 0.78 * len(levels) + 1.0), layout="constrained")
        axes = figure.subplots()
        for row, level in enumerate(reversed(levels)):
            _draw(axes, row + 0.08, level, "C", lambda one: one.concordance, BLUE)
            _draw(axes, row - 0.18, level, "AUC", lambda one: one.auc, VERMILION)
            text = f"{shortened(level.name, 22)} (n = {level.n_patients}, {level.n_events} events)"
            edge = axes.get_yaxis_transform()
            axes.text(0.0, row + 0.27, text, transform=edge, ha="left", va="bottom", bbox=CLEAR)
        if overall is not None:
            axes.axvline(overall.value, color=BLUE, lw=1, ls=(0, (1, 2)), zorder=0)
        axes.axvline(0.5, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.set_ylim(-0.5, len(levels) - 0.25)
        estimates = [e for level in levels for e in (level.concordance, level.auc) if e is not None]
        lowest = min(float(np.nanmin([e.value, e.lower])) for e in estimates)
        axes.set_xlim(min(0.4, lowest) - 0.02, 1.02)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        tests = f"interaction: C p = {p_text(subgroups.p_concordance)}"
        if any(level.auc is not None for level in levels):
            tests += f", AUC p = {p_text(subgroups.p_auc)}"
        axes.set_xlabel(tests.replace("= <", "<"))
    values = [f"{level.name} C {interval_text(level.concordance)}" for level in levels]
    return svg(figure, f"{subgroups.model} by {subgroups.column}: {'; '.join(values)}; {tests}")


def _draw(
    axes: Axes, y: float, level: Level, word: str, of: Callable[[Level], Estimate | None],
    colour: str,
) -> None:  # fmt: skip
    estimate = of(level)
    if estimate is None:
        return
    text = f"{level.name}: {word} = {interval_text(estimate)}"
    if np.isfinite(estimate.lower):
        (bar,) = axes.plot([estimate.lower, estimate.upper], [y, y], color=colour, lw=1.6)
        mark(bar, text)
    shape = "D" if word == "C" else "o"
    (point,) = axes.plot(estimate.value, y, shape, color=colour, ms=6, mec="white", mew=0.7)
    mark(point, text)
