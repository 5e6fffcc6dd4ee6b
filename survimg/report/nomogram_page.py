"""A nomogram as a page in which a clinician moves the values and reads the probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from survimg.evaluation.estimates import check_level
from survimg.evaluation.nomogram import Axis, Nomogram
from survimg.files import write_atomically
from survimg.report.style import templates

__all__ = ["write_nomogram_page"]


def write_nomogram_page(
    nomogram: Nomogram,
    path: str | PathLike[str],
    *,
    horizons: Sequence[float],
    time_unit: str = "",
    title: str = "Nomogram",
    event: str = "event",
    labels: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    level: float = 0.95,
) -> Path:
    """Write a self-contained interactive page, which works offline.

    It computes total points, survival with its interval at each horizon, and the survival curve.
    The page contains coefficients, baseline hazard and covariances, but no data of patients.

    Parameters
    ----------
    nomogram : Nomogram
        Made with the training patients if the page is to show intervals.
    path : path-like
        The file to write.
    horizons : sequence of float
        Such as 36 and 60 months.
    time_unit : str, optional
    title : str, default="Nomogram"
    event : str, default="event"
        Name of the event, such as "progression".
    labels : mapping of axis to str, optional
        Labels of the sliders, with units; by default the names of the axes.
    notes : sequence of str, optional
        Paragraphs below the result: cohort, version, warnings.
    level : float, default=0.95
        Level of the intervals.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        No horizon, or a horizon after the last event of the training patients.
    """
    if len(horizons) == 0:
        raise ValueError("The page needs at least one horizon.")
    for horizon in horizons:
        nomogram.terms.position(horizon)
    page = templates().get_template("nomogram.html").render(
        title=title,
        event=event,
        time_unit=time_unit,
        notes=list(notes),
        percent=f"{100 * level:g}",
        intervals=nomogram.terms.has_intervals,
        axes=[_axis(axis, labels or {}) for axis in nomogram.axes],
        model=_model(nomogram, horizons, level),
    )
    path = Path(path)
    write_atomically(path, page.encode())
    return path


def _axis(axis: Axis, labels: Mapping[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "label": labels.get(axis.label, axis.label),
        "columns": list(axis.columns),
        "levels": [
            {"name": name, "values": values.tolist()} for name, values in axis.levels.items()
        ],
    }
    if not axis.levels:
        step = 10.0 ** np.floor(np.log10((axis.high - axis.low) / 100))
        # Start at the middle of the range, rounded to the slider's step.
        middle = step * round((axis.high + axis.low) / 2 / step)
        shown.update(low=axis.low, high=axis.high, step=float(step), start=float(f"{middle:.12g}"))
    return shown


def _model(nomogram: Nomogram, horizons: Sequence[float], level: float) -> dict[str, Any]:
    """Numbers for the computations of the page."""
    terms = nomogram.terms
    lowest = nomogram.total_points(np.zeros((1, len(terms.names))))[0]
    uncertainty: dict[str, Any] = {"variance": None, "centre": None, "covariance": None}
    if terms.variance is not None and terms.centre is not None and terms.covariance is not None:
        uncertainty = {
            "variance": terms.variance.tolist(),
            "centre": terms.centre.tolist(),
            "covariance": terms.covariance.tolist(),
        }
    return {
        "coefficients": terms.coefficients.tolist(),
        "offset": terms.offset,
        "times": terms.times.tolist(),
        "hazard": terms.hazard.tolist(),
        "z": check_level(level),
        "horizons": [float(horizon) for horizon in horizons],
        "pointsPerLogHazard": nomogram.points_per_log_hazard,
        "pointsAtZero": float(lowest),
        **uncertainty,
    }
