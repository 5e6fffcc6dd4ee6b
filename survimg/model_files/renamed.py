"""What model files call parameters and attributes that have other names now.

A file holds the names of the version that wrote it. Each change of a name is listed here, so that
the models of every earlier version are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["rename"]

# Class to old name -> new name; of subclasses too.
_PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "ClinicalFeatures": {"columns": "clinical_columns"},
    "ClinicalVolumeCox": {"columns": "clinical_columns"},
    "DeepSurv": {"max_epochs": "n_iterations"},
    "MTDLR": {"network": "estimator", "radiomics": "radiomics_model"},
    "ManualRadiomicsCox": {"radiomics": "radiomics_model"},
    "NetworkScoreAndRadiomics": {"network": "estimator"},
    "SingleTaskCox": {"network": "estimator"},
}
_ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "ClinicalVolumeCox": {"clinical_features_": "clinical_encoder_"},
    "FusionBody": {"clinical_encoding_": "clinical_encoder_"},
    "NetworkScoreAndRadiomics": {"network_": "estimator_"},
    "RadiomicsFeatures": {"channel_names_": "channel_names_in_"},
    "ScoreCox": {"channel_names_": "channel_names_in_"},
    "TumourVolume": {"channel_names_": "channel_names_in_"},
}
_AUGMENTATION = {"paper": "uniform", "code": "fixed"}
_BRANCHES = ("tumour", "peritumoral", "radiomics", "clinical")


def _training(parameters: dict[str, Any]) -> None:
    value = parameters.get("augmentation")
    if isinstance(value, str):
        parameters["augmentation"] = _AUGMENTATION.get(value, value)


def _dice(parameters: dict[str, Any]) -> None:
    if "dice" in parameters:
        parameters["squared_dice"] = parameters.pop("dice") == "paper"


def _branches(parameters: dict[str, Any]) -> None:
    if set(_BRANCHES) <= set(parameters):
        branches = [name for name in _BRANCHES if parameters.pop(name) is True]
        parameters["branches"] = {"tuple": branches}


def _features(parameters: dict[str, Any]) -> None:
    if parameters.get("features") == "paper":
        parameters["features"] = "deepmts-1456"


# Class to what was done to the values of its parameters, which are those of the JSON file.
_VALUES: Mapping[str, Callable[[dict[str, Any]], None]] = {
    "DeepMTS": _dice,
    "FusionBody": _branches,
    "RadiomicsFeatures": _features,
    "TrainingParameters": _training,
    "TumourSegmenter": _dice,
}


def rename(kind: type, node: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of ``model.json`` with the names of today.

    Parameters
    ----------
    kind : type
        Class of the object.
    node : mapping
        As the file holds it; names that are not old are left as they are.
    """
    node = dict(node)
    ours = [base.__name__ for base in kind.__mro__ if base.__module__.startswith("survimg.")]
    for part, renamed in (("parameters", _PARAMETERS), ("attributes", _ATTRIBUTES)):
        if isinstance(node.get(part), dict):
            new = {old: name for base in ours for old, name in renamed.get(base, {}).items()}
            node[part] = {new.get(name, name): value for name, value in node[part].items()}
    if isinstance(node.get("parameters"), dict):
        for base in ours:
            if base in _VALUES:
                _VALUES[base](node["parameters"])
    return node
