"""Every feature against MIRP, an independent implementation of IBSI chapter 1 (stored values)."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from survimg import Cohort
from survimg.radiomics import IBSISettings, RadiomicsFeatures

REFERENCES = Path(__file__).parents[1] / "references"

# MIRP holds intensities in float32.
RELATIVE = 1e-5
ABSOLUTE = 1e-6


def load_script() -> ModuleType:
    path = REFERENCES / "make_mirp_values.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


CASES = load_script().make_cases()
STORED = json.loads((REFERENCES / "mirp_values.json").read_text())


def test_every_case_is_stored() -> None:
    assert {name: len(row) for name, row in STORED.items()} == {
        name: 346 if case.by_slice else 482 for name, case in CASES.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_mirp(name: str) -> None:
    case = CASES[name]
    cohort = Cohort(
        case.volume[None, None].astype(np.float32),
        masks=case.mask[None].astype(np.uint8),
        spacing=case.spacing,
        channel_names=("CT",),
    )
    size = case.resample_mm
    settings = IBSISettings(
        resample_mm=(0, size, size) if size and case.by_slice else size,
        image_order=case.image_order,
        rounded=("CT",),
        intensity_range=case.intensity_range,
        outlier_sigma=case.outlier_sigma,
        ivh_bin_width=case.ivh_bin_width,
        ivh_bin_count=case.ivh_bin_count,
    )
    extractor = RadiomicsFeatures(
        standard=settings, bin_width=case.bin_width, bin_count=case.bin_count
    )
    row = extractor.fit_transform(cohort).iloc[0]
    values = {column.removeprefix("CT_"): value for column, value in row.items()}
    different = {
        tag: (values[tag], reference)
        for tag, reference in STORED[name].items()
        if not abs(values[tag] - reference) <= RELATIVE * abs(reference) + ABSOLUTE
    }
    assert not different
