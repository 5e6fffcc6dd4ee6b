"""The one road from patients' images to a prepared cohort."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from survimg.cohort import ArrayStore, Cohort
from survimg.cohort.finer_voxels import finer_settings, finer_table
from survimg.cohort.patient import Patient
from survimg.files import write_atomically
from survimg.io.dicom.folder import manifest_of_dicom
from survimg.io.images.image import Image
from survimg.io.images.masks import Label
from survimg.io.manifest import manifest_of_frame
from survimg.io.patients import PatientTable
from survimg.io.store.store import StoreWriter, write_row
from survimg.preprocessing.case import PreparedCase, finer_case, prepare_case
from survimg.preprocessing.cohort_registration import CohortRegistration
from survimg.preprocessing.pseudonyms import pseudonyms
from survimg.preprocessing.records import (
    case_record,
    listed_errors,
    place_of,
    prepared_table,
    stored_settings,
    warn_of_patients,
)
from survimg.preprocessing.registration_runs import forget_registrations, register_patients
from survimg.preprocessing.settings import Preparation
from survimg.preprocessing.steps import MaskError

__all__ = ["check_not_there", "prepare"]

_MAX_NAMED = 10


def prepare(
    source: str | os.PathLike[str] | pd.DataFrame | Cohort,
    settings: Preparation,
    out: str | os.PathLike[str] | None = None,
    *,
    modalities: Sequence[str] | None = None,
    allow_outside: bool = False,
    na_values: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
    clinical: str | os.PathLike[str] | None = None,
    series: Mapping[str, str | Sequence[str]] | None = None,
    time_unit: str | None = None,
    n_jobs: int = 1,
    progress: bool = True,
    on_error: str = "raise",
    overwrite: bool = False,
    pseudonym_key: bytes | None = None,
) -> Cohort:
    """Resample, crop and normalise patients, whatever their images come from.

    Each patient's images go from their own grids to the prepared one in a single interpolation, one
    patient at a time (per process), and the result is the same, bit for bit, from every source. A
    run with `out` that was interrupted (killed, out of disk, Ctrl-C) is continued by calling it
    again with the same arguments: finished patients are in ``<out>.partial``, and are done again
    only if their images have changed.

    Parameters
    ----------
    source : path, DataFrame or Cohort
        A manifest (``.csv``; see `survimg.io.manifest`), or its columns as a frame; a folder of
        DICOM with a sub-folder for each patient (see `survimg.io.manifest_of_dicom`); or a raw
        cohort (`Cohort.from_manifest`, or arrays of which the channels of a patient share a grid).
    settings : Preparation
    out : path, optional
        Folder to write. It appears when everything is finished, and not before. By default the
        result is held in memory.
    modalities, allow_outside, na_values, kinds
        Of a manifest, a frame or a folder; see `survimg.io.read_manifest`.
    clinical, series
        Of a folder of DICOM; see `survimg.io.manifest_of_dicom`.
    time_unit : str, optional
        Unit of the times, kept with the cohort; of a `Cohort` its own.
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
    pseudonym_key : bytes, optional
        Key (`survimg.preprocessing.read_key`) with which identifiers are replaced by pseudonyms in
        the prepared cohort. Messages name patients as the source does, and so do the folders
        ``<out>.partial`` and ``<out>.registration`` of an unfinished run.

    Returns
    -------
    Cohort
        The same patients (less those whose registration failed, where the settings leave them out)
        with their outcome, groups and clinical columns. Its `settings` say how it was prepared, its
        `geometry` where the volumes lie in the patients.

    Warns
    -----
    UserWarning
        Images that cannot be SUV or HU; names the patients and the range. The crop cuts off part of
        a tumour; names the patients and the part. A registration failed
        and the patient is left out or brought to the template by a translation.

    Raises
    ------
    ValueError
        Bad settings; a bad manifest; a step in mm for a cohort without spacing; a patient that
        cannot be prepared (the message names the patient and the file or column); a half-written
        folder begun with other settings; failed registrations, unless the settings say what to do
        with them.
    FileExistsError
        `out` exists.
    BlockingIOError
        Another process is writing to `out`.

    Notes
    -----
    With a registration all patients are registered first. Each finished one is kept in
    ``<out>.registration`` until the store is complete, also after an error, so that neither an
    interruption nor another `on_failure` or limit costs it again. The store then holds
    ``registration.csv`` (one row per patient, the excluded too: status, reasons, figures of
    quality), ``registered`` in its settings (template, failures), and in its geometry where each
    prepared voxel lies in the patient, from which `to_patient_space` brings masks and saliency
    back.
    """
    if on_error not in ("raise", "continue"):
        raise ValueError(f"on_error must be 'raise' or 'continue'; got {on_error!r}.")
    folder = None if out is None else Path(out)
    reading = {
        "modalities": modalities, "allow_outside": allow_outside, "time_unit": time_unit,
        "na_values": na_values, "kinds": kinds,
    }
    of_dicom = {"clinical": clinical, "series": series, "n_jobs": n_jobs, "progress": progress}
    with _opened(source, settings.label, reading, of_dicom) as raw:
        cohort = raw
        settings = _checked(settings, cohort)
        registered = None
        if settings.registration is not None:
            if folder is not None:
                check_not_there(folder, overwrite)
            registered = register_patients(
                cohort, settings, settings.registration, folder, n_jobs=n_jobs, progress=progress
            )
            cohort = cohort[np.asarray(registered.kept)]
        run = _Run(cohort, settings, registered, n_jobs, progress, on_error, pseudonym_key)
        if folder is None:
            return run.in_memory()
        prepared = run.on_disk(folder, overwrite)
    forget_registrations(folder)
    return prepared


@dataclass(frozen=True)
class _Run:
    """One preparation of one cohort."""

    cohort: Cohort
    settings: Preparation
    registered: CohortRegistration | None
    n_jobs: int
    progress: bool
    on_error: str
    pseudonym_key: bytes | None

    def in_memory(self) -> Cohort:
        """Prepare all patients and return them."""
        n, channels, with_masks = self._sizes()
        volumes = np.empty((n, channels, *self.settings.shape), dtype=np.float32)
        masks = np.zeros((n, *self.settings.shape), dtype=np.uint8) if with_masks else None
        records: dict[int, dict[str, Any]] = {}
        finer: dict[int, PreparedCase] = {}
        errors: dict[str, str] = {}
        for result in self._results({}, None, errors):
            case, i = result.case, result.i
            if case is None:
                continue
            volumes[i], records[i] = case.volume, result.record
            if result.finer is not None:
                finer[i] = result.finer
            if masks is not None and case.mask is not None:
                masks[i] = case.mask
        if errors:
            raise ValueError(listed_errors(errors, n, None))
        rows = [records[i] for i in range(n)]
        table, settings, _ = self._named(rows)
        warn_of_patients(self.cohort.ids.tolist(), rows)
        marks = None if masks is None else ArrayStore(masks)
        cohort = Cohort.from_table(table, volumes, marks, settings=settings)
        return _with_finer(cohort, finer) if finer else cohort

    def on_disk(self, out: Path, overwrite: bool) -> Cohort:
        """Prepare all patients that are not finished yet, and open the finished store."""
        n, channels, with_masks = self._sizes()
        ids, settings = self.cohort.ids.tolist(), stored_settings(self.settings, self.registered)
        writer = StoreWriter(
            out,
            n,
            (channels, *self.settings.shape),
            channel_names=self.cohort.channel_names,
            masks=with_masks,
            key={"settings": settings, "patients": ids},
            resume=True,
            overwrite=overwrite,
        )
        with writer:
            errors: dict[str, str] = {}
            for _ in self._results(writer.done(), writer.partial, errors):
                pass  # the processes write
            if errors:
                writer.keep_partial = self.on_error == "continue"
                partial = writer.partial if writer.keep_partial else None
                raise ValueError(listed_errors(errors, n, partial))
            done = writer.done()
            records = [done[i] for i in range(n)]
            table, settings, registered = self._named(records)
            if registered is not None:
                text = registered.table().to_csv(index=False, lineterminator="\n")
                write_atomically(writer.partial / "registration.csv", text.encode())
            writer.finish(table, settings=settings)
        warn_of_patients(ids, records)
        return Cohort.load(out)

    def _named(
        self, records: Sequence[Mapping[str, Any]]
    ) -> tuple[PatientTable, dict[str, Any], CohortRegistration | None]:
        """Return what the cohort says of its patients, with pseudonyms if there is a key."""
        table, settings, registered = (
            prepared_table(self.cohort, records), self.settings, self.registered,
        )  # fmt: skip
        if self.pseudonym_key is not None:
            names = pseudonyms(table.ids.tolist(), self.pseudonym_key)
            table = replace(table, ids=np.array(names, dtype=object))
            if registered is not None:
                registered = registered.with_pseudonyms(self.pseudonym_key)
                settings = replace(settings, registration=registered.settings)
        return table, stored_settings(settings, registered), registered

    def _sizes(self) -> tuple[int, int, bool]:
        cohort = self.cohort
        return len(cohort), len(cohort.channel_names), bool(cohort.has_masks.any())

    def _results(
        self, done: Mapping[int, Mapping[str, Any]], partial: Path | None, errors: dict[str, str]
    ) -> Iterator[_Result]:
        """Prepare the patients that are not done, and collect what is wrong with some of them."""
        n = len(self.cohort)
        bar = tqdm(total=n, desc="Preparing", unit="patient", disable=not self.progress)

        def missing() -> Iterator[_Task]:
            for task in self._tasks(partial):
                if errors and self.on_error == "raise":
                    return
                if done.get(task.i, {}).get("source") == task.source:
                    bar.update()
                else:
                    yield task

        with bar:
            for result in _run(missing(), self.n_jobs):
                bar.update()
                if result.error is not None:
                    errors[str(self.cohort.ids[result.i])] = result.error
                yield result

    def _tasks(self, partial: Path | None) -> Iterator[_Task]:
        channels = len(self.cohort.channel_names)
        shape = (len(self.cohort), channels, *self.settings.shape)
        for i in range(len(self.cohort)):
            patient, grid, place = self.cohort.patient(i), None, None
            if self.registered is not None:
                at = self.registered.ids.index(patient.id)
                grid, place = self.registered.grid(at), self.registered.geometry(at)
            source = json.loads(json.dumps([patient.key, place]))
            yield _Task(i, patient, self.settings, grid, place, source, partial, shape)


@dataclass(frozen=True)
class _Task:
    """One patient to prepare, for whatever process does it."""

    i: int
    patient: Patient
    settings: Preparation
    grid: Image | None
    registration: Mapping[str, Any] | None
    source: list[Any]
    partial: Path | None
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Result:
    """What came of a patient: written, or (without a folder) the case itself, or an error."""

    i: int
    record: dict[str, Any]
    case: PreparedCase | None = None
    finer: PreparedCase | None = None
    error: str | None = None


def _run(tasks: Iterator[_Task], n_jobs: int) -> Iterator[_Result]:
    if n_jobs == 1:
        return (_prepare_patient(task) for task in tasks)
    # the tasks are drawn while others run: an iterator that ends early ends the run early
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)
    return parallel(joblib.delayed(_prepare_patient)(task) for task in tasks)


def _prepare_patient(task: _Task) -> _Result:
    patient, settings = task.patient, task.settings
    try:
        images = patient.images()
        mask = patient.mask(next(image for image in images if image is not None))
        organs = patient.organs()
        case = prepare_case(images, mask, patient.channel_names, settings, task.grid, organs)
        finer = None
        if mask is not None and settings.features_spacing is not None:
            finer = finer_case(images, mask, settings, organs)
    except MaskError as error:
        return _Result(task.i, {}, error=f"{patient.mask_name}{error}")
    except ValueError as error:
        # an error of this patient's data; anything else (disk, memory) ends the run
        return _Result(task.i, {}, error=str(error))
    by_name = dict(zip(patient.channel_names, images, strict=True))
    record = {"source": task.source, **case_record(case, by_name, task.registration)}
    if task.partial is None:
        return _Result(task.i, record, case, finer)
    block = None if finer is None else (finer.volume, finer.mask, place_of(finer))
    write_row(
        task.partial, task.shape, task.i, case.volume, case.mask, record=record,
        patient=patient.id, finer=block,  # type: ignore[arg-type]  # it has a mask
    )
    return _Result(task.i, record)


def _with_finer(cohort: Cohort, blocks: Mapping[int, PreparedCase]) -> Cohort:
    nothing = np.zeros((len(cohort.channel_names), 0, 0, 0), dtype=np.float32)
    none = np.zeros((0, 0, 0), dtype=np.uint8)
    cases = [blocks.get(i) for i in range(len(cohort))]
    places = [None if case is None else place_of(case) for case in cases]
    finer = Cohort.from_table(
        finer_table(cohort.table, places),
        [nothing if case is None else case.volume for case in cases],
        ArrayStore([none if case is None or case.mask is None else case.mask for case in cases]),
        settings=finer_settings(cohort.settings),
    )
    return cohort.with_finer(finer)


@contextlib.contextmanager
def _opened(
    source: str | os.PathLike[str] | pd.DataFrame | Cohort,
    label: Label,
    reading: Mapping[str, Any],
    of_dicom: Mapping[str, Any],
) -> Iterator[Cohort]:
    """Open a source as a raw cohort, for as long as its images are needed."""
    dicom_options = [name for name in ("clinical", "series") if of_dicom[name] is not None]
    is_folder = isinstance(source, str | os.PathLike) and Path(source).is_dir()
    if dicom_options and not is_folder:
        raise ValueError(f"{dicom_options[0]} is for a folder of DICOM; source is none.")
    if isinstance(source, Cohort):
        options = [name for name, value in reading.items() if value]
        if options:
            raise ValueError(f"{options[0]} is for manifests and folders; a Cohort has its own.")
        if label not in (None, source.label):
            raise ValueError(
                f"settings.label is {label!r}; the masks of the cohort are read with label "
                f"{source.label!r}. Open the cohort with the label that is meant."
            )
        yield source
    elif isinstance(source, pd.DataFrame):
        manifest = manifest_of_frame(source, reading["modalities"])
        yield Cohort.of_manifest(manifest, label, reading["time_unit"])
    elif is_folder:
        with tempfile.TemporaryDirectory(prefix="survimg-") as scratch:
            written = manifest_of_dicom(
                source, scratch, modalities=reading["modalities"], every_row=True, **of_dicom
            )
            yield Cohort.from_manifest(
                written, label=label, **{**reading, "allow_outside": True}
            )
    else:
        yield Cohort.from_manifest(source, label=label, **reading)


def _checked(settings: Preparation, cohort: Cohort) -> Preparation:
    """Check that the settings can be met by a cohort; return them with its label."""
    settings.check_channels(cohort.channel_names)
    missing = cohort.ids[~cohort.has_masks].tolist()
    if settings.crop == "mask" and missing:
        raise ValueError(
            f"crop='mask' needs a mask for every patient; {len(missing)} have none in column "
            f"'mask': {', '.join(map(repr, missing[:_MAX_NAMED]))}. Use another crop (fixed, "
            "pet_peak, whole)."
        )
    needs_mm = {
        "spacing": settings.spacing is not None,
        "features_spacing": settings.features_spacing is not None,
        "centre": settings.centre is not None,
        "crop='pet_peak'": settings.crop == "pet_peak",
        "registration": settings.registration is not None,
    }
    if not cohort.has_spacing and any(needs_mm.values()):
        name = next(name for name, needed in needs_mm.items() if needed)
        raise ValueError(f"{name} is in mm, but the cohort has no spacing; give it one.")
    return replace(settings, label=cohort.label if settings.label is None else settings.label)


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
