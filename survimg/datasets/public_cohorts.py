"""HECKTOR, Head-Neck-PET-CT, NSCLC-Radiomics and Soft-tissue-Sarcoma as their archives leave them.

Layouts and headings are those of the archives' descriptions and of public loaders.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from survimg.cohort import Cohort
from survimg.datasets.archive_tables import (
    Patients,
    PublicCohort,
    clinical_of,
    cohort_of,
    dicom_images,
    plain,
    read_tables,
    region_labels,
    row_of,
)

__all__ = [
    "PUBLIC_COHORTS",
    "from_head_neck_pet_ct",
    "from_hecktor",
    "from_nsclc_radiomics",
    "from_sts",
]

Series = Mapping[str, str | Sequence[str]]
Folder = str | os.PathLike[str]
Row = dict[str, Any]

_HECKTOR = PublicCohort(
    name="HECKTOR",
    licence="by the challenge's data agreement, for research; not to be passed on",
    citation=(
        "Andrearczyk V, Oreiller V, Abobakr M, et al. Overview of the HECKTOR challenge at MICCAI "
        "2022: automatic head and neck tumor segmentation and outcome prediction in PET/CT. LNCS "
        "13626:1-30, 2023."
    ),
    url="https://hecktor.grand-challenge.org",
    patient="PatientID",
    clinical={
        "gender": ("Gender", "categorical"),
        "age": ("Age", "numeric"),
        "weight": ("Weight", "numeric"),
        "tobacco": ("Tobacco", "categorical"),
        "alcohol": ("Alcohol", "categorical"),
        "performance_status": ("Performance status", "categorical"),
        "hpv": ("HPV status (0=-, 1=+)", "categorical"),
        "t_stage": ("T-stage", "categorical"),
        "n_stage": ("N-stage", "categorical"),
        "m_stage": ("M-stage", "categorical"),
    },
)
_HEAD_NECK = PublicCohort(
    name="Head-Neck-PET-CT",
    licence="CC BY 3.0 (images: TCIA's licence for head and neck data, access on request)",
    citation=(
        "Vallieres M, Kay-Rivest E, Perrin LJ, et al. Radiomics strategies for risk assessment of "
        "tumour failure in head-and-neck cancer. Sci Rep 7:10117, 2017. Data: "
        "doi:10.7937/K9/TCIA.2017.8oje5q00."
    ),
    url="https://doi.org/10.7937/K9/TCIA.2017.8oje5q00",
    patient="Patient #",
    clinical={
        "sex": ("Sex", "categorical"),
        "age": ("Age", "numeric"),
        "site": ("Primary Site", "categorical"),
        "t_stage": ("T-stage", "categorical"),
        "n_stage": ("N-stage", "categorical"),
        "m_stage": ("M-stage", "categorical"),
        "tnm_group": ("TNM group stage", "categorical"),
        "hpv": ("HPV status", "categorical"),
    },
)
_LUNG1 = PublicCohort(
    name="NSCLC-Radiomics",
    licence="CC BY-NC 3.0",
    citation=(
        "Aerts HJWL, Velazquez ER, Leijenaar RTH, et al. Decoding tumour phenotype by noninvasive "
        "imaging using a quantitative radiomics approach. Nat Commun 5:4006, 2014. Data: "
        "doi:10.7937/K9/TCIA.2015.PF0M9REI."
    ),
    url="https://doi.org/10.7937/K9/TCIA.2015.PF0M9REI",
    patient="PatientID",
    clinical={
        "age": ("age", "numeric"),
        "t_stage": ("clinical.T.Stage", "categorical"),
        "n_stage": ("Clinical.N.Stage", "categorical"),
        "m_stage": ("Clinical.M.Stage", "categorical"),
        "stage": ("Overall.Stage", "categorical"),
        "histology": ("Histology", "categorical"),
        "gender": ("gender", "categorical"),
    },
)
_STS = PublicCohort(
    name="Soft-tissue-Sarcoma",
    licence="CC BY 3.0",
    citation=(
        "Vallieres M, Freeman CR, Skamene SR, El Naqa I. A radiomics model from joint FDG-PET and "
        "MRI texture features for the prediction of lung metastases in soft-tissue sarcomas of the "
        "extremities. Phys Med Biol 60:5471-5496, 2015. Data: doi:10.7937/K9/TCIA.2015.7GO2GSKS."
    ),
    url="https://doi.org/10.7937/K9/TCIA.2015.7GO2GSKS",
    patient="Patient ID",
    clinical={
        "age": ("Age", "numeric"),
        "sex": ("Sex", "categorical"),
        "mskcc_type": ("MSKCC type", "categorical"),
        "grade": ("Grade", "categorical"),
    },
)

#: Licence, citation and address of each cohort that `survimg.datasets` opens.
PUBLIC_COHORTS: Mapping[str, PublicCohort] = {
    "hecktor": _HECKTOR,
    "head_neck_pet_ct": _HEAD_NECK,
    "nsclc_radiomics": _LUNG1,
    "sts": _STS,
}


def from_hecktor(folder: Folder, *, label: int | str = "any") -> Cohort:
    """Open HECKTOR's training patients (2022, 2025 and 2026): PET, CT, contours, relapse.

    Parameters
    ----------
    folder : path-like
        The unpacked archive. Images lie anywhere below it as ``<ID>__CT.nii.gz`` and
        ``<ID>__PT.nii.gz``, contours as ``<ID>.nii.gz``; tables are CSV files with ``PatientID``,
        among them one with ``Relapse`` and ``RFS`` (days).
    label : int or str, default="any"
        Part of the contours: 1 the primary tumour, 2 the lymph nodes, ``"any"`` both.

    Returns
    -------
    Cohort
        Raw: prepare it before a network sees it. Channels ``("PET", "CT")``; relapse-free survival
        in days; ``groups`` are the centres (``CenterID``, or the letters of the ID).

    Warns
    -----
    UserWarning
        Patients that are left out, by what they lack. Of 2026, patients that
        ``suv_conversion_tags.csv`` names have PET in Bq/ml, not SUV: multiply these by
        ``bqml_to_suvbw_factor``, save them and take the patients out of that table.

    Raises
    ------
    FileNotFoundError
        No table of HECKTOR.
    ValueError
        No complete patient.

    Notes
    -----
    Surgery, chemotherapy and the other treatments are left out: they were decided after imaging.
    Licence and citation: ``survimg.datasets.PUBLIC_COHORTS["hecktor"]``.
    """
    root, patients = Path(folder), Patients()
    table = read_tables(root, _HECKTOR, ["Relapse", "RFS"])
    files = {path.name: path for path in sorted(root.rglob("*.nii.gz"))}
    unconverted = _in_becquerel(root)
    for patient in sorted({*(str(name) for name in table.index), *_ids(files)}):
        cells = row_of(table, patient)
        row: Row = {
            "patient_id": patient,
            "PET": files.get(f"{patient}__PT.nii.gz"),
            "CT": files.get(f"{patient}__CT.nii.gz"),
            "mask": files.get(f"{patient}.nii.gz"),
            "time": cells.get("rfs"),
            "event": cells.get("relapse"),
        }
        lacking = [f"no {name}" for name, value in row.items() if value is None]
        if patient in unconverted:
            lacking = ["PET in Bq/ml (suv_conversion_tags.csv)"]
        if lacking:
            patients.lacking[patient] = ", ".join(lacking)
            continue
        hpv = cells.get(plain("HPV Status")) or cells.get(plain("HPV status (0=-, 1=+)"))
        tobacco = cells.get("tobacco") or cells.get(plain("Tobacco Consumption"))
        alcohol = cells.get("alcohol") or cells.get(plain("Alcohol Consumption"))
        more = {"hpv": hpv, "tobacco": tobacco, "alcohol": alcohol}
        centre = cells.get("centerid") or re.split(r"[-_0-9]", patient)[0]
        clinical = {**clinical_of(cells, _HECKTOR), **more}
        row["event"] = _event(cells["relapse"], patient)
        patients.add({**row, "group": centre, **clinical}, label)
    return cohort_of(patients, _HECKTOR, ("PET", "CT"))


def from_head_neck_pet_ct(
    folder: Folder,
    *,
    endpoint: str = "death",
    region: str = "primary",
    series: Series | None = None,
    masks: str | Sequence[str] | None = "*->PET*",
) -> Cohort:
    """Open Head-Neck-PET-CT (TCIA), of which the DeepMTS paper's test patients are a part.

    Parameters
    ----------
    folder : path-like
        What the archive's download tool leaves: somewhere below it one folder per patient
        (``HN-CHUM-001``), with DICOM series and RTSTRUCTs in folders of their own, and the two
        workbooks ``INFOclinical_HN_...`` and ``INFO_GTVcontours_HN`` (or their sheets as CSV).
    endpoint : {"death", "distant", "locoregional"}, default="death"
        Patients without it are censored at their last follow-up.
    region : {"primary", "primary and nodes"}, default="primary"
        Which contours; their names differ between patients and are read from the workbook.
    series : mapping, optional
        Which series of a modality is meant, see `survimg.io.manifest_of_dicom`.
    masks : str or sequence of str, optional
        Descriptions of the RTSTRUCT that is meant; patients have one on PET and one on CT.

    Returns
    -------
    Cohort
        Raw; channels ``("PET", "CT")``, days from diagnosis, ``groups`` are the four hospitals.

    Warns
    -----
    UserWarning
        Patients that are left out, by what they lack.

    Raises
    ------
    FileNotFoundError
        No tables, or no folder of patients.
    ValueError
        Unknown endpoint or region, no complete patient, several series to choose from.

    Notes
    -----
    Therapy is left out: it was decided after imaging. Licence and citation:
    ``survimg.datasets.PUBLIC_COHORTS["head_neck_pet_ct"]``.
    """
    endpoints = {"death": "Death", "distant": "DM", "locoregional": "LR"}
    events = {"death": "Death", "distant": "Distant", "locoregional": "Locoregional"}
    _check("endpoint", endpoint, endpoints)
    _check("region", region, ("primary", "primary and nodes"))
    root, patients = Path(folder), Patients()
    # Headed "Patient #" in the clinical workbook and "Patient" in that of the contours.
    table = read_tables(root, _HEAD_NECK, [events[endpoint], "Name GTV Primary"])
    images = dicom_images(
        root, _HEAD_NECK, r"HN-[A-Z]+-\d+", ("PET", "CT"), series, masks
    )
    for image_row in images:
        patient = image_row["patient_id"]
        cells = row_of(table, patient)
        event = _event(cells.get(plain(events[endpoint])), patient)
        since = endpoints[endpoint] if event else "last follow-up"
        headings = ["Name GTV Primary", "Name GTV Lymph Nodes"][: 2 if "nodes" in region else 1]
        regions = [name for h in headings for name in re.split(r"[,;]", cells.get(plain(h)) or "")]
        _take(
            patients,
            {
                **image_row,
                "time": cells.get(plain(f"Time - diagnosis to {since} (days)")),
                "event": event,
                "group": patient.split("-")[1],
                **clinical_of(cells, _HEAD_NECK),
            },
            [name for name in regions if name.strip()],
        )
    return cohort_of(patients, _HEAD_NECK, ("PET", "CT"))


def from_nsclc_radiomics(
    folder: Folder,
    *,
    regions: Sequence[str] = ("GTV-1", "gtv-pre-op"),
    series: Series | None = None,
    masks: str | Sequence[str] | None = "RTSTRUCT",
) -> Cohort:
    """Open NSCLC-Radiomics (Lung1, TCIA): CT, contours and overall survival of 422 patients.

    Parameters
    ----------
    folder : path-like
        What the archive's download tool leaves: somewhere below it one folder per patient
        (``LUNG1-001``), and ``NSCLC-Radiomics-Lung1.clinical-...csv``.
    regions : sequence of str, default=("GTV-1", "gtv-pre-op")
        Names of the tumour's contours; the first one that a patient has is taken.
    series : mapping, optional
        Which series is meant, see `survimg.io.manifest_of_dicom`.
    masks : str or sequence of str, default="RTSTRUCT"
        Kind or description of the object with the contours; ``"SEG"`` is the other kind.

    Returns
    -------
    Cohort
        Raw; channel ``("CT",)``, days.

    Warns
    -----
    UserWarning
        Patients that are left out, by what they lack.

    Raises
    ------
    FileNotFoundError
        No table, or no folder of patients.
    ValueError
        No complete patient, several series to choose from.

    Notes
    -----
    Licence and citation: ``survimg.datasets.PUBLIC_COHORTS["nsclc_radiomics"]``.
    """
    root, patients = Path(folder), Patients()
    table = read_tables(root, _LUNG1, ["deadstatus.event"])
    images = dicom_images(
        root, _LUNG1, r"LUNG1-\d+", ("CT",), series, masks
    )
    for image_row in images:
        cells = row_of(table, image_row["patient_id"])
        outcome = {
            "time": cells.get(plain("Survival.time")),
            "event": _event(cells.get(plain("deadstatus.event")), image_row["patient_id"]),
        }
        row: Row = {**image_row, **outcome, **clinical_of(cells, _LUNG1)}
        _take(patients, row, regions, first=True)
    return cohort_of(patients, _LUNG1, ("CT",))


def from_sts(
    folder: Folder,
    *,
    endpoint: str = "dfs",
    regions: Sequence[str] = ("GTV_Mass",),
    series: Series | None = None,
    masks: str | Sequence[str] | None = "*->PET*",
) -> Cohort:
    """Open Soft-tissue-Sarcoma (TCIA) as downloaded; `load_sts51` opens its converted images.

    Parameters
    ----------
    folder : path-like
        What the archive's download tool leaves: somewhere below it one folder per patient
        (``STS_001``), and ``INFOclinical_STS.xlsx`` (or its sheet as CSV).
    endpoint : {"dfs", "os", "lung_metastasis"}, default="dfs"
        As in `load_sts51`.
    regions : sequence of str, default=("GTV_Mass",)
        Names of the tumour's contours, merged.
    series : mapping, optional
        Which series of a modality is meant, see `survimg.io.manifest_of_dicom`.
    masks : str or sequence of str, optional
        Descriptions of the RTSTRUCT that is meant, where patients have one per modality.

    Returns
    -------
    Cohort
        Raw; channels ``("PET", "CT")``, days from diagnosis.

    Warns
    -----
    UserWarning
        Patients that are left out, by what they lack.

    Raises
    ------
    FileNotFoundError
        No table, or no folder of patients.
    ValueError
        Unknown endpoint, no complete patient, several series to choose from.

    Notes
    -----
    Licence and citation: ``survimg.datasets.PUBLIC_COHORTS["sts"]``.
    """
    _check("endpoint", endpoint, ("dfs", "os", "lung_metastasis"))
    root, patients = Path(folder), Patients()
    table = read_tables(root, _STS, ["Outcome", "Status (NED, AWD, D)"])
    images = dicom_images(root, _STS, r"STS_\d+", ("PET", "CT"), series, masks)
    for image_row in images:
        cells = row_of(table, image_row["patient_id"])
        failure = cells.get("outcome")
        event = {
            "os": (cells.get(plain("Status (NED, AWD, D)")) or "").upper() == "D",
            "dfs": failure is not None,
            "lung_metastasis": "lung" in (failure or "").lower(),
        }[endpoint]
        fails = failure is not None and endpoint != "os"
        since = "outcome" if fails else "last follow-up"
        row: Row = {
            **image_row,
            "time": cells.get(plain(f"Time - diagnosis to {since} (days)")),
            "event": int(event) if cells else None,
            **clinical_of(cells, _STS),
        }
        _take(patients, row, regions)
    return cohort_of(patients, _STS, ("PET", "CT"))


def _take(
    patients: Patients, row: Row, regions: Sequence[str], *, first: bool = False
) -> None:
    """Take a patient of a DICOM archive whose images, contours and outcome are all there."""
    required = [name for name in ("PET", "CT") if name in row] + ["mask", "time", "event"]
    lacking = [f"no {name}" for name in required if row.get(name) in (None, "")]
    labels: list[str] = []
    if row.get("mask"):
        labels = region_labels(str(row["mask"]), regions)
        order = [plain(name) for name in regions]
        labels = sorted(labels, key=lambda name: order.index(plain(name)))[: 1 if first else None]
        if not labels:
            choice = " or ".join(regions) or "(none in the table)"
            lacking.append(f"no region {choice} in the mask")
    if lacking:
        patients.lacking[str(row["patient_id"])] = ", ".join(lacking)
    else:
        patients.add(row, labels)


def _ids(files: Mapping[str, Path]) -> list[str]:
    ends = ("__CT.nii.gz", "__PT.nii.gz")
    return [name.partition("__")[0] for name in files if name.endswith(ends)]


def _in_becquerel(root: Path) -> set[str]:
    """Patients of HECKTOR 2026 whose PET is in Bq/ml."""
    if not any(root.rglob("suv_conversion_tags.csv")):
        return set()
    return {str(name) for name in read_tables(root, _HECKTOR, name="suv_conversion_tags.csv").index}


def _event(cell: str | None, patient: str) -> int | None:
    """Return 0 or 1; archives write 1, 1.0 or yes."""
    if cell is None:
        return None
    values = {"0": 0, "0.0": 0, "no": 0, "1": 1, "1.0": 1, "yes": 1}
    if cell.lower() not in values:
        raise ValueError(f"Patient {patient!r}: {cell!r} does not say whether there was an event.")
    return values[cell.lower()]


def _check(name: str, value: str, allowed: Sequence[str] | Mapping[str, str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {list(allowed)}; got {value!r}.")
