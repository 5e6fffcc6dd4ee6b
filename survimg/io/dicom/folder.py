"""A folder of DICOM, as an archive exports it, to a manifest."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import joblib

from survimg.files import write_atomically
from survimg.io.dicom.objects import DicomError, damage_refused, is_dicom, read_dataset
from survimg.io.manifest import listed, read_patient_table

__all__ = ["manifest_of_dicom"]

#: DICOM's codes of modalities, and what manifests call them.
_COLUMNS = {"PT": "PET", "CT": "CT", "MR": "MR"}
_MASKS = ("RTSTRUCT", "SEG")
_TAGS = (
    "Modality", "ImageType", "StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription",
    "PatientID",
)  # fmt: skip
_MAX_PROBLEMS = 5


@dataclass(frozen=True)
class _File:
    """What the header of a DICOM file says."""

    path: Path
    column: str = ""  # of the manifest: a modality, "mask", or nothing for all else
    series: str = ""
    study: str = ""
    patient: str = ""
    description: str = ""
    kind: str = ""  # of an object with masks: its Modality
    damage: str = ""  # why it cannot be read


@dataclass
class _Patient:
    """What there is of one patient."""

    name: str
    series: dict[tuple[str, str], list[_File]] = field(default_factory=dict)  # (column, UID)
    masks: list[Path] = field(default_factory=list)
    studies: set[str] = field(default_factory=set)
    headers: set[str] = field(default_factory=set)  # PatientIDs of the images

    def add(self, file: _File) -> None:
        if file.column == "mask":
            self.masks.append(file.path)
        else:
            self.series.setdefault((file.column, file.series), []).append(file)
            self.studies.add(file.study)
            self.headers.update([file.patient] if file.patient else [])

    def series_of(
        self, column: str, descriptions: Sequence[str] | None = None
    ) -> list[list[_File]]:
        every = [files for (name, _), files in self.series.items() if name == column]
        if descriptions is None:
            return every
        return [files for files in every if _matches(files[0].description, descriptions)]


def manifest_of_dicom(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    modalities: Sequence[str] | None = None,
    series: Mapping[str, str | Sequence[str]] | None = None,
    masks: str | Sequence[str] | None = None,
    clinical: str | os.PathLike[str] | None = None,
    every_row: bool = False,
    by_patient_id: bool = False,
    n_jobs: int = 1,
    progress: bool = False,
) -> Path:
    """Write the manifest of a folder of DICOM files, such as an archive exports it.

    Series are told apart by their headers, whatever the sub-folders and file names; localisers are
    left out. Images are not opened here: `read_image` checks them.

    Parameters
    ----------
    folder : path
        One sub-folder per patient, whose name is the ``patient_id``; no name or number of a header
        reaches a table. Inside, folders may be nested.
    out : path
        An existing folder. Gets ``manifest.csv`` and, for series that share a folder with others,
        folders of links to their slices: read the manifest with ``allow_outside=True``.
    modalities : sequence of str, optional
        Columns of the manifest: ``"PET"``, ``"CT"``, ``"MR"``. Series of others are left out. By
        default those of them that any patient has.
    series : mapping of str to str or sequence of str, optional
        Which series of a modality is meant: its SeriesDescription, with ``*`` for any text and
        ``?`` for any character, such as ``{"CT": "*venous*"}``, or several of which one must fit,
        such as ``{"PET": ["PET AC", "WB CTAC*"]}``. Capitals make no difference.
    masks : str or sequence of str, optional
        Which RTSTRUCT or segmentation object holds the mask, where patients have several: its
        Modality or SeriesDescription, as in `series`.
    clinical : path, optional
        CSV with ``patient_id`` and further columns of the manifest (clinical, ``group``, ``time``,
        ``event``), with a row for each patient of `folder`.
    every_row : bool, default=False
        Refuse rows of `clinical` whose patient is not in `folder`.
    by_patient_id : bool, default=False
        Tell patients apart by the PatientID of their headers, wherever in `folder` the files lie.
        It becomes the ``patient_id``, which cohorts, reports and predictions hold.
    n_jobs : int, default=1
        Processes that read headers, each those of one sub-folder at a time.
    progress : bool, default=False
        Show a bar on standard error.

    Returns
    -------
    Path
        The manifest. A patient's only RTSTRUCT or segmentation object is the ``mask``.

    Warns
    -----
    UserWarning
        Damaged files among slices of series that are left out, or of a modality that is; they are
        named.

    Raises
    ------
    FileNotFoundError
        No such folder or table.
    ValueError
        No patients, or DICOM files outside their folders; one study of two patients; patients with
        several series of a modality, or none of the descriptions asked for (those found are
        listed), several mask objects, no images or, in one folder, several PatientIDs; a modality
        that DICOM lacks; a table that does not fit; damaged files that may be part of what is used
        (all are named).
    ImportError
        pydicom is not installed.
    """
    folder, out = Path(folder), Path(out)
    choices = {
        name: [choice] if isinstance(choice, str) else list(choice)
        for name, choice in (series or {}).items()
    }
    unknown = [name for name in (*(modalities or []), *choices) if name not in _COLUMNS.values()]
    if unknown:
        raise ValueError(
            f"{folder}: images called {unknown[0]!r} cannot be found in a folder of DICOM, where "
            f"modalities are {', '.join(_COLUMNS.values())}; write a manifest that names them."
        )
    table = {} if clinical is None else read_patient_table(clinical)
    if clashes := set(table) & {"mask", *_COLUMNS.values()}:
        raise ValueError(f"{clinical}: the column {min(clashes)!r} is made from the DICOM folder.")
    files = _read_headers(folder, by_patient_id, n_jobs, progress)
    patients = _patients(folder, files, by_patient_id, [masks] if isinstance(masks, str) else masks)
    if modalities is None:
        file_columns = {file.column for file in files}
        modalities = [name for name in _COLUMNS.values() if name in file_columns]
    if idle := set(choices) - set(modalities):
        raise ValueError(
            f"{folder}: a {min(idle)} series is chosen by its description, but the modalities are "
            f"{', '.join(modalities)}."
        )
    damaged = _damaged_in_use(files, patients, modalities, choices)
    _check_patients(patients, modalities, choices, damaged, folder, by_patient_id)
    if clinical is not None:
        _check_rows(table["patient_id"], patients, every_row, f"{clinical} and {folder}")
    n_files = Counter(file.path.parent for file in files)
    columns: dict[str, list[str]] = {"patient_id": [patient.name for patient in patients]}
    for name in modalities:
        # numbered, for a PatientID may hold anything
        links = [out / "series" / f"{i:05d}" / name for i in range(len(patients))]
        pairs = zip(patients, links, strict=True)
        columns[name] = [
            _series(patient.series_of(name, choices.get(name)), n_files, link)
            for patient, link in pairs
        ]
    if any(patient.masks for patient in patients):
        columns["mask"] = [str(p.masks[0].resolve()) if p.masks else "" for p in patients]
    columns |= _cells_of(columns["patient_id"], table)
    path, text = out / "manifest.csv", io.StringIO()
    csv.writer(text).writerows([list(columns), *zip(*columns.values(), strict=True)])
    write_atomically(path, text.getvalue().encode())
    return path


def _read_headers(
    folder: Path, by_patient_id: bool, n_jobs: int, progress: bool
) -> list[_File]:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    from tqdm.auto import tqdm  # the command line chooses its colours before it is imported

    entries = sorted(folder.iterdir())
    loose = [path for path in entries if _is_object(path)]
    if loose and not by_patient_id:
        raise ValueError(
            f"{folder} holds DICOM files; put those of each patient into a folder, or tell "
            "patients apart by their headers (by_patient_id=True, or --by-patient-id)."
        )
    parts = [loose, *([path] for path in entries if path.is_dir())]
    read = joblib.Parallel(n_jobs=n_jobs, return_as="generator")(
        joblib.delayed(_read_files)(part) for part in parts
    )
    with tqdm(
        read, total=len(parts), desc="Reading headers", unit="folder", disable=not progress
    ) as bar:
        return [file for files in bar for file in files]


def _is_object(path: Path) -> bool:
    return path.is_file() and path.name.upper() != "DICOMDIR" and is_dicom(path)


def _read_files(part: Sequence[Path]) -> list[_File]:
    inside = (sorted(path.rglob("*")) if path.is_dir() else [path] for path in part)
    read = (_read_file(path) for paths in inside for path in paths)
    return [file for file in read if file is not None]


def _read_file(path: Path) -> _File | None:
    """Return what the header says, or why nobody can tell; nothing for other files."""
    column = ""
    try:
        if not _is_object(path):
            return None
        header = read_dataset(path, "read a folder of DICOM", stop_before_pixels=True, tags=_TAGS)
        with damage_refused(path):
            modality = str(header.get("Modality") or "")
            if not modality:
                raise DicomError(f"{path} has no Modality; its header is damaged.")
            patient = str(header.get("PatientID") or "").strip()
            if modality in _MASKS:
                words = " ".join(str(header.get("SeriesDescription") or "").split())
                return _File(path, "mask", patient=patient, description=words, kind=modality)
            column = _COLUMNS.get(modality, "")
            if not column or "LOCALIZER" in (header.get("ImageType") or ()):
                return _File(path, patient=patient)
            return _File(
                path,
                column,
                str(header.SeriesInstanceUID),
                str(header.StudyInstanceUID),
                patient,
                " ".join(str(header.get("SeriesDescription") or "").split()),
            )
    except (OSError, ValueError) as error:
        return _File(path, column, damage=str(error))


def _patients(
    folder: Path,
    files: Sequence[_File],
    by_patient_id: bool,
    masks: Sequence[str] | None,
) -> list[_Patient]:
    patients: dict[str, _Patient] = {}
    for file in files:
        if file.damage or not file.column:
            continue
        named = (file.kind, file.description)
        if file.kind and masks is not None and not any(_matches(text, masks) for text in named):
            continue
        name = file.patient if by_patient_id else file.path.relative_to(folder).parts[0]
        if not name:
            raise ValueError(f"{file.path} has no PatientID; sort the files into folders instead.")
        patients.setdefault(name, _Patient(name)).add(file)
    if not any(patient.series for patient in patients.values()):
        damage = [file.damage for file in files if file.damage]
        none = f"{folder} holds no folders of patients with DICOM images."
        raise ValueError("\n".join([none, *damage]))
    return [patients[name] for name in sorted(patients)]


def _damaged_in_use(
    files: Sequence[_File],
    patients: Sequence[_Patient],
    modalities: Sequence[str],
    choices: Mapping[str, Sequence[str]],
) -> list[str]:
    """Return what is wrong with files that may be part of what is used; warn of the others."""
    used = {path for patient in patients for path in patient.masks}
    for patient in patients:
        for name in modalities:
            for series in patient.series_of(name, choices.get(name)):
                used.update(file.path for file in series)
    beside: dict[Path, list[_File]] = defaultdict(list)
    for file in files:
        if not file.damage:
            beside[file.path.parent].append(file)

    def in_use(file: _File) -> bool:
        if file.column and file.column not in modalities:
            return False
        others = beside[file.path.parent]
        # alone, or among what is no image, it may be the mask or all that is left of a series
        return not any(o.series for o in others) or any(o.path in used for o in others)

    damaged = [(file.damage, in_use(file)) for file in files if file.damage]
    left_out = [text for text, matters in damaged if not matters]
    if left_out:
        warnings.warn(
            "\n".join(["Damaged files, which belong to no series that is used:", *left_out]),
            UserWarning,
            stacklevel=3,
        )
    return [text for text, matters in damaged if matters]


def _check_patients(
    patients: Sequence[_Patient],
    modalities: Sequence[str],
    choices: Mapping[str, Sequence[str]],
    damaged: Sequence[str],
    folder: Path,
    by_patient_id: bool,
) -> None:
    """Refuse what would mix patients up; name all who must be put in order, not the first one."""
    owner: dict[str, str] = {}
    for patient in patients:
        for study in patient.studies:
            if owner.setdefault(study, patient.name) != patient.name:
                raise ValueError(
                    f"The patients {owner[study]} and {patient.name} in {folder} have parts of one "
                    "study; there must be one folder per patient."
                )
    problems = [text for patient in patients for text in _problems(patient, modalities, choices)]
    if not by_patient_id:
        problems += [
            f"Folder {patient.name!r} holds images with {len(patient.headers)} PatientIDs; make a "
            "folder for each patient, or tell patients apart by PatientID (--by-patient-id)."
            for patient in patients
            if len(patient.headers) > 1
        ]
    if problems or damaged:
        hidden = len(problems) - _MAX_PROBLEMS
        more = [f"... and {hidden} more"] if hidden > 0 else []
        if damaged:
            more += ["Damaged files; restore them, or remove what is not needed:", *damaged]
        raise ValueError("\n".join([f"{folder}:", *problems[:_MAX_PROBLEMS], *more]))


def _problems(
    patient: _Patient, modalities: Sequence[str], choices: Mapping[str, Sequence[str]]
) -> list[str]:
    meant = "keep the one that is meant, or write a manifest that names it."
    texts = []
    for column in modalities:
        every, choice = patient.series_of(column), choices.get(column)
        matches = patient.series_of(column, choice)
        if len(matches) == 1 or not every:
            continue
        such = "" if choice is None else f" with the description {' or '.join(map(repr, choice))}"
        there = "; ".join(
            f"{files[0].description!r} ({files[0].path} and {len(files) - 1} more)"
            for files in matches or every
        )
        texts.append(
            f"Patient {patient.name!r} has {len(matches) or 'no'} {column} series{such}: {there}; "
            f"choose by description (series=, or --series {column}=...), {meant}"
        )
    if len(patient.masks) > 1:
        names = ", ".join(path.name for path in patient.masks)
        texts.append(
            f"Patient {patient.name!r} has {len(patient.masks)} mask objects ({names}); {meant}"
        )
    if not patient.series:
        texts.append(f"Patient {patient.name!r} has a mask ({patient.masks[0]}) but no images.")
    return texts


def _matches(description: str, patterns: Sequence[str]) -> bool:
    """Tell whether a description fits a pattern, or is one (brackets are no rarity in them)."""
    text = description.casefold()
    folded = [" ".join(pattern.split()).casefold() for pattern in patterns]
    return any(text == pattern or fnmatchcase(text, pattern) for pattern in folded)


def _series(series: Sequence[list[_File]], n_files: Mapping[Path, int], links: Path) -> str:
    """Return the folder of the one series of a modality, or nothing where there is none."""
    if not series:
        return ""
    (files,) = series
    paths = [file.path for file in files]
    folder = paths[0].parent
    if {path.parent for path in paths} == {folder} and n_files[folder] == len(paths):
        return str(folder.resolve())
    links.mkdir(parents=True)
    for i, path in enumerate(paths):
        (links / f"{i:05d}.dcm").symlink_to(path.resolve())
    return str(links.resolve())


def _check_rows(
    rows: Sequence[str], patients: Sequence[_Patient], every_row: bool, where: str
) -> None:
    names = [patient.name for patient in patients]
    no_row = sorted(set(names) - set(rows))
    no_images = sorted(set(rows) - set(names)) if every_row else []
    pairs = (("Without a row", no_row), ("Without images", no_images))
    gaps = " ".join(f"{what}: {listed(who)}." for what, who in pairs if who)
    if gaps:
        raise ValueError(
            f"{where} do not hold the same patients. {gaps} The patient_id is the name of a "
            "patient's sub-folder or, with --by-patient-id, the PatientID."
        )


def _cells_of(patients: Sequence[str], table: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the further columns of a table in the order of the patients."""
    place = {name: i for i, name in enumerate(table.get("patient_id", []))}
    further = {name: cells for name, cells in table.items() if name != "patient_id"}
    return {
        name: [cells[place[patient]] for patient in patients] for name, cells in further.items()
    }
