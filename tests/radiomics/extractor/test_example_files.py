"""The parameter files that users of PyRadiomics start from, by their published settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from extractor_cases import build_case, by_pyradiomics, differences

from survimg.radiomics import FeatureExtractor
from survimg.radiomics.parameters import read_parameters

ALL = {
    "shape": None,
    "firstorder": [],
    "glcm": ["Autocorrelation", "JointAverage", "Contrast", "Idm", "Imc1", "MCC"],
    "glrlm": None,
    "glszm": None,
    "gldm": None,
}
RESAMPLED = {"interpolator": "sitkBSpline", "weightingNorm": None}

#: Name -> content; what differs between the files is all that is listed.
FILES: dict[str, dict[str, Any]] = {
    "general": {
        "imageType": {"Original": {}, "LoG": {"sigma": [1.0, 3.0]}, "Wavelet": {"binWidth": 10}},
        "featureClass": ALL,
        "setting": {
            **RESAMPLED, "normalize": False, "normalizeScale": 1, "label": 1,
            "resampledPixelSpacing": None, "binWidth": 25,
        },
    },
    "CT": {
        "imageType": {"Original": {}, "LoG": {"sigma": [1.0, 2.0, 3.0, 4.0, 5.0]}, "Wavelet": {}},
        "featureClass": ALL,
        "setting": {
            **RESAMPLED, "resampledPixelSpacing": [1, 1, 1], "padDistance": 10, "binWidth": 25,
            "voxelArrayShift": 1000, "label": 1,
        },
    },
    "MR 3 mm": {
        "imageType": {"Original": {}, "LoG": {"sigma": [2.0, 3.0, 4.0, 5.0]}, "Wavelet": {}},
        "featureClass": ALL,
        "setting": {
            **RESAMPLED, "normalize": True, "normalizeScale": 100, "label": 1, "binWidth": 5,
            "resampledPixelSpacing": [2, 2, 2], "voxelArrayShift": 300,
        },
    },
    "MR 5 mm": {
        "imageType": {"Original": {}, "LoG": {"sigma": [3.0, 5.0]}, "Wavelet": {}},
        "featureClass": ALL,
        "setting": {
            **RESAMPLED, "normalize": True, "normalizeScale": 100, "binWidth": 5, "label": 1,
            "resampledPixelSpacing": [3, 3, 3], "voxelArrayShift": 300,
        },
    },
    "MR, no resampling": {
        "imageType": {"Original": {}, "LoG": {"sigma": [1.0, 3.0, 5.0]}, "Wavelet": {}},
        "featureClass": ALL,
        "setting": {
            "normalize": True, "normalizeScale": 100, "binWidth": 5, "preCrop": True, "label": 1,
            "force2D": True, "force2Ddimension": 0, "voxelArrayShift": 300,
        },
    },
    "MR in planes": {
        "imageType": {"Original": {}},
        "featureClass": {"shape2D": None, "firstorder": None, "glcm": None},
        "setting": {
            "normalize": True, "normalizeScale": 100, "resampledPixelSpacing": [2, 2, 0],
            "interpolator": "sitkBSpline", "binWidth": 5, "force2D": True, "label": 1,
            "voxelArrayShift": 300,
        },
    },
    "PET": {
        "imageType": {"Original": {}, "Wavelet": {}},
        "featureClass": ALL,
        "setting": {
            **RESAMPLED, "resampledPixelSpacing": [4, 4, 4], "binCount": 64, "label": 1,
            "resegmentRange": [0.05], "resegmentMode": "relative",
        },
    },
    "shape": {"featureClass": {"shape": ["VoxelVolume", "MeshVolume", "Compactness1",
                                         "Compactness2", "SphericalDisproportion"]}},
}


@pytest.mark.parametrize("name", list(FILES))
def test_published_files_run_unchanged(name: str) -> None:
    pytest.importorskip("radiomics.featureextractor", reason="PyRadiomics is not installed")
    region = "slice" if name == "MR in planes" else "ball"
    case = build_case(shape=(14, 22, 20), spacing=(1.6, 1.6, 3.0), region=region)
    compared = differences(FILES[name], case)
    worst = max(compared, key=lambda feature: compared[feature])
    assert compared[worst] <= 1e-6, worst
    assert read_parameters(FILES[name]).to_dict().keys() <= FILES[name].keys() | {"imageType"}


def test_the_voxel_file(tmp_path: Path) -> None:
    path = tmp_path / "voxel.yaml"
    path.write_text(
        "imageType:\n  Original: {}\nfeatureClass:\n  glcm:\n    - JointEntropy\n"
        "setting:\n  binWidth: 25\n  force2D: true\n  label: 1\n"
        "voxelSetting:\n  kernelRadius: 2\n  maskedKernel: true\n  initValue: nan\n"
        "  voxelBatch: 10000\n"
    )
    case = build_case()
    found = FeatureExtractor(path).execute(*case, voxelBased=True)
    entropy = sitk.GetArrayFromImage(found["original_glcm_JointEntropy"])
    assert np.isnan(entropy).any()
    assert np.nanmax(entropy) > 0
    pytest.importorskip("radiomics.featureextractor", reason="PyRadiomics is not installed")
    reference = by_pyradiomics(read_parameters(path).to_dict(), case, voxelBased=True)
    expected = sitk.GetArrayFromImage(reference["original_glcm_JointEntropy"])
    np.testing.assert_allclose(entropy, expected, rtol=1e-6)
