"""Processor seconds and memory of what is fitted on wide tables.

    OMP_NUM_THREADS=1 python benchmarks/speed/wide_tables.py

LassoCox (100 penalties, 10 folds) on tables of correlated features, against the same fits by
scikit-survival's Coxnet at the same penalties, and SpearmanFilter, whose correlation matrix of
50,000 columns would take 20 GB. Each task runs in a process of its own; memory is what the process
grew by. Adds to
benchmarks/speed/results/wide_tables.csv what is not there yet.
"""

from __future__ import annotations

import resource
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from sksurv.linear_model import CoxnetSurvivalAnalysis

from survimg.estimators import LassoCox
from survimg.features import SpearmanFilter
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome

RESULTS = Path(__file__).parent / "results" / "wide_tables.csv"


def draw(n: int, p: int):
    """Columns of twelve common factors, some of them skewed, and an outcome of two factors."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(n, 12))
    loadings = rng.normal(size=(12, p)) * (rng.random((12, p)) < 0.4)
    X = factors @ loadings + 0.7 * rng.normal(size=(n, p))
    skewed = rng.random(p) < 0.3
    X[:, skewed] = np.exp(X[:, skewed] / X[:, skewed].std(axis=0))
    risk = 0.7 * factors[:, 0] - 0.5 * factors[:, 1] + 0.3 * rng.normal(size=n)
    death, end = rng.exponential(np.exp(-risk)), rng.exponential(1.2, n)
    return X, make_outcome(death <= end, np.minimum(death, end))


def lasso(n: int, p: int) -> dict[str, float]:
    """LassoCox."""
    X, y = draw(n, p)
    LassoCox(cv=3).fit(X[:40, :10], y[:40])  # compiles
    return measured(lambda: LassoCox(random_state=0).fit(X, y))


def coxnet(n: int, p: int) -> dict[str, float]:
    """The same path and folds by Coxnet, as LassoCox did it before it had its own solver."""
    X, y = draw(n, p)
    ours = LassoCox(random_state=0).fit(X, y)
    events = int(y["event"].sum())
    ratio = 1e-3 if events > p else 0.05
    alphas = ours.alphas_[0] * np.logspace(0, np.log10(ratio), 100)

    def fits() -> np.ndarray:
        folds = [t for t, _ in EventStratifiedKFold(10, shuffle=True, random_state=0).split(X, y)]
        for rows in [*folds, np.arange(n)]:
            standardised = (X[rows] - X[rows].mean(axis=0)) / X[rows].std(axis=0)
            model = CoxnetSurvivalAnalysis(l1_ratio=1.0, alphas=alphas, tol=1e-9)
            model.fit(standardised, y[rows])
        coef: np.ndarray = model.coef_
        return coef

    result, coef = measured_with_value(fits)
    same = min(coef.shape[1], ours.alphas_.size)
    gap = np.abs(coef[:, :same] / X.std(axis=0)[:, None] - ours.coef_path_[:, :same])
    return {**result, "largest_difference_per_sd": float((gap * X.std(axis=0)[:, None]).max())}


def spearman(n: int, p: int) -> dict[str, float]:
    """SpearmanFilter."""
    X, _ = draw(n, p)
    return measured(lambda: SpearmanFilter(0.7).fit(X))


def measured(call) -> dict[str, float]:
    """Processor seconds, and growth of the process in MB."""
    return measured_with_value(call)[0]


def measured_with_value(call):
    """The same, and what the call returns."""
    before, start = peak_mb(), time.process_time()
    value = call()
    return {"cpu_s": time.process_time() - start, "memory_mb": peak_mb() - before}, value


def peak_mb() -> float:
    """Most memory that the process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


TASKS = [
    (lasso, 421, 190), (coxnet, 421, 190), (lasso, 51, 5_000), (spearman, 51, 5_000),
    (spearman, 51, 50_000), (coxnet, 51, 5_000),
]  # fmt: skip


def main() -> None:
    """Run the tasks that the table lacks."""
    rows = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    for task, n, p in TASKS:
        if any((row["task"], row["n"], row["p"]) == (task.__name__, n, p) for row in rows):
            continue
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows.append({"task": task.__name__, "n": n, "p": p, **pool.submit(task, n, p).result()})
        pd.DataFrame(rows).round(4).to_csv(RESULTS, index=False)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
