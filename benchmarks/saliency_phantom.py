"""Do saliency maps of DeepMTS point at the disease that was planted in the phantoms?

Trains DeepMTS on phantoms, explains its risk for others that it has not seen, and compares the
saliency inside the tumour plus the planted infiltration (which no mask shows) with the share of the
volume that they take. Controls: the same network with its weights drawn anew, and the absolute
image itself. Writes ``<name>.csv`` (one row per map, region and patient) and ``<name>.json``
(means, settings, versions) to --results, and a picture of one patient to --picture. ::

    python benchmarks/saliency_phantom.py --name saliency_phantom --picture docs/images/saliency.png
    python benchmarks/saliency_phantom.py --name smoke --patients 12 --others 12 --explained 2 \\
        --size 16 --iterations 2 --steps 4 --samples 2 --results runs/smoke
"""

from __future__ import annotations

import argparse
import copy
import json
import shlex
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from survimg import Cohort
from survimg.datasets import Phantom, Tissue, make_phantom_cohort
from survimg.estimators import DeepMTS
from survimg.explain import (
    GradCAM,
    IntegratedGradients,
    Occlusion,
    integrated_gradients,
    mass_in_region,
    plot_saliency,
    saliency,
)
from survimg.nets import initialise

AIM = 5.0


def regions_of(phantom: Phantom, patients: np.ndarray) -> dict[str, np.ndarray]:
    """Where the disease is, by name; the first is what the aim is about."""
    tissue = phantom.tissue[patients]
    tumour, infiltration = tissue == Tissue.TUMOUR, tissue == Tissue.INFILTRATION
    return {"tumour+infiltration": tumour | infiltration, "tumour": tumour,
            "infiltration": infiltration}  # fmt: skip


def with_random_weights(model: DeepMTS, seed: int) -> DeepMTS:
    """The same estimator with every convolution and fully connected layer drawn anew."""
    control = copy.deepcopy(model)
    initialise(control.net_.module_, torch.Generator().manual_seed(seed))
    return control


def maps_of(model: DeepMTS, cohort: Cohort, arguments: argparse.Namespace) -> dict[str, Any]:
    """Maps by name."""
    window = max(2, arguments.size // 4)
    smooth = {"n_samples": arguments.samples, "noise": 0.15, "random_state": 0}
    path = IntegratedGradients(n_steps=arguments.steps)
    given = {"blur": arguments.blur}
    control = with_random_weights(model, arguments.seed + 1)
    started = time.perf_counter()
    plain = integrated_gradients(model, cohort, n_steps=path.n_steps, **given)
    mass = np.abs(plain.maps).sum(axis=(1, 2, 3), dtype=float)
    missed = np.round(plain.completeness_error / mass, 4)
    print(f"integrated gradients miss their sums by {missed.tolist()} of their mass", flush=True)
    maps = {
        "integrated gradients": plain.maps,
        "integrated gradients, smoothed": saliency(model, cohort, method=path, **given, **smooth),
        "occlusion": saliency(model, cohort, method=Occlusion(window=window)),
        "grad-cam": saliency(model, cohort, method=GradCAM()),
        "control: random weights": saliency(control, cohort, method=path, **given),
        "control: absolute image": np.abs(cohort.to_numpy()).sum(axis=1),
    }
    print(f"{len(maps) - 1} maps of {len(cohort)} patients: {time.perf_counter() - started:.0f} s")
    return maps


def table_of(maps: dict[str, Any], regions: dict[str, np.ndarray], ids: np.ndarray) -> pd.DataFrame:
    """One row per map, region and patient; patients without the region are left out."""
    rows = []
    for name, values in maps.items():
        for region, inside in regions.items():
            there = inside.any(axis=(1, 2, 3)) & np.abs(values).any(axis=(1, 2, 3))
            if there.any():
                found = mass_in_region(values[there], inside[there])
                found.insert(0, "patient", ids[there])
                found.insert(0, "region", region)
                found.insert(0, "map", name)
                rows.append(found)
    return pd.concat(rows, ignore_index=True)


def summary_of(table: pd.DataFrame) -> pd.DataFrame:
    """Mass and volume over all patients, and their ratio; lowest and median patient."""
    grouped = table.groupby(["map", "region"], sort=False)
    found = grouped[["mass", "volume"]].mean()
    found["ratio"] = found["mass"] / found["volume"]
    found["median_ratio"] = grouped["ratio"].median()
    found["lowest_ratio"] = grouped["ratio"].min()
    found["patients"] = grouped.size()
    return found.reset_index()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=160, help="that DeepMTS is trained on")
    parser.add_argument("--others", type=int, default=80, help="that the C-index is taken from")
    parser.add_argument("--explained", type=int, default=16, help="of these, how many get maps")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0, help="of the network")
    parser.add_argument("--steps", type=int, default=64, help="of integrated gradients")
    parser.add_argument("--samples", type=int, default=4, help="of SmoothGrad")
    parser.add_argument("--blur", type=float, default=1.0, help="of the maps, in voxels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--picture", type=Path, help="file for an overlay of one patient")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--name", required=True, help="of the files in --results")
    return parser.parse_args()


def main() -> None:
    """Train, explain, measure, write."""
    arguments = parsed()
    n = arguments.patients + arguments.others
    phantom = make_phantom_cohort(n=n, shape=(arguments.size,) * 3, random_state=0)
    train, test = phantom.cohort[: arguments.patients], phantom.cohort[arguments.patients :]
    model = DeepMTS(
        n_iterations=arguments.iterations, n_threads=arguments.threads, device=arguments.device,
        random_state=arguments.seed,
    )  # fmt: skip
    started = time.perf_counter()
    model.fit(train, train.outcome)
    seconds = time.perf_counter() - started
    explained = test[: arguments.explained]
    regions = regions_of(phantom, np.arange(arguments.patients, n)[: arguments.explained])
    maps = maps_of(model, explained, arguments)
    table = table_of(maps, regions, explained.ids)
    summary = summary_of(table)
    print(summary.to_string(index=False))
    arguments.results.mkdir(parents=True, exist_ok=True)
    table.round(5).to_csv(arguments.results / f"{arguments.name}.csv", index=False)
    disease = summary[summary["region"] == "tumour+infiltration"].set_index("map")
    record = {
        "command": shlex.join(["python", *sys.argv]),
        **{k: v for k, v in vars(arguments).items() if not isinstance(v, Path)},
        "model": repr(model),
        "fit_seconds": round(seconds, 1),
        "c_of_others": model.score(test, test.outcome),
        "aim": AIM,
        "reached": {name: bool(row["ratio"] >= AIM) for name, row in disease.iterrows()},
        "summary": summary.round(4).to_dict("records"),
        "versions": {name: version(name) for name in ("survimg", "torch", "captum", "numpy")},
    }
    path = arguments.results / f"{arguments.name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if arguments.picture is not None:
        shown = maps["integrated gradients, smoothed"]
        i = int(np.argmax(model.predict(explained)))
        picture = plot_saliency(explained, i, shown[i], label="contribution to the risk")
        picture.savefig(arguments.picture, dpi=110)


if __name__ == "__main__":
    main()
