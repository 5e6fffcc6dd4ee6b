"""From a raw cohort to a prepared one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from survimg.cohort import Cohort
from survimg.io.images import Image
from survimg.io.store import StoreWriter
from survimg.preprocessing.case import PreparedCase, prepare_case
from survimg.preprocessing.from_manifest import case_record, warn_of_cut_tumours
from survimg.preprocessing.settings import Preparation

__all__ = ["prepare_cohort"]


def prepare_cohort(
    cohort: Cohort,
    *,
    shape: Sequence[int],
    spacing: float | Sequence[float] | None = None,
    crop: str = "mask",
    centre: Sequence[float] | None = None,
    normalise: str | Sequence[Any] | Mapping[str, Any] = "zscore",
    padding: float | Mapping[str, float] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Cohort:
    """Resample, crop and normalise every patient of a raw cohort.

    Parameters
    ----------
    cohort : Cohort
        Volumes may differ in shape by patient; the channels of one patient share a grid.
    shape, spacing, crop, centre, normalise, padding
        See `Preparation`.
    out : path, optional
        Write to this folder, one patient at a time, and return the cohort that it holds. By
        default the result is held in memory.
    progress : bool, default=True
        Show a bar on standard error.

    Returns
    -------
    Cohort
        The same patients, outcome, groups and clinical columns; the settings are its `settings`.

    Warns
    -----
    UserWarning
        The crop cuts off part of a tumour.

    Raises
    ------
    ValueError
        Bad settings; a step that needs mm for a cohort without spacing; a patient that cannot be
        prepared, by name.
    FileExistsError
        `out` exists.
    """
    settings = Preparation(
        shape=tuple(shape), spacing=spacing, crop=crop, centre=centre,  # type: ignore[arg-type]
        normalise=normalise, padding=padding,  # type: ignore[arg-type]
    )
    settings.check_channels(cohort.channel_names)
    needs_mm = [
        name for name, needed in (
            ("spacing", settings.spacing is not None),
            ("centre", settings.centre is not None),
            ("crop='pet_peak'", settings.crop == "pet_peak"),
        ) if needed
    ]
    if cohort.spacing is None and needs_mm:
        raise ValueError(f"{needs_mm[0]} is in mm, but the cohort has no spacing; give it one.")
    if out is None:
        return _in_memory(cohort, settings, progress)
    return _on_disk(cohort, settings, out, progress)


def _in_memory(cohort: Cohort, settings: Preparation, progress: bool) -> Cohort:
    n = len(cohort)
    volumes = np.empty((n, len(cohort.channel_names), *settings.shape), dtype=np.float32)
    masks = np.zeros((n, *settings.shape), dtype=np.uint8) if cohort.has_masks.any() else None
    spacing, cut = np.empty((n, 3)), {}
    for i in _counted(n, progress):
        case = _prepare(cohort, i, settings)
        volumes[i], spacing[i] = case.volume, case.spacing
        cut[str(cohort.ids[i])] = case.mask_cut
        if masks is not None and case.mask is not None:
            masks[i] = case.mask
    prepared = Cohort(
        volumes,
        masks=masks,
        clinical=cohort.clinical,
        outcome=cohort.outcome,
        ids=cohort.ids,
        groups=cohort.groups,
        spacing=None if cohort.spacing is None else spacing,
        channel_names=cohort.channel_names,
        time_unit=cohort.time_unit,
        has_mask=cohort.has_masks if masks is not None else None,
        present=cohort.present,
    )
    prepared.settings = settings.to_dict()
    warn_of_cut_tumours(cut)
    return prepared


def _on_disk(
    cohort: Cohort, settings: Preparation, out: str | os.PathLike[str], progress: bool
) -> Cohort:
    n = len(cohort)
    writer = StoreWriter(
        out,
        n,
        (len(cohort.channel_names), *settings.shape),
        channel_names=cohort.channel_names,
        masks=bool(cohort.has_masks.any()),
    )
    with writer:
        records = []
        for i in _counted(n, progress):
            case = _prepare(cohort, i, settings)
            writer.write_case(i, case.volume, case.mask, patient=str(cohort.ids[i]))
            records.append(case_record(case))
        writer.finish(
            ids=cohort.ids,
            outcome=cohort.outcome,
            groups=cohort.groups,
            clinical=cohort.clinical,
            present=cohort.present,
            spacing=None if cohort.spacing is None else [r["spacing"] for r in records],
            time_unit=cohort.time_unit,
            settings=settings.to_dict(),
        )
    warn_of_cut_tumours({str(cohort.ids[i]): records[i]["mask_cut"] for i in range(n)})
    return Cohort.load(out)


def _counted(n: int, progress: bool) -> Iterator[int]:
    yield from tqdm(range(n), desc="Preparing", unit="patient", disable=not progress)


def _prepare(cohort: Cohort, i: int, settings: Preparation) -> PreparedCase:
    z, y, x = (1.0, 1.0, 1.0) if cohort.spacing is None else cohort.spacing[i].tolist()
    volume, present = cohort.volume(i), cohort.present[i]
    images = [
        Image(np.asarray(channel), (z, y, x)) if there else None
        for channel, there in zip(volume, present, strict=True)
    ]
    mask = Image(np.asarray(cohort.mask(i)), (z, y, x)) if cohort.has_masks[i] else None
    try:
        return prepare_case(images, mask, cohort.channel_names, settings)
    except ValueError as error:
        raise ValueError(f"Patient {str(cohort.ids[i])!r}, {error}.") from None
