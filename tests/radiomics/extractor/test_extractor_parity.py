"""`FeatureExtractor` against PyRadiomics: every class, setting and image type.

The fast tests run the settings that change most; the slow one draws 320 parameter files.
"""

from __future__ import annotations

from typing import Any

import pytest
from extractor_cases import build_case, differences, random_files

pytest.importorskip("radiomics.featureextractor", reason="PyRadiomics is not installed")

RELATIVE = 1e-6

SETTINGS: list[dict[str, Any]] = [
    {},
    {"distances": [1, 3], "gldm_a": 1, "symmetricalGLCM": False, "voxelArrayShift": 300},
    {"weightingNorm": "euclidean", "binCount": 12},
    {"weightingNorm": "manhattan", "symmetricalGLCM": False, "distances": [2]},
    {"normalize": True, "normalizeScale": 100, "removeOutliers": 2, "binWidth": 10},
    {"resampledPixelSpacing": [1, 0, 2], "padDistance": 2},
    {"resegmentRange": [-1.5, 1.5], "resegmentMode": "sigma"},
    {"resegmentRange": [0.1], "resegmentMode": "relative", "resegmentShape": True},
]


def assert_small(compared: dict[str, float]) -> None:
    wrong = {name: value for name, value in compared.items() if not value <= RELATIVE}
    assert not wrong, dict(sorted(wrong.items(), key=lambda item: -item[1])[:5])


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_settings(setting: dict[str, Any]) -> None:
    parameters = {"setting": setting, "featureClass": dict.fromkeys(
        ["firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm", "shape"]
    )}
    assert_small(differences(parameters, build_case(kind="float32")))


def test_image_types() -> None:
    images = {
        "Original": {},
        "Wavelet": {"wavelet": "db2", "level": 2, "binWidth": 20},
        "LoG": {"sigma": [1.0, 2.5], "binWidth": 20},
        "Square": {"binWidth": 5},
        "SquareRoot": {},
        "Logarithm": {"binCount": 16},
        "Exponential": {"binWidth": 1},
        "Gradient": {"gradientUseSpacing": False},
    }
    parameters = {
        "imageType": images,
        "featureClass": {"firstorder": [], "glcm": ["Idm", "MCC"], "glszm": ["ZoneEntropy"]},
    }
    assert_small(differences(parameters, build_case()))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes(axis: int) -> None:
    parameters: dict[str, Any] = {
        "setting": {"force2D": True, "force2Ddimension": axis},
        "imageType": {"Original": {}, "Wavelet": {"start_level": 1}},
        "featureClass": dict.fromkeys(["firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]),
    }
    region = "ball"
    if axis == 0:
        parameters["featureClass"] |= {"shape": [], "shape2D": []}
        region = "slice"
    assert_small(differences(parameters, build_case(region=region)))


@pytest.mark.slow
@pytest.mark.parametrize("k", range(8))
def test_random_parameter_files(k: int) -> None:
    for parameters, case in random_files(40, seed=k):
        assert_small(differences(parameters, case))
