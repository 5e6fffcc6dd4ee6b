"""How a cohort looks in a notebook."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from survimg.cohort.stores import ImageFileStore

if TYPE_CHECKING:
    from survimg.cohort.cohort import Cohort

__all__ = ["cohort_html"]

_STYLE = (
    "display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start;width:fit-content;"
    "padding:0.6em 0.9em;border:1px solid rgba(128,128,128,0.5);border-radius:4px"
)
_MOST_COLUMNS = 8


def cohort_html(cohort: Cohort) -> str:
    """Describe a cohort in a table beside a thumbnail of one patient.

    Reads the voxels of one patient: the first with a tumour mask, or the first. Images that cannot
    be read leave a note instead of the thumbnail.

    Parameters
    ----------
    cohort : Cohort

    Returns
    -------
    str
        HTML without scripts or links; text of the cohort is escaped.
    """
    rows = "".join(
        f"<tr><th style='text-align:left;padding-right:1em'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in _facts(cohort)
    )
    table = f"<table style='margin:0'><caption><b>Cohort</b></caption><tbody>{rows}</tbody></table>"
    return f"<div style='{_STYLE}'>{table}{_thumbnail(cohort)}</div>"


def _facts(cohort: Cohort) -> list[tuple[str, str]]:
    n = len(cohort)
    size = " x ".join("varies" if length is None else str(length) for length in cohort.shape[2:])
    facts = [("Patients", str(n))]
    outcome = cohort.outcome
    if outcome is None:
        facts.append(("Outcome", "none"))
    elif n:
        event, time = outcome["event"], outcome["time"]
        unit = f" {cohort.time_unit}" if cohort.time_unit is not None else ""
        facts.append(("Events", f"{event.sum()} ({event.mean():.0%})"))
        facts.append(("Follow-up", _follow_up(event, time) + unit))
    absent = n - cohort.present.sum(axis=0)
    channels = [
        f"{name} (absent in {k})" if k else name
        for name, k in zip(cohort.channel_names, absent.tolist(), strict=True)
    ]
    facts.append(("Channels", ", ".join(channels)))
    facts.append(("Size (z, y, x)", f"{size} voxels"))
    facts.append(("Spacing (z, y, x)", _spacing(cohort)))
    facts.append(("Tumour masks", f"{int(cohort.has_masks.sum())} of {n}"))
    if cohort.clinical is not None:
        names = [str(name) for name in cohort.clinical.columns]
        more = f" and {len(names) - _MOST_COLUMNS} more" if len(names) > _MOST_COLUMNS else ""
        facts.append(("Clinical columns", (", ".join(names[:_MOST_COLUMNS]) + more) or "none"))
    if cohort.groups is not None:
        facts.append(("Groups", str(len(np.unique(cohort.groups.astype(str))))))
    return facts


def _follow_up(event: np.ndarray, time: np.ndarray) -> str:
    """Observed times, and the censored patients' median, which events do not cut short."""
    text = f"{time.min():.4g} to {time.max():.4g}"
    if not event.all():
        text += f", median of the censored {np.median(time[~event]):.4g}"
    return text


def _spacing(cohort: Cohort) -> str:
    # Cohort.spacing of a raw cohort of files would read all of them.
    known = cohort._spacing
    if known is None:
        return "in the image files" if isinstance(cohort._volumes, ImageFileStore) else "unknown"
    spacing = known[cohort._index]
    if not len(spacing):
        return "unknown"
    low, high = spacing.min(axis=0), spacing.max(axis=0)
    lengths = [
        f"{a:.4g}" if np.isclose(a, b) else f"{a:.4g} to {b:.4g}"
        for a, b in zip(low.tolist(), high.tolist(), strict=True)
    ]
    return f"{' x '.join(lengths)} mm"


def _thumbnail(cohort: Cohort) -> str:
    if not len(cohort):
        return ""
    masked = np.flatnonzero(cohort.has_masks)
    i = int(masked[0]) if masked.size else 0
    patient = escape(str(cohort.ids[i]))
    try:
        volume = cohort.volume(i)
        mask = cohort.mask(i) if masked.size else None
    except (OSError, ValueError, RuntimeError) as error:
        reason = escape(" ".join(str(error).split())[:200])
        return f"<div style='max-width:16em'>No picture of {patient}: {reason}</div>"
    channel = int(np.argmax(cohort.present[i]))
    position = volume.shape[1] // 2
    if mask is not None and mask.any():
        seen = np.flatnonzero(mask.any(axis=(1, 2)))
        position = int(seen[len(seen) // 2])
    plane = volume[channel, position]
    outline = None if mask is None else mask[position]
    encoded = base64.b64encode(_png(plane, outline)).decode("ascii")
    caption = f"{patient}, {escape(str(cohort.channel_names[channel]))}, z = {position}"
    return (
        f"<figure style='margin:0'><img alt='{caption}' src='data:image/png;base64,{encoded}'>"
        f"<figcaption style='font-size:smaller'>{caption}</figcaption></figure>"
    )


def _png(plane: np.ndarray, outline: np.ndarray | None) -> bytes:
    """Draw one slice, with the contour of the mask if there is one."""
    from matplotlib.figure import Figure  # takes longer than the rest of `import survimg.cohort`

    height, width = (max(2.0 * length / max(plane.shape), 0.2) for length in plane.shape)
    figure = Figure(figsize=(width, height), dpi=80)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    finite = plane[np.isfinite(plane)]
    low, high = np.percentile(finite, (1, 99.5)) if finite.size else (0.0, 1.0)
    ax.imshow(plane, cmap="gray", vmin=low, vmax=max(high, low + 1e-12), aspect="auto")
    if outline is not None and min(plane.shape) > 1 and outline.any() and not outline.all():
        ax.contour(outline, levels=[0.5], colors="#d55e00", linewidths=1.2)
    written = io.BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()
