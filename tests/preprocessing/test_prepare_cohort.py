"""From a raw cohort to a prepared one, in memory and on disk."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

from survimg.cohort import Cohort
from survimg.preprocessing import Preparation, prepare
from survimg.target import make_outcome

SETTINGS = {"shape": (6, 6, 6), "spacing": 2.0}


def _ragged(**more):
    rng = np.random.default_rng(0)
    shapes = [(8, 9, 10), (10, 8, 9), (9, 9, 9)]
    volumes = [rng.gamma(2.0, size=(2, *shape)).astype(np.float32) for shape in shapes]
    for volume in volumes:
        volume[1] = 100 * volume[1] - 200  # HU
    masks = [np.zeros(shape, np.uint8) for shape in shapes]
    for mask in masks:
        mask[3:6, 3:6, 4:7] = 1
    options = {
        "masks": masks, "outcome": make_outcome([1, 0, 1], [3, 4, 5]), "ids": ["a", "b", "c"],
        "spacing": [(3.0, 2.0, 2.0)] * 3, "channel_names": ("PET", "CT"), "groups": ["x", "x", "y"],
        "clinical": pd.DataFrame({"age": [50.0, 60.0, 70.0]}), "time_unit": "days",
    }
    return Cohort(volumes, **{**options, **more})


def _prepare(raw, out=None, *, progress=False, **more):
    return prepare(raw, Preparation(**{**SETTINGS, **more}), out, progress=progress)


def test_a_ragged_cohort_becomes_regular_and_keeps_its_patients():
    raw = _ragged()
    prepared = _prepare(raw)
    assert prepared.shape == (3, 2, 6, 6, 6)
    np.testing.assert_allclose(prepared.spacing, 2.0)
    for i in range(3):
        np.testing.assert_allclose(prepared.volume(i).mean(axis=(1, 2, 3)), 0, atol=1e-5)
        assert prepared.mask(i).any()
    assert prepared.ids.tolist() == ["a", "b", "c"]
    assert prepared.groups.tolist() == ["x", "x", "y"]
    assert prepared.time_unit == "days"
    np.testing.assert_array_equal(prepared.outcome, raw.outcome)
    pd.testing.assert_frame_equal(prepared.clinical, raw.clinical)
    assert prepared.settings["shape"] == [6, 6, 6]


def test_on_disk_is_the_same_as_in_memory(tmp_path):
    memory = _prepare(_ragged())
    disk = _prepare(_ragged(), tmp_path / "out")
    for i in range(3):
        np.testing.assert_array_equal(disk.volume(i), memory.volume(i))
        np.testing.assert_array_equal(disk.mask(i), memory.mask(i))
    assert disk.settings == memory.settings
    assert os.listdir(tmp_path) == ["out"]


def test_patients_without_masks_can_be_prepared_by_other_crops():
    raw = _ragged(masks=None)
    assert not _prepare(raw, crop="pet_peak").has_masks.any()
    with pytest.raises(ValueError, match="crop='mask' needs a mask for every patient; 3 have none"):
        _prepare(raw)


def test_without_spacing_nothing_in_mm_is_possible():
    raw = _ragged(spacing=None)
    assert _prepare(raw, spacing=None).spacing is None
    for options, name in (
        ({"spacing": 2.0}, "spacing"),
        ({"crop": "fixed", "centre": (1.0, 0.0, 0.0)}, "centre"),
        ({"crop": "pet_peak"}, "pet_peak"),
    ):
        with pytest.raises(ValueError, match=f"{name}.* in mm, but the cohort has no spacing"):
            _prepare(raw, **{"spacing": None, **options})


@pytest.mark.parametrize("out", [None, "out"])
def test_progress_goes_to_standard_error_where_it_is_wanted(tmp_path, capsys, out):
    for progress in (False, True):
        folder = None if out is None else tmp_path / f"{out}{progress}"
        _prepare(_ragged(), folder, progress=progress)
        shown = capsys.readouterr()
        assert shown.out == ""
        assert ("3/3" in shown.err) is progress


def test_bad_patients_are_named_and_leave_nothing(tmp_path):
    raw = _ragged()
    raw.mask(1)[:] = 0
    masks = [raw.mask(i).copy() for i in range(3)]
    masks[1][:] = 0
    with pytest.raises(ValueError, match="Patient 'b', the tumour mask is empty"):
        _prepare(_ragged(masks=masks), tmp_path / "new" / "out")
    assert not os.listdir(tmp_path)
