"""Every kind of bad input of the chaos script, once; the script draws many of each (make chaos)."""

from __future__ import annotations

import pytest

pytest.importorskip("pydicom")
pytest.importorskip("nibabel")

from dicom_faults import FAULTS as DICOM
from fault import attempt
from image_faults import FAULTS as IMAGES
from table_faults import FAULTS as TABLES

FAULTS = [*DICOM, *IMAGES, *TABLES]


def test_no_kind_is_listed_twice():
    names = [(fault.group, fault.name) for fault in FAULTS]
    assert len(set(names)) == len(names) >= 60


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.group}: {fault.name}")
def test_bad_input_is_refused_by_name_and_good_input_read(fault, tmp_path):
    result = attempt(fault, tmp_path, seed=0)
    assert result.handled, f"{result.what}: {result.message}"
