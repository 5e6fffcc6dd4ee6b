"""The MTDLR paper's eight scores, cross-validated on STS-51 (`survimg mtdlr` has one split).

The whole of MTDLR and its comparators in each outer fold; pairs of test patients count within their
fold, and the final Cox models have a ridge penalty of 1, because 27 events carry no unpenalised
model of five covariates. ::

    python benchmarks/mtdlr.py --iterations 300 --out benchmarks/results/mtdlr_sts51

Writes ``performance.csv``, ``folds.csv``, ``scores.csv`` and ``settings.json`` to --out. Fitted
networks and features are kept in --cache, so that a run that was cut goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before anything loads torch: threads that spin while they wait slow each other down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd

from survimg import Cohort
from survimg.benchmark.within_fold import compare_within_folds, within_fold_concordance
from survimg.datasets import load_sts51
from survimg.estimators import (
    MTDLR,
    ClinicalCox,
    DeepMTS,
    FitOnce,
    ManualRadiomicsCox,
    SingleTaskCox,
    SingleTaskSurvival,
)
from survimg.estimators.mtdlr import default_radiomics_model
from survimg.evaluation import concordance_index
from survimg.model_selection import EventStratifiedKFold
from survimg.preprocessing import Preparation, prepare
from survimg.radiomics import RadiomicsFeatures
from survimg.suites.mtdlr import MtdlrModels
from survimg.suites.mtdlr_tables import SCORES

LOG = logging.getLogger("mtdlr")


def build(arguments: argparse.Namespace, clinical: list[str], alpha: float) -> MtdlrModels:
    """Build the unfitted models, all with the same inner folds and training."""
    recipe = {
        "n_iterations": arguments.iterations,
        "learning_rate": arguments.learning_rate,
        "batch_size": arguments.batch_size,
        "device": arguments.device,
        "n_threads": arguments.threads,
        "random_state": arguments.seed,
        "clinical_columns": [],
    }
    cache = str(arguments.cache)
    final = {"clinical_columns": clinical, "alpha": alpha}
    folds = {"cv": arguments.folds, "random_state": arguments.seed}
    lasso = default_radiomics_model().set_params(model__cv=arguments.lasso_folds)
    return MtdlrModels(
        mtdlr=MTDLR(
            FitOnce(DeepMTS(**recipe), memory=cache),
            extractor=RadiomicsFeatures(on_empty_mask="nan", memory=cache),
            radiomics_model=lasso,
            **final,
            **folds,
        ),
        manual_radiomics=ManualRadiomicsCox(
            extractor=RadiomicsFeatures(memory=cache), radiomics_model=lasso, **final, **folds
        ),
        single_task=SingleTaskCox(
            FitOnce(SingleTaskSurvival(**recipe), memory=cache), **final, **folds
        ),
        clinical=ClinicalCox(**final),
    )


def sts51(arguments: argparse.Namespace) -> Cohort:
    """Open the prepared cohort, or prepare it: cubes of 192 mm around the tumour."""
    store = arguments.cache / f"sts51-{arguments.size}"
    if store.is_dir():
        return Cohort.load(store)
    folder = arguments.data
    if folder is None:
        shared = os.environ.get("SURVIMG_SHARED")
        if shared is None:
            raise SystemExit("Give --data FOLDER, or set SURVIMG_SHARED.")
        folder = Path(shared) / "data" / "sts51_petgrid"
    raw = load_sts51(folder, endpoint=arguments.endpoint)
    size = arguments.size
    return prepare(raw, Preparation(shape=(size,) * 3, spacing=192 / size), store)


def run_sts51(arguments: argparse.Namespace) -> dict[str, Any]:
    """Cross-validate all eight scores."""
    cohort = sts51(arguments)
    if arguments.only is not None:
        cohort = cohort[: arguments.only]
    y = cohort.outcome
    horizons = arguments.horizons or [730.0, 1095.0]
    folds = EventStratifiedKFold(arguments.outer_folds, shuffle=True, random_state=arguments.seed)
    rows, pooled, regions = [], [], {}
    units: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in SCORES}
    for k, (train, test) in enumerate(folds.split(cohort, y)):
        started = time.perf_counter()
        models = build(arguments, arguments.clinical, alpha=1.0).fit(cohort[train], y[train])
        known = [h for h in horizons if h <= models.mtdlr.cox_.event_times[-1]]
        scored = models.validation(f"fold {k}", cohort[test], known)
        part = scored.scores.assign(fold=k, patient=cohort.ids[test])
        pooled.append(part.assign(event=y["event"][test], time=y["time"][test]))
        rows += [
            {"fold": k, "score": name, "c_index": concordance_index(y[test], scored.scores[name])}
            for name in SCORES
        ]
        for name in SCORES:
            units[name].append((test, scored.scores[name].to_numpy()))
        for name, count in models.mtdlr.flags(cohort[test])["region"].value_counts().items():
            regions[name] = regions.get(name, 0) + int(count)
        LOG.info("fold %d: %.0f s", k + 1, time.perf_counter() - started)
    table = pd.DataFrame(rows)
    table.to_csv(arguments.out / "folds.csv", index=False)
    pd.concat(pooled).to_csv(arguments.out / "scores.csv", index=False)
    across_folds(table, y, units).round(4).to_csv(arguments.out / "performance.csv")
    return {
        "patients": len(cohort),
        "events": int(y["event"].sum()),
        "endpoint": arguments.endpoint,
        "clinical_columns": arguments.clinical,
        "regions": regions,
    }


def across_folds(
    table: pd.DataFrame, y: np.ndarray, units: dict[str, list[tuple[np.ndarray, np.ndarray]]]
) -> pd.DataFrame:
    """Mean C over folds, C of all pairs within folds, and its paired comparison with MTDLR."""
    within = {name: within_fold_concordance(y["event"], y["time"], u) for name, u in units.items()}
    summary = table.groupby("score", sort=False)["c_index"].agg(["mean", "std"])
    for name, result in within.items():
        summary.loc[name, "within"] = result.value
        if result.standard_error > 0 and 0 < result.value < 1:  # a lasso may rank nobody
            estimate = result.interval()
            summary.loc[name, ["lower", "upper"]] = estimate.lower, estimate.upper
        difference = compare_within_folds(within["MTDLR"], result)  # None for MTDLR itself
        summary.loc[name, "p"] = np.nan if difference is None else difference.p_value
    return summary


def main(argv: list[str] | None = None) -> None:
    """Run the cross-validation and write what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32, help="voxels along each axis")
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--learning-rate", type=float, default=SingleTaskSurvival().learning_rate)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--folds", type=int, default=5, help="for out-of-fold scores")
    parser.add_argument("--lasso-folds", type=int, default=10, help="for the lasso's penalty")
    parser.add_argument("--outer-folds", type=int, default=5, help="of the STS-51 evaluation")
    parser.add_argument("--horizons", type=float, nargs="+")
    parser.add_argument("--clinical", nargs="*", default=["age", "sex", "grade"])
    parser.add_argument("--endpoint", default="dfs", choices=("dfs", "os", "lung_metastasis"))
    parser.add_argument("--data", type=Path, help="folder of the STS-51 data")
    parser.add_argument("--only", type=int, help="first so many patients of STS-51, to try out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="by default OUT/cache")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # A lasso that keeps no feature, an empty mask: results, and counted in the tables.
    warnings.simplefilter("once", UserWarning)
    arguments.cache = arguments.out / "cache" if arguments.cache is None else arguments.cache
    arguments.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    found = run_sts51(arguments)
    settings = {
        "command": shlex.join(["python", "benchmarks/mtdlr.py", *(argv or sys.argv[1:])]),
        **{k: str(v) if isinstance(v, Path) else v for k, v in vars(arguments).items()},
        **found,
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "versions": {
            name: version(name) for name in ("survimg", "torch", "scikit-learn", "numpy")
        },
    }
    # Paths of this machine say nothing to others; the command says what was asked for.
    for name in ("out", "cache", "data"):
        settings.pop(name)
    text = json.dumps(settings, indent=1) + "\n"
    (arguments.out / "settings.json").write_text(text, encoding="utf-8")
    LOG.info("written to %s", arguments.out)


if __name__ == "__main__":
    main()
