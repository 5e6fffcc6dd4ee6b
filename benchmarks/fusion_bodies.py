"""Three image bodies in the fusion network: Swin Transformer, DenseNet, ResNet; on phantoms.

    OMP_NUM_THREADS=1 python benchmarks/fusion_bodies.py --out runs/fusion_bodies
        [--seeds 0 1 2] [--iterations 300] [--table benchmarks/results/fusion_bodies.csv]

The label is the event by the median time of phantoms whose hazard depends mostly on strands of
disease outside the mask (truth="outside"), which only the shell around the tumour shows; the median
is that of all patients of the seed, of whom none is censored. Each seed draws 160 phantoms to train
on and 400 to test, the same for every body. The probabilities of each fit are one file under OUT
(use another OUT for other --iterations), so that the same command continues where it stopped;
--table writes AUCs with DeLong's 95 % intervals, and FILE_pairs what the shell adds to the tumour,
on the same patients.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import pandas as pd
from monai.networks.nets import DenseNet121, resnet18

from survimg.datasets import Phantom, make_phantom_cohort
from survimg.estimators import FusionClassifier
from survimg.evaluation import compare_status_auc, status_auc
from survimg.target import make_outcome
from survimg.training import Net

N_TRAIN, N_TEST, SIZE = 160, 400, 32
BODIES = {
    "swin": {"patch_size": 4, "embed_dim": 24, "depths": (2, 2, 2), "heads": (2, 4, 8)},
    "densenet": {"net": Net(DenseNet121, out_channels=96, init_features=16, growth_rate=8,
                            block_config=(2, 4, 4, 4))},
    "resnet": {"net": Net(resnet18, widen_factor=0.25, feed_forward=False)},
}  # fmt: skip
BRANCHES = {
    "tumour": ("tumour",), "shell": ("peritumoral",), "both": ("tumour", "peritumoral"),
}  # fmt: skip


def draw(seed: int) -> tuple[Phantom, np.ndarray]:
    """Return phantoms of which none is censored, and who has the event by the median time."""
    phantom = make_phantom_cohort(
        N_TRAIN + N_TEST, (SIZE,) * 3, random_state=seed, truth="outside", censoring=0.0
    )
    months = phantom.cohort.outcome["time"]
    return phantom, months <= np.median(months)


def fit(
    phantom: Phantom, labels: np.ndarray, body: str, branches: str, seed: int, steps: int
) -> pd.DataFrame:
    """Train once; return label and probability of each test patient."""
    train, test = phantom.cohort[:N_TRAIN], phantom.cohort[N_TRAIN:]
    model = FusionClassifier(
        **BODIES[body], branches=BRANCHES[branches], shell_width=12.0, n_threads=1,
        n_iterations=steps, random_state=seed, precision="float32",
    )  # fmt: skip
    started = time.process_time()
    model.fit(train, labels[:N_TRAIN])
    seconds = time.process_time() - started
    parameters = sum(values.numel() for values in model.net_.module_.parameters())
    return pd.DataFrame({
        "label": labels[N_TRAIN:], "probability": model.predict_proba(test)[:, 1],
        "steps": steps, "fit_seconds": round(seconds, 1), "n_parameters": parameters,
    }, index=test.ids)  # fmt: skip


def summarise(out: Path, seed: int) -> tuple[list[dict], list[dict]]:
    """Return AUCs of the fits of a seed that are there, and what the shell adds to the tumour."""
    rows, pairs = [], []
    phantom, labels = draw(seed)
    y = make_outcome(labels[N_TRAIN:], np.ones(N_TEST))  # of the status alone
    rows.append({"seed": seed, "body": "true hazard", "branches": ""}
                | _rounded(status_auc(y, phantom.oracle_risk[N_TRAIN:])))  # fmt: skip
    for body in BODIES:
        files = {name: out / f"{body}-{name}-seed{seed}.csv" for name in BRANCHES}
        fits = {name: pd.read_csv(file) for name, file in files.items() if file.exists()}
        for name, table in fits.items():
            rows.append(
                {"seed": seed, "body": body, "branches": name}
                | _rounded(status_auc(y, table.probability))
                | {key: table[key][0] for key in ("steps", "n_parameters", "fit_seconds")}
            )
        if {"both", "tumour"} <= set(fits):
            both, tumour = (fits[name].probability for name in ("both", "tumour"))
            compared = compare_status_auc(y, both, tumour)
            pairs.append({"seed": seed, "body": body, "difference": round(compared.difference, 4),
                          "lower": round(compared.lower, 4), "upper": round(compared.upper, 4),
                          "p_value": round(compared.p_value, 4)})  # fmt: skip
    return rows, pairs


def _rounded(auc) -> dict[str, float]:
    return {"auc": round(auc.value, 4), "lower": round(auc.lower, 4),
            "upper": round(auc.upper, 4)}  # fmt: skip


def main() -> None:
    """Compute the fits that are missing, body by body; with --table only the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--table", type=Path, help="train nothing, write the tables")
    options = parser.parse_args()
    if options.table is not None:
        found = [
            summarise(options.out, seed)
            for seed in options.seeds
            if list(options.out.glob(f"*-seed{seed}.csv"))
        ]
        if not found:
            parser.error(f"{options.out} holds no fit of these seeds.")
        rows, pairs = (list(itertools.chain(*part)) for part in zip(*found, strict=True))
        pd.DataFrame(rows).to_csv(options.table, index=False)
        file = options.table.with_stem(f"{options.table.stem}_pairs")
        pd.DataFrame(pairs).to_csv(file, index=False)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for body, seed in itertools.product(BODIES, options.seeds):
        phantom, labels = draw(seed)
        for branches in BRANCHES:
            file = options.out / f"{body}-{branches}-seed{seed}.csv"
            if not file.exists():
                table = fit(phantom, labels, body, branches, seed, options.iterations)
                table.to_csv(file.with_suffix(".part"), index_label="patient")
                file.with_suffix(".part").replace(file)  # a file that is there is whole
                print(file.stem, flush=True)


if __name__ == "__main__":
    main()
