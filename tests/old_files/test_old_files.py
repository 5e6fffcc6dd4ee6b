"""Every kind of file that survimg wrote is still read; `make_old_files.py` made these."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from survimg import Cohort
from survimg.benchmark.records import read_record
from survimg.benchmark.storage import read_json
from survimg.cohort.finer_voxels import BlockStore
from survimg.datasets import make_phantom_cohort
from survimg.io import StoreWriter
from survimg.preprocessing.registration_runs import _finished
from survimg.radiomics.cache import CaseCache
from survimg.training.checkpoints import Checkpoint

FIRST = Path(__file__).parent / "first"


def test_a_prepared_cohort():
    cohort = Cohort.load(FIRST / "store")
    expected = make_phantom_cohort(n=6, shape=(16, 16, 16), random_state=0).cohort[:3]
    assert cohort.ids.tolist() == expected.ids.tolist()
    np.testing.assert_allclose(cohort.volume(1), expected.volume(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(cohort.mask(2), expected.mask(2))
    assert cohort.settings == expected.settings


def test_a_half_written_cohort_is_continued(tmp_path):
    shutil.copytree(FIRST / "half.partial", tmp_path / "half.partial")
    out = tmp_path / "half"
    with StoreWriter(out, 2, (1, 2, 2, 2), channel_names=["CT"], resume=True) as writer:
        done = writer.done()
        assert done[0]["source"] == "a"
        assert done[0]["has_mask"] is False


def test_finer_voxels_compressed():
    blocks = BlockStore(FIRST / "half.partial" / "finer", [(1, 3, 3, 3)], masks=False)
    np.testing.assert_array_equal(blocks.read(0), np.ones((1, 3, 3, 3)))


def test_a_record_of_a_benchmark_compressed_and_without_checksum():
    record = read_record(FIRST, "model", 0, 0, "k" * 64)
    assert record is not None
    assert record.arrays["test_ids"].tolist() == ["a", "büro"]
    np.testing.assert_array_equal(record.arrays["test_risk"], [0.0, 1.0])
    assert read_json(FIRST / "run.json") == {"format": 1}


def test_a_record_of_features():
    found = CaseCache(FIRST).get("c" * 64, 3)
    assert found is not None
    np.testing.assert_array_equal(found.values, [0.0, 1.0, 2.0])


def test_a_record_of_a_registration():
    assert _finished(FIRST / "registration.json", ["k"]) is not None
    assert _finished(FIRST / "registration.json", ["another"]) is None


def test_a_checkpoint_without_checksum():
    assert Checkpoint(FIRST / "checkpoint.pt").seed == 5
