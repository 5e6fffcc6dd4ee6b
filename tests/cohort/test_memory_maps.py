"""A memory map is what it shows: the file only where it shows the whole file unchanged."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from survimg import Cohort
from survimg.datasets import make_phantom_cohort

V = np.arange(4, dtype="float32")[:, None, None, None, None] * np.ones((4, 1, 6, 6, 6), "float32")


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "v.npy", V)
    return tmp_path / "v.npy"


def check_shows(array):
    cohort = Cohort(array)
    assert len(cohort) == len(array)
    for shown in (cohort, pickle.loads(pickle.dumps(cohort))):
        np.testing.assert_array_equal(shown.to_numpy(), np.asarray(array))


def test_changes_of_a_copy_are_shown(file):
    changed = np.load(file, mmap_mode="c")
    changed += 100
    check_shows(changed)


def test_windows_of_a_file_are_shown(file):
    start = file.stat().st_size - V.nbytes
    check_shows(np.memmap(file, "float32", "r", start + 2 * 216 * 4, (2, 1, 6, 6, 6)))
    check_shows(np.memmap(file, "float32", "r", start, (2, 1, 6, 6, 6)))
    check_shows(np.memmap(file, "float32", "r", start, (4, 1, 6, 6, 6)).reshape(4, 1, 6, 36, 1))
    check_shows(np.load(file, mmap_mode="r")[::-1])


@pytest.mark.parametrize("name", ["raw.npy", "raw.dat"])
def test_raw_voxels_are_shown_whatever_their_file_is_called(tmp_path, name):
    raw = np.memmap(tmp_path / name, "float32", "w+", shape=V.shape)
    raw[:] = V
    check_shows(raw)
    raw.flush()
    check_shows(np.memmap(tmp_path / name, "float32", "r", shape=V.shape))


def test_the_whole_file_travels_as_its_path(file):
    whole = np.load(file, mmap_mode="r")
    check_shows(whole)
    assert len(pickle.dumps(Cohort(whole))) < 3000
    np.save(file.with_name("f.npy"), np.asfortranarray(V))
    check_shows(np.load(file.with_name("f.npy"), mmap_mode="r"))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(0.999, "float32"), (256, "int16"), (255, "uint8"), (-1, "int8"), (np.nan, "float64")],
)
@pytest.mark.parametrize("mode", [None, "r", "c"])
def test_masks_of_other_values_are_refused_in_every_form(tmp_path, value, dtype, mode):
    mask = np.zeros((2, 6, 6, 6), dtype)
    mask[:, 2:4, 2:4, 2:4] = value
    np.save(tmp_path / "m.npy", mask)
    given = np.load(tmp_path / "m.npy", mmap_mode=mode)
    with pytest.raises(ValueError, match="values other than 0"):
        Cohort(V[:2], masks=given).mask(0)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bool", "int64"])
def test_masks_may_have_a_channel_of_their_own(tmp_path, dtype):
    mask = np.zeros((4, 1, 6, 6, 6), dtype)
    mask[:, :, 2:4] = 1
    np.save(tmp_path / "m.npy", mask)
    for given in (mask, np.load(tmp_path / "m.npy", mmap_mode="r"), list(mask)):
        assert Cohort(V, masks=given).mask(1).sum() == 72


@pytest.mark.parametrize("name", ["volumes.npy", "masks.npy"])
def test_a_changed_bit_of_a_stored_patient_is_refused_by_his_name(tmp_path, name):
    cohort = make_phantom_cohort(n=3, shape=(16, 16, 16), random_state=0).cohort
    cohort.save(tmp_path / "s")
    path = tmp_path / "s" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # of the last patient
    path.write_bytes(content)
    stored = Cohort.load(tmp_path / "s")
    read = Cohort.volume if name == "volumes.npy" else Cohort.mask
    np.testing.assert_array_equal(read(stored, 1), read(cohort, 1))
    for damaged in (stored, stored[1:], pickle.loads(pickle.dumps(stored))):
        for _ in range(2):
            with pytest.raises(ValueError, match=f"Patient '{cohort.ids[2]}': .*{name} is damaged"):
                read(damaged, len(damaged) - 1)
