"""A folder of DICOM, one sub-folder per patient, to a manifest."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from survimg.io.dicom import is_dicom
from survimg.io.dicom_objects import damage_refused, read_dataset

__all__ = ["manifest_of_dicom"]

#: DICOM's codes of modalities, and what manifests call them.
_COLUMNS = {"PT": "PET", "CT": "CT", "MR": "MR"}
_MASKS = ("RTSTRUCT", "SEG")


@dataclass
class _Patient:
    """What lies in the folder of one patient."""

    name: str
    series: dict[tuple[str, str], list[Path]] = field(default_factory=dict)  # (column, UID)
    masks: list[Path] = field(default_factory=list)
    studies: set[str] = field(default_factory=set)
    n_files: Counter[Path] = field(default_factory=Counter)  # DICOM files of each folder


def manifest_of_dicom(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    modalities: Sequence[str],
    clinical: str | os.PathLike[str] | None = None,
) -> Path:
    """Write the manifest of a folder of DICOM files, such as an archive exports it.

    Series are told apart by their headers, whatever the sub-folders and file names; localisers are
    left out. Images are not opened here: `read_image` checks them.

    Parameters
    ----------
    folder : path
        One sub-folder per patient, whose name is the ``patient_id``; headers are not asked for
        names, so that none reaches a table. Inside, folders may be nested.
    out : path
        An existing folder. Gets ``manifest.csv`` and, for series that share a folder with others,
        folders of links to their slices: read the manifest with ``allow_outside=True``.
    modalities : sequence of str
        Columns of the manifest: ``"PET"``, ``"CT"``, ``"MR"``. Series of others are left out.
    clinical : path, optional
        CSV with ``patient_id`` and further columns of the manifest (clinical, ``time``,
        ``event``), with a row for each patient of `folder`.

    Returns
    -------
    Path
        The manifest. A patient's only RTSTRUCT or segmentation object is the ``mask``.

    Raises
    ------
    FileNotFoundError
        No such folder.
    ValueError
        No patients, or DICOM files outside their folders; two folders with one study; a patient
        with several series of one modality or several mask objects; a modality that DICOM lacks;
        clinical columns that do not fit; damaged headers.
    ImportError
        pydicom is not installed.
    """
    folder, out = Path(folder), Path(out)
    unknown = [name for name in modalities if name not in _COLUMNS.values()]
    if unknown:
        raise ValueError(
            f"{folder}: images called {unknown[0]!r} cannot be found in a folder of DICOM, where "
            f"modalities are {', '.join(_COLUMNS.values())}; write a manifest that names them."
        )
    patients = _patients(folder)
    table = {} if clinical is None else _clinical(Path(clinical), [p.name for p in patients])
    masks = any(patient.masks for patient in patients)
    columns = ["patient_id", *modalities, *(["mask"] if masks else [])]
    further = next(iter(table.values()), {})
    if taken := set(further) & set(columns):
        raise ValueError(f"{clinical}: the column {min(taken)!r} is made from the DICOM folder.")
    path = out / "manifest.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, *further])
        for patient in patients:
            cells = [_series(patient, name, out) for name in modalities]
            cells += [_mask(patient)] if masks else []
            writer.writerow([patient.name, *cells, *table.get(patient.name, {}).values()])
    return path


def _patients(folder: Path) -> list[_Patient]:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    if any(path.is_file() and is_dicom(path) for path in folder.iterdir()):
        raise ValueError(f"{folder} holds DICOM files; put those of each patient into a folder.")
    patients = [_read_patient(path) for path in sorted(folder.iterdir()) if path.is_dir()]
    patients = [patient for patient in patients if patient.series]
    if not patients:
        raise ValueError(f"{folder} holds no folders of patients with DICOM images.")
    owner: dict[str, str] = {}
    for patient in patients:
        for study in patient.studies:
            if owner.setdefault(study, patient.name) != patient.name:
                raise ValueError(
                    f"The folders {owner[study]} and {patient.name} in {folder} hold parts of one "
                    "study; there must be one folder per patient."
                )
    return patients


def _read_patient(folder: Path) -> _Patient:
    patient = _Patient(folder.name)
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name == "DICOMDIR" or not is_dicom(path):
            continue
        patient.n_files[path.parent] += 1
        header = read_dataset(path, "read a folder of DICOM", stop_before_pixels=True)
        with damage_refused(path):
            modality = str(header.get("Modality", ""))
            if modality in _MASKS:
                patient.masks.append(path)
            elif modality in _COLUMNS and "LOCALIZER" not in (header.get("ImageType") or ()):
                key = (_COLUMNS[modality], str(header.SeriesInstanceUID))
                patient.series.setdefault(key, []).append(path)
                patient.studies.add(str(header.StudyInstanceUID))
    return patient


def _series(patient: _Patient, column: str, out: Path) -> str:
    """Return the folder of the one series of a modality, or nothing where there is none."""
    found = [paths for (name, _), paths in patient.series.items() if name == column]
    if not found:
        return ""
    if len(found) > 1:
        listed = "; ".join(f"{paths[0]} and {len(paths) - 1} more" for paths in found)
        raise ValueError(
            f"Patient {patient.name!r} has {len(found)} {column} series ({listed}); keep the one "
            "that is meant."
        )
    (paths,) = found
    folder = paths[0].parent
    if {path.parent for path in paths} == {folder} and patient.n_files[folder] == len(paths):
        return str(folder.resolve())
    links = out / "series" / patient.name / column
    links.mkdir(parents=True)
    for i, path in enumerate(paths):
        (links / f"{i:05d}.dcm").symlink_to(path.resolve())
    return str(links.resolve())


def _mask(patient: _Patient) -> str:
    if len(patient.masks) > 1:
        names = ", ".join(path.name for path in patient.masks)
        raise ValueError(
            f"Patient {patient.name!r} has {len(patient.masks)} mask objects ({names}); keep the "
            "one that is meant."
        )
    return str(patient.masks[0].resolve()) if patient.masks else ""


def _clinical(path: Path, patients: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the further columns of each patient."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no table {path}.")
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        if "patient_id" not in (reader.fieldnames or ()):
            raise ValueError(f"{path} has no column 'patient_id'.")
        rows = list(reader)
    table = {row.pop("patient_id"): row for row in rows}
    if len(table) < len(rows):
        raise ValueError(f"{path}, column 'patient_id': some patient has several rows.")
    missing = [name for name in patients if name not in table]
    if missing:
        raise ValueError(f"{path} has no row for the patient {missing[0]!r}.")
    return table
