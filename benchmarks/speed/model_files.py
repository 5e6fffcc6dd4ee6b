"""Processor seconds of saving and loading a model, beside those of its pickle.

    OMP_NUM_THREADS=1 python benchmarks/speed/model_files.py

A forest of 100 trees on 200 patients, the model of most parts, and a DeepMTS on eight phantoms of
16 voxels a side. Saving and pickling alternate, five times; medians.
"""

from __future__ import annotations

import pickle
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import survimg
from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS, RandomSurvivalForest
from survimg.target import make_outcome


def models() -> Iterator[Any]:
    """Fit the two models."""
    rng = np.random.default_rng(0)
    y = make_outcome(rng.random(200) < 0.7, rng.exponential(size=200) + 0.1)
    yield RandomSurvivalForest(n_estimators=100, random_state=0).fit(rng.normal(size=(200, 10)), y)
    X = make_phantom_cohort(n=8, shape=(16, 16, 16), random_state=0).cohort
    yield DeepMTS(
        n_iterations=1, batch_size=4, batch_norm_batches=1, n_threads=1, random_state=0,
        precision="float32", verbose=0,
    ).fit(X, X.outcome)  # fmt: skip


def cost(function: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def costs(model: Any, folder: Path) -> dict[str, float]:
    """Processor seconds of each once, in an empty folder."""
    pickled, saved = folder / "model.pickle", folder / "model"
    return {
        "pickle": cost(lambda: pickled.write_bytes(pickle.dumps(model))),
        "save": cost(lambda: survimg.save(model, saved)),
        "load": cost(lambda: survimg.load(saved)),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    for model in models():
        runs = []
        for _ in range(5):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(costs(model, Path(folder)))
        medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items())
        sys.stdout.write(f"{type(model).__name__}: {told}\n")


if __name__ == "__main__":
    main()
