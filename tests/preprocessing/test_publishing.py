"""A process that dies while a finished cohort takes its name, in the place of an older one."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from survimg.cohort import Cohort
from survimg.preprocessing import Preparation, prepare


def _prepare(folder, out, crop="mask", **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the crop cuts off part of a tumour
        settings = Preparation(shape=(6, 6, 6), normalise="none", crop=crop)
        return prepare(folder / "manifest.csv", settings, out, progress=False, **more)


@pytest.mark.parametrize("dies_at", ["old name", "new name", "records"])
def test_a_replacement_that_dies_at_any_step_is_finished_by_the_next_run(
    cohort_folder, tmp_path, monkeypatch, dies_at
):
    out = tmp_path / "out"
    _prepare(cohort_folder, out, crop="fixed")
    before = Cohort.load(out).to_numpy()
    rename = Path.rename

    def dying(self, target):
        if dies_at == "old name" and self == out:
            raise KeyboardInterrupt
        if dies_at == "new name" and self.name == "out.partial":
            raise KeyboardInterrupt
        moved = rename(self, target)
        if dies_at == "records" and self.name == "out.partial":
            raise KeyboardInterrupt
        return moved

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying)
        with pytest.raises(KeyboardInterrupt):
            _prepare(cohort_folder, out, crop="mask", overwrite=True)
    folder = {"old name": out, "new name": tmp_path / "out.replaced", "records": out}[dies_at]
    left = Cohort.load(folder).to_numpy()  # one of the two is always whole
    assert np.array_equal(left, before) == (dies_at != "records")
    _prepare(cohort_folder, out, crop="mask", overwrite=True)
    assert not np.array_equal(Cohort.load(out).to_numpy(), before)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out"]
    assert sorted(path.name for path in out.iterdir()) == [
        "cohort.json", "masks.npy", "table.csv", "volumes.npy"
    ]


def test_what_a_killed_writer_left_is_not_published(cohort_folder, tmp_path):
    partial = tmp_path / "out.partial"
    partial.mkdir()
    (partial / "begun.json.99999.survimg-tmp").write_text("{")  # killed before anything was begun
    _prepare(cohort_folder, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tmp"))
