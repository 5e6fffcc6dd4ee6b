"""Registering the patients of a manifest, in processes, with finished ones kept on disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses
from tqdm import tqdm

from survimg.io.files import lock_folder, make_folder, remove_empty, unlock_folder, write_json
from survimg.io.images.image import Image
from survimg.io.images.reading import read_image
from survimg.io.manifest import Manifest
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

__all__ = ["file_stamp", "forget_registrations", "register_manifest"]

#: Part of a record's key: raise it when `register` finds another map for the same images.
_METHOD = 1


def register_manifest(
    manifest: Manifest, settings: Preparation, out: Path, *, n_jobs: int, progress: bool
) -> CohortRegistration:
    """Register the patients of a manifest; those of an earlier run are not done again.

    Finished registrations are kept in ``<out>.registration`` until the store is written, with a
    ``registration.csv`` about all of them. Which of them failed is decided afterwards: other limits
    cost no second registration.

    Raises
    ------
    ValueError
        Images that cannot be read, listed by patient; failed registrations, as in `conclude`.
    BlockingIOError
        Another process is registering for the same folder.
    """
    registration = settings.registration
    if registration is None:
        raise ValueError("These settings have no registration.")
    channel = registration.driving_channel(manifest.channel_names)
    paths = manifest.images[channel]
    patient = choose_template(
        registration, manifest.ids.tolist(), [path is not None for path in paths], channel
    )
    template = load_template(
        registration, patient, lambda name: _image_of(manifest, channel, name)
    )
    folder = _folder(out)
    made = make_folder(folder)
    lock = lock_folder(folder)
    try:
        alignments = _align_all(
            manifest, registration, channel, template, folder, n_jobs, progress
        )
        result = conclude(settings, channel, patient, template, manifest.ids.tolist(), alignments)
        table = folder / "registration.csv"
        result.table().to_csv(table, index=False, lineterminator="\n")
        enforce(result, f"All figures are in {table}; what is registered is not done again.")
        return result
    finally:
        unlock_folder(lock)
        if not any(folder.glob("*.json")):
            (folder / "lock").unlink(missing_ok=True)
            remove_empty(made)


def forget_registrations(out: Path) -> None:
    """Delete the finished registrations of a store that is complete."""
    shutil.rmtree(_folder(out), ignore_errors=True)


def file_stamp(path: Path | None) -> list[Any] | None:
    """Return what changes when an image file, or a folder of slices, is written again.

    A folder goes by its first slice: folders of links to slices are made anew for each run.
    """
    if path is None:
        return None
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    status = [file.stat() for file in files]
    size, changed = sum(s.st_size for s in status), max((s.st_mtime_ns for s in status), default=0)
    return [str((files or [path])[0].resolve()), len(files), size, changed]


def _folder(out: Path) -> Path:
    return out.with_name(out.name + ".registration")


def _image_of(manifest: Manifest, channel: str, patient: str) -> Image:
    path = manifest.images[channel][manifest.ids.tolist().index(patient)]
    if path is None:
        raise ValueError(f"Patient {patient!r} has no {channel}.")
    return _read(path, manifest.root, patient, channel)


def _read(path: Path, root: Path | None, patient: str, column: str) -> Image:
    try:
        return read_image(path, root=root, allow_outside=root is None)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"Patient {patient!r}, column {column!r}: {error}") from None


def _align_all(
    manifest: Manifest,
    registration: Registration,
    channel: str,
    template: Template,
    folder: Path,
    n_jobs: int,
    progress: bool,
) -> list[Alignment]:
    tasks, records = [], [folder / f"{i}.json" for i in range(len(manifest))]
    for i, patient in enumerate(manifest.ids):
        path = manifest.images[channel][i]
        other = next(
            (paths[i] for paths in manifest.images.values() if paths[i] is not None), None
        )
        key = [
            _METHOD, sitk.Version.VersionString(), registration.transform, template.digest, channel,
            patient, file_stamp(path), file_stamp(other),
        ]
        if _finished(records[i], key) is None:
            files = path, other, manifest.root
            tasks.append((records[i], key, patient, *files, template, registration, channel))
    errors = []
    bar = tqdm(
        total=len(manifest), initial=len(manifest) - len(tasks), desc="Registering",
        unit="patient", disable=not progress,
    )
    with bar:
        for error in _run(tasks, n_jobs):
            bar.update()
            if error is not None:
                errors.append(error)
    if errors:
        raise ValueError("\n".join(sorted(errors)))
    return [
        Alignment.from_dict(json.loads(record.read_text("utf-8"))["alignment"])
        for record in records
    ]


def _run(tasks: list[tuple[Any, ...]], n_jobs: int) -> Iterator[str | None]:
    if n_jobs == 1 or len(tasks) < 2:
        return (_align_and_record(*task) for task in tasks)
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)
    return parallel(joblib.delayed(_align_and_record)(*task) for task in tasks)


def _align_and_record(
    record: Path,
    key: list[Any],
    patient: str,
    path: Path | None,
    other: Path | None,
    root: Path | None,
    template: Template,
    registration: Registration,
    channel: str,
) -> str | None:
    try:
        image = None if path is None else _read(path, root, patient, channel)
        place = None
        if image is None and other is not None:
            place = _read(other, root, patient, channel)
    except ValueError as error:
        return str(error)
    alignment = align_patient(template, image, place, registration, channel)
    write_json(record, {"key": key, "alignment": alignment.to_dict()})
    return None


def _finished(record: Path, key: list[Any]) -> dict[str, Any] | None:
    if not record.is_file():
        return None
    content = json.loads(record.read_text("utf-8"))
    return content["alignment"] if content["key"] == json.loads(json.dumps(key)) else None
