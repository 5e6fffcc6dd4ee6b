"""Pictures of saliency maps over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from survimg.cohort import Cohort

__all__ = ["plot_saliency"]

_PLANES = ("axial", "coronal", "sagittal")
_CONTOUR = "#39ff14"  # neither grey, nor red, nor blue
# Beyond it single voxels would decide how the whole picture looks.
_FULL_COLOUR = 99.8


def plot_saliency(
    cohort: Cohort,
    i: int,
    saliency: npt.ArrayLike,
    *,
    channels: Sequence[int | str] | None = None,
    at: tuple[int, int, int] | None = None,
    strongest: float | None = None,
    label: str = "contribution",
) -> Figure:
    """Draw image, tumour contour and saliency in the three planes through the map's maximum.

    Red raises what is explained, blue lowers it; the stronger the contribution, the more opaque the
    colour.

    Parameters
    ----------
    cohort : Cohort
    i : int
        Position of the patient.
    saliency : array-like of shape (z, y, x)
        Map on the cohort's grid.
    channels : sequence of int or str, optional
        Modalities to draw, one row each; by default all that the patient has.
    at : tuple (z, y, x), optional
        Voxel that the planes pass through; by default that of the largest absolute value.
    strongest : float, optional
        Absolute value that is drawn in full colour; by default the 99.8th percentile. Give the same
        to pictures that are compared.
    label : str, default="contribution"
        Of the colour bar. `name_of_score` says to what: f"contribution to the
        {name_of_score(model)}".

    Returns
    -------
    matplotlib.figure.Figure
        ``figure.savefig("overlay.png")`` writes it. Axes are ordered by modality, then axial,
        coronal, sagittal.

    Raises
    ------
    ValueError
        A map of another shape, with values that are not finite, or zero throughout; an unknown
        channel.
    """
    volume = cohort.volume(i)
    values = np.asarray(saliency, dtype=np.float64)
    if values.shape != volume.shape[1:]:
        raise ValueError(
            f"saliency has shape {values.shape}; the volume of patient {cohort.ids[i]!r} has "
            f"{volume.shape[1:]}."
        )
    if not np.isfinite(values).all() or not values.any():
        raise ValueError(
            f"The map of patient {cohort.ids[i]!r} is zero throughout, or not finite; there is "
            "nothing to draw."
        )
    if at is None:
        z, y, x = np.unravel_index(int(np.abs(values).argmax()), values.shape)
        at = (int(z), int(y), int(x))
    if strongest is None:
        strongest = float(np.percentile(np.abs(values), _FULL_COLOUR)) or float(
            np.abs(values).max()
        )
    rows = _rows(cohort, i, channels)
    mask = cohort.mask(i) if cohort.has_masks[i] else None
    spacing = (1.0, 1.0, 1.0) if cohort.spacing is None else tuple(cohort.spacing[i].tolist())
    figure = Figure(figsize=(9.6, 2.8 * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for row, channel in enumerate(rows):
        window = tuple(np.percentile(volume[channel], (1, 99.5)).tolist())
        for axis, ax in enumerate(grid[row]):
            _draw_plane(ax, axis, at, volume[channel], mask, values, spacing, window, strongest)
            if row == 0:
                ax.set_title(f"{_PLANES[axis]}, {'zyx'[axis]} = {at[axis]}", fontsize=9)
        grid[row, 0].set_ylabel(str(cohort.channel_names[channel]), fontsize=10)
    last_image = grid[0, 0].images[-1]
    scale = ScalarMappable(last_image.norm, last_image.cmap)  # without the map's opacity
    figure.colorbar(scale, ax=grid, shrink=0.8, pad=0.02, extend="both").set_label(label)
    return figure


def _rows(cohort: Cohort, i: int, channels: Sequence[int | str] | None) -> list[int]:
    names = cohort.channel_names
    if channels is None:
        return np.flatnonzero(cohort.present[i]).tolist()
    indices = [names.index(c) if isinstance(c, str) and c in names else c for c in channels]
    wrong = [c for c in indices if not isinstance(c, int | np.integer) or not 0 <= c < len(names)]
    if wrong or not indices:
        raise ValueError(
            f"channels={list(channels)} must name at least one of {list(names)} or their positions."
        )
    return [int(c) for c in indices]


def _draw_plane(
    ax: Axes,
    axis: int,
    at: tuple[int, int, int],
    image: np.ndarray,
    mask: np.ndarray | None,
    values: np.ndarray,
    spacing: tuple[float, ...],
    window: tuple[float, ...],
    strongest: float,
) -> None:
    height, width = (spacing[k] for k in range(3) if k != axis)
    # Rows of an axial plane run to the back, those of the others to the head.
    origin = "upper" if axis == 0 else "lower"
    placement: dict[str, Any] = {"origin": origin, "aspect": height / width}
    ax.imshow(image.take(at[axis], axis), cmap="gray", vmin=window[0], vmax=window[1], **placement)
    plane = values.take(at[axis], axis)
    opacity = np.clip(np.abs(plane) / strongest, 0, 1) * 0.85
    ax.imshow(plane, cmap="seismic", vmin=-strongest, vmax=strongest, alpha=opacity, **placement)
    if mask is not None:
        outline = mask.take(at[axis], axis)
        if outline.any() and not outline.all():
            ax.contour(outline, levels=[0.5], colors=_CONTOUR, linewidths=1.0)
    across, down = (at[k] for k in (2, 1, 0) if k != axis)
    ax.axvline(across, color="white", linewidth=0.4, alpha=0.6)
    ax.axhline(down, color="white", linewidth=0.4, alpha=0.6)
    ax.set_xticks([])
    ax.set_yticks([])
