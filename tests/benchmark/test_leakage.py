"""Planted leaks: each is refused before anything is fitted, and the message names its place."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from contestants import Segmenter, StageCox, with_centres
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNet
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg import Cohort
from survimg.benchmark import run_benchmark
from survimg.benchmark.leakage import check_unfitted
from survimg.model_selection import EventStratifiedGroupKFold


def rebuilt(cohort, volumes=None, clinical=None, ids=None):
    return Cohort(
        cohort.to_numpy() if volumes is None else volumes,
        clinical=cohort.clinical if clinical is None else clinical,
        outcome=cohort.outcome, ids=cohort.ids if ids is None else ids,
    )


def attempt(tmp_path, cohort, splits, models=None, **options):
    return run_benchmark(
        {"cox": StageCox()} if models is None else models, cohort, cohort.outcome, splits=splits,
        out=tmp_path / "run", **options,
    )


def refused(tmp_path, message, *arguments, **options):
    with pytest.raises(ValueError, match=message):
        attempt(tmp_path, *arguments, **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("channels", [slice(None), slice(1, 2)], ids=["whole", "one modality"])
def test_a_patient_duplicated_under_another_name(tmp_path, cohort, splits, channels):
    train, test = splits[0]
    volumes = cohort.to_numpy()
    volumes[test[0], channels] = volumes[train[0], channels]
    ids = [f"p{i:02d}" for i in range(36)]
    first, second = f"p{train[0]:02d}", f"p{test[0]:02d}"
    message = f"Fold [0-2]: patients '({first}|{second})'.*'({first}|{second})'.*same image"
    refused(tmp_path, message, rebuilt(cohort, volumes, ids=ids), splits)


def test_a_duplicate_that_shares_its_side_is_no_leak(tmp_path, cohort, splits):
    train, _ = splits[0]
    volumes = cohort.to_numpy()
    volumes[train[1]] = volumes[train[0]]
    assert attempt(tmp_path, rebuilt(cohort, volumes), splits[:1]).complete("cox")


def test_absent_modalities_are_no_duplicates(tmp_path, cohort, splits):
    volumes = cohort.to_numpy()
    volumes[:, 1] = 0
    assert attempt(tmp_path, rebuilt(cohort, volumes), splits).complete("cox")


def test_one_identifier_twice(tmp_path, cohort, splits):
    ids = ["p0", *(f"p{i}" for i in range(35))]
    refused(tmp_path, "Duplicate patient ids: ..p0", cohort, splits, ids=ids)


def test_two_images_of_one_patient_on_both_sides(tmp_path, cohort, splits):
    patients = np.array([f"person-{i // 2}" for i in range(36)])
    message = "Fold 0: '.*' .training part. and '.*' .test part. belong to the same group 'person-"
    refused(tmp_path, message, cohort, splits, groups=patients)
    kept = list(EventStratifiedGroupKFold(3).split(cohort, cohort.outcome, patients))
    run = attempt(tmp_path, cohort, kept, groups=patients)
    assert run.clusters.tolist() == patients.tolist()


def test_groups_that_are_centres_may_be_on_both_sides(tmp_path, cohort, splits):
    assert attempt(tmp_path, with_centres(cohort, np.arange(36) % 3), splits).complete("cox")


def fitted_scaler(cohort):
    return StandardScaler().fit(cohort.clinical)


@pytest.mark.parametrize(
    "step",
    [
        fitted_scaler,
        lambda cohort: FrozenEstimator(fitted_scaler(cohort)),
        lambda cohort: FunctionTransformer(fitted_scaler(cohort).transform),
        lambda cohort: FunctionTransformer(
            functools.partial(fitted_scaler(cohort).transform, copy=True)
        ),
    ],
    ids=["fitted", "frozen", "bound method", "partial"],
)
def test_a_scaler_fitted_on_all_patients(tmp_path, cohort, splits, step):
    frame = pd.DataFrame({"stage": cohort.clinical["stage"]})
    model = make_pipeline(step(cohort), CoxPHSurvivalAnalysis(alpha=0.1))
    with pytest.raises(ValueError, match="'cox' is fitted already: .*StandardScaler holds"):
        run_benchmark(
            {"cox": model}, frame, cohort.outcome, splits=splits, out=tmp_path / "run",
            ids=cohort.ids,
        )
    assert not (tmp_path / "run").exists()


class Lambda(StageCox):
    """A parameter with a trailing underscore is none that `fit` has set."""

    def __init__(self, alpha=0.1, lambda_=1.0):
        super().__init__(alpha)
        self.lambda_ = lambda_


def test_models_that_only_look_fitted(tmp_path, cohort, splits):
    attempt(tmp_path, cohort, splits, {"m": Lambda(lambda_=2.0)})
    check_unfitted({"net": NeuralNet(torch.nn.Linear, criterion=torch.nn.MSELoss)})
    net = NeuralNet(torch.nn.Linear, criterion=torch.nn.MSELoss)
    net.initialized_ = True
    with pytest.raises(ValueError, match="'net' is fitted already"):
        check_unfitted({"net": net})


def test_a_fitted_model(tmp_path, cohort, splits):
    model = StageCox().fit(cohort, cohort.outcome)
    refused(tmp_path, "'m' is fitted already: StageCox holds cox_", cohort, splits, {"m": model})


def test_a_column_that_was_scaled_over_all_patients(tmp_path, cohort, splits):
    raw = pd.DataFrame({"age": np.random.default_rng(0).normal(60, 9, 36)})
    scaled = pd.DataFrame(StandardScaler().fit_transform(raw), columns=["age"])
    table = {"outcome": cohort.outcome, "splits": splits, "out": tmp_path / "run"}
    models = {"cox": CoxPHSurvivalAnalysis(alpha=0.1)}
    for X in (scaled, scaled.to_numpy()):
        with pytest.raises(ValueError, match="mean 0 and standard deviation 1 over all 36"):
            run_benchmark(
                models, X, table["outcome"], splits=splits, out=table["out"], ids=cohort.ids
            )
    refused(tmp_path, "Column 'age'", rebuilt(cohort, clinical=scaled), splits)
    assert attempt(tmp_path, rebuilt(cohort, clinical=raw.assign(stage=1.0 * (raw.age > 60))),
                   splits, {"s": Segmenter()}).complete("s")


def test_volumes_that_were_scaled_over_all_patients(tmp_path, cohort, splits):
    raw = cohort.to_numpy()
    raw += np.linspace(0, 1, 36, dtype=np.float32)[:, None, None, None, None]
    axes = (0, 2, 3, 4)
    scaled = (raw - raw.mean(axes, keepdims=True, dtype=float)) / raw.std(
        axes, keepdims=True, dtype=float
    )
    refused(tmp_path, "Channel 0 has mean 0", rebuilt(cohort, scaled), splits)
    axes = (2, 3, 4)
    centred = raw - raw.mean(axes, keepdims=True)
    halfway = centred / centred.std((0, *axes), keepdims=True)
    refused(tmp_path, "Channel 0 has mean 0", rebuilt(cohort, halfway), splits)
    alone = (raw - raw.mean(axes, keepdims=True)) / raw.std(axes, keepdims=True)
    assert attempt(tmp_path, rebuilt(cohort, alone), splits).complete("cox")


def test_a_preparation_that_learned_from_test_patients(tmp_path, cohort, splits):
    for learned_from in ("all", [cohort.ids[splits[1][1][0]]]):
        X = rebuilt(cohort)
        X.settings = {"training": {"normalise": "histogram", "learned_from": learned_from}}
        refused(tmp_path, "used statistics of test patients", X, splits[1:2])
    X.settings = {"learned_from": cohort.ids[splits[1][0]].tolist()}
    assert attempt(tmp_path, X, splits[1:2]).complete("cox")
