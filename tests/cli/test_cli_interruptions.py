"""`survimg radiomics` interrupted, starved of disk and run twice; who holds a benchmark's lock."""

from __future__ import annotations

import os
import resource

import pytest

from survimg.cli import main
from survimg.datasets import make_phantom_cohort
from survimg.files import lock_folder, locked, unlock

ARGUMENTS = ("--images", "original")


@pytest.fixture
def store(tmp_path):
    make_phantom_cohort(n=4, shape=(16, 16, 16), random_state=0).cohort.save(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def measured(monkeypatch):
    """Let the third measurement be interrupted; returns the patients measured so far."""
    from survimg.radiomics import extraction

    seen: list[int] = []
    limit, extract_one = [2], extraction.extract_one

    def counted(cohort, job, engine, settings):
        if len(seen) >= limit[0]:
            raise KeyboardInterrupt
        seen.append(job.index)
        return extract_one(cohort, job, engine, settings)

    monkeypatch.setattr(extraction, "extract_one", counted)
    return seen, limit


def test_interrupted_features_are_continued_and_leave_nothing_else(
    store, tmp_path, measured, capsys
):
    seen, limit = measured
    out = tmp_path / "features.csv"
    command = ["radiomics", str(store), "--out", str(out), *ARGUMENTS]
    assert main(command) == 130
    assert "the same command does the rest" in capsys.readouterr().err
    assert not out.exists()
    limit[0] = 100
    (tmp_path / "features.csv.99999.survimg-tmp").write_text("of a killed process")
    assert main(command) == 0
    assert sorted(seen) == [0, 1, 2, 3]  # each patient once
    whole = out.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.csv", "store"]
    assert main([*command[:3], str(tmp_path / "again.csv"), *ARGUMENTS]) == 0
    assert (tmp_path / "again.csv").read_bytes() == whole


def test_a_failure_before_the_first_patient_leaves_nothing(store, tmp_path, measured):
    _, limit = measured
    limit[0] = 0
    assert main(["radiomics", str(store), "--out", str(tmp_path / "f.csv"), *ARGUMENTS]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_the_second_run_on_one_table_is_told_who_holds_the_lock(store, tmp_path, capsys):
    partial = tmp_path / "f.csv.partial"
    partial.mkdir()
    lock = lock_folder(partial)
    try:
        command = ["radiomics", str(store), "--out", str(tmp_path / "f.csv"), *ARGUMENTS]
        assert main(command) == 2
    finally:
        unlock(lock)
    assert f"is being written by process {os.getpid()}" in capsys.readouterr().err
    assert partial.is_dir()  # not this run's to remove


def test_a_full_disk_is_an_error_and_keeps_the_patients(store, tmp_path, capsys):
    out = tmp_path / "f.csv"
    command = ["radiomics", str(store), "--out", str(out), *ARGUMENTS]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, limits[1]))
    try:
        assert main(command) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "large" in capsys.readouterr().err
    assert not out.exists()
    assert not list(tmp_path.glob("*tmp"))
    assert main(command) == 0


def test_the_second_benchmark_is_told_who_holds_the_lock(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(BlockingIOError, match=f"written by process {os.getpid()}"),
        locked(tmp_path),
    ):
        pass
