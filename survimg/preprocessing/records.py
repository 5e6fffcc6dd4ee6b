"""What is kept about a prepared patient beside the voxels, and what is said about all of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from survimg.cohort import Cohort
from survimg.io.images.image import Image
from survimg.io.patients import PatientTable
from survimg.preprocessing.case import PreparedCase
from survimg.preprocessing.cohort_registration import CohortRegistration, image_place
from survimg.preprocessing.settings import Preparation
from survimg.preprocessing.units import implausible_unit

__all__ = [
    "case_record", "geometry_of", "listed_errors", "place_of", "prepared_table", "stored_settings",
    "warn_of_patients",
]

_MAX_NAMED = 10


def case_record(
    case: PreparedCase,
    images: Mapping[str, Image | None],
    registration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what is kept about a prepared patient beside the voxels.

    Parameters
    ----------
    case : PreparedCase
    images : mapping of str to (Image or None)
        The patient's own, by channel.
    registration : dict, optional
        See `CohortRegistration.geometry`.
    """
    there = {name: image for name, image in images.items() if image is not None}
    doubts = [implausible_unit(name, image) for name, image in there.items()]
    record = {
        **place_of(case),
        "mask_cut": case.mask_cut,
        "image": image_place(next(iter(there.values()))),
        "units": [doubt for doubt in doubts if doubt is not None],
    }
    return record if registration is None else {**record, "registration": dict(registration)}


def place_of(case: PreparedCase) -> dict[str, Any]:
    """Return where a block lies."""
    return {
        "spacing": list(case.spacing),
        "origin": list(case.origin),
        "direction": list(case.direction),
    }


def geometry_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a record that a store keeps as the patient's geometry."""
    names = ("origin", "direction", "image", "registration")
    return {name: record[name] for name in names if name in record}


def prepared_table(cohort: Cohort, records: Sequence[Mapping[str, Any]]) -> PatientTable:
    """Return the table of the patients, with where their volumes lie now."""
    if not cohort.has_spacing:
        return replace(cohort.table, geometry=None)
    return replace(
        cohort.table,
        spacing=np.array([record["spacing"] for record in records]),
        geometry=tuple(geometry_of(record) for record in records),
    )


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


def warn_of_patients(ids: Sequence[str], records: Sequence[Mapping[str, Any]]) -> None:
    """Warn once of all patients whose tumour is cut by 1 % or more, and of all with odd units."""
    pairs = list(zip(ids, records, strict=True))
    units = [f"{patient} ({'; '.join(rec['units'])})" for patient, rec in pairs if rec["units"]]
    if units:
        warnings.warn(
            f"{len(units)} patient(s) have images that are hardly SUV (PET) or HU (CT): "
            f"{_some(units, ', ')}. Features in units, windows and thresholds are wrong for them: "
            "convert the images, or give the DICOM series, which are converted.",
            UserWarning,
            stacklevel=3,
        )
    cut = [
        f"{patient} ({record['mask_cut']:.0%})"
        for patient, record in pairs if record["mask_cut"] >= 0.01
    ]
    if cut:
        warnings.warn(
            f"The crop cuts off part of the tumour of {len(cut)} patient(s): {_some(cut, ', ')}. "
            "Use a larger shape or a coarser spacing to keep it.",
            UserWarning,
            stacklevel=3,
        )


def listed_errors(errors: Mapping[str, str], n: int, partial: Path | None) -> str:
    """Say what is wrong with the patients that cannot be prepared.

    Parameters
    ----------
    errors : mapping of str to str
        Message by patient.
    n : int
        Number of all patients.
    partial : Path or None
        Where the others are kept; None where the first error ended the run.
    """
    lines = [f"Patient {patient!r}, {error}" for patient, error in errors.items()]
    if len(lines) == 1 and partial is None:
        return lines[0] if lines[0].endswith(".") else f"{lines[0]}."
    note = "" if partial is None else f"; the others are kept in {partial}"
    return "\n".join(
        [
            f"{len(lines)} of {n} patients cannot be prepared{note}. Correct these and run again:",
            _some(lines, "\n"),
        ]
    )


def _some(texts: Sequence[str], separator: str) -> str:
    more = len(texts) - _MAX_NAMED
    return separator.join(texts[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
