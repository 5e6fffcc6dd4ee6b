"""Figures as SVG inside a page: in its colours, with values to hover, by model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from survimg.evaluation.ticks import round_ticks
from survimg.report.style import model_class

__all__ = ["CHANCE", "COLOURS", "DASHES", "FOLLOWED", "Plot", "shortened", "steps", "text_width"]

#: Variables of the style sheet, which has others in the dark. One per model in figures that hold
#: several; dashes tell those apart that share one.
COLOURS = ("blue", "vermilion", "green", "pink", "sky", "orange", "figure-grey")
DASHES = ("", "6 3", "1.5 2", "6 2 1.5 2")
CHANCE, FOLLOWED = "4 3", "1 2"
_BEHIND = "stroke-linejoin: round; paint-order: stroke"
_FONT = 10  # of the axes, in the units of all lengths here


@dataclass
class Plot:
    """One pair of axes, and what is drawn into it, in the order of the calls.

    Attributes
    ----------
    width, height : float
        Of the figure; the page scales it.
    x_limits, y_limits : (float, float)
        Values at the ends of the axes.
    left, right, top, bottom : float
        Margins around the axes.
    """

    width: float
    height: float
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    left: float = 44
    right: float = 12
    top: float = 8
    bottom: float = 36
    _parts: list[str] = field(default_factory=list, init=False, repr=False)

    def x(self, value: npt.ArrayLike) -> np.ndarray:
        """Horizontal places of values."""
        low, high = self.x_limits
        share = (np.asarray(value, dtype=np.float64) - low) / (high - low)
        return self.left + share * (self.width - self.left - self.right)

    def y(self, value: npt.ArrayLike) -> np.ndarray:
        """Vertical places of values."""
        low, high = self.y_limits
        share = (np.asarray(value, dtype=np.float64) - low) / (high - low)
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)

    def line(
        self, x: npt.ArrayLike, y: npt.ArrayLike, colour: str, width: float = 1, *,
        dash: str = "", opacity: float = 1, model: str | None = None, title: str = "",
    ) -> None:  # fmt: skip
        """Join points by a line; a gap where one of them is not finite."""
        style = f"fill: none; {_stroke(colour, width, dash)}{_opacity(opacity)}"
        self._add(f'<path d="{_path(self.x(x), self.y(y))}" style="{style}"/>', model, title)

    def area(
        self, x: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike, colour: str,
        opacity: float = 0.15, *, model: str | None = None,
    ) -> None:  # fmt: skip
        """Fill the band between two lines, where both are finite."""
        across, bottom, top = (np.asarray(v, dtype=np.float64) for v in (x, lower, upper))
        finite = np.isfinite(bottom) & np.isfinite(top)
        around = np.concatenate([self.x(across[finite]), self.x(across[finite])[::-1]])
        edge = np.concatenate([self.y(bottom[finite]), self.y(top[finite])[::-1]])
        style = f"fill: var(--{colour}); stroke: none{_opacity(opacity)}"
        self._add(f'<path d="{_path(around, edge)}" style="{style}"/>', model, "")

    def point(
        self, x: float, y: float, colour: str, size: float = 6, *, shape: str = "circle",
        opacity: float = 1, model: str | None = None, title: str = "",
    ) -> None:  # fmt: skip
        """Mark a finite point by a circle or a diamond; without opacity it only shows its title."""
        style = f"fill: var(--{colour}){_opacity(opacity)}"
        if not (np.isfinite(x) and np.isfinite(y)):
            return
        across, down = f"{self.x(x):.1f}", f"{self.y(y):.1f}"
        if shape == "diamond":
            style += f"; {_stroke('page', 0.8)}"
            outline = f"M0 {-size:g}L{size:g} 0L0 {size:g}L{-size:g} 0Z"
            place = f"translate({across} {down})"
            drawing = f'<path transform="{place}" d="{outline}" style="{style}"/>'
        else:
            drawing = f'<circle cx="{across}" cy="{down}" r="{size / 2:g}" style="{style}"/>'
        self._add(drawing, model, title)

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "start", colour: str = "ink",
        size: float = _FONT, model: str | None = None, transform: str = "",
    ) -> None:  # fmt: skip
        """Write a text at a place, not at values: its baseline is at `y`."""
        # A margin in the colour of the page keeps the text legible over lines.
        style = f"fill: var(--{colour}); {_stroke('page', 5)}; {_BEHIND}"
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:g}"'
        turn = f' transform="{transform}"' if transform else ""
        self._add(f'<text {place}{turn} style="{style}">{escape(text)}</text>', model, "")

    def vertical(self, x: float, colour: str, dash: str = "") -> None:
        """Draw a line across the whole height."""
        self.line([x, x], self.y_limits, colour, dash=dash)

    def x_axis(self, label: str, ticks: Iterable[float] | None = None) -> None:
        """Draw the axis below, with round ticks where none are given."""
        floor = self.height - self.bottom
        n_ticks = int((self.width - self.left - self.right) / 45)
        self.line(self.x_limits, [self.y_limits[0]] * 2, "figure-grey", 0.8)
        for tick in round_ticks(*self.x_limits, n_ticks) if ticks is None else ticks:
            at = float(self.x(tick))
            self._tick(f"M{at:.1f} {floor:.1f}v3.5")
            self.text(at, floor + 14, f"{tick:.12g}", anchor="middle", colour="figure-text")
        self.text(float(self.x(np.mean(self.x_limits))), floor + 28, label, anchor="middle")

    def y_axis(self, label: str = "") -> None:
        """Draw the axis to the left."""
        self.line([self.x_limits[0]] * 2, self.y_limits, "figure-grey", 0.8)
        for tick in round_ticks(*self.y_limits, 5):
            at = float(self.y(tick))
            self._tick(f"M{self.left:g} {at:.1f}h-3.5")
            self.text(
                self.left - 6, at + 3.5, f"{tick:.12g}", anchor="end", colour="figure-text"
            )
        middle = float(self.y(np.mean(self.y_limits)))
        if label:
            turn = f"translate(11 {middle:.1f}) rotate(-90)"
            self.text(0, 0, label, anchor="middle", transform=turn)

    def legend(
        self, x: float, y: float, entries: Sequence[tuple[str, str, str]],
        models: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Explain lines, one below the other; `entries` are label, colour and dash.

        The first entries disappear with the `models`, one for each.
        """
        of_model = [*models, *[None] * len(entries)]
        for row, (label, colour, dash) in enumerate(entries):
            at, model = y + 13 * row, of_model[row]
            sample = f'<path d="M{x:g} {at - 3:g}h18" style="{_stroke(colour, 1.8, dash)}"/>'
            self._add(sample, model, "")
            self.text(x + 23, at, label, size=9, model=model)

    def svg(self, title: str) -> Markup:
        """Self-contained SVG for HTML; the title is for screen readers."""
        head = f'viewBox="0 0 {self.width:g} {self.height:g}" font-size="{_FONT}"'
        drawing = "".join(self._parts)
        return Markup(f'<svg role="img" {head}><title>{escape(title)}</title>{drawing}</svg>')

    def _tick(self, path: str) -> None:
        self._add(f'<path d="{path}" style="{_stroke("figure-text", 0.8)}"/>', None, "")

    def _add(self, drawing: str, model: str | None, title: str) -> None:
        if model is not None or title:
            of_class = "" if model is None else f' class="{model_class(model)}"'
            words = f"<title>{escape(title)}</title>" if title else ""
            drawing = f"<g{of_class}>{words}{drawing}</g>"
        self._parts.append(drawing)


def steps(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Points of a function that keeps each value until the next x."""
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]


def shortened(name: str, length: int) -> str:
    """Cut a name that is too long, and mark it with an ellipsis."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def text_width(text: str, size: float = _FONT) -> float:
    """Room for a text in any of the fonts that a system may have."""
    return 0.6 * size * len(text)


def _path(x: np.ndarray, y: np.ndarray) -> str:
    parts, pen = [], "M"
    for across, down in zip(x.tolist(), y.tolist(), strict=True):
        finite = np.isfinite(across) and np.isfinite(down)
        parts += [f"{pen}{across:.1f} {down:.1f}"] if finite else []
        pen = "L" if finite else "M"
    return "".join(parts)


def _stroke(colour: str, width: float, dash: str = "") -> str:
    dashes = f"; stroke-dasharray: {dash}" if dash else ""
    return f"stroke: var(--{colour}); stroke-width: {width:g}{dashes}"


def _opacity(value: float) -> str:
    return "" if value == 1 else f"; opacity: {value:g}"
