"""Parameter files: what is read, what is refused, and that writing gives back what was read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from survimg.radiomics.extractor.feature_extractor import feature_names
from survimg.radiomics.parameters import read_parameters
from survimg.radiomics.parameters.rules import DEFAULTS, SETTINGS, VOXEL_DEFAULTS, VOXEL_SETTINGS

WHOLE = """
setting:
  binWidth: 10
  label: 2
  resampledPixelSpacing: [1, 1, 0]
  interpolator: sitkLinear
  geometryTolerance: 1e-4
  binCount:
imageType:
  Original: {}
  LoG: {sigma: [1, 2.5], binWidth: 5}
  Wavelet:
featureClass:
  shape:
  firstorder: []
  glcm: [Contrast, Idm]
voxelSetting:
  kernelRadius: 2
  initValue: nan
"""


def test_yaml_json_and_dict_are_one(tmp_path: Path) -> None:
    yaml_file, json_file = tmp_path / "Params.yaml", tmp_path / "Params.json"
    yaml_file.write_text(WHOLE)
    parameters = read_parameters(yaml_file)
    json_file.write_text(json.dumps(parameters.to_dict()))
    for source in (str(yaml_file), json_file, parameters.to_dict()):
        again = read_parameters(source)
        assert repr(again) == repr(parameters)  # nan is not equal to itself
    assert parameters.settings["binWidth"] == 10
    assert parameters.settings["geometryTolerance"] == 1e-4  # text in YAML
    assert parameters.settings["binCount"] is None
    assert parameters.settings_of("LoG")["binWidth"] == 5
    assert parameters.features["glcm"] == ("Contrast", "Idm")
    assert len(parameters.features["firstorder"]) == 18
    assert str(parameters.voxel_settings["initValue"]) == "nan"


def test_nothing_given_is_the_default() -> None:
    for source in (None, {}, {"setting": None, "imageType": {}, "featureClass": None}):
        parameters = read_parameters(source)
        assert parameters.settings == dict(DEFAULTS)
        assert list(parameters.image_types) == ["Original"]
        assert "shape2D" in parameters.features
        assert parameters.to_dict() == {"imageType": {"Original": {}}}


def test_every_setting_has_a_default() -> None:
    assert set(SETTINGS) == set(DEFAULTS)
    assert set(VOXEL_SETTINGS) == set(VOXEL_DEFAULTS)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"settings": {}}, "'settings'.*Is 'setting' meant"),
        ({"setting": {"binwidth": 3}}, "'binwidth'.*Is 'binWidth' meant"),
        ({"imageType": {"Wavelets": {}}}, "'Wavelets'.*Is 'Wavelet' meant"),
        ({"imageType": {"Wavelet": {"wavlet": "db1"}}}, "imageType: Wavelet.*'wavlet'"),
        ({"featureClass": {"GLCM": []}}, "'GLCM'.*allowed are firstorder, glcm"),
        ({"featureClass": {"glcm": ["Kontrast"]}}, "'Kontrast'.*Is 'Contrast' meant"),
        ({"featureClass": {"glcm": "Contrast"}}, "must be a list"),
        ({"voxelSetting": {"kernel": 2}}, "'kernel'"),
        ({"imageType": {"LoG": {}}}, r"sigma: \[1.0, 3.0\]"),
        ({"setting": {"sigma": []}}, "sigma must be"),
        ([1], "must be a file or a mapping"),
        ({"setting": [1]}, "setting must be a mapping"),
    ],
    ids=str,
)
def test_what_is_unknown_is_refused_by_name(source: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_parameters(source)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("binWidth", 0),
        ("binWidth", True),
        ("binWidth", "wide"),
        ("binWidth", float("inf")),
        ("binCount", 2.5),
        ("binCount", 0),
        ("label", 0),
        ("label_channel", -1),
        ("minimumROIDimensions", 4),
        ("force2D", "yes"),
        ("force2D", 1),
        ("force2Ddimension", 3),
        ("interpolator", "linear"),
        ("interpolator", 11),
        ("interpolator", True),
        ("resampledPixelSpacing", [1, 1]),
        ("resampledPixelSpacing", 1),
        ("resampledPixelSpacing", [1, -1, 1]),
        ("resegmentRange", [1, 2, 3]),
        ("resegmentRange", []),
        ("resegmentMode", "percent"),
        ("distances", [0]),
        ("distances", 1),
        ("weightingNorm", "L2"),
        ("wavelet", "coif100"),
        ("wavelet", "mexh"),
        ("wavelet", ["coif1", "mexh"]),
        ("wavelet", ["haar", "haar"]),
        ("wavelet", []),
        ("wavelet", 3),
        ("level", 0),
        ("sigma", [1, 0]),
        ("lbp2DMethod", "nri"),
        ("voxelArrayShift", 0.5),
        ("gldm_a", -1),
    ],
)
def test_values_that_are_not_allowed_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*; got"):
        read_parameters({"setting": {name: value}})


def test_a_broken_file_and_a_missing_one(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("setting: [")
    with pytest.raises(ValueError, match="no parameter file"):
        read_parameters(broken)
    with pytest.raises(FileNotFoundError):
        read_parameters(tmp_path / "none.yaml")


def test_features_that_pyradiomics_removed_are_accepted_and_not_computed() -> None:
    parameters = read_parameters({"featureClass": {"glcm": ["Dissimilarity", "Contrast"]}})
    assert parameters.features["glcm"] == ("Contrast",)


def test_the_named_set_has_its_number() -> None:
    parameters = read_parameters("fusion-1562")
    assert len(feature_names(parameters)) == len(set(feature_names(parameters))) == 1562
    assert read_parameters(parameters.to_dict()) == parameters
