"""Figures of a run as image files, for a manuscript or a README."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

from survimg.benchmark.risk_groups import risk_groups
from survimg.benchmark.run_folder import read_run
from survimg.benchmark.scores import score_run
from survimg.report.figures import draw_concordance, draw_kaplan_meier, write_png

__all__ = ["export_figures"]


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
        form two risk groups.

    Raises
    ------
    FileNotFoundError, ValueError
        As `survimg.benchmark.read_run`; or no model has predicted anything.
    """
    finished = read_run(run)
    figure = draw_concordance(score_run(finished))
    if figure is None:
        raise ValueError(f"No model of {run} has predicted anything: there is nothing to draw.")
    figures = {"concordance": figure}
    for model in finished.models:
        try:
            groups = risk_groups(finished, model)
        except ValueError:  # the report says for each model why it has no groups
            continue
        unit = finished.plan["cohort"]["time_unit"]
        name = re.sub(r"[^A-Za-z0-9._-]", "_", model)
        figures[f"kaplan_meier_{name}"] = draw_kaplan_meier(finished.outcome, groups, unit)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = [target / f"{name}.png" for name in figures]
    for path, drawing in zip(paths, figures.values(), strict=True):
        write_png(drawing, path)
    return paths
