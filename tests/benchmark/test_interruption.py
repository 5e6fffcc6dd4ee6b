"""A run killed at any moment and started again ends in the tables of a run never interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys
from contestants import Segmenter, StageCox, make_cohort
from survimg.benchmark import run_benchmark, write_tables
from survimg.model_selection import EventStratifiedKFold

cohort, risk = make_cohort(n=36)
folds = EventStratifiedKFold(3, shuffle=True, random_state=0)
print("started", flush=True)
run = run_benchmark(
    {"segmenter": Segmenter(pause=0.05), "cox": StageCox()}, cohort, cohort.outcome,
    seeds=(0, 1, 2), splits=list(folds.split(cohort, cohort.outcome)), out=sys.argv[1],
    oracle_risk=risk, reference="cox",
)
write_tables(run)
"""


def start(out, log):
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])]),
        "SURVIMG_TEST_FIT_LOG": str(log),
    }
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out)], env=environment, stdout=subprocess.PIPE, text=True
    )


def finish(out, log):
    process = start(out, log)
    assert process.wait(timeout=120) == 0
    process.stdout.close()


def kill_after(out, log, n_records):
    """Kill the process once that many records are on disk."""
    process = start(out, log)
    while len(list(out.glob("records/*/*.json"))) < n_records and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()
    process.stdout.close()


def compare(out, uninterrupted):
    assert not list(out.rglob("*.survimg-tmp"))
    for table in ("scores.csv", "predictions.parquet"):
        assert (out / table).read_bytes() == (uninterrupted / table).read_bytes()
    names = [sorted(p.name for p in f.glob("records/*/*.json")) for f in (out, uninterrupted)]
    assert names[0] == names[1]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finish(folder, folder / "fits.log")
    return folder


def test_killed_twice_then_finished(tmp_path, uninterrupted):
    out, log = tmp_path / "run", tmp_path / "fits.log"
    kill_after(out, log, 2)
    kill_after(out, log, 6)
    finish(out, log)
    compare(out, uninterrupted)
    # Nine fits are needed; each of the two kills can cost the one fit that was under way.
    assert 9 <= len(log.read_text().splitlines()) <= 11


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", range(0, 1000, 100))
def test_killed_at_ten_moments(tmp_path, uninterrupted, milliseconds):
    out, log = tmp_path / "run", tmp_path / "fits.log"
    process = start(out, log)
    assert process.stdout.readline() == "started\n"
    time.sleep(milliseconds / 1000)
    process.kill()
    process.wait()
    process.stdout.close()
    finish(out, log)
    compare(out, uninterrupted)
