"""Which recipe lets DeepMTS learn most in the same time? Two truths, phantoms of 32 voxels.

    OMP_NUM_THREADS=1 python benchmarks/recipes.py --out runs/recipes.csv [--seeds 0 1 2]
        [--truths outside mask] [--recipes "batch of 8" ...] [--steps 400]

Each seed draws 160 phantoms to train on and 200 to test, the same for every recipe. One row per
truth, seed and recipe: C of the test patients, Dice of their masks together, and processor seconds
of the fit. Batches of 16 train for half as many steps, so that every recipe but "twice the steps"
costs about the same. Rows that the file holds are not computed again. Float32, one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from skorch.callbacks import Callback

from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS

N_TRAIN, N_TEST, SIZE = 160, 200, 32


class ClinicalFromZero(Callback):
    """Starts the weights of the clinical columns at zero: they are the last of the risk's layer."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:  # noqa: ARG002
        layer = net.module_.fc_risk
        with torch.no_grad():
            layer.weight[:, -net.module_.n_clinical :] = 0


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
        "twice the steps": {"n_iterations": 2 * steps},
    }  # fmt: skip


def row(truth: str, seed: int, parameters: dict[str, Any]) -> dict[str, Any]:
    """Train and test once."""
    phantom = make_phantom_cohort(
        N_TRAIN + N_TEST, (SIZE,) * 3, truth=truth, random_state=100 + seed
    )
    train, test = phantom.cohort[:N_TRAIN], phantom.cohort[N_TRAIN:]
    model = DeepMTS(precision="float32", n_threads=1, random_state=seed, **parameters)
    start = time.process_time()
    model.fit(train, train.outcome)
    seconds = time.process_time() - start
    inside = np.stack([test.mask(i) for i in range(N_TEST)]) > 0
    masks = np.stack(list(model.predict_mask(test))) > 0
    dice = 2 * (masks & inside).sum() / (masks.sum() + inside.sum())
    return {
        "concordance": round(float(model.score(test, test.outcome)), 4),
        "dice": round(float(dice), 4), "fit_seconds": round(seconds, 1),
    }  # fmt: skip


def main() -> None:
    """Compute the rows that are missing, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--truths", nargs="+", default=["outside", "mask"])
    parser.add_argument("--recipes", nargs="+", default=list(recipes(2)), choices=list(recipes(2)))
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    table = pd.read_csv(options.out) if options.out.exists() else pd.DataFrame()
    rows = table.to_dict("records")
    finished = {(r["truth"], r["seed"], r["steps"], r["recipe"]) for r in rows}
    for seed in options.seeds:
        for truth in options.truths:
            for name in options.recipes:
                key = {"truth": truth, "seed": seed, "steps": options.steps, "recipe": name}
                if tuple(key.values()) in finished:
                    continue
                rows.append(key | row(truth, seed, recipes(options.steps)[name]))
                pd.DataFrame(rows).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
