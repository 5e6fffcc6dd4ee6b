"""`FeatureExtractor`: names, properties and refusals; parity is in `test_extractor_parity`."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from extractor_cases import build_case

from survimg.radiomics import FeatureExtractor
from survimg.radiomics.extractor.feature_extractor import feature_names

FIRST = {"featureClass": {"firstorder": ["Mean", "Minimum", "Maximum", "Energy"]}}


def values_of(found: OrderedDict[str, object]) -> dict[str, object]:
    return {name: value for name, value in found.items() if not name.startswith("diagnostics_")}


def test_paths_and_images_give_the_same(
    tmp_path: Path,
) -> None:
    image, mask = build_case()
    sitk.WriteImage(image, str(tmp_path / "image.nrrd"))
    sitk.WriteImage(mask, str(tmp_path / "mask.nrrd"))
    extractor = FeatureExtractor(FIRST)
    found = extractor.execute(image, mask)
    assert isinstance(found, OrderedDict)
    from_files = extractor.execute(tmp_path / "image.nrrd", str(tmp_path / "mask.nrrd"))
    assert values_of(found) == values_of(from_files)
    assert all(isinstance(value, float) for value in values_of(found).values())


def test_names_without_running() -> None:
    image_types = {"Original": {}, "LoG": {"sigma": [2.0]}, "Wavelet": {"level": 2}, "Square": {}}
    extractor = FeatureExtractor(
        {"setting": {"additionalInfo": False, "binCount": 8}, "imageType": image_types}
    )
    found = extractor.execute(*build_case())
    assert list(found) == feature_names(extractor.parameters)
    assert len(found) == 14 + 93 * (1 + 1 + 15 + 1)


def test_labels_and_channels() -> None:
    image, mask = build_case()
    extractor = FeatureExtractor(FIRST)
    second = extractor.execute(image, mask, label=2)
    assert second["diagnostics_Mask-original_VoxelNum"] == 8
    both = sitk.Compose(mask, sitk.Cast(mask == 2, sitk.sitkUInt8))
    assert values_of(extractor.execute(image, both, label_channel=1)) == values_of(second)
    with pytest.raises(ValueError, match="label_channel is 2"):
        extractor.execute(image, both, label_channel=2)
    with pytest.raises(ValueError, match=r"no voxel with label 7; it has \[1, 2\]"):
        extractor.execute(image, mask, label=7)


def test_resegmentation_keeps_values_in_range() -> None:
    case = build_case()
    settings = {"setting": {"resegmentRange": [0, 60]}, **FIRST}
    found = FeatureExtractor(settings).execute(*case)
    assert found["original_firstorder_Minimum"] >= 0
    assert found["original_firstorder_Maximum"] <= 60
    whole = found["diagnostics_Mask-original_VoxelNum"]
    assert found["diagnostics_Mask-resegmented_VoxelNum"] < whole
    with pytest.raises(ValueError, match="Widen the range"):
        FeatureExtractor({"setting": {"resegmentRange": [9000]}}).execute(*case)


def test_masks_on_another_grid() -> None:
    image, mask = build_case()
    moved = sitk.Image(mask)
    moved.SetOrigin([position + 1e-3 for position in mask.GetOrigin()])
    with pytest.raises(ValueError, match="their origins .* differ.*correctMask: true"):
        FeatureExtractor(FIRST).execute(image, moved)
    expected = values_of(FeatureExtractor(FIRST).execute(image, mask))
    for setting in ({"geometryTolerance": 0.01}, {"correctMask": True}):
        found = FeatureExtractor({"setting": setting, **FIRST}).execute(image, moved)
        assert values_of(found) == expected
    outside = sitk.Image(mask)
    outside.SetOrigin((500.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="reaches beyond the image"):
        FeatureExtractor({"setting": {"correctMask": True}}).execute(image, outside)
    with pytest.raises(ValueError, match="their sizes"):
        FeatureExtractor(FIRST).execute(image, mask[1:])


def test_regions_that_are_too_small() -> None:
    case = build_case(region="slice")
    with pytest.raises(ValueError, match="minimumROIDimensions asks for 3"):
        FeatureExtractor({"setting": {"minimumROIDimensions": 3}}).execute(*case)
    with pytest.raises(ValueError, match="minimumROISize asks for more than 900"):
        FeatureExtractor({"setting": {"minimumROISize": 900}}).execute(*case)


def test_planar_shape_needs_a_plane() -> None:
    planar = {"setting": {"force2D": True}, "featureClass": {"shape2D": ["PixelSurface"]}}
    found = FeatureExtractor(planar).execute(*build_case(region="slice"))
    n_voxels = found["diagnostics_Mask-original_VoxelNum"]
    assert found["original_shape2D_PixelSurface"] == pytest.approx(n_voxels * 0.8 * 1.2)
    with pytest.raises(ValueError, match="defined in one plane"):
        FeatureExtractor(planar).execute(*build_case())
    with pytest.warns(UserWarning, match="shape2D.*force2D: true only"):
        FeatureExtractor({"featureClass": {"shape2D": []}}).execute(*build_case())


def test_what_is_undefined_is_refused_by_the_image() -> None:
    image, mask = build_case(kind="float64")
    voxels = sitk.GetArrayFromImage(image)
    voxels[6, 8, 8] = np.nan
    broken = sitk.GetImageFromArray(voxels)
    broken.CopyInformation(image)
    with pytest.raises(ValueError, match="Image 'original': 1 of .* not finite"):
        FeatureExtractor(FIRST).execute(broken, mask)
    empty = image * 0
    for image_type in ("Square", "SquareRoot", "Logarithm", "Exponential"):
        with pytest.raises(ValueError, match=f"{image_type} is undefined"):
            FeatureExtractor({"imageType": {image_type: {}}, **FIRST}).execute(empty, mask)
    log = {"imageType": {"LoG": {"sigma": [30.0]}}}
    with pytest.raises(ValueError, match="needs at least .* voxels"):
        FeatureExtractor(log).execute(image, mask)
    with pytest.raises(ValueError, match="'original'.*bin_width"):
        FeatureExtractor({"setting": {"binWidth": 1e-3}}).execute(image, mask)


def test_what_is_no_image_is_refused() -> None:
    image, mask = build_case()
    with pytest.raises(TypeError, match="The image must be a path or a SimpleITK image"):
        FeatureExtractor().execute(sitk.GetArrayFromImage(image), mask)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 dimensions; three are needed"):
        FeatureExtractor().execute(image[:, :, 3], mask)
    with pytest.raises(ValueError, match="2 channels; one is needed"):
        FeatureExtractor().execute(sitk.Compose(image, image), mask)


def test_pointwise_images_follow_their_formulas() -> None:
    image, mask = build_case()
    voxels = sitk.GetArrayFromImage(image).astype(float)
    region = sitk.GetArrayFromImage(mask) == 1
    top = np.abs(voxels).max()
    expected = {
        "Square": voxels**2 / top,
        "SquareRoot": np.sign(voxels) * np.sqrt(np.abs(voxels) * top),
        "Logarithm": np.sign(voxels) * np.log1p(np.abs(voxels)) * top / np.log1p(top),
        "Exponential": top ** (voxels / top),
    }
    for image_type, filtered in expected.items():
        found = FeatureExtractor({"imageType": {image_type: {}}, **FIRST}).execute(image, mask)
        mean = found[f"{image_type.lower()}_firstorder_Mean"]
        assert mean == pytest.approx(filtered[region].mean(), rel=1e-12)
