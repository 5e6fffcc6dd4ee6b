"""Figures of a run as image files, for a manuscript or a README."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from survimg.benchmark.risk_groups import RiskGroups, risk_groups
from survimg.benchmark.run_folder import Run, read_run
from survimg.benchmark.scores import ModelScore, score_run
from survimg.evaluation.plots import COLOURS, plot_concordance_forest, plot_kaplan_meier
from survimg.files import writing

__all__ = ["export_figures"]

_STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}


def export_figures(run: str | PathLike[str], folder: str | PathLike[str]) -> list[Path]:
    """Write the figures of a run as PNG, without computing models.

    Parameters
    ----------
    run : path-like
        Folder of the run.
    folder : path-like
        Folder of the images; made if needed.

    Returns
    -------
    list of Path
        ``concordance.png``, and ``kaplan_meier_<model>.png`` for each model whose test patients
        form two risk groups (not of labels, which have no times); a number is added where two
        models would have one file name.

    Raises
    ------
    FileNotFoundError, ValueError
        As `survimg.benchmark.read_run`; or no model has predicted anything.
    """
    finished = read_run(run)
    scores = [score for score in score_run(finished) if score.within_folds is not None]
    if not scores:
        raise ValueError(f"No model of {run} has predicted anything: there is nothing to draw.")
    with mpl.rc_context(_STYLE):
        return _write(_figures(finished, scores), Path(folder))


def _figures(finished: Run, scores: Sequence[ModelScore]) -> dict[str, Figure]:
    figures = {"concordance": _concordance(scores)}
    for model in finished.models if finished.label is None else []:
        try:
            groups = risk_groups(finished, model)
        except ValueError:  # the report says for each model why it has no groups
            continue
        name = base = "kaplan_meier_" + re.sub(r"[^A-Za-z0-9._-]", "_", model)
        numbers = itertools.count(2)
        while name.lower() in map(str.lower, figures):  # some file systems know no capitals
            name = f"{base}_{next(numbers)}"
        figures[name] = _kaplan_meier(finished, groups)
    return figures


def _concordance(scores: Sequence[ModelScore]) -> Figure:
    """Forest plot, with folds as small dots below each estimate."""
    figure = Figure(figsize=(9.6, 0.5 * len(scores) + 0.8), layout="constrained")
    axes = figure.subplots()
    estimates = {s.model: s.within_folds for s in scores if s.within_folds is not None}
    plot_concordance_forest(estimates, axes)
    if scores[0].index == "AUC":
        axes.set_xlabel("AUC")
    for row, score in enumerate(reversed(scores)):
        folds = list(score.fold_c.values())
        below = [row - 0.2] * len(folds)
        axes.plot(folds, below, "o", color=COLOURS[0], alpha=0.45, markersize=4, mew=0)
    return figure


def _kaplan_meier(finished: Run, groups: RiskGroups) -> Figure:
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    unit = finished.plan["cohort"]["time_unit"]
    plot_kaplan_meier(
        finished.outcome[groups.position], groups.high, figure.subplots(), strata=groups.fold,
        labels={False: "low risk", True: "high risk"},
        time_label="Time" if unit is None else f"Time ({unit})",
    )  # fmt: skip
    return figure


def _write(figures: dict[str, Figure], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        with writing(path) as temporary:
            figure.savefig(temporary, dpi=160, metadata={"Software": None})
    return paths
