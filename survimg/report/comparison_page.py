"""A comparison of runs as one self-contained HTML page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from survimg.files import write_atomically
from survimg.report.comparison import RunComparison, comparison_table
from survimg.report.style import script, stylesheet, templates

__all__ = ["render_comparison"]


def render_comparison(comparison: RunComparison, path: str | PathLike[str]) -> Path:
    """Write the page of a comparison.

    Parameters
    ----------
    comparison : RunComparison
    path : path-like
        HTML file to write; its folder is made if needed.

    Returns
    -------
    Path
    """
    untested = dict.fromkeys(
        (change.run, change.reason) for change in comparison.models if change.reason
    )
    page = templates().get_template("comparison.html").render(
        style=stylesheet(),
        script=script(),
        comparison=comparison,
        letters=comparison.letters,
        names=_names(comparison.folders),
        table_of_models=comparison_table(comparison),
        untested=[
            (k, reason, [m.model for m in comparison.models if (m.run, m.reason) == (k, reason)])
            for k, reason in untested
        ],
    )
    path = Path(path)
    write_atomically(path, page.encode())
    return path


def _names(folders: Sequence[str]) -> list[str]:
    """Return what distinguishes the folders: where they lie is nobody's business."""
    paths = [Path(folder).resolve() for folder in folders]
    shared = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(shared).as_posix() for path in paths]
