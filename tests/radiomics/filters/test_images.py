"""Filtered images in a box are those of the whole volume."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from survimg.radiomics.filters.images import filtered_images, image_names
from survimg.radiomics.parameters import read_parameters

TYPES = {
    "Original": {},
    "Wavelet": {"level": 2},
    "LoG": {"sigma": [0.5, 1.0, 4.0]},
    "Square": {},
    "SquareRoot": {},
    "Logarithm": {},
    "Exponential": {},
    "Gradient": {},
    "LBP3D": {"lbp3DLevels": 3},
}


@pytest.mark.parametrize("image_type", list(TYPES))
@pytest.mark.parametrize("kind", ["int16", "float64"])
def test_a_box_is_a_part_of_the_whole(image_type: str, kind: str) -> None:
    # The second axis is so long that a Laplacian of Gaussian need not see all of it.
    shape = (9, 90, 12)
    voxels = np.random.default_rng(0).normal(40, 100, shape).astype(kind)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((1.5, 1.0, 3.0))
    region = np.zeros(shape, dtype=bool)
    window = (slice(2, 7), slice(40, 46), slice(3, 12))
    region[window] = True
    parameters = read_parameters({"imageType": {image_type: TYPES[image_type]}})
    settings = parameters.settings_of(image_type)
    whole = tuple(slice(0, size) for size in shape)
    names = []
    for (name, part), (_, full) in zip(
        filtered_images(image, region, window, image_type, settings),
        filtered_images(image, region, whole, image_type, settings),
        strict=True,
    ):
        names.append(name)
        np.testing.assert_allclose(part, full[window], rtol=1e-6 if kind == "int16" else 1e-12,
                                   atol=1e-5 if kind == "int16" else 1e-11)
    assert names == image_names(image_type, settings)


def test_several_wavelets_are_those_of_single_runs() -> None:
    shape = (9, 10, 12)
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(40, 100, shape))
    region = np.zeros(shape, dtype=bool)
    window = (slice(2, 7), slice(3, 8), slice(3, 12))
    region[window] = True

    def bands(wavelet: object) -> dict[str, np.ndarray]:
        source = {"imageType": {"Wavelet": {"wavelet": wavelet, "level": 2}}}
        settings = read_parameters(source).settings_of("Wavelet")
        images = dict(filtered_images(image, region, window, "Wavelet", settings))
        assert list(images) == image_names("Wavelet", settings)
        return images

    together = bands(["haar", "bior2.2"])
    alone = {wavelet: bands(wavelet) for wavelet in ("haar", "bior2.2")}
    assert len(together) == 30
    for name, values in together.items():
        level, wavelet, band = name.split("-")
        np.testing.assert_array_equal(values, alone[wavelet][f"{level}-{band}"])
