"""Names on the command line stand for estimators with the settings asked for."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from sklearn.base import clone

from survimg.benchmark.identity import describe
from survimg.cli import main
from survimg.radiomics import RadiomicsFeatures
from survimg.suites import MODELS, REFERENCE, ModelSettings, build_models, parameter_names


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_can_be_cloned_and_described(name):
    (model,) = build_models([name], ModelSettings()).values()
    text = json.dumps(describe(model), allow_nan=False)
    assert text == json.dumps(describe(clone(model)))


def test_settings_reach_the_models(tmp_path):
    settings = ModelSettings(n_iterations=7, device="cpu", n_threads=1, cache=tmp_path)
    models = build_models(list(MODELS), settings)
    networks = [model for model in models.values() if parameter_names(model, "n_iterations")]
    assert networks
    for network in networks:
        parameters = network.get_params()
        assert (parameters["n_iterations"], parameters["device"]) == (7, "cpu")
        assert parameters["n_threads"] == 1
    parts = models["radiomics-lasso-cox"].get_params(deep=True).values()
    extractors = [part for part in parts if isinstance(part, RadiomicsFeatures)]
    assert extractors
    assert all(extractor.memory == str(tmp_path) for extractor in extractors)


@pytest.mark.parametrize("name", ["own_network:OwnNetwork", "own_network:inside_a_pipeline"])
def test_a_parameter_is_found_in_an_estimator_or_a_step_of_it(name):
    (model,) = build_models([name], ModelSettings()).values()
    (found,) = parameter_names(model, "n_iterations")
    assert model.set_params(**{found: 9}).get_params()[found] == 9
    assert parameter_names(model, "iterations") == []


def test_the_reference_is_a_model_without_network():
    assert REFERENCE in MODELS
    (model,) = build_models([REFERENCE], ModelSettings()).values()
    assert not parameter_names(model, "n_iterations")
    assert not parameter_names(model, "device")


def test_the_cache_folder_is_no_part_of_a_records_key(tmp_path):
    name = "radiomics-lasso-cox"
    here, there = (
        build_models([name], ModelSettings(cache=tmp_path / folder))[name] for folder in "ab"
    )
    assert describe(here) == describe(there)


@pytest.mark.slow
def test_all_models_end_to_end_on_small_phantoms(tmp_path):
    arguments = (
        "benchmark --cohort phantom --patients 60 --shape 16 16 16 --folds 2 --iterations 3 "
        f"--no-progress --out {tmp_path / 'run'}"
    )
    assert main(arguments.split()) == 0
    scores = pd.read_csv(tmp_path / "run" / "scores.csv").set_index("model")
    assert set(scores.index) == {*MODELS, "oracle"}
    assert (scores.loc[list(MODELS), "folds_done"] == 2).all()
    assert scores.loc["deepmts", "dice_patients"] == 60


@pytest.mark.slow
def test_real_patients_end_to_end(tmp_path, shared_dir):
    folder = shared_dir / "data" / "sts51_petgrid"
    arguments = (
        f"benchmark --cohort sts51:{folder} --endpoint dfs --shape 32 32 32 --spacing 6 "
        f"--models {REFERENCE} --folds 5 --no-progress --out {tmp_path / 'run'}"
    )
    assert main(arguments.split()) == 0
    scores = pd.read_csv(tmp_path / "run" / "scores.csv").set_index("model")
    assert scores.loc[REFERENCE, "folds_done"] == 5
    patients = json.loads((tmp_path / "run" / "patients.json").read_text())
    assert (len(patients["id"]), sum(patients["event"])) == (51, 27)
