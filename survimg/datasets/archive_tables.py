"""What public cohorts share: tables as archives spell them, patients that lack something."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from survimg.cohort import Cohort, ImageFileStore, MaskFileStore
from survimg.columns import declare
from survimg.io.dicom.folder import manifest_of_dicom
from survimg.io.dicom.objects import read_dataset
from survimg.io.images.masks import Label
from survimg.io.manifest import listed, manifest_of_frame

__all__ = [
    "Patients",
    "PublicCohort",
    "clinical_of",
    "cohort_of",
    "dicom_images",
    "plain",
    "read_tables",
    "region_labels",
    "row_of",
]

_TABLES = (".csv", ".xlsx", ".xls")
#: Cells that mean missing in these archives' tables.
_MISSING = ("", "-", "--", "na", "n/a", "nan", "unknown", "not available")


@dataclass(frozen=True)
class PublicCohort:
    """Facts about a public cohort that no file of it says.

    Attributes
    ----------
    name : str
    licence, citation, url : str
    patient : str
        Heading of the column with the identifiers; like all headings here it is compared without
        regard to capitals, dashes, dots and blanks.
    clinical : mapping of str to (str, str)
        Column of the cohort to the archive's heading and the kind of the column.
    time_unit : str
    """

    name: str
    licence: str
    citation: str
    url: str
    patient: str
    clinical: Mapping[str, tuple[str, str]]
    time_unit: str = "days"


@dataclass
class Patients:
    """Patients as they are found: rows of a manifest, and why others have none."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    lacking: dict[str, str] = field(default_factory=dict)

    def add(self, row: dict[str, Any], label: Label) -> None:
        """Take a patient."""
        self.rows.append(row)
        self.labels.append(label)


def plain(name: Any) -> str:
    """Return a heading without what archives spell differently from year to year."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def read_tables(
    folder: Path, cohort: PublicCohort, headings: Sequence[str] = (), name: str = "*"
) -> pd.DataFrame:
    """Read every clinical table below a folder, joined by patient.

    Parameters
    ----------
    folder : Path
    cohort : PublicCohort
    headings : sequence of str, default=()
        That must be there; without one of them nobody would be known to have an event.
    name : str, default="*"
        Pattern of the files' names.

    Returns
    -------
    DataFrame indexed by patient
        Cells are text, None where missing; headings are plain (`plain`).

    Raises
    ------
    FileNotFoundError
        No table has the column of the patients, or none has one of the headings.
    ImportError
        A workbook, and openpyxl is not installed.
    """
    joined: dict[str, dict[str, str]] = {}
    column_names: set[str] = set()
    paths = sorted(path for path in folder.rglob(name) if path.suffix.lower() in _TABLES)
    for path in paths:
        for sheet in _sheets(path):
            sheet.columns = [plain(name) for name in sheet.columns]
            if plain(cohort.patient) not in sheet:
                continue
            column_names.update(sheet.columns)
            for values in sheet.to_numpy().tolist():
                names = map(str, sheet.columns)
                cells = {key: _cell(value) for key, value in zip(names, values, strict=True)}
                patient = cells.pop(plain(cohort.patient))
                if patient is not None:
                    entries = {key: text for key, text in cells.items() if text is not None}
                    joined.setdefault(patient, {}).update(entries)
    absent = [text for text in headings if plain(text) not in column_names]
    if not joined or absent:
        columns = " and ".join(repr(text) for text in [cohort.patient, *absent])
        raise FileNotFoundError(
            f"{folder} holds no table of {cohort.name} ({', '.join(_TABLES)}) with the column "
            f"{columns}; looked at {listed([path.name for path in paths]) or 'no table'}. Put the "
            f"archive's clinical tables into the folder: {cohort.url}."
        )
    return pd.DataFrame.from_dict(joined, orient="index", dtype=object)


def row_of(table: pd.DataFrame, patient: str) -> dict[str, str | None]:
    """Return the cells of a patient by plain heading; identifiers are compared plainly too."""
    places = [i for i, name in enumerate(table.index) if plain(name) == plain(patient)]
    if len(places) != 1:
        return {}
    row = table.iloc[places[0]]
    return {str(name): None if pd.isna(value) else str(value) for name, value in row.items()}


def clinical_of(cells: Mapping[str, str | None], cohort: PublicCohort) -> dict[str, str | None]:
    """Return the clinical columns of a patient."""
    return {name: cells.get(plain(heading)) for name, (heading, _) in cohort.clinical.items()}


def dicom_images(
    folder: Path,
    cohort: PublicCohort,
    pattern: str,
    modalities: Sequence[str],
    series: Mapping[str, str | Sequence[str]] | None,
    masks: str | Sequence[str] | None,
) -> list[dict[str, str]]:
    """Find the series and mask of each patient; see `survimg.io.manifest_of_dicom`.

    Patients are the folders whose whole name matches the regular expression `pattern`.

    Returns
    -------
    list of dict
        For each patient ``patient_id``, the modalities and ``mask``: paths, or empty text.

    Raises
    ------
    FileNotFoundError
        No folder is named as this cohort's patients are.
    ValueError
        As `manifest_of_dicom`; series that share a folder.
    """
    is_patient = re.compile(pattern, re.IGNORECASE).fullmatch
    roots = {path.parent for path in folder.rglob("*") if path.is_dir() and is_patient(path.name)}
    if len(roots) != 1:
        raise FileNotFoundError(
            f"{folder} holds {len(roots)} folders with patients of {cohort.name}; one is needed, "
            f"with a folder for each patient, as the archive's download tool makes it: "
            f"{cohort.url}."
        )
    (root,) = roots
    with tempfile.TemporaryDirectory() as out:
        written = manifest_of_dicom(root, out, modalities=modalities, series=series, masks=masks)
        table = pd.read_csv(written, dtype=str, keep_default_na=False)
        if (Path(out) / "series").exists():
            raise ValueError(
                f"{root}: series share a folder. Give every series a folder of its own, or write a "
                "manifest with survimg.io.manifest_of_dicom, which makes folders of links."
            )
    if "mask" not in table:
        table["mask"] = ""
    rows = [dict(zip(map(str, table), values, strict=True)) for values in table.to_numpy().tolist()]
    return [row for row in rows if is_patient(row["patient_id"])]


def region_labels(mask: str, names: Sequence[str]) -> list[str]:
    """Return the names of regions in an RTSTRUCT or segmentation object that are among `names`."""
    dataset = read_dataset(Path(mask), "read the names of its regions", stop_before_pixels=True)
    regions = [str(roi.ROIName) for roi in dataset.get("StructureSetROISequence") or []]
    regions += [str(segment.SegmentLabel) for segment in dataset.get("SegmentSequence") or []]
    plain_names = {plain(name) for name in names}
    return [name for name in regions if plain(name) in plain_names]


def cohort_of(patients: Patients, cohort: PublicCohort, channels: Sequence[str]) -> Cohort:
    """Make the raw cohort, and warn of patients that are left out.

    Raises
    ------
    ValueError
        Nobody is left.
    """
    reasons: dict[str, list[str]] = {}
    for patient, reason in sorted(patients.lacking.items()):
        reasons.setdefault(reason, []).append(patient)
    summary = "; ".join(f"{reason}: {listed(who)} ({len(who)})" for reason, who in reasons.items())
    if not patients.rows:
        raise ValueError(f"No patient of {cohort.name} is complete. {summary}.")
    if summary:
        warnings.warn(
            f"{cohort.name}: {len(patients.lacking)} patients are left out. {summary}.",
            UserWarning,
            stacklevel=3,
        )
    frame = pd.DataFrame(patients.rows)
    frame = frame.drop(columns=[name for name in cohort.clinical if frame[name].isna().all()])
    manifest = replace(manifest_of_frame(frame, channels), time_unit=cohort.time_unit)
    if manifest.clinical is not None:
        kinds = {name: cohort.clinical[name][1] for name in manifest.clinical.columns}
        clinical = declare(manifest.clinical, kinds, manifest.ids.tolist())
        manifest = replace(manifest, clinical=clinical)
    images = ImageFileStore(list(zip(*manifest.images.values(), strict=True)), manifest.root)
    masks = MaskFileStore(manifest.masks, images, labels=patients.labels)
    return Cohort.from_table(manifest, images, masks)


def _sheets(path: Path) -> list[pd.DataFrame]:
    if path.suffix.lower() == ".csv":
        return [pd.read_csv(path, dtype=str, keep_default_na=False, encoding_errors="replace")]
    try:
        sheets = pd.read_excel(path, sheet_name=None, dtype=str, keep_default_na=False)
    except ImportError as error:
        raise ImportError(
            f"{path} is a workbook, which needs openpyxl (pip install openpyxl); or save its "
            "sheets as CSV files in the same folder."
        ) from error
    return list(sheets.values())


def _cell(value: Any) -> str | None:
    text = " ".join(str(value).split())
    return None if text.lower() in _MISSING else text
