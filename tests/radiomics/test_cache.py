"""Records of features: damaged and foreign ones count as none, and several users may share them."""

from __future__ import annotations

import numpy as np
import pytest

from survimg.npz import pack_arrays
from survimg.radiomics import cache as module
from survimg.radiomics.cache import CaseCache, digest
from survimg.radiomics.case import CaseFeatures

KEY = digest("a case")
CASE = CaseFeatures(np.array([1.0, np.nan, 3.0]), np.array([[4, 5]]))


def equal(found):
    np.testing.assert_array_equal(found.values, CASE.values)
    np.testing.assert_array_equal(found.n_levels, CASE.n_levels)


def test_records_come_back(tmp_path):
    CaseCache(tmp_path).put(KEY, CASE)
    equal(CaseCache(tmp_path).get(KEY, 3))
    assert CaseCache(tmp_path).get(digest("another"), 3) is None


def test_records_of_numpy_from_survimgs_first_days_are_read(tmp_path):
    path = CaseCache(tmp_path)._path(KEY)
    path.parent.mkdir(parents=True)
    np.savez(path, values=CASE.values, n_levels=CASE.n_levels)
    equal(CaseCache(tmp_path).get(KEY, 3))


WRONG = {
    "another case": {"key": np.array("0" * 64)},
    "other features": {"values": np.zeros(4)},
    "values": {"values": np.zeros(3, int)},
    "n_levels": {"n_levels": np.zeros((1, 2))},
    "of other features": {"n_levels": -np.ones((1, 2), int)},
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_foreign_record_counts_as_none_with_one_warning(tmp_path, reason):
    cache = CaseCache(tmp_path)
    cache.put(KEY, CASE)
    arrays = {"key": np.array(KEY), "values": CASE.values, "n_levels": CASE.n_levels}
    cache._path(KEY).write_bytes(pack_arrays(arrays | WRONG[reason]))
    with pytest.warns(UserWarning, match=reason):
        assert cache.get(KEY, 3) is None
    assert cache.get(KEY, 3) is None  # a second warning would be an error here


def test_another_users_folder_is_told_and_does_not_end_a_run(tmp_path, monkeypatch):
    def refused(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    cache = CaseCache(tmp_path)
    monkeypatch.setattr(module, "write_atomically", refused)
    with pytest.warns(UserWarning, match="a folder of a group"):
        cache.put(KEY, CASE)
    cache.put(digest("another"), CASE)
    assert cache.get(KEY, 3) is None


def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        CaseCache(tmp_path).put(KEY, CASE)
