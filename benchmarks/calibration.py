"""Calibration on new patients: the slope of networks, and the scale of out-of-fold risks.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py [--seeds 0 1 2]
    OMP_NUM_THREADS=1 python benchmarks/calibration.py --spread --seeds 10 11 12 13

160 phantoms train and 200 test, 24 x 24 x 24 voxels, two truths: all effects 0.8, or infiltration
1.5 (which the mask leaves out), stage 0.4, others 0.3. Three kinds of model:

* a small network with a Cox loss (below; 40 of the 160 are held out), balanced and weighted, whose
  curves are computed with a slope of 1, with the slope of the held-out patients, and with that
  slope drawn towards 1 as the estimators do it;
* a Cox model of stage and the out-of-fold risk of radiomic Lasso-Cox, with the folds' risks
  centred only, and divided by their standard deviation as `OutOfFold` does;
* the same with the out-of-fold risk of `DeepSurv` on the radiomic features.

Adds to benchmarks/results/calibration.csv what is not there yet: C, calibration slope (1 is
right) and integrated calibration index (0 is right) at the median event time of the test patients.
With ``--spread``, the balanced network on phantoms of other seeds tells how far slopes of new
patients lie from 1 (the prior of the estimators, 0.3, was taken from seeds 0 to 2), and what other
priors would give; adds to benchmarks/results/calibration_spread.csv.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from sklearn.pipeline import make_pipeline
from sksurv.linear_model import CoxPHSurvivalAnalysis
from torch import Tensor, nn

from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepSurv, LassoCox, OutOfFold
from survimg.estimators.deep import CoxVolumeEstimator
from survimg.evaluation import concordance_index, integrated_calibration_index
from survimg.features import SpearmanFilter
from survimg.nets import RiskOutput, initialise
from survimg.radiomics import RadiomicsFeatures
from survimg.survival import BreslowBaseline
from survimg.survival.slope import calibration_slope, cautious_slope

TRUTHS = {
    "all effects 0.8": None,
    "infiltration 1.5": {
        "infiltration": 1.5, "stage": 0.4, "volume": 0.3, "uptake": 0.3, "heterogeneity": 0.3,
    },
}  # fmt: skip
N_TRAIN, N_TEST, SIZE = 160, 200, 24
RESULTS = Path(__file__).parent / "results" / "calibration.csv"
SPREAD = RESULTS.with_name("calibration_spread.csv")


class SmallNet(nn.Module):
    """Three strided convolutions; mean and maximum of their maps, and clinical columns."""

    def __init__(self, n_channels: int, n_clinical: int, generator: torch.Generator) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (8, 16, 32):
            layers.append(nn.Conv3d(n_channels, width, 3, stride=2, padding=1, bias=False))
            layers += [nn.BatchNorm3d(width), nn.ReLU()]
            n_channels = width
        self.maps = nn.Sequential(*layers)
        self.n_features = 2 * n_channels
        self.risk = nn.Linear(2 * n_channels + n_clinical, 1)
        initialise(self, generator)

    def forward(self, volumes: Tensor, clinical: Tensor) -> RiskOutput:
        """Predict a log-hazard of each patient."""
        maps = self.maps(volumes)
        pooled = torch.cat([maps.mean(dim=(2, 3, 4)), maps.amax(dim=(2, 3, 4))], dim=1)
        return RiskOutput(self.risk(torch.cat([pooled, clinical], dim=1))[:, 0], pooled)


@dataclass(kw_only=True, eq=False, repr=False)
class SmallNetSurvival(CoxVolumeEstimator):
    """`SmallNet` with a Cox loss."""

    def _make_module(self, n_channels, n_clinical, generator):
        return SmallNet(n_channels, n_clinical, generator)


def scores(train, test, train_risk, test_risk) -> dict[str, float]:
    """C, slope and integrated calibration index of log-hazards of the test patients."""
    y = test.outcome
    horizon = float(np.median(y["time"][y["event"]]))
    outcome = train.outcome
    baseline = BreslowBaseline(train_risk, outcome["event"], outcome["time"])
    at = int(np.searchsorted(baseline.times, horizon, side="right")) - 1
    survival = baseline.survival(test_risk)[:, at]
    if np.ptp(survival) == 0:  # one curve for all: its distance from the average
        ici = abs(np.mean(y["time"] > horizon) - survival[0])
    else:
        inside = np.clip(survival, 1e-3, 1 - 1e-3)
        ici = integrated_calibration_index(y, inside, horizon).ici
    slope = calibration_slope(test_risk, y["event"], y["time"])
    return {"c": concordance_index(y, test_risk), "slope": slope, "ici": ici}


def fitted_network(train, seed, balanced):
    """One training, and what it saw of the held-out patients: risk, event, time."""
    model = SmallNetSurvival(
        n_iterations=300, iterations_per_epoch=30, batch_size=8, learning_rate=1e-2,
        batch_norm_batches=20, validation_fraction=0.25, balanced=balanced,
        precision="float32", n_threads=1, random_state=seed,
    )  # fmt: skip
    place = "survimg.estimators.deep.volume_survival_estimator.cautious_slope"
    with mock.patch(place, wraps=cautious_slope) as seen:
        model.fit(train, train.outcome)
    return model, seen.call_args.args


def network_rows(train, test, seed, balanced):
    """One training, three sets of curves."""
    model, held_out = fitted_network(train, seed, balanced)
    risks = model.predict(train), model.predict(test)
    name = f"network, {'weighted' if balanced == 'weighted' else 'balanced'}"
    variants = {
        "slope 1": 1.0, "slope of held-out patients": calibration_slope(*held_out),
        "drawn towards 1": model.slope_,
    }  # fmt: skip
    for label, slope in variants.items():
        row = scores(train, test, *(slope * risk for risk in risks))
        row["c"] = concordance_index(test.outcome, risks[1])  # predict keeps its order
        yield {"model": name, "variant": label, **row, "used_slope": slope}


def spread_rows(seed: int):
    """Slopes of one network on new patients, with curves drawn towards 1 by several priors."""
    cohort = make_phantom_cohort(n=N_TRAIN + N_TEST, shape=(SIZE,) * 3, random_state=seed).cohort
    train, test = cohort[:N_TRAIN], cohort[N_TRAIN:]
    model, held_out = fitted_network(train, seed, balanced=True)
    risks = model.predict(train), model.predict(test)
    for spread in (0.0, 0.15, 0.3, 0.6, 1.2):
        with mock.patch("survimg.survival.slope._SPREAD", spread):
            slope = cautious_slope(*held_out) if spread else 1.0
        row = scores(train, test, *(slope * risk for risk in risks))
        yield {"seed": seed, "prior": spread, "used_slope": slope, **row}


def measure_spread(seeds: list[int]) -> None:
    """Add what the table of priors lacks, and print it."""
    table = pd.read_csv(SPREAD) if SPREAD.exists() else pd.DataFrame(columns=["seed"])
    for seed in seeds:
        if seed not in set(table["seed"]):
            rows = pd.DataFrame(list(spread_rows(seed))).round(4)
            table = pd.concat([table, rows]) if len(table) else rows
            table.to_csv(SPREAD, index=False)
    untouched = table["slope"][table["prior"] == 0]
    distance = np.sqrt(np.mean((untouched - 1) ** 2))
    print(f"slopes of new patients: {untouched.round(2).tolist()}")
    print(f"root mean square distance from 1: {distance:.2f}")
    table["distance"] = (table["slope"] - 1).abs()
    print(table.groupby("prior")[["distance", "ici"]].mean().round(3).to_string())


def out_of_fold_rows(train, test, name, estimator, tables):
    """A Cox model of stage and the out-of-fold risk, with two scales of the folds' risks."""
    stages = [cohort.clinical[["stage"]].to_numpy(float) for cohort in (train, test)]
    place = "survimg.estimators.compose.out_of_fold.mean_and_scale"
    centred = mock.patch(place, lambda risk: (float(np.mean(risk)), 1.0))
    for label, scaling in (("centred", centred), ("scaled", nullcontext())):
        maker = OutOfFold(estimator, method="predict", cv=5, random_state=0)
        with scaling:
            risk = maker.fit_transform(tables[0], train.outcome), maker.transform(tables[1])
        train_x, test_x = (np.hstack(pair) for pair in zip(risk, stages, strict=True))
        cox = CoxPHSurvivalAnalysis(ties="breslow").fit(train_x, train.outcome)
        row = scores(train, test, cox.predict(train_x), cox.predict(test_x))
        yield {"model": name, "variant": label, **row}


def rows_of(truth: str, seed: int, kinds: list[str]):
    """Every model of one cohort."""
    cohort = make_phantom_cohort(
        n=N_TRAIN + N_TEST, shape=(SIZE,) * 3, random_state=seed, effects=TRUTHS[truth]
    ).cohort
    train, test = cohort[:N_TRAIN], cohort[N_TRAIN:]
    for balanced in (True, "weighted") if "networks" in kinds else ():
        yield from network_rows(train, test, seed, balanced)
    if "out-of-fold" not in kinds:
        return
    classes = ["firstorder", "glcm", "shape"]
    radiomics = RadiomicsFeatures(features=classes, image_types=["original"])
    features = [radiomics.fit(part).transform(part) for part in (train, test)]
    lasso = make_pipeline(SpearmanFilter(0.8), LassoCox(random_state=0))
    yield from out_of_fold_rows(train, test, "stage + radiomic Lasso-Cox", lasso, features)
    deepsurv = make_pipeline(SpearmanFilter(0.8), DeepSurv(n_iterations=100, random_state=0))
    yield from out_of_fold_rows(train, test, "stage + radiomic DeepSurv", deepsurv, features)


def main() -> None:
    """Compute what the table lacks, cohort by cohort, and print the means over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--spread", action="store_true")
    torch.set_num_threads(1)
    options = parser.parse_args()
    seeds = options.seeds
    if options.spread:
        measure_spread(seeds)
        return
    for seed, truth in product(seeds, TRUTHS):
        empty = pd.DataFrame(columns=["truth", "seed"])
        table = pd.read_csv(RESULTS) if RESULTS.exists() else empty
        there = table[(table["truth"] == truth) & (table["seed"] == seed)]
        networks = [name.startswith("network") for name in there.get("model", [])]
        kinds = ["networks"] if not any(networks) else []
        kinds += ["out-of-fold"] if all(networks) else []
        if kinds:
            rows = [{"truth": truth, "seed": seed, **row} for row in rows_of(truth, seed, kinds)]
            table = pd.concat([table, pd.DataFrame(rows)]) if len(table) else pd.DataFrame(rows)
            table.round(4).to_csv(RESULTS, index=False)
    means = table.groupby(["truth", "model", "variant"], sort=False)[["c", "slope", "ici"]].mean()
    print(means.round(3).to_string())


if __name__ == "__main__":
    main()
