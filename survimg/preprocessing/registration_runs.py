"""Registering the patients of a cohort, in processes, with finished ones kept on disk."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import joblib
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses
from tqdm.auto import tqdm

from survimg.cohort import Cohort
from survimg.cohort.patient import Patient
from survimg.files import (
    lock_folder,
    make_folder,
    read_json,
    remove_empty,
    unlock,
    write_atomically,
    write_json,
)
from survimg.io.images.image import Image
from survimg.preprocessing.alignment import Alignment
from survimg.preprocessing.cohort_registration import (
    CohortRegistration,
    align_patient,
    choose_template,
    conclude,
    enforce,
    load_template,
)
from survimg.preprocessing.registration import Registration
from survimg.preprocessing.settings import Preparation
from survimg.preprocessing.template import Template

__all__ = ["forget_registrations", "register_patients"]

#: Part of a record's key: raise it when `register` finds another map for the same images.
_METHOD = 1


def register_patients(
    cohort: Cohort,
    settings: Preparation,
    registration: Registration,
    out: Path | None,
    *,
    n_jobs: int,
    progress: bool,
) -> CohortRegistration:
    """Register the patients of a cohort; those of an earlier run are not done again.

    Finished registrations are kept in ``<out>.registration`` until the store is written, with a
    ``registration.csv`` about all of them. Which of them failed is decided afterwards: other limits
    cost no second registration. Without `out` nothing is kept.

    Raises
    ------
    ValueError
        Images that cannot be read, listed by patient; failed registrations, as in `conclude`.
    BlockingIOError
        Another process is registering for the same folder.
    """
    names, ids = cohort.channel_names, cohort.ids.tolist()
    channel = registration.driving_channel(names)
    has_channel = cohort.present[:, names.index(channel)].tolist()
    name = choose_template(registration, ids, has_channel, channel)
    template = load_template(
        registration, name, lambda patient: _driving(cohort.patient(ids.index(patient)), channel)
    )

    def concluded(folder: Path | None) -> CohortRegistration:
        alignments = _align_all(
            cohort, registration, template, channel, folder, n_jobs=n_jobs, progress=progress
        )
        return conclude(settings, channel, name, template, ids, alignments)

    if out is None:
        result = concluded(None)
        enforce(result)
        return result
    folder = _folder(out)
    made = make_folder(folder)
    lock = lock_folder(folder)
    try:
        result = concluded(folder)
        table = folder / "registration.csv"
        text = result.table().to_csv(index=False, lineterminator="\n")
        write_atomically(table, text.encode())
        enforce(result, f"All figures are in {table}; what is registered is not done again.")
        return result
    finally:
        unlock(lock)
        if not any(folder.glob("*.json")):
            (folder / "lock").unlink(missing_ok=True)
            remove_empty(made)


def forget_registrations(out: Path) -> None:
    """Delete the finished registrations of a store that is complete."""
    shutil.rmtree(_folder(out), ignore_errors=True)


def _folder(out: Path) -> Path:
    return out.with_name(out.name + ".registration")


def _driving(patient: Patient, channel: str) -> Image:
    try:
        image = patient.image(channel)
    except ValueError as error:
        raise ValueError(f"Patient {patient.id!r}, {error}") from None
    if image is None:
        raise ValueError(f"Patient {patient.id!r} has no {channel}.")
    return image


def _align_all(
    cohort: Cohort,
    registration: Registration,
    template: Template,
    channel: str,
    folder: Path | None,
    *,
    n_jobs: int,
    progress: bool,
) -> list[Alignment]:
    method = [_METHOD, sitk.Version.VersionString(), registration.transform, template.digest]
    alignments: dict[int, Alignment] = {}
    tasks = []
    for i in range(len(cohort)):
        patient = cohort.patient(i)
        key = [*method, channel, patient.id, patient.images_key]
        record = None if folder is None else folder / f"{i}.json"
        finished = None if record is None else _finished(record, key)
        if finished is None:
            tasks.append((i, patient, record, key, template, registration, channel))
        else:
            alignments[i] = finished
    errors = []
    bar = tqdm(
        total=len(cohort), initial=len(alignments), desc="Registering", unit="patient",
        disable=not progress,
    )
    with bar:
        for i, result in _run(tasks, n_jobs):
            bar.update()
            if isinstance(result, Alignment):
                alignments[i] = result
            else:
                errors.append(result)
    if errors:
        raise ValueError("\n".join(sorted(errors)))
    return [alignments[i] for i in range(len(cohort))]


def _run(
    tasks: Iterable[tuple[Any, ...]], n_jobs: int
) -> Iterator[tuple[int, Alignment | str]]:
    if n_jobs == 1:
        return (_align(*task) for task in tasks)
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)
    return parallel(joblib.delayed(_align)(*task) for task in tasks)


def _align(
    i: int,
    patient: Patient,
    record: Path | None,
    key: list[Any],
    template: Template,
    registration: Registration,
    channel: str,
) -> tuple[int, Alignment | str]:
    """Register one patient; return the alignment, or the message of an error."""
    try:
        image = patient.image(channel)
        other = patient.first_image() if image is None else None
    except ValueError as error:
        return i, f"Patient {patient.id!r}, {error}"
    alignment = align_patient(template, image, other, registration, channel)
    if record is not None:
        write_json(record, {"key": key, "alignment": alignment.to_dict()})
    return i, alignment


def _finished(record: Path, key: list[Any]) -> Alignment | None:
    if not record.is_file():
        return None
    try:
        content = read_json(record)
        if content["key"] != json.loads(json.dumps(key)):
            return None
        return Alignment.from_dict(content["alignment"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        warnings.warn(
            f"A damaged record counts as none, and its patient is registered again: {record} "
            f"({error}).",
            UserWarning, stacklevel=2,
        )  # fmt: skip
        return None
