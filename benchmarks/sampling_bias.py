"""Bias of the ways to draw batches, in a Cox model whose true coefficients are known.

    OMP_NUM_THREADS=1 python benchmarks/sampling_bias.py [n_cohorts] [n_steps]

Cohorts of 10,000 patients with two normal covariates: the first multiplies the hazard by e per
unit, the second lengthens the follow-up (the censoring hazard falls by e per unit) and has nothing
to do with the event. A linear Cox model (true coefficients 1 and 0) is fitted by gradient descent
on the batches of `survimg.training.batches.BatchSampler` and the loss of the networks; the mean
over the second half of the steps is the estimate. "drawn events": each batch's loss is divided by
the number of its own events.

Writes benchmarks/results/sampling_bias.csv: mean over the cohorts, and its standard error.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.optimize import brentq
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.losses import cox_loss
from survimg.target import make_outcome
from survimg.training.batches import BatchSampler

N_PATIENTS = 10_000
RATES = (0.20, 0.28, 0.70)
SIZES = (8, 64)
# Name: how batches are drawn, and whether the sampler's weights and expected events are used.
METHODS = {
    "balanced (drawn events)": (True, False),
    "balanced, weighted": ("weighted", True),
    "uniform, drawn events": (False, False),
    "uniform, expected events": (False, True),
}


def draw_cohort(rate: float, seed: int):
    """Covariates, time and event, with a share of events of `rate`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_PATIENTS, 2))
    event_time = rng.exponential(size=N_PATIENTS) * np.exp(-x[:, 0])
    censoring = rng.exponential(size=N_PATIENTS) * np.exp(x[:, 1])

    def excess(log_scale: float) -> float:
        return float((event_time <= np.exp(log_scale) * censoring).mean()) - rate

    censoring *= np.exp(brentq(excess, -12, 12))
    return x, np.minimum(event_time, censoring), event_time <= censoring


def full_fit(x, time, event) -> np.ndarray:
    """Coefficients of the partial likelihood of the whole cohort."""
    return CoxPHSurvivalAnalysis(ties="breslow").fit(x, make_outcome(event, time)).coef_


def batch_fit(x, time, event, size: int, method: str, n_steps: int, seed: int) -> np.ndarray:
    """Averaged stochastic gradient descent from the true coefficients."""
    balanced, corrected = METHODS[method]
    sampler = BatchSampler(event, size, balanced, np.random.default_rng(seed))
    covariates, times, events = (torch.from_numpy(values) for values in (x, time, event))
    beta = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    total = np.zeros(2)
    for step in range(n_steps):
        drawn = sampler.draw()
        sampling = {}
        if corrected:
            weights = sampler.weights
            weight = None if weights is None else torch.from_numpy(weights[drawn])
            sampling = {"sample_weight": weight, "n_events": sampler.n_events}
        loss = cox_loss(covariates[drawn] @ beta, times[drawn], events[drawn], **sampling)
        (gradient,) = torch.autograd.grad(loss, beta)
        with torch.no_grad():
            beta -= 0.05 * gradient
        if step >= n_steps // 2:
            total += beta.detach().numpy()
    return total / (n_steps - n_steps // 2)


def main(n_cohorts: int = 8, n_steps: int = 6000) -> None:
    """Fit every cohort in every way."""
    torch.set_num_threads(1)
    rows = []
    for rate in RATES:
        for seed in range(n_cohorts):
            cohort = draw_cohort(rate, seed)
            rows.append((rate, "all", "whole cohort", *full_fit(*cohort)))
            for size in SIZES:
                for method in METHODS:
                    beta = batch_fit(*cohort, size, method, n_steps, seed)
                    rows.append((rate, size, method, *beta))
            print(f"event rate {rate}, cohort {seed + 1} of {n_cohorts}", flush=True)
    columns = ["event_rate", "batch_size", "method", "prognostic", "censoring_only"]
    table = pd.DataFrame(rows, columns=columns)
    groups = table.groupby(columns[:3], sort=False)
    means, errors = groups.mean(), groups.sem().add_suffix("_se")
    result = means.join(errors).round(3).reset_index()
    result.to_csv(Path(__file__).parent / "results" / "sampling_bias.csv", index=False)
    print(result.to_string(index=False))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
