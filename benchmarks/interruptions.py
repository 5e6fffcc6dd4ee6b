"""A benchmark killed with SIGKILL again and again ends in the tables of one that never was.

    python benchmarks/interruptions.py [seed]

Runs a small benchmark once without interruption. Then runs it in another folder, kills the process
with SIGKILL at ten random moments, starting it again each time, and lets it finish. Most moments
are counted from the first record that a start adds, so that they fall among the records. After
every kill all records on disk are read: none may be torn (its JSON there, its content not), none
that was there before may be lost or changed. At the end the tables of both runs must be equal byte
for byte; times, memory and the hour of the start, which no two runs share, are left out.

Writes benchmarks/results/interruptions.csv.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from survimg.benchmark.records import read_record

N_KILLS = 10
COSTS = ["fit_seconds", "predict_seconds", "memory_increase_bytes"]
RUN = """
import sys, time
from sklearn.base import BaseEstimator
from survimg.benchmark import run_benchmark, write_tables
from survimg.datasets import make_phantom_cohort
from survimg.model_selection import repeated_protocol
from sksurv.linear_model import CoxPHSurvivalAnalysis

class StageCox(BaseEstimator):
    def fit(self, X, y):
        self.cox_ = CoxPHSurvivalAnalysis(alpha=0.1).fit(X.clinical, y)
        return self
    def predict(self, X):
        return self.cox_.predict(X.clinical)
    def predict_survival_function(self, X):
        return self.cox_.predict_survival_function(X.clinical)

class Brightest(BaseEstimator):
    def __init__(self, quantile=0.9, random_state=None):
        self.quantile, self.random_state = quantile, random_state
    def fit(self, X, y):
        time.sleep(0.03)
        self.fitted_ = True
        return self
    def predict(self, X):
        import numpy as np
        return np.array([np.quantile(X.volume(i)[0], self.quantile) for i in range(len(X))])
    def predict_mask(self, X):
        import numpy as np
        return np.stack([X.volume(i)[0] > 2 for i in range(len(X))])

phantom = make_phantom_cohort(n=40, shape=(16, 16, 16), random_state=0)
X = phantom.cohort
protocol = repeated_protocol(X, X.outcome, n_folds=4, n_repeats=3, random_state=0)
models = {"stage-cox": StageCox(), "brightest": Brightest()}
print("started", flush=True)
run = run_benchmark(
    models, X, X.outcome, out=sys.argv[1], seeds=(0, 1), reference="stage-cox",
    oracle_risk=phantom.oracle_risk, progress=False, **protocol.arguments(),
)
write_tables(run)
"""


def start(script: Path, out: Path) -> subprocess.Popen[str]:
    """Start the benchmark and wait until it begins with its records."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, str(script), str(out)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def finish(script: Path, out: Path) -> None:
    """Run to the end."""
    process = start(script, out)
    if process.wait() != 0:
        raise RuntimeError("The benchmark failed.")
    process.stdout.close()


def whole_records(out: Path) -> tuple[dict[str, str], int]:
    """Digest of the files of each valid record by name, and the number of torn ones."""
    whole, torn = {}, 0
    for path in sorted(out.glob("records/*/*.json")):
        try:
            told = json.loads(path.read_text())
            found = read_record(out, **{k: told[k] for k in ("model", "fold", "seed", "key")})
        except (ValueError, KeyError):
            found = None
        if found is None:
            torn += 1
            continue
        content = path.read_bytes() + path.with_suffix(".npz").read_bytes()
        whole[path.name + found.model] = hashlib.sha256(content).hexdigest()
    return whole, torn


def n_files(out: Path) -> int:
    """Count the records on disk."""
    return len(list(out.glob("records/*/*.json")))


def tables(out: Path) -> dict[str, bytes]:
    """Return the final tables as bytes, without what no two runs share."""
    folds = pd.read_csv(io.BytesIO((out / "folds.csv").read_bytes()), dtype=str)
    return {
        "scores.csv": (out / "scores.csv").read_bytes(),
        "predictions.parquet": (out / "predictions.parquet").read_bytes(),
        "folds.csv": folds.drop(columns=COSTS, errors="ignore").to_csv(index=False).encode(),
    }


def interrupted(
    script: Path, out: Path, seconds: float, rng: random.Random
) -> tuple[list[dict], dict[str, str]]:
    """Kill the run at random moments; returns what lay on disk after each kill, and at last."""
    rows: list[dict] = []
    before: dict[str, str] = {}
    for kill in range(1, N_KILLS + 1):
        process = start(script, out)
        # One kill in five may fall before the first new record, the others among the records.
        among_records = kill % 5 != 1
        while among_records and process.poll() is None and n_files(out) <= len(before):
            time.sleep(0.002)
        moment = rng.uniform(0, seconds / N_KILLS)
        time.sleep(moment)
        finished = process.poll() is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        whole, torn = whole_records(out)
        rows.append(
            {
                "kill": kill,
                "counted_from": "first new record" if among_records else "start",
                "seconds": round(moment, 3),
                "finished_before": finished,
                "records": len(whole),
                "torn": torn,
                "lost_or_changed": sum(whole.get(name) != d for name, d in before.items()),
                "half_written_files": len(list(out.rglob("*.survimg-tmp"))),
            }
        )
        before = whole
    return rows, before


def main(seed: int) -> int:
    """Run, kill, compare, write the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "run.py"
        script.write_text(RUN)
        finish(script, folder / "whole")
        written = [p.stat().st_mtime for p in (folder / "whole").glob("records/*/*.json")]
        seconds = max(written) - min(written)
        rows, before = interrupted(script, folder / "killed", seconds, random.Random(seed))
        finish(script, folder / "killed")
        expected, found = tables(folder / "whole"), tables(folder / "killed")
        whole, torn = whole_records(folder / "killed")
        lost = sum(whole.get(key) != digest for key, digest in before.items())
        leftovers = len(list((folder / "killed").rglob("*.survimg-tmp")))
    equal = {table: expected[table] == found[table] for table in expected}
    rows.append(
        {
            "kill": "finished",
            "records": len(whole),
            "torn": torn,
            "lost_or_changed": lost,
            "half_written_files": leftovers,
            **{f"equal {table}": same for table, same in equal.items()},
        }
    )
    result = pd.DataFrame(rows)
    path = Path(__file__).parent / "results" / "interruptions.csv"
    path.parent.mkdir(exist_ok=True)
    result.to_csv(path, index=False)
    print(result.to_string(index=False))
    unharmed = not (result["torn"].any() or result["lost_or_changed"].any())
    return 0 if all(equal.values()) and unharmed else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
