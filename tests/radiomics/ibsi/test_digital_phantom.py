"""Every reference value of IBSI chapter 1 for its digital phantom."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from survimg import Cohort
from survimg.radiomics import RadiomicsFeatures


@pytest.fixture(scope="module")
def folder(shared_dir: Path) -> Path:
    return shared_dir / "data" / "ibsi_digital_phantom"


@pytest.fixture(scope="module")
def values(folder: Path) -> dict[str, float]:
    image = sitk.ReadImage(str(folder / "nifti" / "image" / "phantom.nii.gz"))
    mask = sitk.ReadImage(str(folder / "nifti" / "mask" / "mask.nii.gz"))
    cohort = Cohort(
        sitk.GetArrayFromImage(image)[None, None].astype(np.float32),
        masks=(sitk.GetArrayFromImage(mask)[None] > 0).astype(np.uint8),
        spacing=image.GetSpacing()[::-1],
        channel_names=("CT",),
    )
    features = RadiomicsFeatures(standard="ibsi", bin_width=1).fit_transform(cohort)
    return {name.removeprefix("CT_"): value for name, value in features.iloc[0].items()}


def test_all_482_reference_values_are_within_tolerance(
    folder: Path, values: dict[str, float]
) -> None:
    with (folder / "ibsi_1_dig_phantom.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter=";") if row["reference value"]]
    assert len(rows) == 482
    outside = []
    for row in rows:
        reference, value = float(row["reference value"]), values[row["tag"]]
        # References print three digits; their tolerance comes on top.
        half_unit = 0.5 * 10 ** (np.floor(np.log10(abs(reference) or 1.0)) - 2)
        if not abs(value - reference) <= float(row["tolerance"]) + half_unit * (1 + 1e-9):
            outside.append((row["tag"], reference, value))
    assert not outside


def test_what_has_no_reference_value_is_known_by_name(
    folder: Path, values: dict[str, float]
) -> None:
    with (folder / "ibsi_1_dig_phantom.csv").open(newline="") as file:
        referenced = {
            row["tag"] for row in csv.DictReader(file, delimiter=";") if row["reference value"]
        }
    assert set(values) - referenced == {"ivh_auc"}
