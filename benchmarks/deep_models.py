"""All deep models on the same folds: phantoms with a known hazard, or STS-51.

Writes ``<name>.csv`` (one row per model, fold and seed) and ``<name>.json`` (scores, settings,
versions) to --results. The records lie in --out, so a run that was cut goes on where it was. ::

    python benchmarks/deep_models.py phantom --models deepmts mt-hs sur-hs --seeds 0 1 2
    python benchmarks/deep_models.py sts51 --sts51 ../shared/data/sts51_petgrid --size 48
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from survimg import Cohort
from survimg.benchmark import run_benchmark, score_run
from survimg.datasets import load_sts51, make_phantom_cohort
from survimg.model_selection import EventStratifiedKFold
from survimg.preprocessing import Preparation, prepare
from survimg.suites import REFERENCE, ModelSettings, build_models

DEEP = ("deepmts", "mt-hs", "sur-hs", "single-task", "mdsn", "dlpm", "cnn-survival")


def load(arguments: argparse.Namespace) -> tuple[Cohort, np.ndarray | None, dict[str, Any]]:
    """Return the prepared cohort, the oracle's risk where it is known, and what to say of both."""
    shape = (arguments.size,) * 3
    if arguments.cohort == "phantom":
        phantom = make_phantom_cohort(n=arguments.patients, shape=shape, random_state=0)
        about = {"cohort": f"make_phantom_cohort(n={arguments.patients}, random_state=0)"}
        return phantom.cohort, phantom.oracle_risk, about
    spacing = 192 / arguments.size  # the same cube of 192 mm at every size
    store = arguments.out / f"sts51-{arguments.size}"
    if store.is_dir():
        cohort = Cohort.load(store)
    else:
        raw = load_sts51(arguments.sts51, endpoint="dfs")
        cohort = prepare(raw, Preparation(shape=shape, spacing=spacing), store)
    return cohort, None, {"cohort": "STS-51, disease-free survival", "spacing_mm": spacing}


def table_of(run: Any) -> pd.DataFrame:
    """One row per model, fold and seed: concordance, Dice, minutes."""
    rows = []
    for score in score_run(run):
        if score.model == "oracle":
            rows += [
                {"model": "oracle", "fold": fold, "seed": seed, "c": c}
                for (fold, seed), c in score.fold_c.items()
            ]
            continue
        for (fold, seed), record in run.successful_records(score.model).items():
            dice = record.arrays.get("dice")
            rows.append(
                {
                    "model": score.model,
                    "fold": fold,
                    "seed": seed,
                    "c": round(score.fold_c[fold, seed], 4),
                    "dice": None if dice is None else round(float(dice.mean()), 4),
                    "fit_minutes": round(record.details["fit_seconds"] / 60, 2),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """Run what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", choices=("phantom", "sts51"))
    parser.add_argument("--models", nargs="+", default=list(DEEP), choices=DEEP)
    parser.add_argument("--patients", type=int, default=240)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--sts51", type=Path, help="folder of the STS-51 data")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--name", required=True, help="of the files in --results")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments.out.mkdir(parents=True, exist_ok=True)
    cohort, oracle, about = load(arguments)
    y = cohort.outcome
    folds = EventStratifiedKFold(arguments.folds, shuffle=True, random_state=0)
    names = [REFERENCE, *arguments.models]
    command = shlex.join(["python", *sys.argv])
    models = build_models(names, ModelSettings(n_iterations=arguments.iterations, n_threads=1))
    run = run_benchmark(
        models,
        cohort,
        y,
        splits=list(folds.split(cohort, y)),
        out=arguments.out / "run",
        seeds=arguments.seeds,
        reference=REFERENCE,
        oracle_risk=oracle,
        settings=about,
        command=command,
        n_jobs=arguments.n_jobs,
        progress=False,
    )
    arguments.results.mkdir(parents=True, exist_ok=True)
    table_of(run).to_csv(arguments.results / f"{arguments.name}.csv", index=False)
    settings = {
        **about,
        "command": command,
        "volumes": [arguments.size] * 3,
        "folds": arguments.folds,
        "seeds": arguments.seeds,
        "iterations": arguments.iterations,
        "models": {name: repr(model) for name, model in models.items()},
        "scores": {
            score.model: {
                "c_mean": score.c_mean,
                "c_sd": score.c_sd,
                "within_folds": None
                if score.within_folds is None
                else {
                    "value": score.within_folds.value,
                    "lower": score.within_folds.lower,
                    "upper": score.within_folds.upper,
                    "standard_error": score.within_folds.standard_error,
                },
                "verdict": score.verdict,
            }
            for score in score_run(run)
        },
    }
    path = arguments.results / f"{arguments.name}.json"
    path.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
