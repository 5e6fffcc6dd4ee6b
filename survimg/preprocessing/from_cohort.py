"""From a raw cohort to a prepared one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from survimg.cohort import Cohort
from survimg.io.images.image import Image
from survimg.io.patients import PatientTable
from survimg.io.store.store import StoreWriter
from survimg.preprocessing.case import PreparedCase, prepare_case
from survimg.preprocessing.cohort_registration import (
    CohortRegistration,
    align_patient,
    choose_template,
    conclude,
    enforce,
    load_template,
)
from survimg.preprocessing.from_manifest import (
    case_record,
    geometry_of,
    stored_settings,
    warn_of_patients,
    write_registration,
)
from survimg.preprocessing.registration import Registration
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
    registration: Registration | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Cohort:
    """Resample, crop and normalise every patient of a raw cohort.

    Parameters
    ----------
    cohort : Cohort
        Volumes may differ in shape by patient; the channels of one patient share a grid.
    shape, spacing, crop, centre, normalise, padding, registration
        See `Preparation`.
    out : path, optional
        Write to this folder, one patient at a time, and return the cohort that it holds. By
        default the result is held in memory.
    progress : bool, default=True
        Show a bar on standard error.

    Returns
    -------
    Cohort
        The same patients (less those whose registration failed, where `registration` leaves them
        out), outcome, groups and clinical columns; the settings are its `settings`, and its
        `geometry` says where the volumes lie in the patients' arrays.

    Warns
    -----
    UserWarning
        The crop cuts off part of a tumour. A registration failed and the patient is left out or
        brought to the template by a translation.

    Raises
    ------
    ValueError
        Failed registrations, unless `registration` says what to do with them. Bad settings; a
        step that needs mm for a cohort without spacing; a patient that cannot be prepared, by name.
    FileExistsError
        `out` exists.
    """
    settings = Preparation(
        shape=tuple(shape), spacing=spacing, crop=crop, centre=centre,  # type: ignore[arg-type]
        normalise=normalise, padding=padding,  # type: ignore[arg-type]
        registration=registration,
    )
    settings.check_channels(cohort.channel_names)
    needs_mm = [
        name for name, needed in (
            ("spacing", settings.spacing is not None),
            ("centre", settings.centre is not None),
            ("crop='pet_peak'", settings.crop == "pet_peak"),
            ("registration", settings.registration is not None),
        ) if needed
    ]
    if cohort.spacing is None and needs_mm:
        raise ValueError(f"{needs_mm[0]} is in mm, but the cohort has no spacing; give it one.")
    registered = None
    if settings.registration is not None:
        registered = _register(cohort, settings, settings.registration, progress)
        cohort = cohort[np.asarray(registered.kept)]
    if out is None:
        return _in_memory(cohort, settings, registered, progress)
    return _on_disk(cohort, settings, registered, out, progress)


def _register(
    cohort: Cohort, settings: Preparation, registration: Registration, progress: bool
) -> CohortRegistration:
    names, ids = list(cohort.channel_names), [str(patient) for patient in cohort.ids]
    channel = registration.driving_channel(names)
    c = names.index(channel)
    patient = choose_template(registration, ids, cohort.present[:, c].tolist(), channel)
    template = load_template(
        registration, patient, lambda name: _image(cohort, ids.index(name), c)
    )
    alignments = []
    for i in _counted(len(cohort), progress, "Registering"):
        images = _images(cohort, i)
        other = next((image for image in images if image is not None), None)
        alignments.append(align_patient(template, images[c], other, registration, channel))
    result = conclude(settings, channel, patient, template, ids, alignments)
    enforce(result)
    return result


def _in_memory(
    cohort: Cohort, settings: Preparation, registered: CohortRegistration | None, progress: bool
) -> Cohort:
    n = len(cohort)
    volumes = np.empty((n, len(cohort.channel_names), *settings.shape), dtype=np.float32)
    masks = np.zeros((n, *settings.shape), dtype=np.uint8) if cohort.has_masks.any() else None
    records = []
    for i in _counted(n, progress):
        case, record = _prepare(cohort, i, settings, registered)
        records.append(record)
        volumes[i] = case.volume
        if masks is not None and case.mask is not None:
            masks[i] = case.mask
    table = _prepared_table(cohort, records)
    prepared = Cohort.from_table(
        table, volumes, masks, settings=stored_settings(settings, registered)
    )
    warn_of_patients({str(cohort.ids[i]): records[i] for i in range(n)})
    return prepared


def _on_disk(
    cohort: Cohort,
    settings: Preparation,
    registered: CohortRegistration | None,
    out: str | os.PathLike[str],
    progress: bool,
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
            case, record = _prepare(cohort, i, settings, registered)
            writer.write_case(i, case.volume, case.mask, patient=str(cohort.ids[i]))
            records.append(record)
        if registered is not None:
            write_registration(writer, registered)
        table = _prepared_table(cohort, records)
        writer.finish(table, settings=stored_settings(settings, registered))
    warn_of_patients({str(cohort.ids[i]): records[i] for i in range(n)})
    return Cohort.load(out)


def _prepared_table(cohort: Cohort, records: Sequence[Mapping[str, Any]]) -> PatientTable:
    """Return the table of the patients, with where their volumes lie now."""
    if cohort.spacing is None:
        return replace(cohort.table, geometry=None)
    return replace(
        cohort.table,
        spacing=np.array([record["spacing"] for record in records]),
        geometry=tuple(geometry_of(record) for record in records),
    )


def _counted(n: int, progress: bool, what: str = "Preparing") -> Iterator[int]:
    yield from tqdm(range(n), desc=what, unit="patient", disable=not progress)


def _image(cohort: Cohort, i: int, channel: int) -> Image:
    z, y, x = (1.0, 1.0, 1.0) if cohort.spacing is None else cohort.spacing[i].tolist()
    return Image(np.asarray(cohort.volume(i)[channel]), (z, y, x))


def _images(cohort: Cohort, i: int) -> list[Image | None]:
    z, y, x = (1.0, 1.0, 1.0) if cohort.spacing is None else cohort.spacing[i].tolist()
    return [
        Image(np.asarray(channel), (z, y, x)) if there else None
        for channel, there in zip(cohort.volume(i), cohort.present[i], strict=True)
    ]


def _prepare(
    cohort: Cohort, i: int, settings: Preparation, registered: CohortRegistration | None
) -> tuple[PreparedCase, dict[str, Any]]:
    images, patient = _images(cohort, i), str(cohort.ids[i])
    reference = next(image for image in images if image is not None)
    mask = Image(np.asarray(cohort.mask(i)), reference.spacing) if cohort.has_masks[i] else None
    grid, registration = None, None
    if registered is not None:
        at = registered.ids.index(patient)
        grid, registration = registered.grid(at), registered.geometry(at)
    try:
        case = prepare_case(images, mask, cohort.channel_names, settings, grid)
    except ValueError as error:
        raise ValueError(f"Patient {patient!r}, {error}.") from None
    return case, case_record(case, reference, registration)
