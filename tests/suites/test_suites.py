"""Names on the command line stand for estimators with the settings asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest
from sklearn.base import clone

from survimg.benchmark.identity import describe
from survimg.cli import main
from survimg.estimators import DeepMTS, FitOnce, OutOfFold, TumourSegmenter, deepmts_variant
from survimg.estimators.deep.deepmts_variants import VARIANT_NAMES
from survimg.radiomics import RadiomicsFeatures
from survimg.suites import (
    DEFAULT_MODELS,
    MASK_READERS,
    MODELS,
    REFERENCE,
    ModelSettings,
    build_models,
    parameter_names,
)

EVERY = list(MODELS)
HEADS = ("lasso-cox", "rsf", "deepsurv")


def build(name, **settings):
    return build_models([name], ModelSettings(**settings))[name]


def parts(model, kind):
    return [part for part in model.get_params(deep=True).values() if isinstance(part, kind)]


@pytest.mark.parametrize("name", EVERY)
def test_every_model_can_be_cloned_and_described(name):
    model = build(name)
    text = json.dumps(describe(model), allow_nan=False)
    assert text == json.dumps(describe(clone(model)))


@pytest.mark.parametrize("name", VARIANT_NAMES)
def test_variants_are_the_estimators_own(name):
    found, expected = build(name, clinical=True), deepmts_variant(name)
    assert type(found) is type(expected)
    assert found.get_params() == expected.get_params()
    assert isinstance(found, TumourSegmenter) == name.startswith("seg-backbone")


@pytest.mark.parametrize("name", ["sur-hs", "sur-casnet"])
def test_masked_variants_differ_in_the_input_only(name):
    masked, plain = (build(f"{name}{end}").get_params() for end in ("-masked", ""))
    assert {key for key in plain if plain[key] != masked[key]} == {"masked_input"}
    assert masked["masked_input"]


def test_settings_reach_the_models(tmp_path):
    settings = {"n_iterations": 7, "device": "cpu", "n_threads": 1, "cache": tmp_path}
    models = {name: build(name, verbose=True, **settings) for name in EVERY}
    # DeepSurv, on tables, has no device, and steps of its own.
    networks = {n: m for n, m in models.items() if parameter_names(m, "device")}
    tables = ("radiomics-", "manual-radiomics", "clinical-")
    assert set(networks) == {name for name in EVERY if not name.startswith(tables)}
    for network in networks.values():
        parameters = network.get_params()
        (device,) = parameter_names(network, "device")
        place = device.removesuffix("device")
        told = {name: parameters[f"{place}{name}"] for name in ("n_iterations", "n_threads")}
        assert told == {"n_iterations": 7, "n_threads": 1}
        assert parameters[device] == "cpu"
    for model in models.values():
        for shared in parts(model, RadiomicsFeatures | FitOnce):
            assert shared.memory == str(tmp_path)
    assert parts(models["radiomics-lasso-cox"], RadiomicsFeatures)
    assert parts(models["deep-features-rsf"], FitOnce)


@pytest.mark.parametrize("n_iterations", [None, 7])
def test_networks_train_with_their_defaults_or_as_published(n_iterations):
    told = {"device": "auto", "verbose": 0, "n_threads": None}
    for published in (False, True):
        settings = {"published": published, "n_iterations": n_iterations}
        for name in EVERY:
            network = _network_in(build(name, **settings))
            if network is None:
                continue
            kind = type(network)
            expected = (kind.published if published else kind)(**told)
            own = (
                "objective", "variant", "backbone", "masked_input", "clinical_columns",
                "random_state",
            )  # fmt: skip
            if name == "deepmts-two-stages":
                own += ("segmentation_first", "drop_segmentation", "map_gradient")
            parameters = network.get_params()
            expected.set_params(**{key: parameters[key] for key in own if key in parameters})
            if n_iterations is not None:
                expected.set_params(n_iterations=n_iterations)
            assert repr(network) == repr(expected)


def _network_in(model):
    found = [part for part in (model, *model.get_params().values()) if hasattr(part, "published")]
    return next((part for part in found if not isinstance(part, FitOnce)), None)


# "clinical-cox" has nothing else.
@pytest.mark.parametrize("name", [name for name in EVERY if name != "clinical-cox"])
def test_no_clinical_columns_reach_a_model_that_is_to_have_none(name):
    parameters = build(name, clinical=False).get_params(deep=True)
    chosen = [
        value
        for key, value in parameters.items()
        if key.split("__")[-1] == "clinical_columns"
    ]
    assert all(value == [] for value in chosen)
    assert "features__clinical" not in parameters


@pytest.mark.parametrize("head", HEADS)
def test_deep_features_are_those_of_deepmts_and_out_of_fold(head):
    settings = {"n_iterations": 30, "inner_folds": 3}
    honest = build(f"deep-features-{head}", **settings)
    in_sample = build(f"deep-features-{head}-in-sample", **settings)
    expected = build("deepmts", **settings).get_params()
    for pipeline in (honest, in_sample):
        (network,) = parts(pipeline, DeepMTS)
        assert network.get_params() == {**expected, "random_state": 0}
    (maker,) = parts(honest, OutOfFold)
    assert maker.cv == 3
    assert not parts(in_sample, OutOfFold)


@pytest.mark.parametrize("name", ["own_parts:Network", "own_parts:inside_a_pipeline"])
def test_a_parameter_is_found_in_an_estimator_or_a_step_of_it(name, tmp_path, monkeypatch):
    (tmp_path / "own_parts.py").write_text(
        "from sklearn.base import BaseEstimator\n"
        "from sklearn.pipeline import make_pipeline\n"
        "class Network(BaseEstimator):\n"
        "    def __init__(self, n_iterations=3):\n"
        "        self.n_iterations = n_iterations\n"
        "    def fit(self, X, y):\n"
        "        return self\n"
        "    def predict(self, X):\n"
        "        return [0.0] * len(X)\n"
        "def inside_a_pipeline():\n"
        "    return make_pipeline('passthrough', Network())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = build(name)
    (found,) = parameter_names(model, "n_iterations")
    assert model.set_params(**{found: 9}).get_params()[found] == 9
    assert parameter_names(model, "iterations") == []


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"Unknown model 'mt-hs-vnet'.*deepmts.*module:callable"):
        build("mt-hs-vnet")
    with pytest.raises(ValueError, match="named twice"):
        build_models(["mdsn", "mdsn"], ModelSettings())


def test_the_reference_is_a_model_without_network():
    assert REFERENCE in MODELS
    model = build(REFERENCE)
    assert not parameter_names(model, "n_iterations")
    assert not parameter_names(model, "device")
    assert REFERENCE in DEFAULT_MODELS


def test_lists_of_names_name_models():
    assert set(DEFAULT_MODELS) <= set(MODELS)
    assert set(MODELS) > MASK_READERS


@pytest.mark.parametrize("name", ["radiomics-lasso-cox", "deep-features-lasso-cox"])
def test_the_cache_folder_is_no_part_of_a_records_key(name, tmp_path):
    here, there = (build(name, cache=tmp_path / folder) for folder in "ab")
    assert describe(here) == describe(there) == describe(build(name))


def test_names_and_tables_load_no_heavy_library():
    code = (
        "import sys; from survimg.suites import MODELS, SUITES\n"
        "heavy = {'torch', 'skorch', 'monai', 'radiomics'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_default_models_end_to_end_on_small_phantoms(tmp_path):
    arguments = (
        "benchmark --cohort phantom --patients 60 --shape 16 16 16 --folds 2 --iterations 3 "
        f"--models {','.join(DEFAULT_MODELS)} --no-progress --out {tmp_path / 'run'}"
    )
    assert main(arguments.split()) == 0
    scores = pd.read_csv(tmp_path / "run" / "scores.csv").set_index("model")
    assert set(scores.index) == {*DEFAULT_MODELS, "oracle"}
    assert (scores.loc[list(DEFAULT_MODELS), "folds_done"] == 2).all()
    assert scores.loc["deepmts", "dice_patients"] == 60


@pytest.mark.slow
def test_real_patients_end_to_end(tmp_path, shared_dir):
    folder = shared_dir / "data" / "sts51_petgrid"
    arguments = (
        f"benchmark --cohort sts51:{folder} --endpoint dfs --shape 32 32 32 --spacing 6 "
        f"--models {REFERENCE} --folds 5 --no-progress --out {tmp_path / 'run'}"
    )
    with pytest.warns(UserWarning, match="cuts off part of the tumour of 4 patient"):
        assert main(arguments.split()) == 0
    scores = pd.read_csv(tmp_path / "run" / "scores.csv").set_index("model")
    assert scores.loc[REFERENCE, "folds_done"] == 5
    patients = json.loads((tmp_path / "run" / "patients.json").read_text())
    assert (len(patients["id"]), sum(patients["event"])) == (51, 27)
