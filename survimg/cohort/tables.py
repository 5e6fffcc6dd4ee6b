"""Cohorts out of tables and lists of dicts: which entry is what, and the voxels behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from survimg.cohort.checks import clinical_columns
from survimg.cohort.sources import Source, channels_of, widen
from survimg.cohort.stores import ImageFileStore, MaskFileStore, Store
from survimg.io.images.masks import Label, select_labels
from survimg.io.manifest import check_names
from survimg.io.patients import PatientTable, index_of
from survimg.target import make_outcome

__all__ = ["default_columns", "parts_of_frame", "table_of_dicts", "without_odd_entries"]

_MASK_KEYS = ("mask", "label", "seg", "segmentation")
_ID_KEYS = ("patient_id", "subject_id", "id")


def table_of_dicts(dicts: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Put a list of dicts, one per patient, into a table.

    Parameters
    ----------
    dicts : iterable of mapping
        MONAI's lists and datasets of dicts, or TorchIO's subjects.

    Raises
    ------
    ValueError
        No dicts, or dicts with different keys.
    """
    rows = [dict(row) for row in dicts]
    if not rows:
        raise ValueError("There are no patients: the list of dicts is empty.")
    keys = list(rows[0])
    for i, row in enumerate(rows):
        if set(row) != set(keys):
            raise ValueError(
                f"The dict at position {i} has other keys than the first: "
                f"{sorted(map(str, set(row) ^ set(keys)))}."
            )
    table = {}
    for key in keys:
        column = np.empty(len(rows), dtype=object)
        for i, row in enumerate(rows):
            column[i] = row[key]
        table[str(key)] = pd.Series(column, dtype=object)
    return pd.DataFrame(table)


def default_columns(
    frame: pd.DataFrame, image_names: str | Sequence[str] | None
) -> tuple[list[str], str | None, str | None]:
    """Return the columns of a table of dicts that hold images, masks and names of patients.

    Those given, or a column ``image`` (or every image that TorchIO calls an intensity); and
    ``mask``, ``label`` or ``seg``, or the image that TorchIO calls a label.
    """
    first = {str(name): frame[name].iloc[0] for name in frame}
    labels = [n for n in first if getattr(first[n], "type", None) == "label"]
    images = [n for n in first if getattr(first[n], "type", None) == "intensity"]
    if image_names is not None:
        images = [image_names] if isinstance(image_names, str) else list(image_names)
    elif "image" in frame and not images:
        images = ["image"]
    masks = labels or [n for n in _MASK_KEYS if n in first and not types.is_number(first[n])]
    if not images:
        raise ValueError(
            f"No entry 'image' among {list(frame)}; say which hold images (images=[...])."
        )
    return images, next(iter(masks), None), next((n for n in _ID_KEYS if n in first), None)


def without_odd_entries(frame: pd.DataFrame, sources: Sequence[str | None]) -> pd.DataFrame:
    """Leave out entries that are no cells of a table, such as MONAI's meta data."""
    cells = [n for n in frame if n in sources or all(map(types.is_scalar, frame[n]))]
    return frame[cells]


def parts_of_frame(
    frame: pd.DataFrame,
    *,
    images: str | Sequence[str] | Mapping[str, Sequence[Any]],
    mask: str | Sequence[Any] | None,
    time: str | None,
    event: str | None,
    patient_id: str | None,
    group: str | None,
    clinical: Sequence[str] | None,
    kinds: Mapping[str, str] | None,
    spacing: float | npt.ArrayLike | None,
    label: Label,
    time_unit: str | None,
    folder: Path,
) -> tuple[PatientTable, Any, Any]:
    """Return the table, the volumes and the masks of a cohort; see `Cohort.from_frame`."""
    cells = _cells(frame, [images] if isinstance(images, str) else images)
    mask_cells = None if mask is None else _cells(
        frame, [mask] if isinstance(mask, str) else {"mask": mask}
    )
    time, event, group = (
        column if column is not None or default not in frame else default
        for column, default in ((time, "time"), (event, "event"), (group, "group"))
    )
    if patient_id is None and "patient_id" in frame:
        patient_id = "patient_id"
    if (time is None) != (event is None):
        raise ValueError(f"An outcome needs both columns; got time={time!r}, event={event!r}.")
    columns = [n for n in (time, event, patient_id, group) if n is not None]
    used, named = [*cells, *(mask_cells or []), *columns], [*columns, *(clinical or [])]
    absent = [n for n in named if n not in frame]
    if absent or len(set(used)) != len(used):
        raise ValueError(
            f"Columns {absent or used} are absent or named twice; the table has {list(frame)}."
        )
    others = [n for n in frame if n not in used] if clinical is None else list(clinical)
    check_names([str(name) for name in others], "The table")
    ids = _ids(frame, patient_id)
    rows, channels = _channels(cells, ids, folder)
    masks = None if mask_cells is None else _mask_sources(mask_cells, ids, folder)
    table = PatientTable(
        ids=np.array(ids, dtype=object),
        channel_names=tuple(channels),
        outcome=None if time is None else make_outcome(frame[event], frame[time]),
        time_unit=time_unit,
        groups=None if group is None else frame[group].to_numpy(dtype=object),
        clinical=clinical_columns(frame[others].reset_index(drop=True) if others else None, kinds),
        has_mask=np.array([False if masks is None else m is not None for m in masks or ids]),
        present=np.array([[source is not None for source in row] for row in rows]),
        spacing=spacing,  # type: ignore[arg-type]
    )
    return table, *_voxels(rows, masks, ids, label, table)


def _ids(frame: pd.DataFrame, patient_id: str | None) -> list[str]:
    if patient_id is not None:
        return frame[patient_id].tolist()
    labels = index_of(frame)
    if labels is not None and frame.index.dtype.kind not in "iu":
        return labels
    return [f"case-{i:04d}" for i in range(len(frame))]


def _cells(
    frame: pd.DataFrame, images: Sequence[str] | Mapping[str, Sequence[Any]]
) -> dict[str, list[Any]]:
    """Return the cells of the columns named, or those given."""
    cells = {}
    for name in images:
        if not isinstance(images, Mapping) and name not in frame:
            raise ValueError(f"The table has no column {name!r}; it has {list(frame)}.")
        values = images[name] if isinstance(images, Mapping) else frame[name]
        cells[str(name)] = list(values)
        if len(cells[str(name)]) != len(frame):
            raise ValueError(
                f"{name!r} has {len(cells[str(name)])} images; the table has {len(frame)} rows."
            )
    if not cells:
        raise ValueError("images= names no column.")
    return cells


def _channels(
    cells: Mapping[str, Sequence[Any]], ids: Sequence[str], folder: Path
) -> tuple[list[list[Source]], list[str]]:
    """Return the channels of every patient, and their names."""
    rows: list[list[Source]] = [[] for _ in ids]
    channels: list[str] = []
    for name, values in cells.items():
        sources = [
            channels_of(cell, f"Patient {patient!r}, column {name!r}", folder)
            for patient, cell in zip(ids, values, strict=True)
        ]
        wide = widen(sources, f"Column {name!r}")
        for row, more in zip(rows, wide, strict=True):
            row.extend(more)
        width = len(wide[0])
        channels += [name] if width == 1 else [f"{name}{c}" for c in range(width)]
    empty = [patient for patient, row in zip(ids, rows, strict=True) if not any(
        source is not None for source in row
    )]
    if empty:
        raise ValueError(f"Patient {empty[0]!r} has no image: {list(cells)} are all empty.")
    return rows, channels


def _mask_sources(
    cells: Mapping[str, Sequence[Any]], ids: Sequence[str], folder: Path
) -> list[Source]:
    masks = []
    ((name, values),) = cells.items()
    for patient, cell in zip(ids, values, strict=True):
        where = f"Patient {patient!r}, column {name!r}"
        channels = channels_of(cell, where, folder)
        if len(channels) != 1:
            raise ValueError(f"{where}: a mask has one channel; this one has {len(channels)}.")
        masks.append(channels[0])
    return masks


def _voxels(
    rows: list[list[Source]],
    masks: list[Source] | None,
    ids: Sequence[str],
    label: Label,
    table: PatientTable,
) -> tuple[Any, Any]:
    """Return volumes and masks as a cohort takes them."""
    sources = [source for row in [*rows, masks or []] for source in row if source is not None]
    arrays = [source for source in sources if isinstance(source, np.ndarray)]
    if arrays and len(arrays) != len(sources):
        raise ValueError(
            "Some images are plain arrays, which do not say where they lie, and others are files "
            "or images that do; give all in one form."
        )
    if not arrays:
        if table.spacing is not None:
            raise ValueError("spacing= is of plain arrays; these images say it themselves.")
        return _files(rows, masks, ids, label)
    volumes = [
        np.stack([_array_or_zeros(source, row) for source in row]).astype(np.float32)
        for row in rows
    ]
    if masks is None:
        return volumes, None
    return volumes, [None if m is None else _marked(np.asarray(m), label) for m in masks]


def _files(
    rows: list[list[Any]],
    masks: list[Any] | None,
    ids: Sequence[str],
    label: Label,
) -> tuple[Store, Store | None]:
    for patient, row, mask in zip(ids, rows, masks or [None] * len(ids), strict=True):
        for source in (*row, mask):
            if isinstance(source, Path) and not source.exists():
                raise FileNotFoundError(f"Patient {patient!r}: there is no file {source}.")
    images = ImageFileStore(rows)
    return images, None if masks is None else MaskFileStore(masks, images, label)


def _array_or_zeros(source: Source, row: Sequence[Source]) -> np.ndarray:
    if isinstance(source, np.ndarray):
        return source
    return np.zeros_like(next(other for other in row if isinstance(other, np.ndarray)))


def _marked(mask: np.ndarray, label: Label) -> np.ndarray:
    return mask if label is None else select_labels(mask, label, Path("in memory"))
