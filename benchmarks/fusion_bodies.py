"""Three image bodies in the fusion network: Swin Transformer, DenseNet, ResNet; on phantoms.

    python benchmarks/fusion_bodies.py --out runs/fusion_bodies

The label is the event by the median time of phantoms whose hazard depends mostly on strands of
disease outside the mask (truth="outside"), which only the shell around the tumour shows. Every fit
is one small record under OUT, so that the same command continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from monai.networks.nets import DenseNet121, resnet18
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from survimg.datasets import make_phantom_cohort
from survimg.estimators import FusionClassifier
from survimg.training import Net

BODIES = {
    "swin": {"patch_size": 4, "embed_dim": 24, "depths": (2, 2, 2), "heads": (2, 4, 8)},
    "densenet": {"net": Net(DenseNet121, out_channels=96, init_features=16, growth_rate=8,
                            block_config=(2, 4, 4, 4))},
    "resnet": {"net": Net(resnet18, widen_factor=0.25, feed_forward=False)},
}  # fmt: skip
BRANCHES = {"tumour": ("tumour",), "tumour + shell": ("tumour", "peritumoral")}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=120)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    return parser.parse_args()


def fit_and_score(model, cohort, labels, train, test):
    started = time.process_time()
    model.fit(cohort[train], labels[train])
    return {
        "auc": roc_auc_score(labels[test], model.predict_proba(cohort[test])[:, 1]),
        "n_parameters": sum(values.numel() for values in model.net_.module_.parameters()),
        "cpu_seconds": time.process_time() - started,
    }


def main():
    options = parse()
    phantom = make_phantom_cohort(
        options.patients, (32, 32, 32), random_state=0, truth="outside", censoring=0.0
    )
    cohort, times = phantom.cohort, phantom.cohort.outcome["time"]
    labels = times <= np.median(times)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in options.seeds:
        folds = StratifiedKFold(options.folds, shuffle=True, random_state=seed)
        for fold, (train, test) in enumerate(folds.split(labels, labels)):
            oracle = roc_auc_score(labels[test], phantom.oracle_risk[test])
            rows.append({"body": "true hazard", "branches": "", "auc": oracle})
            for body, settings in BODIES.items():
                for branches, names in BRANCHES.items():
                    path = options.out / f"{body}-{names[-1]}-{seed}-{fold}.json"
                    if not path.exists():
                        model = FusionClassifier(
                            **settings, branches=names, shell_width=12.0, n_threads=1,
                            n_iterations=options.iterations, random_state=seed,
                        )  # fmt: skip
                        record = fit_and_score(model, cohort, labels, train, test)
                        path.write_text(json.dumps(record), "utf-8")
                        print(path.stem, record, flush=True)
                    rows.append({"body": body, "branches": branches,
                                 **json.loads(path.read_text("utf-8"))})  # fmt: skip
    table = pd.DataFrame(rows).groupby(["body", "branches"], sort=False).agg(
        auc=("auc", "mean"), sd=("auc", "std"), n_parameters=("n_parameters", "first"),
        cpu_seconds=("cpu_seconds", "mean"),
    )  # fmt: skip
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
