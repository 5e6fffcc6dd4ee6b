"""Models that survimg 0.1.0 wrote are read for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_models import MODELS, answers, patients, target
from tampering import edit

import survimg
from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS
from survimg.features import TumourVolume
from survimg.radiomics import RadiomicsFeatures

FOLDER = Path(__file__).parent / "references" / "format_1"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "X"])
def test_a_model_of_format_1_is_read(name):
    model = survimg.load(FOLDER / name)
    # Another torch or BLAS may round otherwise.
    np.testing.assert_allclose(model.predict(np.array(EXPECTED["X"])), EXPECTED[name], rtol=1e-6)
    survival = model.predict_survival_function(np.array(EXPECTED["X"]), return_array=True)
    assert ((survival >= 0) & (survival <= 1)).all()


#: How 0.1.0 before its release called what has another name now: class to new name -> old name.
OLD_PARAMETERS = {
    "ClinicalFeatures": {"clinical_columns": "columns"},
    "ClinicalVolumeCox": {"clinical_columns": "columns"},
    "DeepSurv": {"n_iterations": "max_epochs"},
    "MTDLR": {"estimator": "network", "radiomics_model": "radiomics"},
    "ManualRadiomicsCox": {"radiomics_model": "radiomics"},
    "NetworkScoreAndRadiomics": {"estimator": "network"},
    "SingleTaskCox": {"estimator": "network"},
}
OLD_ATTRIBUTES = {
    "channel_names_in_": "channel_names_",
    "estimator_": "network_",
}
OLD_ENCODERS = {
    "ClinicalVolumeCox": "clinical_features_",
    "FusionClassifier": "clinical_encoding_",
    "FusionSurvival": "clinical_encoding_",
}
BRANCHES = ("tumour", "peritumoral", "radiomics", "clinical")


def as_before(content: dict[str, Any]) -> None:
    """Give the objects of ``model.json`` the names of before."""
    for node in content["objects"]:
        if node["is"] != "instance" or not node["class"].startswith("survimg."):
            continue
        name = node["class"].rpartition(".")[2]
        if "parameters" in node:
            old = OLD_PARAMETERS.get(name, {})
            node["parameters"] = {old.get(key, key): v for key, v in node["parameters"].items()}
            _values_of_before(node["parameters"])
        attributes = dict(node["attributes"])
        if attributes.get("slope_") == 1.0:  # models had none
            del attributes["slope_"]
        attributes.pop("objective_", None)  # networks did not keep it
        for new, old_name in OLD_ATTRIBUTES.items():
            of_networks = new == "channel_names_in_" and "n_channels_in_" in attributes
            others = new == "estimator_" and name != "NetworkScoreAndRadiomics"
            if new in attributes and not of_networks and not others:
                attributes[old_name] = attributes.pop(new)
        if name in OLD_ENCODERS and "clinical_encoder_" in attributes:
            attributes[OLD_ENCODERS[name]] = attributes.pop("clinical_encoder_")
        node["attributes"] = attributes


def _values_of_before(parameters: dict[str, Any]) -> None:
    if "squared_dice" in parameters:
        parameters["dice"] = "paper" if parameters.pop("squared_dice") else "code"
    if "augmentation" in parameters:
        now = parameters["augmentation"]
        parameters["augmentation"] = {"uniform": "paper", "fixed": "code"}.get(now, now)
    if "branches" in parameters:
        branches = parameters.pop("branches")["tuple"]
        parameters.update({name: name in branches for name in BRANCHES})
    if parameters.get("features") == "deepmts-1456":
        parameters["features"] = "paper"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    ["ClinicalVolumeCox", "FusionSurvival", "MTDLR", "ManualRadiomicsCox", "SingleTaskCox"],
)
def test_a_fitted_model_with_the_names_of_before_is_read(name, tmp_path):
    cohort = make_phantom_cohort(n=10, shape=(16, 18, 18), random_state=0).cohort
    X = patients(name, cohort)
    model = MODELS[name]().fit(X, target(name, cohort))
    survimg.save(model, tmp_path / "model")
    before = (tmp_path / "model" / "model.json").read_text()
    edit(tmp_path / "model", as_before)
    assert (tmp_path / "model" / "model.json").read_text() != before
    found, expected = answers(survimg.load(tmp_path / "model"), X), answers(model, X)
    assert list(found) == list(expected)
    for answer in expected:
        np.testing.assert_array_equal(found[answer], expected[answer])


@pytest.mark.parametrize(
    "model",
    [
        DeepMTS(squared_dice=False, augmentation="fixed"),
        DeepMTS(augmentation="uniform"),
        DeepMTS(augmentation=None),
        TumourVolume(log=False),
        RadiomicsFeatures(),
        MODELS["FusionClassifier"]().set_params(branches=("tumour", "clinical")),
        MODELS["DeepSurv"](),
    ],
    ids=lambda model: type(model).__name__,
)
def test_parameters_of_before_are_read(model, tmp_path):
    survimg.save(model, tmp_path / "model")
    edit(tmp_path / "model", as_before)
    assert repr(survimg.load(tmp_path / "model")) == repr(model)
