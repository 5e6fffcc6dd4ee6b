"""How a cohort looks in a notebook."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from survimg.io.patients import PatientTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["cohort_html"]

_STYLE = (
    "display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start;width:fit-content;"
    "padding:0.6em 0.9em;border:1px solid rgba(128,128,128,0.5);border-radius:4px"
)
_MOST_COLUMNS = 8
_GREY, _BLUE = "#767676", "#2b87c8"  # are read on white and on black: notebooks have dark themes


def cohort_html(
    table: PatientTable,
    size: Sequence[int | None],
    *,
    in_files: bool,
    volume: Callable[[int], np.ndarray],
    mask: Callable[[int], np.ndarray],
) -> str:
    """Describe a cohort: a table, the curve of its outcome, missing values, one patient's picture.

    Reads the voxels of one patient: the first with a tumour mask, or the first. Images that cannot
    be read leave a note instead of the thumbnail.

    Parameters
    ----------
    table : PatientTable
        Of the patients of the table.
    size : sequence of (int or None)
        ``(z, y, x)`` of a volume; None where it varies.
    in_files : bool
        Whether sizes of voxels stand in image files, which are not read for them.
    volume, mask : callable
        Give the voxels of the patient at a position.

    Returns
    -------
    str
        HTML without scripts or links; text of the cohort is escaped.
    """
    rows = "".join(
        f"<tr><th style='text-align:left;padding-right:1em'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in _facts(table, size, in_files)
    )
    facts = f"<table style='margin:0'><caption><b>Cohort</b></caption><tbody>{rows}</tbody></table>"
    parts = (facts, _curve(table), _missing(table), _thumbnail(table, volume, mask))
    return f"<div style='{_STYLE}'>{''.join(parts)}</div>"


def _facts(
    table: PatientTable, size: Sequence[int | None], in_files: bool
) -> list[tuple[str, str]]:
    n = len(table)
    lengths = " x ".join("varies" if length is None else str(length) for length in size)
    facts = [("Patients", str(n))]
    outcome = table.outcome
    if outcome is None:
        facts.append(("Outcome", "none"))
    elif n:
        event, time = outcome["event"], outcome["time"]
        unit = f" {table.time_unit}" if table.time_unit is not None else ""
        facts.append(("Events", f"{event.sum()} ({event.mean():.0%})"))
        facts.append(("Follow-up", _follow_up(event, time) + unit))
    absent = n - table.present.sum(axis=0)
    channels = [
        f"{name} (absent in {k})" if k else name
        for name, k in zip(table.channel_names, absent.tolist(), strict=True)
    ]
    facts.append(("Channels", ", ".join(channels)))
    facts.append(("Size (z, y, x)", f"{lengths} voxels"))
    facts.append(("Spacing (z, y, x)", _spacing(table.spacing, in_files)))
    facts.append(("Tumour masks", f"{int(table.has_mask.sum())} of {n}"))
    if table.clinical is not None:
        names = [str(name) for name in table.clinical.columns]
        more = f" and {len(names) - _MOST_COLUMNS} more" if len(names) > _MOST_COLUMNS else ""
        facts.append(("Clinical columns", (", ".join(names[:_MOST_COLUMNS]) + more) or "none"))
    if table.groups is not None:
        facts.append(("Groups", str(len(np.unique(table.groups.astype(str))))))
    return facts


def _curve(table: PatientTable) -> str:
    """Kaplan-Meier curve of all patients, with marks where patients are censored."""
    if table.outcome is None or not len(table):
        return ""
    from sksurv.nonparametric import kaplan_meier_estimator

    event, time = table.outcome["event"], table.outcome["time"]
    if not event.any():
        return ""
    times, survival = kaplan_meier_estimator(event, time)
    times, survival = np.concatenate([[0.0], times]), np.concatenate([[1.0], survival])
    figure = _figure(2.6, 2.0)
    ax = figure.add_axes((0.17, 0.24, 0.8, 0.72))
    ax.step(times, survival, where="post", color=_BLUE)
    censored = np.unique(time[~event])
    height = survival[np.searchsorted(times, censored, side="right") - 1]
    ax.plot(censored, height, "|", color=_BLUE, markersize=5)
    ax.set_ylim(0, 1.03)
    ax.set_xlim(0, None)
    ax.patch.set_visible(False)
    ax.tick_params(labelsize=8, colors=_GREY)
    ax.spines[["left", "bottom"]].set_color(_GREY)
    ax.spines[["top", "right"]].set_visible(False)
    unit = table.time_unit
    words = "time" if unit is None else f"time ({unit})"
    ax.set_xlabel(words, fontsize=8, color=_GREY, parse_math=False)
    last = f"{survival[-1]:.0%} event-free at {times[-1]:.4g} {escape(unit or '')}".rstrip()
    return _captioned(figure, f"Kaplan-Meier curve: {last}")


def _missing(table: PatientTable) -> str:
    """Clinical columns with empty cells, the emptiest first."""
    if table.clinical is None or not len(table):
        return ""
    share = table.clinical.isna().mean().sort_values(ascending=False, kind="stable")
    share = share[share > 0]
    if share.empty:
        return ""
    rows = "".join(
        f"<tr><th style='text-align:left;padding-right:1em'>{escape(str(name))}</th>"
        f"<td style='text-align:left'>{value:.0%} <meter min='0' max='1' value='{value:.3f}' "
        f"aria-label='missing'></meter></td></tr>"
        for name, value in share.head(_MOST_COLUMNS).items()
    )
    more = len(share) - _MOST_COLUMNS
    rows += f"<tr><td colspan='2'>and {more} more columns</td></tr>" if more > 0 else ""
    return f"<table style='margin:0'><caption><b>Missing</b></caption><tbody>{rows}</tbody></table>"


def _follow_up(event: np.ndarray, time: np.ndarray) -> str:
    """Observed times, and the censored patients' median, which events do not cut short."""
    text = f"{time.min():.4g} to {time.max():.4g}"
    if not event.all():
        text += f", median of the censored {np.median(time[~event]):.4g}"
    return text


def _spacing(spacing: np.ndarray | None, in_files: bool) -> str:
    if spacing is None:
        return "in the image files" if in_files else "unknown"
    if not len(spacing):
        return "unknown"
    low, high = spacing.min(axis=0), spacing.max(axis=0)
    lengths = [
        f"{a:.4g}" if np.isclose(a, b) else f"{a:.4g} to {b:.4g}"
        for a, b in zip(low.tolist(), high.tolist(), strict=True)
    ]
    return f"{' x '.join(lengths)} mm"


def _thumbnail(
    table: PatientTable,
    read_volume: Callable[[int], np.ndarray],
    read_mask: Callable[[int], np.ndarray],
) -> str:
    if not len(table):
        return ""
    masked = np.flatnonzero(table.has_mask)
    i = int(masked[0]) if masked.size else 0
    patient = escape(str(table.ids[i]))
    try:
        volume = read_volume(i)
        mask = read_mask(i) if masked.size else None
    except (OSError, ValueError, RuntimeError) as error:
        reason = escape(" ".join(str(error).split())[:200])
        return f"<div style='max-width:16em'>No picture of {patient}: {reason}</div>"
    channel = int(np.argmax(table.present[i]))
    position = volume.shape[1] // 2
    if mask is not None and mask.any():
        seen = np.flatnonzero(mask.any(axis=(1, 2)))
        position = int(seen[len(seen) // 2])
    plane = volume[channel, position]
    outline = None if mask is None else mask[position]
    caption = f"{patient}, {escape(str(table.channel_names[channel]))}, z = {position}"
    return _captioned(_slice(plane, outline), caption)


def _captioned(figure: Figure, caption: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f"<figure style='margin:0'><img alt='{caption}' src='data:image/png;base64,{encoded}'>"
        f"<figcaption style='font-size:smaller'>{caption}</figcaption></figure>"
    )


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # takes longer than the rest of `import survimg.cohort`

    return Figure(figsize=(width, height), dpi=80, facecolor="none")


def _slice(plane: np.ndarray, outline: np.ndarray | None) -> Figure:
    """Draw one slice, with the contour of the mask if there is one."""
    height, width = (max(2.0 * length / max(plane.shape), 0.2) for length in plane.shape)
    figure = _figure(width, height)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    finite = plane[np.isfinite(plane)]
    low, high = np.percentile(finite, (1, 99.5)) if finite.size else (0.0, 1.0)
    ax.imshow(plane, cmap="gray", vmin=low, vmax=max(high, low + 1e-12), aspect="auto")
    if outline is not None and min(plane.shape) > 1 and outline.any() and not outline.all():
        ax.contour(outline, levels=[0.5], colors="#d55e00", linewidths=1.2)
    return figure
