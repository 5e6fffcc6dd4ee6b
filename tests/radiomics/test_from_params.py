"""`RadiomicsFeatures` told by a parameter file: the cohort's table is that of the extractor."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import yaml
from sklearn.base import clone

from survimg import Cohort
from survimg.radiomics import FeatureExtractor, RadiomicsFeatures

PARAMS = {
    "setting": {"binWidth": 8, "normalize": True, "normalizeScale": 50, "force2D": True},
    "imageType": {"Original": {}, "Square": {"binCount": 8}, "Wavelet": {"wavelet": "haar"}},
    "featureClass": {"shape": ["MeshVolume"], "firstorder": [], "glcm": ["Idm"], "ngtdm": []},
}


def image_of(voxels: np.ndarray, spacing: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing[::-1].tolist())
    return image


def test_a_cohort_is_measured_as_its_cases_are(
    make_cohort: Callable[..., Cohort], tmp_path: Path
) -> None:
    cohort = make_cohort()[[0, 3]]
    path = tmp_path / "Params.yaml"
    path.write_text(yaml.safe_dump(PARAMS))
    model = RadiomicsFeatures.from_params(path)
    path.unlink()  # its content was read
    table = clone(pickle.loads(pickle.dumps(model))).fit_transform(cohort)
    first, second = table.columns[:2]
    assert (first, second) == ("original_shape_MeshVolume", "PET_original_firstorder_10Percentile")
    for i in range(len(cohort)):
        spacing = cohort.spacing[i]
        mask = image_of(cohort.mask(i).astype(np.uint8), spacing)
        for c, channel in enumerate(cohort.channel_names):
            image = image_of(cohort.volume(i)[c].astype(np.float64), spacing)
            for name, value in FeatureExtractor(PARAMS).execute(image, mask).items():
                if not name.startswith("diagnostics_"):
                    column = name if "_shape_" in name else f"{channel}_{name}"
                    assert table.loc[i, column] == value, column


def test_what_a_transformer_computes_is_a_parameter_file(
    make_cohort: Callable[..., Cohort],
) -> None:
    cohort = make_cohort(only="blob")
    images = ("original", "wavelet", "log")
    model = RadiomicsFeatures(bin_count=12, image_types=images, log_sigma=(2,))
    expected = model.fit_transform(cohort)
    params = model.to_params()
    assert params["imageType"]["LoG"] == {"sigma": [2.0]}
    table = RadiomicsFeatures.from_params(params).fit_transform(cohort)
    assert set(table.columns) == set(expected.columns)
    np.testing.assert_allclose(table[expected.columns], expected, rtol=1e-9, atol=1e-9)
    again = RadiomicsFeatures.from_params(params).to_params()
    assert RadiomicsFeatures.from_params(again).to_params() == again


def test_each_channel_has_its_file(make_cohort: Callable[..., Cohort], tmp_path: Path) -> None:
    cohort = make_cohort(only="blob")
    shape = {"shape": ["MeshVolume"]}
    contents = {
        "PET": {"setting": {"binWidth": 2}, "featureClass": {**shape, "glcm": ["Idm"]}},
        "CT": {"setting": {"binWidth": 25}, "featureClass": {**shape, "firstorder": ["Entropy"]}},
    }
    for channel, content in contents.items():
        (tmp_path / f"{channel}.yaml").write_text(yaml.safe_dump(content))
    files = {channel: tmp_path / f"{channel}.yaml" for channel in contents}
    model = RadiomicsFeatures.from_params(files)
    table = clone(pickle.loads(pickle.dumps(model))).fit_transform(cohort)
    assert list(table.columns) == [
        "original_shape_MeshVolume", "PET_original_glcm_Idm", "CT_original_firstorder_Entropy"
    ]
    for channel, content in contents.items():
        alone = RadiomicsFeatures.from_params(content).fit_transform(cohort)
        columns = [name for name in table.columns if name.startswith(channel)]
        assert alone[columns].equals(table[columns])
    assert RadiomicsFeatures.from_params(model.to_params()).to_params() == model.to_params()
    # Voxels of another size have another shape.
    contents["CT"]["setting"]["resampledPixelSpacing"] = [1, 1, 1]
    table = RadiomicsFeatures.from_params(contents).fit_transform(cohort)
    assert {"PET_original_shape_MeshVolume", "CT_original_shape_MeshVolume"} <= set(table.columns)


def test_files_of_other_channels_are_refused(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(only="blob")
    sections = {"setting": {"binWidth": 2}}
    model = RadiomicsFeatures.from_params({"PET": sections, "MR": sections})
    with pytest.raises(ValueError, match=r"files for the channels \['MR', 'PET'\]"):
        model.fit(cohort)
    with pytest.raises(ValueError, match="channel 'PET': setting: binWidth must be"):
        RadiomicsFeatures.from_params({"PET": {"setting": {"binWidth": -1}}})
    with pytest.raises(ValueError, match="the key 'settings'"):
        RadiomicsFeatures.from_params({"settings": {"binWidth": 2}})


def test_a_range_of_values_cuts_the_region_of_each_channel(
    make_cohort: Callable[..., Cohort],
) -> None:
    params = {
        "setting": {"resegmentRange": [0], "resegmentMode": "sigma", "resegmentShape": True},
        "featureClass": {"shape": ["VoxelVolume"], "firstorder": ["Minimum"]},
    }
    cohort = make_cohort(only="blob")
    table = RadiomicsFeatures.from_params(params).fit_transform(cohort)
    values = cohort.volume(0)[1][cohort.mask(0) > 0].astype(np.float64)
    brighter = values[values >= values.mean()]
    assert table["CT_original_firstorder_Minimum"].item() == brighter.min()
    assert table["CT_original_shape_VoxelVolume"].item() != table[
        "PET_original_shape_VoxelVolume"
    ].item()
    params["setting"] = {"resegmentRange": [1e6]}
    with pytest.raises(ValueError, match="Patient 'blob'.*Widen the range"):
        RadiomicsFeatures(params=params).fit_transform(cohort)
    nothing = RadiomicsFeatures(params=params, on_empty_mask="nan").fit_transform(cohort)
    assert nothing.isna().all(axis=None)


def test_a_modality_that_is_absent(make_cohort: Callable[..., Cohort]) -> None:
    whole = make_cohort(only="blob")
    cohort = Cohort(
        [whole.volume(0)],
        masks=[whole.mask(0)],
        spacing=whole.spacing,
        channel_names=whole.channel_names,
        present=[[False, True]],
    )
    params = PARAMS | {"setting": {"binWidth": 8}}
    table = RadiomicsFeatures.from_params(params).fit_transform(cohort)
    expected = RadiomicsFeatures.from_params(params).fit_transform(whole)
    pet = [name for name in table if name.startswith("PET_")]
    assert table[pet].isna().all(axis=None)
    np.testing.assert_array_equal(table.drop(columns=pet), expected.drop(columns=pet))


def test_two_ways_to_say_it_are_refused(make_cohort: Callable[..., Cohort]) -> None:
    for other in ({"bin_width": 3.0}, {"engine": "pyradiomics"}, {"image_types": ("original",)}):
        with pytest.raises(ValueError, match=f"params and {next(iter(other))} were given"):
            RadiomicsFeatures(params=PARAMS, **other).fit(make_cohort(only="blob"))
    with pytest.raises(ValueError, match="'binwidth'"):
        RadiomicsFeatures(params={"setting": {"binwidth": 3}}).fit(make_cohort(only="blob"))
