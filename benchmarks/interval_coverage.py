"""Coverage of the confidence intervals of survimg.evaluation, by simulation.

    python benchmarks/interval_coverage.py [n_cohorts]

Draws cohorts of 200 patients from an exponential proportional hazards model with independent
uniform censoring, and counts how often nominal 95 % intervals hold the true value. The truth is
that of the same population: Harrell's C and the status AUC depend on the censoring, so they are
computed on three million censored patients; Uno's C (up to tau) and the cumulative/dynamic AUC do
not, and are computed on three million uncensored ones.

Writes benchmarks/results/interval_coverage.csv.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from survimg.evaluation import (
    compare_concordance,
    concordance_index,
    cumulative_dynamic_auc,
    status_auc,
    uno_concordance,
)
from survimg.target import make_outcome

N_PATIENTS = 200
HORIZON = 1.0
# Strength of the risk, and end of the uniform censoring.
SCENARIOS = {
    "weak, 30 % censored": (0.35, 3.5),
    "medium, 30 % censored": (0.8, 3.5),
    "medium, 60 % censored": (0.8, 1.4),
    "strong, 30 % censored": (1.6, 3.5),
    "strong, 60 % censored": (1.6, 1.4),
}


def draw(rng, n, strength, follow_up):
    """Outcome under censoring, outcome without, risk of a model and of a noisier one."""
    risk = rng.normal(size=n)
    event_time = rng.exponential(size=n) * np.exp(-strength * risk)
    censoring_time = rng.uniform(0, follow_up, size=n)
    observed = make_outcome(event_time <= censoring_time, np.minimum(event_time, censoring_time))
    noisy = risk + 0.5 * rng.normal(size=n)
    return observed, make_outcome(np.ones(n, bool), event_time), risk, noisy


def interval_methods(y, risk, noisy, seed):
    """Lower and upper limit by every method."""
    bootstrap = {"n_resamples": 1000, "random_state": seed}
    estimates = {
        ("Harrell C", "analytic"): concordance_index(y, risk, confidence_interval="analytic"),
        ("Harrell C", "percentile"): concordance_index(
            y, risk, confidence_interval="percentile", **bootstrap
        ),
        ("Harrell C", "bca"): concordance_index(y, risk, confidence_interval="bca", **bootstrap),
        ("Harrell C difference", "analytic"): compare_concordance(y, risk, noisy),
        ("Harrell C difference", "bootstrap"): compare_concordance(
            y, risk, noisy, method="bootstrap", **bootstrap
        ),
        ("Uno C, tau = 1", "analytic"): uno_concordance(
            y, y, risk, HORIZON, confidence_interval="analytic"
        ),
        ("status AUC", "DeLong normal"): status_auc(y, risk),
        ("status AUC", "DeLong logit"): status_auc(y, risk, interval="logit"),
    }
    limits = {key: (e.lower, e.upper) for key, e in estimates.items()}
    auc = cumulative_dynamic_auc(y, y, risk, [HORIZON])
    limits["cumulative/dynamic AUC(1)", "analytic logit"] = (auc.lower[0], auc.upper[0])
    return limits


def truth(rng, strength, follow_up, n=300_000, repeats=10):
    """Population values, averaged over large cohorts."""
    rows = []
    for _ in range(repeats):
        y, complete, risk, noisy = draw(rng, n, strength, follow_up)
        c = concordance_index(y, risk)
        rows.append(
            {
                "Harrell C": c,
                "Harrell C difference": c - concordance_index(y, noisy),
                "Uno C, tau = 1": uno_concordance(complete, complete, risk, HORIZON),
                "status AUC": status_auc(y, risk).value,
                "cumulative/dynamic AUC(1)": cumulative_dynamic_auc(
                    complete, complete, risk, [HORIZON]
                ).auc[0],
            }
        )
    return pd.DataFrame(rows).mean()


def main(n_cohorts: int) -> None:
    rows = []
    for name, (strength, follow_up) in SCENARIOS.items():
        start = time.perf_counter()
        true = truth(np.random.default_rng(1), strength, follow_up)
        hits, too_low = {}, {}
        censored = 0.0
        for seed in range(n_cohorts):
            rng = np.random.default_rng([2, seed])
            y, _, risk, noisy = draw(rng, N_PATIENTS, strength, follow_up)
            censored += 1 - y["event"].mean()
            for key, (lower, upper) in interval_methods(y, risk, noisy, seed).items():
                hits[key] = hits.get(key, 0) + (lower <= true[key[0]] <= upper)
                too_low[key] = too_low.get(key, 0) + (upper < true[key[0]])
        for (statistic, method), n_hits in hits.items():
            rows.append(
                {
                    "scenario": name,
                    "censored": round(censored / n_cohorts, 3),
                    "statistic": statistic,
                    "method": method,
                    "truth": round(true[statistic], 4),
                    "coverage": n_hits / n_cohorts,
                    "interval_below_truth": too_low[statistic, method] / n_cohorts,
                    "cohorts": n_cohorts,
                }
            )
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    table = pd.DataFrame(rows)
    path = Path(__file__).parent / "results" / "interval_coverage.csv"
    path.parent.mkdir(exist_ok=True)
    table.to_csv(path, index=False)
    print(table.pivot_table("coverage", ["statistic", "method"], "scenario").round(4).to_string())
    print("smallest", table.coverage.min(), "largest", table.coverage.max())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
