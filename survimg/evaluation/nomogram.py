"""Nomograms: reading a Cox model off paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from survimg.evaluation.cox import CoxFit

__all__ = ["Nomogram", "plot_nomogram"]


@dataclass(frozen=True)
class Nomogram:
    r"""Points of a Cox model.

    The covariate whose contribution :math:`\beta_k x_k` has the largest range over `ranges` spans
    100 points; the others are on the same scale, and every covariate has 0 points at the end of its
    range with the lower risk.

    Parameters
    ----------
    fit : CoxFit
    ranges : mapping of covariate name to (low, high)
        Values that the axes cover.

    Raises
    ------
    ValueError
        A covariate without a range, or an empty range.
    """

    fit: CoxFit
    ranges: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        for name in self.fit.names:
            if name not in self.ranges:
                raise ValueError(f"The nomogram needs the range of covariate {name!r}.")
            low, high = self.ranges[name]
            if not low < high:
                raise ValueError(f"The range of {name!r} must rise; got {(low, high)}.")

    @property
    def points_per_log_hazard(self) -> float:
        """Points of one unit of the linear predictor."""
        return 100 / float(self._spans().max())

    def points(self, name: str, values: npt.ArrayLike) -> np.ndarray:
        """Points of values of one covariate."""
        k = self.fit.names.index(name)
        beta, base = float(self.fit.coefficients[k]), self._bases()[k]
        return beta * (np.asarray(values, dtype=np.float64) - base) * self.points_per_log_hazard

    def total_points(self, covariates: npt.ArrayLike) -> np.ndarray:
        """Total points of patients, of shape (n,)."""
        linear = self.fit.linear_predictor(covariates) - self._bases() @ self.fit.coefficients
        return linear * self.points_per_log_hazard

    def survival(self, total_points: npt.ArrayLike, time: float) -> np.ndarray:
        """Predicted survival at a time for given total points."""
        points = np.atleast_1d(np.asarray(total_points, dtype=np.float64))
        base = float(self.fit.survival(self._bases()[np.newaxis], [time])[0, 0])
        return base ** np.exp(points / self.points_per_log_hazard)

    def points_for_survival(self, survival: npt.ArrayLike, time: float) -> np.ndarray:
        """Total points at which the predicted survival takes given values."""
        base = float(self.fit.survival(self._bases()[np.newaxis], [time])[0, 0])
        ratio = np.log(np.asarray(survival, dtype=np.float64)) / np.log(base)
        return np.log(ratio) * self.points_per_log_hazard

    def _spans(self) -> np.ndarray:
        widths = np.array([np.ptp(self.ranges[name]) for name in self.fit.names])
        return np.abs(self.fit.coefficients) * widths

    def _bases(self) -> np.ndarray:
        return np.array(
            [
                self.ranges[name][0 if beta >= 0 else 1]
                for name, beta in zip(self.fit.names, self.fit.coefficients, strict=True)
            ]
        )


def plot_nomogram(
    nomogram: Nomogram,
    ax: Axes,
    *,
    horizons: Sequence[float],
    ticks: Mapping[str, Sequence[float]] | None = None,
    survival_ticks: Sequence[float] = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05),
    time_unit: str = "",
) -> Axes:
    """Draw points, covariate axes, total points and predicted survival.

    Parameters
    ----------
    nomogram : Nomogram
    ax : Axes
    horizons : sequence of float
        Times of the survival axes, such as 36 and 60 months.
    ticks : mapping of covariate to sequence of float, optional
        Marked values; five over the range by default.
    survival_ticks : sequence of float
    time_unit : str

    Returns
    -------
    Axes
    """
    names = nomogram.fit.names
    total = sum(float(np.max(nomogram.points(n, nomogram.ranges[n]))) for n in names)
    rows = len(names) + 2 + len(horizons)
    _axis(ax, rows - 1, "Points", np.arange(0, 101, 20), [f"{p}" for p in range(0, 101, 20)])
    for k, name in enumerate(names):
        values = (ticks or {}).get(name)
        marks = np.linspace(*nomogram.ranges[name], 5) if values is None else np.asarray(values)
        _axis(ax, rows - 2 - k, name, nomogram.points(name, marks), [f"{v:.4g}" for v in marks])
    steps = np.linspace(0, total, 6)
    scale = 100 / total
    _axis(ax, len(horizons), "Total points", steps * scale, [f"{p:.0f}" for p in steps])
    for k, horizon in enumerate(horizons):
        wanted = np.asarray(survival_ticks)
        points = nomogram.points_for_survival(wanted, horizon)
        inside = (points >= 0) & (points <= total)
        label = f"Survival at {horizon:g} {time_unit}".strip()
        texts = [f"{s:g}" for s in wanted[inside]]
        _axis(ax, len(horizons) - 1 - k, label, points[inside] * scale, texts)
    ax.set_xlim(-2, 102)
    ax.set_ylim(-0.7, rows - 0.4)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_frame_on(False)
    return ax


def _axis(ax: Axes, row: float, label: str, positions: np.ndarray, texts: list[str]) -> None:
    if positions.size:
        ax.plot([positions.min(), positions.max()], [row, row], color="black", linewidth=1)
    for position, text in zip(positions, texts, strict=True):
        ax.plot([position, position], [row, row - 0.12], color="black", linewidth=1)
        ax.annotate(text, (position, row - 0.2), ha="center", va="top", fontsize="small")
    ax.annotate(
        label,
        (-0.02, row),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="center",
        annotation_clip=False,
    )
