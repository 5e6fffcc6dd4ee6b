"""Speed and memory of the concordance index, against scikit-survival and fast-cindex.

    OMP_NUM_THREADS=1 python benchmarks/speed/concordance.py

Writes benchmarks/results/concordance.csv. Times are processor times of one thread, so that other
work on the machine does not favour either side; the bootstrap loop of scikit-survival runs once,
everything else is the best of several. Values are compared too, and must be equal. fast-cindex does
not look at its input; survimg checks it, which is a part of its time at n = 1,000.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from pathlib import Path

import fast_cindex
import numpy as np
import pandas as pd
from sksurv.metrics import concordance_index_censored

from survimg.evaluation import compare_concordance, concordance_index
from survimg.target import make_outcome

RESULTS = Path(__file__).parents[1] / "results"


def draw(n, seed=0):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    event_time, censoring = rng.exponential(size=n) * np.exp(-risk), rng.exponential(size=n)
    y = make_outcome(event_time <= censoring, np.minimum(event_time, censoring))
    return y, risk, risk + rng.normal(size=n)


def best(call, repeats):
    """Value and least time of a call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        value = call()
        times.append(time.process_time() - start)
    return value, min(times)


def single(rows):
    for n in (200, 900, 2_000, 20_000, 200_000):
        y, risk, _ = draw(n)
        value, ours = best(lambda: concordance_index(y, risk), 7)  # noqa: B023
        row = {"task": "index", "n": n, "survimg_s": ours}
        if n <= 20_000:
            expected, theirs = best(
                lambda: concordance_index_censored(y["event"], y["time"], risk)[0],  # noqa: B023
                3,
            )
            row |= {
                "scikit_survival_s": theirs,
                "ratio": theirs / ours,
                "difference": abs(value - expected),
            }
        rows.append(row)


def bootstrap(rows, n=900, n_resamples=1000):
    y, risk, other = draw(n)
    options = {"n_resamples": n_resamples, "random_state": 0}
    interval, ours = best(
        lambda: concordance_index(y, risk, confidence_interval="percentile", **options), 5
    )
    paired, ours_paired = best(
        lambda: compare_concordance(y, risk, other, method="bootstrap", **options), 5
    )
    start = time.process_time()
    drawn = np.random.default_rng(0).integers(0, n, size=(n_resamples, n))
    a = [concordance_index_censored(y["event"][i], y["time"][i], risk[i])[0] for i in drawn]
    theirs = time.process_time() - start
    b = [concordance_index_censored(y["event"][i], y["time"][i], other[i])[0] for i in drawn]
    theirs_paired = time.process_time() - start
    limits = np.quantile(a, [0.025, 0.975])
    limits_paired = np.quantile(np.subtract(a, b), [0.025, 0.975])
    for task, mine, loop, pair, expected in (
        ("bootstrap interval", ours, theirs, interval, limits),
        ("bootstrap paired test", ours_paired, theirs_paired, paired, limits_paired),
    ):
        difference = np.abs(np.array([pair.lower, pair.upper]) - expected).max()
        rows.append(
            {
                "task": f"{task}, {n_resamples} resamples",
                "n": n,
                "survimg_s": mine,
                "scikit_survival_s": loop,
                "ratio": loop / mine,
                "difference": difference,
            }
        )


def beside_fast_cindex(rows):
    """Alternate both on patients drawn anew for each pair of calls; the median of the ratios.

    On the same patients again and again the processor learns in which way each comparison of a sort
    ends, and what is measured is no longer what a user waits for.
    """
    for n, pairs in ((1_000, 299), (10_000, 49), (100_000, 15)):
        rows.append(
            alternating(
                "index beside fast-cindex", n, pairs,
                lambda y, risk: concordance_index(y, risk, tied_tol=0.0),
                lambda time_, risk, event: fast_cindex.cindex(time_, -risk, event),
            )
        )  # fmt: skip
    for n, pairs in ((1_000, 49), (10_000, 15), (100_000, 3)):
        rows.append(
            alternating(
                "100 resamples beside fast-cindex", n, pairs,
                lambda y, risk: concordance_index(
                    y, risk, confidence_interval="percentile", n_resamples=100, random_state=0
                ),
                lambda time_, risk, event: fast_cindex.bootstrap_cindex(
                    time_, -risk, event, n_bootstraps=100
                ),
            )
        )  # fmt: skip


def alternating(task, n, pairs, ours, theirs):
    """Return the medians of both times and of their ratio, and the largest difference of C."""
    seconds, differences = [], []
    for seed in range(pairs + 1):
        y, risk, _ = draw(n, seed)
        event, time_ = y["event"].copy(), y["time"].copy()
        value, own = best(lambda: ours(y, risk), 1)  # noqa: B023
        other, their = best(lambda: theirs(time_, risk, event), 1)  # noqa: B023
        seconds.append((own, their))
        if isinstance(value, float):
            differences.append(abs(value - other))
    own, their = np.array(seconds[1:]).T  # the first pair compiles
    row = {"task": task, "n": n, "survimg_s": np.median(own), "fast_cindex_s": np.median(their)}
    row["ratio"] = np.median(their / own)
    if differences:
        row["difference"] = max(differences)
    return row


def peak_growth(n):
    """Growth of the peak memory of a fresh process by one index at n, in bytes (Linux)."""
    y, risk, _ = draw(n)
    concordance_index(y[:100], risk[:100])
    Path("/proc/self/clear_refs").write_text("5")  # the peak restarts at what is in use now
    before = peak_memory()
    concordance_index(y, risk)
    return peak_memory() - before


def peak_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def memory(rows):
    for n in (200_000, 400_000, 800_000, 1_600_000):
        command = [sys.executable, __file__, "memory", str(n)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append({"task": "peak memory", "n": n, "bytes_per_patient": int(run.stdout) / n})


def main() -> None:
    rows: list[dict] = []
    single(rows)
    beside_fast_cindex(rows)
    bootstrap(rows)
    memory(rows)
    table = pd.DataFrame(rows)
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "concordance.csv", index=False, float_format="%.6g")
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.4g}"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(peak_growth(int(sys.argv[2])))
    else:
        main()
