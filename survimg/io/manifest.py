"""The manifest: a CSV with one row per patient that names the images and holds the outcome.

============  ====================================================================================
column        content
============  ====================================================================================
patient_id    required; different and non-empty. Text: ``007`` stays ``007``
``PET`` ...   one column per modality; a path relative to the CSV: an image file, or a folder with
              one DICOM series. An empty cell: this patient lacks the modality
mask          optional; path of the tumour mask; empty where there is none
organs        optional; path of a mask of organs (any label but 0) that are left out of shells
time, event   both or neither; time to the event or to censoring (any unit, >= 0), event 1 or 0
              (or true or false)
group         optional; the centre or scanner, for group-aware splitting
all others    clinical. Empty, NA and NaN (nan, NAN) mean missing, and nothing else; `na_values`
              adds to it. What a cell means, a number or a level, is learned in `fit` from the
              training patients (`survimg.columns`), not here from whoever is in the file; where
              the guess could be wrong, the name of the column says its kind: ``T:categorical``.
              Names of other endpoints (``OS``, ``relapse_date``) are refused: what is known after
              baseline must not predict
============  ====================================================================================

Cells that a spreadsheet would run (``=...``) are refused: results are written as CSV too.

A column is taken as a modality where every non-empty cell is a path: a name with an image suffix
(`IMAGE_SUFFIXES`), or an existing file or folder. A column in which only some cells look like that
is an error, never silently clinical. `modalities` names the columns instead.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from survimg.columns import (
    DECIMAL_COMMA,
    KINDS,
    as_frame,
    comma_said,
    declare,
    formula,
    is_missing,
    level_of,
    number_of,
    odd_mark,
)
from survimg.io.manifest_paths import (
    IMAGE_SUFFIXES,
    RESERVED,
    check_any_image,
    holds_paths,
    image_columns,
    read_paths,
)
from survimg.io.patients import PatientTable, listed
from survimg.target import event_of, make_outcome

__all__ = [
    "IMAGE_SUFFIXES", "Manifest", "listed", "manifest_of_frame", "read_manifest",
    "read_patient_table",
]

#: Words in names of columns that are known only after baseline. Another endpoint beside the one
#: that is modelled would be taken for a clinical column, and predict it.
_OUTCOME_WORDS = frozenset(
    {
        "os", "dfs", "pfs", "rfs", "mfs", "dmfs", "lrfs", "efs", "css", "dss", "ttp",
        "event", "survival", "death", "dead", "died", "deceased", "alive", "vital", "censored",
        "censoring", "relapse", "relapsed", "recurrence", "progression", "followup",
    }
)  # fmt: skip

#: What other programs call kinds of columns.
_OTHER_KINDS = (
    "ordinal", "nominal", "category", "factor", "string", "text", "number", "float", "integer",
    "bool", "binary", "continuous",
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Manifest(PatientTable):
    """A manifest, read and checked: the patients' table, and where their images are.

    Attributes
    ----------
    path : Path
        The CSV.
    images : dict of str to list of (Path or None)
        Per modality one path per patient; None where the patient lacks it.
    masks, organs : list of (Path or None)
    root : Path or None
        Folder in which every file that is opened must lie; None for anywhere.
    """

    path: Path
    images: dict[str, list[Path | None]]
    masks: list[Path | None]
    organs: list[Path | None]
    root: Path | None

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
            organs=[self.organs[i] for i in rows],
        )


def read_manifest(
    csv_path: str | os.PathLike[str],
    modalities: Sequence[str] | None = None,
    *,
    allow_outside: bool = False,
    na_values: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
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
        Accept paths that lead outside the CSV's folder (absolute, with ``..``, or through links),
        and files there that an image's header or a link in a folder of slices leads to.
    na_values : sequence of str, default=()
        Further cells that mean missing, in all columns but ``patient_id``.
    kinds : mapping of str to str, optional
        Clinical columns that are ``"numeric"``, ``"categorical"`` or ``"boolean"``, whatever they
        look like.

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
    table, declared = _split_kinds(_read_cells(path), kinds, path)
    _empty(table, na_values)
    return _checked(path, table, declared, modalities, allow_outside)


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
    path = Path.cwd() / "DataFrame"  # for messages, and where paths begin
    frame = frame.reset_index(drop=True)
    frame.columns = [str(name) for name in frame.columns]
    if frame.columns.has_duplicates or "patient_id" not in frame or frame.empty:
        raise ValueError(
            "The table needs one row per patient, different column names and a column "
            f"'patient_id'; it has {len(frame)} rows and the columns {list(frame.columns)}."
        )
    table = {str(name): _cells(column) for name, column in frame.items()}
    _check_ids(table["patient_id"], path)
    manifest = _checked(path, table, {}, modalities, allow_outside=True)
    if manifest.clinical is None:
        return manifest
    return replace(manifest, clinical=frame[list(manifest.clinical.columns)])


def _cells(column: pd.Series) -> list[str]:
    values = column.astype(int) if column.dtype == bool else column
    return [
        "" if missing else str(value).strip()
        for value, missing in zip(values, column.isna(), strict=True)
    ]


def _checked(
    path: Path,
    table: dict[str, list[str]],
    declared: dict[str, str],
    modalities: Sequence[str] | None,
    allow_outside: bool,
) -> Manifest:
    ids = table["patient_id"]
    names = image_columns(table, modalities, ids, path)
    images = {
        name: read_paths(name, table[name], ids, path.parent, allow_outside) for name in names
    }
    check_any_image(images, ids)
    masks, organs = (
        read_paths(name, table.get(name, [""] * len(ids)), ids, path.parent, allow_outside)
        for name in ("mask", "organs")
    )
    outcome = _read_outcome(table, ids, path)
    others = [name for name in table if name not in names and name not in RESERVED]
    check_names(others, path)
    clinical = others  # without `modalities`, every column with paths is one of images
    if modalities is not None:
        clinical = [name for name in others if not holds_paths(table[name], path.parent)]
    return Manifest(
        path=path,
        images=images,
        masks=masks,
        organs=organs,
        root=None if allow_outside else path.parent,
        ids=np.array(ids, dtype=object),
        channel_names=tuple(images),
        outcome=outcome,
        groups=_read_groups(table["group"], ids) if "group" in table else None,
        clinical=_read_clinical({name: table[name] for name in clinical}, declared, ids),
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
    check_names([name for name in table if name not in RESERVED], path)
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
    for separator, plural in ((";", "semicolons"), ("\t", "tabs")):
        if f"patient_id{separator}" in ",".join(header) + separator:
            raise ValueError(
                f"{path} is separated by {plural}; separate columns by commas, and write decimal "
                "points in numbers."
            )
    repeated = [name for name, count in Counter(header).items() if count > 1]
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


def _split_kinds(
    table: dict[str, list[str]], kinds: Mapping[str, str] | None, path: Path
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Take the kinds off the names of columns: ``T:categorical`` is the column T."""
    named, declared = {}, dict(kinds or {})
    for name, cells in table.items():
        column, colon, kind = (part.strip() for part in name.rpartition(":"))
        if colon and kind not in KINDS and _meant_as_kind(kind):
            raise ValueError(
                f"{path} has a column {name!r}: {kind!r} is no kind; kinds are {', '.join(KINDS)}."
            )
        if not colon or kind not in KINDS:
            column = name
        elif declared.setdefault(column, kind) != kind:
            raise ValueError(f"{path} has a column {name!r}, but kinds= says {declared[column]!r}.")
        if column in named or not column:
            raise ValueError(f"{path} has the column {column!r} twice, or one without a name.")
        named[column] = cells
    return named, declared


def _meant_as_kind(word: str) -> bool:
    """Tell whether a word behind a colon was meant to be the kind of a column."""
    return bool(get_close_matches(word.lower(), [*KINDS, *_OTHER_KINDS], cutoff=0.8))


def _empty(table: dict[str, list[str]], na_values: Sequence[str]) -> None:
    """Empty the cells that hold another mark for missing."""
    if isinstance(na_values, str):
        raise TypeError(f"na_values must be a list of cells; got the string {na_values!r}.")
    marks = {level_of(value) for value in na_values}  # -9, -9.0 and "-9" are one mark
    for name, cells in table.items():
        if marks and name != "patient_id":
            missing = {cell for cell in set(cells) if level_of(cell) in marks}
            table[name] = ["" if cell in missing else cell for cell in cells]


def check_names(others: Sequence[str], path: Path | str) -> None:
    """Refuse columns that would be clinical although they were meant, or must not, be so.

    Parameters
    ----------
    others : sequence of str
    path : Path or str
        Of the table, for messages.
    """
    for name in others:
        if name.lower() in RESERVED:
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
        if not name or not name.isprintable() or formula(name, strict=True):
            raise ValueError(
                f"{path}: the patient in position {i + 1} has no usable name in column "
                f"'patient_id' (found {name!r}): it must be printable, and nothing that a "
                "spreadsheet would run (=, +, -, @ at the beginning)."
            )
    repeated = [name for name, count in Counter(cells).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{path}, column 'patient_id': {listed(repeated)} occur(s) more than once; there must "
            "be one row per patient."
        )


def _read_outcome(
    table: dict[str, list[str]], ids: list[str], path: Path
) -> np.ndarray | None:
    columns = [name for name in ("time", "event") if name in table]
    if not columns:
        return None
    if len(columns) == 1:
        other = "event" if columns == ["time"] else "time"
        raise ValueError(f"{path} has a column {columns[0]!r} but no column {other!r}.")
    time = np.empty(len(ids))
    event = np.empty(len(ids), dtype=bool)
    for i, patient in enumerate(ids):
        cell = table["time"][i]
        _refuse_decimal_comma(cell, patient, "time")
        number, happened = number_of(cell), event_of(table["event"][i])
        if number is None or not np.isfinite(number) or number < 0:
            raise ValueError(
                f"Patient {patient!r}, column 'time': {cell!r} must be a number >= 0, in the "
                "cohort's unit (no date)."
            )
        if happened is None:
            raise ValueError(
                f"Patient {patient!r}, column 'event': {table['event'][i]!r} must be 1 (it "
                "happened) or 0 (censored)."
            )
        time[i], event[i] = number, happened
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
        if is_missing(cell):
            raise ValueError(f"Patient {patient!r}, column 'group': the cell is empty ({cell!r}).")
    return np.array(cells, dtype=object)


def _read_clinical(
    columns: dict[str, list[str]], kinds: Mapping[str, str], ids: list[str]
) -> pd.DataFrame | None:
    if not columns:
        return None
    cells = {name: np.array(values, dtype=object) for name, values in columns.items()}
    frame = as_frame(pd.DataFrame(cells))
    for name, column in frame.items():
        if column.dtype == np.float64:
            for i in np.flatnonzero(np.isinf(column.to_numpy())).tolist():
                raise ValueError(
                    f"Patient {ids[i]!r}, column {name!r}: {cells[str(name)][i]!r} is not a finite "
                    "number."
                )
            continue
        texts = column.dropna().drop_duplicates()
        for i, text in zip(texts.index.tolist(), texts, strict=True):
            _refuse_decimal_comma(text, ids[i], str(name))
            if (mark := odd_mark(text)) is not None:
                raise ValueError(f"Patient {ids[i]!r}, column {name!r}: {mark}.")
    return declare(frame, kinds, ids)


def _refuse_decimal_comma(cell: str, patient: str, name: str) -> None:
    if DECIMAL_COMMA.fullmatch(cell):
        raise ValueError(
            f"Patient {patient!r}, column {name!r}: {cell!r} has {comma_said(cell)}."
        )
