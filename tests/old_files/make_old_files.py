"""Files as survimg wrote them before records had checksums (commit 91fd58e), kept to be read.

    git worktree add ../old 91fd58e
    PYTHONPATH=../old python tests/old_files/make_old_files.py tests/old_files/first

Models of format 1 are in tests/model_files/references.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from survimg.benchmark import Record
from survimg.benchmark.records import write_record
from survimg.benchmark.storage import write_json
from survimg.datasets import make_phantom_cohort
from survimg.io import StoreWriter
from survimg.preprocessing import Alignment, WorldMap
from survimg.radiomics.cache import CaseCache
from survimg.radiomics.case import CaseFeatures


def main(folder: Path) -> None:
    """Write one of each."""
    cohort = make_phantom_cohort(n=6, shape=(16, 16, 16), random_state=0).cohort
    small = cohort[:3]
    small.save(folder / "store")
    with StoreWriter(folder / "half", 2, (1, 2, 2, 2), channel_names=["CT"], resume=True) as writer:
        place = {"spacing": [1] * 3, "origin": [0] * 3, "direction": np.eye(3).ravel().tolist()}
        finer = (np.ones((1, 3, 3, 3), "f4"), np.ones((3, 3, 3), "u1"), place)
        writer.write_case(0, np.ones((1, 2, 2, 2)), record={"source": "a"}, finer=finer)
        writer.keep_partial = True
        record = Record(
            "k" * 64, "model", 0, 0, details={"fit_seconds": 1.5},
            arrays={"test_ids": np.array(["a", "büro"]), "test_risk": np.arange(2.0)},
        )
        write_record(folder, record)
        write_json(folder / "run.json", {"format": 1})
        CaseCache(folder).put("c" * 64, CaseFeatures(np.arange(3.0), np.array([[4, 5]])))
        alignment = Alignment(None, WorldMap.shift(np.arange(3.0)), "there is no CT")
        write_json(folder / "registration.json", {"key": ["k"], "alignment": alignment.to_dict()})
        torch.save(
            {"json": json.dumps({
                "seed": 5, "iteration": 1, "stop": False, "micro_batch_size": None,
                "history": [{"epoch": 1}], "batches": np.random.default_rng(0).bit_generator.state,
                "best_score": None, "best_epoch": None}),
             "module": {"a": torch.ones(2)}, "optimizer": {}, "best_weights": {},
             "augmentation": torch.zeros(1), "cpu": torch.zeros(1), "cuda": []},
            folder / "checkpoint.pt",
        )
        raise OSError("the disk is full")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except OSError as error:
        sys.stderr.write(f"{error}, as intended\n")
