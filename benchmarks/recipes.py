"""Which recipe lets a network learn most in the same time? Two truths, phantoms of 32 voxels.

    OMP_NUM_THREADS=1 python benchmarks/recipes.py --out runs/recipes.csv [--seeds 0 1 2]
        [--models deepmts sur-hs mt-hs] [--truths outside mask] [--recipes "batch of 8" ...]
        [--augmentations nearest uniform] [--dropouts 0 0.2] [--l2s 0.01 0.001] [--steps 400]

Each seed draws 160 phantoms to train on and 200 to test, the same for every model and recipe. One
row per truth, seed, model, recipe, augmentation, dropout and l2: C of the test patients, the same
with predictions averaged over the volume and its mirror image, Dice of their masks together, and
processor seconds of the fit. Batches of 16 train for half as many steps, so that every recipe but
"twice the steps" costs about the same. Rows that the file holds are not computed again. Float32,
one thread.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from skorch.callbacks import Callback

from survimg.datasets import make_phantom_cohort
from survimg.estimators import deepmts_variant

N_TRAIN, N_TEST, SIZE = 160, 200, 32
AUGMENTATIONS = ("nearest", "uniform")


class ClinicalFromZero(Callback):
    """Starts the weights of the clinical columns, the last of the risk's layer, at zero."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:  # noqa: ARG002
        with torch.no_grad():
            net.module_.fc_risk.weight[:, -net.module_.n_clinical :] = 0.0


def recipes(steps: int) -> dict[str, dict[str, Any]]:
    """Return the parameters of each recipe that differ from the defaults."""
    return {
        "batch of 8": {"n_iterations": steps},
        "weighted": {"n_iterations": steps, "balanced": "weighted"},
        "batch of 16, not balanced": {
            "n_iterations": steps // 2, "batch_size": 16, "balanced": False,
        },
        "averaged weights": {"n_iterations": steps, "ema_decay": 0.99},
        "clinical from zero": {"n_iterations": steps, "callbacks": [ClinicalFromZero()]},
        "clinical from Cox": {"n_iterations": steps, "clinical_start": "cox"},
        "segmentation first": {
            "n_iterations": steps, "segmentation_first": 0.5, "drop_segmentation": True,
            "map_gradient": True,
        },
        "twice the steps": {"n_iterations": 2 * steps},
    }  # fmt: skip


def row(
    truth: str,
    seed: int,
    model: str,
    recipe: str,
    augmentation: str,
    dropout: float,
    l2: float,
    steps: int,
) -> dict[str, Any]:
    """Train and test once."""
    phantom = make_phantom_cohort(
        N_TRAIN + N_TEST, (SIZE,) * 3, truth=truth, random_state=100 + seed
    )
    train, test = phantom.cohort[:N_TRAIN], phantom.cohort[N_TRAIN:]
    estimator = deepmts_variant(model).set_params(
        precision="float32", n_threads=1, random_state=seed, augmentation=augmentation,
        dropout=dropout, l2=l2,
        **recipes(steps)[recipe],
    )  # fmt: skip
    start = time.process_time()
    estimator.fit(train, train.outcome)
    seconds = time.process_time() - start
    dice = None
    if hasattr(estimator, "predict_mask"):
        inside = np.stack([test.mask(i) for i in range(N_TEST)]) > 0
        masks = np.stack(list(estimator.predict_mask(test))) > 0
        dice = round(float(2 * (masks & inside).sum() / (masks.sum() + inside.sum())), 4)
    concordance = estimator.score(test, test.outcome)
    mirrored = estimator.set_params(test_time_flip=True).score(test, test.outcome)
    return {
        "concordance": round(concordance, 4), "concordance_mirrored": round(mirrored, 4),
        "dice": dice, "fit_seconds": round(seconds, 1),
    }  # fmt: skip


def main() -> None:
    """Compute the rows that are missing, seed by seed."""
    names = list(recipes(2))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", default=["deepmts"])
    parser.add_argument("--truths", nargs="+", default=["outside", "mask"])
    parser.add_argument("--recipes", nargs="+", default=names, choices=names)
    parser.add_argument("--augmentations", nargs="+", default=["nearest"], choices=AUGMENTATIONS)
    parser.add_argument("--dropouts", type=float, nargs="+", default=[0.0])
    parser.add_argument("--l2s", type=float, nargs="+", default=[0.01])
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    table = pd.read_csv(options.out) if options.out.exists() else pd.DataFrame()
    rows = table.to_dict("records")
    keys = ("truth", "seed", "model", "recipe", "augmentation", "dropout", "l2", "steps")
    finished = {tuple(r[key] for key in keys) for r in rows}
    for seed, truth, model, recipe, augmentation, dropout, l2 in itertools.product(
        options.seeds, options.truths, options.models, options.recipes, options.augmentations,
        options.dropouts, options.l2s,
    ):  # fmt: skip
        values = (truth, seed, model, recipe, augmentation, dropout, l2, options.steps)
        impossible = recipe == "segmentation first" and model.startswith("sur-")
        if values not in finished and not impossible:
            rows.append(dict(zip(keys, values, strict=True)) | row(*values))
            pd.DataFrame(rows).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
