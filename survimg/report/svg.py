"""Figures as SVG inside a page: in its colours, with values to hover, by model."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from survimg.report.style import model_class

__all__ = ["CLEAR", "GREY", "STYLE", "mark", "mark_legend", "svg"]

GREY = "#6b7280"
#: Box of a text over lines: the colour of the page.
CLEAR: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "xtick.color": "#374151",
    "ytick.color": "#374151",
    "svg.fonttype": "path",  # text looks the same on every machine
    "svg.hashsalt": "survimg",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}
#: Colours of the figures to the variables of the style sheet, which has others in the dark.
_VARIABLES = {
    "#000000": "ink", "#374151": "figure-text", "#6b7280": "figure-grey", "#e5e7eb": "line",
    "#ffffff": "page", "#cfe3f1": "figure-box", "#0072b2": "blue", "#d55e00": "vermilion",
    "#009e73": "green", "#cc79a7": "pink", "#56b4e9": "sky", "#e69f00": "orange",
}  # fmt: skip
_MARK = "survimg-mark"


def mark(artist: Artist, text: str = "", *, model: str | None = None) -> None:
    """Give a part of a figure a text that is shown when the pointer is on it, and its model.

    Parameters
    ----------
    artist : Artist
    text : str, optional
    model : str, optional
        The part disappears when this model is switched off.
    """
    artist.set_gid(f"{_MARK} {'' if model is None else model_class(model)} {text.strip()}")


def mark_legend(legend: Legend, models: Iterable[str]) -> None:
    """Let the first entries of a legend, one for each model, disappear with their models."""
    for model, *entry in zip(models, legend.legend_handles, legend.get_texts(), strict=False):
        for part in filter(None, entry):
            mark(part, model=model)


def svg(figure: Figure, title: str) -> Markup:
    """Write a figure as self-contained SVG for HTML.

    The title is for screen readers, because the text of the figure is drawn as outlines. Colours
    are variables of the page's style sheet.
    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata={"Creator": None, "Date": None, "Format": None, "Type": None},
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="([^"]*)"([^>]*)>', _group, text)
    text = re.sub(r"(?<=: )#[0-9a-f]{6}\b", _colour, text)
    text = re.sub(r'\s(?:width|height)="[\d.]+pt"', "", text, count=2)  # the page sets the size
    start, _, content = text.partition(">")
    start = start.replace("<svg", '<svg role="img"', 1)
    return Markup(f"{start}><title>{escape(title)}</title>{content}")


def _group(found: re.Match[str]) -> str:
    """Drop the names of groups, which repeat from figure to figure; keep what `mark` wrote."""
    name, rest = found.groups()
    if not name.startswith(_MARK):
        return f"<g{rest}>"
    _, of_model, text = name.split(" ", 2)  # the text was escaped with the attribute
    of_class = f' class="{of_model}"' if of_model else ""
    return f"<g{of_class}{rest}>" + (f"<title>{text}</title>" if text else "")


def _colour(found: re.Match[str]) -> str:
    return f"var(--{_VARIABLES[found[0]]})" if found[0] in _VARIABLES else found[0]
