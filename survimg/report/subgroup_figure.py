"""Forest plots of sub-groups."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from survimg.evaluation.estimates import Estimate
from survimg.report.subgroups import Subgroups, statistics_of
from survimg.report.svg import CHANCE, FOLLOWED, Plot, shortened
from survimg.report.table_formats import interval_text, p_text

__all__ = ["forest_figure"]


def forest_figure(subgroups: Subgroups, overall: Estimate | None) -> Markup | None:
    """Draw C and AUC of one model by level, or both AUCs of labels, and tests of interaction.

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
    first, second = statistics_of(subgroups.label)
    events = "events" if subgroups.label is None else "positive"
    estimates = [e for level in levels for e in (level.concordance, level.auc) if e is not None]
    lowest = min(float(np.nanmin([e.value, e.lower])) for e in estimates)
    limits = min(0.4, lowest) - 0.02, 1.02
    plot = Plot(317, 56 * len(levels) + 44, limits, (-0.5, len(levels) - 0.25), left=12)
    if overall is not None:
        plot.vertical(overall.value, "blue", FOLLOWED)
    plot.vertical(0.5, "figure-grey", CHANCE)
    for row, level in enumerate(reversed(levels)):
        _draw(plot, row + 0.05, f"{level.name}: {first}", level.concordance, "blue", "diamond")
        _draw(plot, row - 0.2, f"{level.name}: {second}", level.auc, "vermilion", "circle")
        text = f"{shortened(level.name, 22)} (n = {level.n_patients}, {level.n_events} {events})"
        plot.text(plot.left, float(plot.y(row + 0.25)), text)
    tests = f"interaction: {first} p = {p_text(subgroups.p_concordance)}"
    if any(level.auc is not None for level in levels):
        tests += f", {second} p = {p_text(subgroups.p_auc)}"
    plot.x_axis(tests.replace("= <", "<"))
    values = [f"{level.name} {first} {interval_text(level.concordance)}" for level in levels]
    return plot.svg(f"{subgroups.model} by {subgroups.column}: {'; '.join(values)}; {tests}")


def _draw(
    plot: Plot, y: float, name: str, estimate: Estimate | None, colour: str, shape: str
) -> None:
    if estimate is not None:
        text = f"{name} = {interval_text(estimate)}"
        plot.line([estimate.lower, estimate.upper], [y, y], colour, 1.6, title=text)
        plot.point(estimate.value, y, colour, 5, shape=shape, title=text)
