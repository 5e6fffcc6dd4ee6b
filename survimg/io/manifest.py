"""The manifest: a CSV with one row per patient that names the images and holds the outcome.

============  ====================================================================================
column        content
============  ====================================================================================
patient_id    required; different and non-empty. Text: ``007`` stays ``007``
``PET`` ...   one column per modality; a path relative to the CSV: an image file, or a folder with
              one DICOM series. An empty cell: this patient lacks the modality
mask          optional; path of the tumour mask; empty where there is none
time, event   both or neither; time to the event or to censoring (any unit, >= 0), event 1 or 0
group         optional; the centre or scanner, for group-aware splitting
all others    clinical: numbers where every non-empty cell is a number, text elsewhere. Empty, NA
              and NaN mean missing. They are not encoded here: an encoding learned on the whole
              table would leak from test patients to training. Names of other endpoints (``OS``,
              ``relapse_date``) are refused: what is known after baseline must not predict
============  ====================================================================================

A column is taken as a modality where every non-empty cell is a path: a name with an image suffix
(`IMAGE_SUFFIXES`), or an existing file or folder. A column in which only some cells look like that
is an error, never silently clinical. `modalities` names the columns instead.
"""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from survimg.io.patients import PatientTable, listed
from survimg.target import make_outcome

__all__ = [
    "IMAGE_SUFFIXES", "Manifest", "listed", "manifest_of_frame", "read_manifest",
    "read_patient_table",
]

#: Suffixes by which a cell is known as the path of an image.
IMAGE_SUFFIXES = (
    ".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".img.gz", ".dcm", ".gipl"
)

_RESERVED = ("patient_id", "mask", "time", "event", "group")
#: Words in names of columns that are known only after baseline. Another endpoint beside the one
#: that is modelled would be taken for a clinical column, and predict it.
_OUTCOME_WORDS = frozenset(
    {
        "os", "dfs", "pfs", "rfs", "mfs", "dmfs", "lrfs", "efs", "css", "dss", "ttp",
        "event", "survival", "death", "dead", "died", "deceased", "alive", "vital", "censored",
        "censoring", "relapse", "relapsed", "recurrence", "progression", "followup",
    }
)  # fmt: skip
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})


@dataclass(frozen=True, eq=False, kw_only=True)
class Manifest(PatientTable):
    """A manifest, read and checked: the patients' table, and where their images are.

    Attributes
    ----------
    path : Path
        The CSV.
    images : dict of str to list of (Path or None)
        Per modality one path per patient; None where the patient lacks it.
    masks : list of (Path or None)
    """

    path: Path
    images: dict[str, list[Path | None]]
    masks: list[Path | None]

    def take(self, positions: Sequence[int] | np.ndarray | slice) -> Manifest:
        """Return the manifest of some of the patients.

        Parameters
        ----------
        positions : slice, or array-like of shape (m,) of int or bool
        """
        rows = np.arange(len(self))[positions]
        return super().take(rows)._with(
            images={name: [paths[i] for i in rows] for name, paths in self.images.items()},
            masks=[self.masks[i] for i in rows],
        )


def read_manifest(
    csv_path: str | os.PathLike[str],
    modalities: Sequence[str] | None = None,
    *,
    allow_outside: bool = False,
) -> Manifest:
    """Read and check a manifest; no image is opened.

    Parameters
    ----------
    csv_path : path
        See the module for its columns. UTF-8, separated by commas.
    modalities : sequence of str, optional
        Names of the image columns, in the order of the channels; other columns with paths are left
        out. By default every column that holds paths, in the order of the file.
    allow_outside : bool, default=False
        Accept paths that lead outside the CSV's folder (absolute, with ``..``, or through links).

    Returns
    -------
    Manifest

    Raises
    ------
    FileNotFoundError
        There is no such CSV.
    ValueError
        With the patient and the column or file in the message: malformed CSV, missing columns,
        columns named like another endpoint, empty or duplicate identifiers, a missing file, a path
        outside the folder, a patient without any image, time that is not a number >= 0, event
        other than 0 and 1, no events, a single patient with an outcome.
    """
    path = Path(csv_path)
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder; a prepared cohort opens with Cohort.load.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no manifest {path}.")
    return _manifest(path, _read_cells(path), path.parent, modalities, allow_outside)


def manifest_of_frame(frame: pd.DataFrame, modalities: Sequence[str] | None = None) -> Manifest:
    """Check a manifest in memory; no image is opened.

    Parameters
    ----------
    frame : DataFrame
        The columns of a manifest (see the module). Paths count from the working folder and may lead
        anywhere; clinical columns keep their types.
    modalities : sequence of str, optional
        As in `read_manifest`.

    Returns
    -------
    Manifest

    Raises
    ------
    ValueError
        As `read_manifest`.
    """
    path = Path("the table")
    frame = frame.reset_index(drop=True)
    frame.columns = [str(name) for name in frame.columns]
    if frame.columns.has_duplicates or "patient_id" not in frame or frame.empty:
        raise ValueError(
            "The table needs one row per patient, different column names and a column "
            f"'patient_id'; it has {len(frame)} rows and the columns {list(frame.columns)}."
        )
    table = {str(name): _cells(column) for name, column in frame.items()}
    _check_ids(table["patient_id"], path)
    manifest = _manifest(path, table, Path.cwd(), modalities, allow_outside=True)
    if manifest.clinical is None:
        return manifest
    return replace(manifest, clinical=frame[list(manifest.clinical.columns)])


def _cells(column: pd.Series) -> list[str]:
    values = column.astype(int) if column.dtype == bool else column
    return ["" if missing else str(value).strip()
            for value, missing in zip(values, column.isna(), strict=True)]


def _manifest(
    path: Path,
    table: dict[str, list[str]],
    folder: Path,
    modalities: Sequence[str] | None,
    allow_outside: bool,
) -> Manifest:
    ids = table["patient_id"]
    names = _modality_columns(table, modalities, ids, path, folder)
    images = {
        name: _read_paths(name, table[name], ids, folder, allow_outside) for name in names
    }
    _check_any_image(images, ids)
    masks = _read_paths("mask", table.get("mask", [""] * len(ids)), ids, folder, allow_outside)
    outcome = _read_outcome(table, ids, path)
    others = [name for name in table if name not in names and name not in _RESERVED]
    _check_names(others, path)
    clinical = [name for name in others if not _holds_paths(table[name], folder)]
    return Manifest(
        path=path,
        images=images,
        masks=masks,
        ids=np.array(ids, dtype=object),
        channel_names=tuple(images),
        outcome=outcome,
        groups=_read_groups(table["group"], ids) if "group" in table else None,
        clinical=_read_clinical({name: table[name] for name in clinical}, ids),
        has_mask=np.array([path is not None for path in masks]),
        present=np.array([[path is not None for path in paths] for paths in images.values()]).T,
    )


def read_patient_table(csv_path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Read the columns of a manifest that hold no images, from a table of their own.

    Parameters
    ----------
    csv_path : path
        CSV with ``patient_id``; see the module for the others.

    Returns
    -------
    dict of str to list of str
        Cells of each column, one per patient.

    Raises
    ------
    FileNotFoundError
        There is no such CSV.
    ValueError
        As `read_manifest`, for the table's form, its identifiers and the names of its columns.
    """
    path = Path(csv_path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no table {path}.")
    table = _read_cells(path)
    _check_names([name for name in table if name not in _RESERVED], path)
    return table


def _read_cells(path: Path) -> dict[str, list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file, strict=True)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a readable CSV in UTF-8 ({error}).") from None
    numbered = [(line, row) for line, row in enumerate(rows, start=1) if any(row)]
    if len(numbered) < 2:
        raise ValueError(f"{path} needs a row of column names and one row per patient.")
    header = numbered[0][1]
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if f"patient_id{separator}" in ",".join(header) + separator:
            raise ValueError(
                f"{path} is separated by {called}; separate columns by commas, and write decimal "
                "points in numbers."
            )
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated or not all(header):
        what = f"the column {repeated[0]!r} twice" if all(header) else "a column without a name"
        raise ValueError(f"{path} has {what}.")
    for line, row in numbered[1:]:
        if len(row) != len(header):
            raise ValueError(
                f"{path}, row {line} (patient {row[0]!r}): {len(row)} cells instead of "
                f"{len(header)}."
            )
    columns = zip(*(row for _, row in numbered[1:]), strict=True)
    table = dict(zip(header, map(list, columns), strict=True))
    if "patient_id" not in table:
        raise ValueError(f"{path} has no column 'patient_id'; its columns are {list(table)}.")
    _check_ids(table["patient_id"], path)
    return table


def _check_names(others: list[str], path: Path) -> None:
    """Refuse columns that would be clinical although they were meant, or must not, be so."""
    for name in others:
        if name.lower() in _RESERVED:
            raise ValueError(f"{path} has a column {name!r}; write {name.lower()!r}.")
    later = [n for n in others if _OUTCOME_WORDS & set(re.split(r"[^a-z]+", n.lower()))]
    if later:
        raise ValueError(
            f"{path}, columns {listed(later)}: by their names an outcome. The endpoint to model "
            "goes into the columns 'time' and 'event'; leave out every other, since what is known "
            "only after baseline must not predict. (If it was known at baseline, rename it.)"
        )


def _check_ids(cells: list[str], path: Path) -> None:
    for i, name in enumerate(cells):
        if not name or not name.isprintable():
            raise ValueError(
                f"{path}: the patient in position {i + 1} has no usable name in column "
                f"'patient_id' (found {name!r})."
            )
    repeated = sorted({name for name in cells if cells.count(name) > 1})
    if repeated:
        raise ValueError(
            f"{path}, column 'patient_id': {listed(repeated)} occur(s) more than once; there must "
            "be one row per patient."
        )


def _modality_columns(
    table: dict[str, list[str]],
    modalities: Sequence[str] | None,
    ids: list[str],
    path: Path,
    folder: Path,
) -> list[str]:
    if modalities is not None:
        names = list(modalities)
        if isinstance(modalities, str) or not names or len(set(names)) != len(names):
            raise ValueError(f"modalities must list different columns; got {modalities!r}.")
        for name in names:
            if name not in table or name in _RESERVED:
                raise ValueError(
                    f"{path} has no image column {name!r}; its columns are {list(table)}."
                )
        return names
    names = []
    for name, cells in table.items():
        if name in _RESERVED:
            continue
        looks = [_looks_like_path(cell, folder) for cell in cells if cell]
        if not any(looks):
            continue
        if not all(looks):
            i = next(
                i for i, cell in enumerate(cells)
                if cell and not _looks_like_path(cell, folder)
            )
            raise ValueError(
                f"Patient {ids[i]!r}, column {name!r}: {cells[i]!r} is not the path of an image, "
                "but other cells of the column are. Correct it, leave it empty if the patient "
                "lacks this modality, or say which columns are images (modalities=..., or "
                "--modalities)."
            )
        names.append(name)
    if not names:
        raise ValueError(
            f"{path} has no column with paths of images; its columns are {list(table)}. Say which "
            "they are (modalities=..., or --modalities) if the files have unusual names."
        )
    return names


def _holds_paths(cells: list[str], folder: Path) -> bool:
    looks = [_looks_like_path(cell, folder) for cell in cells if cell]
    return bool(looks) and all(looks)


def _looks_like_path(cell: str, folder: Path) -> bool:
    if cell.lower().endswith(IMAGE_SUFFIXES):
        return True
    try:
        return not _is_number(cell) and (folder / cell).exists()
    except (OSError, RuntimeError, ValueError):  # a name too long or with a NUL is no path
        return False


def _links_stay(path: Path, root: Path) -> bool:
    """Tell whether the links in a folder of slices lead to files under `root`."""
    if not path.is_dir():
        return True
    with os.scandir(path) as entries:
        links = [Path(entry.path) for entry in entries if entry.is_symlink()]
    return all(link.resolve().is_relative_to(root) for link in links)


def _read_paths(
    column: str, cells: list[str], ids: list[str], folder: Path, allow_outside: bool
) -> list[Path | None]:
    root = folder.resolve()
    paths: list[Path | None] = []
    for patient, cell in zip(ids, cells, strict=True):
        if not cell:
            paths.append(None)
            continue
        found = folder / cell
        try:
            exists, resolved = found.exists(), found.resolve()
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a link to itself
            raise ValueError(f"Patient {patient!r}, column {column!r}: {error}.") from None
        if not allow_outside and not (
            resolved.is_relative_to(root) and _links_stay(found, root)
        ):
            raise ValueError(
                f"Patient {patient!r}, column {column!r}: {cell!r} leads outside the manifest's "
                f"folder {folder}. Move the file, or allow it (allow_outside=True, or "
                "--allow-outside)."
            )
        if not exists:
            raise ValueError(
                f"Patient {patient!r}, column {column!r}: there is no file {found}."
            )
        paths.append(found)
    return paths


def _check_any_image(images: dict[str, list[Path | None]], ids: list[str]) -> None:
    for i, patient in enumerate(ids):
        if all(paths[i] is None for paths in images.values()):
            raise ValueError(
                f"Patient {patient!r} has no image: the columns {list(images)} are all empty."
            )


def _read_outcome(
    table: dict[str, list[str]], ids: list[str], path: Path
) -> np.ndarray | None:
    given = [name for name in ("time", "event") if name in table]
    if not given:
        return None
    if len(given) == 1:
        other = "event" if given == ["time"] else "time"
        raise ValueError(f"{path} has a column {given[0]!r} but no column {other!r}.")
    time = np.empty(len(ids))
    event = np.empty(len(ids), dtype=bool)
    for i, patient in enumerate(ids):
        for name, wanted, valid in (
            ("time", "a number >= 0", lambda value: np.isfinite(value) and value >= 0),
            ("event", "1 (it happened) or 0 (censored)", lambda value: value in (0.0, 1.0)),
        ):
            cell = table[name][i]
            _refuse_decimal_comma(cell, patient, name)
            if not _is_number(cell) or not valid(float(cell)):
                raise ValueError(
                    f"Patient {patient!r}, column {name!r}: {cell!r} must be {wanted}."
                )
        time[i], event[i] = float(table["time"][i]), float(table["event"][i]) == 1.0
    if not event.any():
        raise ValueError(
            f"{path}, column 'event': none of the {len(ids)} patients had the event; a survival "
            "model needs at least one."
        )
    if len(ids) == 1:
        raise ValueError(
            f"{path} holds one patient, {ids[0]!r}; a cohort with an outcome needs at least two. "
            "(Leave out time and event to prepare a single patient for prediction.)"
        )
    return make_outcome(event, time)


def _read_groups(cells: list[str], ids: list[str]) -> np.ndarray:
    for patient, cell in zip(ids, cells, strict=True):
        if not cell:
            raise ValueError(f"Patient {patient!r}, column 'group': the cell is empty.")
    return np.array(cells, dtype=object)


def _read_clinical(columns: dict[str, list[str]], ids: list[str]) -> pd.DataFrame | None:
    if not columns:
        return None
    frame: dict[str, pd.Series] = {}
    for name, cells in columns.items():
        values = [None if cell.lower() in _MISSING else cell for cell in cells]
        known = [value for value in values if value is not None]
        if all(_is_number(value) for value in known):
            numbers = [np.nan if value is None else float(value) for value in values]
            for patient, number in zip(ids, numbers, strict=True):
                if np.isinf(number):
                    raise ValueError(
                        f"Patient {patient!r}, column {name!r}: {number} is not a finite number."
                    )
            frame[name] = pd.Series(numbers, dtype=np.float64)
        else:
            _check_text(name, values, ids)
            frame[name] = pd.Series(values, dtype=object)
    return pd.DataFrame(frame)


def _check_text(name: str, values: list[str | None], ids: list[str]) -> None:
    """Say so if a column looks like numbers and is not."""
    texts = []
    for patient, value in zip(ids, values, strict=True):
        if value is not None and not _is_number(value):
            _refuse_decimal_comma(value, patient, name)
            texts.append((patient, value))
    if 2 * len(texts) < sum(value is not None for value in values):
        patient, value = texts[0]
        warnings.warn(
            f"Column {name!r} is taken as categories, since {value!r} (patient {patient!r}) is not "
            "a number. Leave the cell empty if the value is missing.",
            UserWarning,
            stacklevel=4,
        )


def _refuse_decimal_comma(cell: str, patient: str, name: str) -> None:
    if _DECIMAL_COMMA.fullmatch(cell):
        raise ValueError(
            f"Patient {patient!r}, column {name!r}: {cell!r} has a decimal comma; write "
            f"{cell.replace(',', '.')}."
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000 as a number, nobody else does

