"""Maps of features: against the features of each window, and against PyRadiomics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from extractor_cases import ABSOLUTE, build_case, by_pyradiomics

from survimg.radiomics import FeatureExtractor, write_maps

CLASSES = ["firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]


def test_a_window_around_everything_is_the_region() -> None:
    # With a radius that reaches the whole region from its middle, the map's middle is the feature.
    image, mask = build_case(region="scattered", shape=(7, 7, 7))
    parameters = {
        "setting": {"binWidth": 20},
        "featureClass": dict.fromkeys(CLASSES),
        "voxelSetting": {"kernelRadius": 3},
    }
    voxels = sitk.GetArrayFromImage(mask)
    voxels[3, 3, 3] = 1
    with_middle = sitk.GetImageFromArray(voxels)
    with_middle.CopyInformation(mask)
    extractor = FeatureExtractor(parameters)
    whole = extractor.execute(image, with_middle)
    maps = extractor.execute(image, with_middle, voxelBased=True)
    region = np.argwhere(voxels == 1)
    middle = tuple(int(3 - first) for first in np.maximum(region.min(axis=0) - 3, 0))
    for name, feature_map in maps.items():
        if isinstance(feature_map, sitk.Image):
            value = sitk.GetArrayFromImage(feature_map)[middle]
            assert value == pytest.approx(whole[name], rel=1e-9, abs=1e-9), name


def test_outside_the_region_is_the_initial_value(tmp_path: Path) -> None:
    image, mask = build_case()
    parameters = {
        "featureClass": {"firstorder": ["Mean"]},
        "imageType": {"Original": {}, "Square": {}},
        "voxelSetting": {"initValue": "nan"},
    }
    found = FeatureExtractor(parameters).execute(image, mask, voxelBased=True)
    sitk.WriteImage(image, str(tmp_path / "image.nrrd"))
    paths = write_maps(found, tmp_path / "image.nrrd", tmp_path / "maps")
    assert [path.name for path in paths] == [
        "original_firstorder_Mean.nii.gz", "square_firstorder_Mean.nii.gz"
    ]
    stored = sitk.ReadImage(str(paths[0]))
    assert stored.GetSize() == image.GetSize()
    np.testing.assert_allclose(stored.GetOrigin(), image.GetOrigin(), atol=1e-5)
    region = sitk.GetArrayFromImage(mask) == 1
    # SimpleITK reads the NaN of a NIfTI file as 0.
    written = np.asarray(nibabel.load(paths[0]).dataobj).T
    np.testing.assert_array_equal(np.isfinite(written), region)


@pytest.mark.parametrize(
    ("setting", "voxel_setting"),
    [
        ({"binWidth": 20}, {"kernelRadius": 2}),
        ({"force2D": True, "distances": [1, 2], "gldm_a": 1}, {"kernelRadius": 2}),
        ({"weightingNorm": "manhattan", "binCount": 8}, {"maskedKernel": False, "initValue": -1}),
    ],
    ids=str,
)
def test_maps_are_those_of_pyradiomics(
    setting: dict[str, Any], voxel_setting: dict[str, Any]
) -> None:
    pytest.importorskip("radiomics.featureextractor", reason="PyRadiomics is not installed")
    parameters = {
        "setting": setting,
        "voxelSetting": voxel_setting,
        "featureClass": dict.fromkeys(CLASSES),
        "imageType": {"Original": {}, "Gradient": {}},
    }
    case = build_case(shape=(8, 9, 10), region="ball")
    found = FeatureExtractor(parameters).execute(*case, voxelBased=True)
    reference = by_pyradiomics(parameters, case, voxelBased=True)
    assert list(found) == list(reference)
    for name, feature_map in found.items():
        if isinstance(feature_map, sitk.Image):
            assert feature_map.GetOrigin() == reference[name].GetOrigin()
            np.testing.assert_allclose(
                sitk.GetArrayFromImage(feature_map),
                sitk.GetArrayFromImage(reference[name]),
                rtol=1e-6,
                atol=ABSOLUTE,
                err_msg=name,
            )
