"""Runs made of given risks, in memory: statistics and tables need no fitted model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from survimg.benchmark import Record, Run
from survimg.target import make_outcome


def made_run(models, *, n=60, n_folds=5, seeds=(0,), groups=None, settings=None, **plan):
    """Make a run in which ``models[name](log_hazard, rng)`` gives the risks of all patients."""
    rng = np.random.default_rng(7)
    log_hazard = rng.normal(size=n)
    times = rng.exponential(np.exp(-log_hazard)) * 20
    end = rng.uniform(10, 80, n)
    y = make_outcome(times <= end, np.minimum(times, end))
    ids = np.array([f"patient {i}" for i in range(n)])
    fold_of = np.arange(n) % n_folds
    folds = [(np.flatnonzero(fold_of != f), np.flatnonzero(fold_of == f)) for f in range(n_folds)]
    records = {}
    for name, risk_of in models.items():
        for fold, (train, test) in enumerate(folds):
            for seed in seeds:
                drawn = np.random.default_rng([fold, seed])
                arrays = {"test_ids": ids[test], "train_ids": ids[train]}
                risk = risk_of(log_hazard, drawn)
                arrays |= {"test_risk": risk[test], "train_risk": risk[train]}
                details = {"fit_seconds": 1.0, "predict_seconds": 0.1, "warnings": []}
                details["estimator"] = {"class": "made.Model", "params": {}}
                records[name, fold, seed] = Record("k", name, fold, seed, None, details, arrays)
    content = {
        "models": list(models), "reference": None, "seeds": list(seeds), "caveats": [],
        "settings": settings or {}, "cohort": {"time_unit": "months", "n_groups": None}, **plan,
    }
    return Run(Path("made"), content, ids, y, None, groups, folds, records)


def truth(log_hazard, rng):
    return log_hazard


def blurred(log_hazard, rng):
    return log_hazard + rng.normal(scale=0.8, size=log_hazard.size)


def noise(log_hazard, rng):
    return rng.normal(size=log_hazard.size)


def wrong(log_hazard, rng):
    return -log_hazard
