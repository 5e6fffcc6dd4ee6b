"""A grid search one fit after the other, and two fits at a time, alternating in one run.

    python benchmarks/speed/search.py [--repeats 3] [--iterations 6] [--size 16]

Times `GridSearchCV` over a small DeepMTS on a phantom cohort that is memory-mapped from disk, with
``n_jobs=1`` and ``n_jobs=2``. On two cores, two fits at a time with one thread each should take no
longer than one fit after the other with two threads; results may differ in their last digits,
because sums are rounded in another order. Workers have imported torch before the first round is
timed: an import takes seconds and is paid once per session. The refit is left out, because it is
the same on both sides. Writes search.json and search.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

# Before torch is loaded: waiting threads that spin take the cores from the other fit.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import joblib
import numpy as np
import torch
from sklearn.model_selection import GridSearchCV

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS
from survimg.model_selection import EventStratifiedKFold

HERE = Path(__file__).parent
GRID = {"learning_rate": [1e-4, 1e-3]}


def search(cohort: Cohort, iterations: int, n_jobs: int) -> tuple[float, np.ndarray]:
    """Seconds of the search, and its scores."""
    model = DeepMTS(
        n_iterations=iterations, batch_size=4, batch_norm_batches=1, augmentation=None,
        random_state=0, device="cpu",
    )  # fmt: skip
    folds = EventStratifiedKFold(2, shuffle=True, random_state=0)
    grid = GridSearchCV(model, GRID, cv=folds, n_jobs=n_jobs, refit=False, error_score="raise")
    started = time.perf_counter()
    grid.fit(cohort, cohort.outcome)
    return time.perf_counter() - started, grid.cv_results_["mean_test_score"]


def measure(repeats: int, iterations: int, size: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        made = make_phantom_cohort(n=16, shape=(size,) * 3, random_state=0).cohort
        cohort = made.save(Path(folder) / "cohort")
        seconds: dict[int, list[float]] = {1: [], 2: []}
        load = []
        for n_jobs in seconds:
            search(cohort, 1, n_jobs)  # imports, first touch of memory
        for _ in range(repeats):
            for n_jobs, times in seconds.items():
                load.append(os.getloadavg()[0])
                times.append(search(cohort, iterations, n_jobs)[0])
    medians = {n_jobs: statistics.median(times) for n_jobs, times in seconds.items()}
    return {
        "serial_s": seconds[1],
        "n_jobs_2_s": seconds[2],
        "serial_median_s": medians[1],
        "n_jobs_2_median_s": medians[2],
        "ratio": medians[1] / medians[2],
        "fits": 4,
        "iterations": iterations,
        "size": size,
        "cores": joblib.cpu_count(),
        "threads_serial": torch.get_num_threads(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "load_before_each": [round(value, 1) for value in load],
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
    }


def table(found: dict) -> str:
    return f"""# Search: n_jobs=2 against serial

`python benchmarks/speed/search.py --repeats {len(found["serial_s"])} \
--iterations {found["iterations"]} --size {found["size"]}`: four fits of DeepMTS, \
{found["iterations"]} steps of 4 patients of 2 x {found["size"]}^3, {found["cores"]} cores.

| | median, s | all, s |
|---|---|---|
| one after the other, {found["threads_serial"]} threads | {found["serial_median_s"]:.1f} | \
{", ".join(f"{t:.1f}" for t in found["serial_s"])} |
| two at a time (`n_jobs=2`) | {found["n_jobs_2_median_s"]:.1f} | \
{", ".join(f"{t:.1f}" for t in found["n_jobs_2_s"])} |

Serial takes **{found["ratio"]:.2f} times** as long as `n_jobs=2`. Load of the machine before each \
search: {", ".join(str(value) for value in found["load_before_each"])} (other work beside the run; \
read the ratio, not the seconds).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--size", type=int, default=16)
    arguments = parser.parse_args()
    found = measure(arguments.repeats, arguments.iterations, arguments.size)
    (HERE / "search.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (HERE / "search.md").write_text(table(found), encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
