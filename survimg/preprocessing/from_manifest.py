"""From a manifest to a prepared store, patient by patient."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from tqdm import tqdm

from survimg.io.images.image import Image
from survimg.io.images.masks import Label, read_mask_image
from survimg.io.images.reading import read_image
from survimg.io.manifest import Manifest, read_manifest
from survimg.io.store.store import StoreWriter, write_row
from survimg.io.store.stored import StoreHeader
from survimg.preprocessing.case import PreparedCase, prepare_case
from survimg.preprocessing.cohort_registration import CohortRegistration, image_place
from survimg.preprocessing.manifest_registration import (
    file_stamp,
    forget_registrations,
    register_manifest,
)
from survimg.preprocessing.registration import Registration
from survimg.preprocessing.settings import Preparation
from survimg.preprocessing.steps import MaskError

__all__ = ["check_not_there", "prepare"]

_MAX_NAMED = 10
#: Mean of a PET volume above which it is not SUV: a tumour alone has 40 at the most.
_HIGHEST_MEAN_SUV = 200.0


def prepare(
    manifest_csv: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    shape: Sequence[int],
    spacing: float | Sequence[float] | None = None,
    crop: str = "mask",
    centre: Sequence[float] | None = None,
    normalise: str | Sequence[Any] | Mapping[str, Any] = "zscore",
    padding: float | Mapping[str, float] | None = None,
    label: Label = None,
    registration: Registration | None = None,
    modalities: Sequence[str] | None = None,
    allow_outside: bool = False,
    na_values: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
    time_unit: str | None = None,
    n_jobs: int = 1,
    progress: bool = True,
    on_error: str = "raise",
    overwrite: bool = False,
) -> StoreHeader:
    """Prepare the patients of a manifest and write them to a folder that `Cohort.load` reads.

    One patient is in memory at a time (per process). A run that was interrupted (killed, out of
    disk, Ctrl-C) is continued by calling it again with the same arguments: finished patients are
    in ``<out>.partial``, and are done again only if one of their files has changed.

    Parameters
    ----------
    manifest_csv : path
        See `survimg.io.manifest`.
    out : path
        Folder to write. It appears when everything is finished, and not before.
    shape, spacing, crop, centre, normalise, padding, label, registration
        See `Preparation`.
    modalities, allow_outside, na_values, kinds
        See `survimg.io.read_manifest`.
    time_unit : str, optional
        Unit of the times, kept with the cohort.
    n_jobs : int, default=1
        Processes; -1 takes all cores. The result does not depend on it.
    progress : bool, default=True
        Show a bar on standard error.
    on_error : {"raise", "continue"}, default="raise"
        What to do at a patient that cannot be prepared. ``"raise"`` stops and deletes what this
        run has begun. ``"continue"`` prepares all others, keeps them in ``<out>.partial``, and
        then raises one error that lists every such patient: correct them and call again.
    overwrite : bool, default=False
        Replace a prepared cohort that is already at `out`.

    Returns
    -------
    StoreHeader

    Warns
    -----
    UserWarning
        The crop cuts off part of a tumour; names the patients and the part. A registration failed
        and the patient is left out or brought to the template by a translation.

    Raises
    ------
    ValueError
        Bad settings; a bad manifest; a patient that cannot be prepared (the message names the
        patient and the file or column); a half-written folder begun with other settings; failed
        registrations, unless `registration` says what to do with them.
    FileExistsError
        `out` exists.
    BlockingIOError
        Another process is writing to `out`.

    Notes
    -----
    With a `registration` all patients are registered first. Each finished one is kept in
    ``<out>.registration`` until the store is complete, also after an error, so that neither an
    interruption nor another `on_failure` or limit costs it again. The store then holds
    ``registration.csv`` (one row per patient, the excluded too: status, reasons, figures of
    quality), ``registered`` in its settings (template, failures), and in its geometry where each
    prepared voxel lies in the patient, from which `to_patient_space` brings masks and saliency
    back.
    """
    if on_error not in ("raise", "continue"):
        raise ValueError(f"on_error must be 'raise' or 'continue'; got {on_error!r}.")
    settings = Preparation(
        shape=tuple(shape), spacing=spacing, crop=crop, centre=centre,  # type: ignore[arg-type]
        normalise=normalise, padding=padding, label=label,  # type: ignore[arg-type]
        registration=registration,
    )
    manifest = read_manifest(
        manifest_csv, modalities, allow_outside=allow_outside, na_values=na_values, kinds=kinds
    )
    settings.check_channels(manifest.channel_names)
    _check_masks(manifest, settings)
    registered = None
    if settings.registration is not None:
        check_not_there(Path(out), overwrite)
        registered = register_manifest(
            manifest, settings, Path(out), n_jobs=n_jobs, progress=progress
        )
        manifest = manifest.take(registered.kept)
    content = stored_settings(settings, registered)
    writer = StoreWriter(
        out,
        len(manifest),
        (len(manifest.channel_names), *settings.shape),
        channel_names=manifest.channel_names,
        masks=bool(manifest.has_mask.any()),
        key={"settings": content, "patients": manifest.ids.tolist()},
        resume=True,
        overwrite=overwrite,
    )
    with writer:
        errors = _write_all(writer, manifest, settings, registered, n_jobs, progress, on_error)
        if errors:
            writer.keep_partial = on_error == "continue"
            raise ValueError(_listed(errors, writer, on_error))
        records = writer.done()
        if registered is not None:
            write_registration(writer, registered)
        table = replace(
            manifest,
            time_unit=time_unit,
            spacing=np.array([records[i]["spacing"] for i in range(len(manifest))]),
            geometry=tuple(geometry_of(records[i]) for i in range(len(manifest))),
        )
        header = writer.finish(table, settings=content)
    forget_registrations(Path(out))
    warn_of_patients({patient: records[i] for i, patient in enumerate(manifest.ids)})
    return header


def warn_of_patients(records: Mapping[str, Mapping[str, Any]]) -> None:
    """Warn once of all patients of whose tumour the crop cuts off 1 % or more; of PET in Bq/ml."""
    cut = [f"{name} ({record['mask_cut']:.0%})" for name, record in records.items()
           if record["mask_cut"] >= 0.01]
    high = [f"{name} ({record['pet_mean']:.0f})" for name, record in records.items()
            if record["pet_mean"] > _HIGHEST_MEAN_SUV]
    for named, what, remedy in (
        (cut, "The crop cuts off part of the tumour", "Use a larger shape or a coarser spacing."),
        (high, "The PET is hardly SUV, whose mean is about 1 in a body (means in brackets),",
         "If it is in Bq/ml, convert it, or give the DICOM series, which is converted."),
    ):
        if named:
            more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
            warnings.warn(
                f"{what} of {len(named)} patient(s): {', '.join(named[:_MAX_NAMED])}{more}. "
                f"{remedy}",
                UserWarning,
                stacklevel=3,
            )


def case_record(
    case: PreparedCase, image: Image, registration: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what is kept about a prepared patient beside the voxels.

    Parameters
    ----------
    case : PreparedCase
    image : Image
        The patient's own image (the first of them).
    registration : dict, optional
        See `CohortRegistration.geometry`.
    """
    record = {
        "spacing": list(case.spacing),
        "origin": list(case.origin),
        "direction": list(case.direction),
        "mask_cut": case.mask_cut,
        "pet_mean": case.pet_mean,
        "image": image_place(image),
    }
    return record if registration is None else {**record, "registration": dict(registration)}


def geometry_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a record that a store keeps as the patient's geometry."""
    names = ("origin", "direction", "image", "registration")
    return {name: record[name] for name in names if name in record}


def stored_settings(
    settings: Preparation, registered: CohortRegistration | None
) -> dict[str, Any]:
    """Return the settings as a store keeps them, with what the registration came to."""
    content = settings.to_dict()
    if registered is None:
        return content
    path = content["registration"]["template_image"]
    if path is not None:  # the digest says what it was; where it lay is nobody's business
        content["registration"]["template_image"] = Path(path).name
    return {**content, "registered": registered.summary()}


def write_registration(writer: StoreWriter, registered: CohortRegistration) -> None:
    """Write ``registration.csv`` into a store that is about to be finished."""
    table = registered.table()
    table.to_csv(writer.partial / "registration.csv", index=False, lineterminator="\n")


def _write_all(
    writer: StoreWriter,
    manifest: Manifest,
    settings: Preparation,
    registered: CohortRegistration | None,
    n_jobs: int,
    progress: bool,
    on_error: str,
) -> dict[str, str]:
    done = writer.done()
    tasks = []
    for i, patient in enumerate(manifest.ids):
        paths = [manifest.images[name][i] for name in manifest.channel_names]
        source = [file_stamp(path) for path in (*paths, manifest.masks[i])]
        where = None
        if registered is not None:
            at = registered.ids.index(patient)
            where = registered.grid(at), registered.geometry(at)
            source.append(json.loads(json.dumps(where[1])))
        if i not in done or done[i].get("source") != source:
            names = manifest.channel_names
            files = paths, manifest.masks[i], manifest.root
            tasks.append((i, patient, *files, names, settings, source, where))
    errors: dict[str, str] = {}

    def until_error() -> Iterator[tuple[Any, ...]]:
        for task in tasks:
            if errors and on_error == "raise":
                return
            yield task

    bar = tqdm(
        total=len(manifest), initial=len(manifest) - len(tasks), desc="Preparing", unit="patient",
        disable=not progress,
    )
    with bar:
        for patient, error in _run(until_error(), writer.partial, writer.shape, n_jobs):
            bar.update()
            if error is not None:
                errors[patient] = error
    return errors


def _run(
    tasks: Iterator[tuple[Any, ...]], partial: Path, shape: Sequence[int], n_jobs: int
) -> Iterator[tuple[str, str | None]]:
    if n_jobs == 1:
        return (_prepare_patient(partial, shape, *task) for task in tasks)
    # the tasks are drawn while others run: an iterator that ends early ends the run early
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)
    return parallel(joblib.delayed(_prepare_patient)(partial, shape, *task) for task in tasks)


def _prepare_patient(
    partial: Path,
    shape: Sequence[int],
    i: int,
    patient: str,
    paths: Sequence[Path | None],
    mask_path: Path | None,
    root: Path | None,
    channel_names: Sequence[str],
    settings: Preparation,
    source: list[Any],
    where: tuple[Image, dict[str, Any]] | None,
) -> tuple[str, str | None]:
    try:
        images: list[Image | None] = []
        for name, path in zip(channel_names, paths, strict=True):
            images.append(
                None if path is None else _read(read_image, f"column {name!r}", path, root)
            )
        mask = None
        reference = next(image for image in images if image is not None)
        if mask_path is not None:
            more = reference, settings.label
            mask = _read(read_mask_image, "column 'mask'", mask_path, root, *more)
        grid, registration = (None, None) if where is None else where
        case = prepare_case(images, mask, channel_names, settings, grid)
    except MaskError as error:
        return patient, f"column 'mask': {mask_path}: {error}"
    except ValueError as error:
        # an error of this patient's data; anything else (disk, memory) ends the run
        return patient, str(error)
    record = {"source": source, **case_record(case, reference, registration)}
    write_row(partial, shape, i, case.volume, case.mask, record=record, patient=patient)
    return patient, None


def _read(reader: Any, where: str, path: Path, root: Path | None, *arguments: Any) -> Image:
    try:
        return reader(path, *arguments, root=root, allow_outside=root is None)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{where}: {error}") from None


def _check_masks(manifest: Manifest, settings: Preparation) -> None:
    if settings.crop != "mask":
        return
    missing = manifest.ids[~manifest.has_mask].tolist()
    if missing:
        raise ValueError(
            f"crop='mask' needs a mask for every patient; {len(missing)} have none in column "
            f"'mask': {', '.join(map(repr, missing[:_MAX_NAMED]))}. Use another crop (fixed, "
            "pet_peak, whole)."
        )


def check_not_there(out: Path, overwrite: bool) -> None:
    """Refuse a finished cohort before hours of reading or registration, not after them.

    Raises
    ------
    FileExistsError
        `out` holds a prepared cohort, which is not to be overwritten.
    """
    if (out / "cohort.json").is_file() and not overwrite:
        raise FileExistsError(
            f"{out} already holds a prepared cohort; pass overwrite=True (--overwrite) to replace "
            "it, or choose another output folder."
        )


def _listed(errors: Mapping[str, str], writer: StoreWriter, on_error: str) -> str:
    lines = [f"Patient {patient!r}, {error}" for patient, error in errors.items()]
    if on_error == "raise":
        return lines[0] if lines[0].endswith(".") else f"{lines[0]}."
    more = [f"... and {len(lines) - _MAX_NAMED} more"] if len(lines) > _MAX_NAMED else []
    return "\n".join(
        [
            f"{len(lines)} of {writer.shape[0]} patients cannot be prepared; the others are kept "
            f"in {writer.partial}. Correct these and run again:",
            *lines[:_MAX_NAMED],
            *more,
        ]
    )
