"""Each step against an analytic image or an independent computation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from survimg.io import Image
from survimg.preprocessing import crop, mask_centre, pet_peak, resample, window, zscore
from survimg.preprocessing.steps import crop_grid, resampled_grid, whole_grid

WEIGHTS = np.array([0.31, -0.83, 0.57])


def _points(image):
    return image.world(np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1))


def _ramp(shape, spacing, origin=(3.0, -4.0, 5.0)):
    empty = Image(np.zeros(shape, np.float32), spacing, origin)
    return Image((_points(empty) @ WEIGHTS).astype(np.float32), spacing, origin)


spacings = st.tuples(*[st.floats(0.5, 6.0)] * 3)


@settings(max_examples=40, deadline=None)
@given(old=spacings, new=spacings, shape=st.tuples(*[st.integers(2, 14)] * 3))
def test_resampling_a_linear_function_gives_that_function(old, new, shape):
    image = _ramp(shape, old)
    moved = resample(image, new)
    points = _points(moved)
    inner = image.index(points)
    blur = np.sqrt(np.maximum(np.square(new) - np.square(old), 0) / 12) / old
    edge = np.where(blur > 0, np.ceil(4 * blur) + 1, 0)  # where the blur feels the image's end
    inside = ((inner >= edge) & (inner <= np.array(shape) - 1 - edge)).all(axis=-1)
    np.testing.assert_allclose(moved.array[inside], (points @ WEIGHTS)[inside], atol=2e-4)
    np.testing.assert_allclose(moved.spacing, new)


@settings(max_examples=60, deadline=None)
@given(old=spacings, new=spacings, shape=st.tuples(*[st.integers(1, 40)] * 3))
def test_the_new_grid_covers_the_field_of_view_about_the_same_centre(old, new, shape):
    image = Image(np.zeros(shape, np.float32), old, (3.0, -4.0, 5.0))
    grid = resampled_grid(image, new)
    middle = [image.world((np.array(i.shape) - 1) / 2) for i in (image,)]
    np.testing.assert_allclose(grid.world((np.array(grid.shape) - 1) / 2), middle[0], atol=1e-9)
    extent, wanted = np.array(grid.shape) * new, np.array(shape) * old
    assert (extent >= wanted - 1e-4).all()
    assert (extent < wanted + new).all()


def test_the_own_spacing_changes_nothing():
    image = _ramp((5, 6, 7), (0.1, 0.3, 0.7))
    assert resample(image, image.spacing) is image


def test_a_smooth_image_is_found_again_on_anisotropic_grids():
    shape, spacing = (24, 48, 30), (3.0, 1.5, 2.4)
    image = Image(np.zeros(shape, np.float32), spacing)
    centre = image.world((np.array(shape) - 1) / 2)

    def bell(points):
        return np.exp(-((points - centre) ** 2).sum(axis=-1) / (2 * 12.0**2))

    image = Image(bell(_points(image)).astype(np.float32), spacing)
    moved = resample(image, 2.0)
    assert moved.shape == (36, 36, 36)
    # linear interpolation: error below h^2 / 8 times the largest second derivative (1 / 12^2)
    assert np.abs(moved.array - bell(_points(moved)))[1:-1, 1:-1, 1:-1].max() < 0.02


@pytest.mark.parametrize("spacing", [0, -1, np.nan, (1, 0, 1)])
def test_impossible_spacings_are_refused(spacing):
    with pytest.raises(ValueError, match="spacing must be positive"):
        resample(_ramp((4, 4, 4), (1, 1, 1)), spacing)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    size=st.tuples(*[st.integers(1, 9)] * 3),
    start=st.tuples(*[st.integers(-6, 8)] * 3),
)
def test_a_crop_is_a_slice_of_the_padded_image(shape, size, start):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    image = Image(array, (2.0, 3.0, 4.0), (1.0, 2.0, 3.0))
    centre = np.array(start) + (np.array(size) - 1) / 2
    block = crop(image, centre, size, padding=-5.0)
    padded = np.pad(array, 20, constant_values=-5.0)
    window_ = tuple(slice(a + 20, a + 20 + n) for a, n in zip(start, size, strict=True))
    np.testing.assert_array_equal(block.array, padded[window_])
    np.testing.assert_allclose(block.origin, image.world(start), atol=1e-9)


def test_a_crop_between_voxels_takes_the_nearest_whole_position():
    grid = Image(np.zeros((9, 9, 9), np.float32), (1, 1, 1))
    assert crop_grid(grid, (4.2, 4.2, 4.2), (3, 3, 3)).origin == (3.0, 3.0, 3.0)
    for noise in (-1e-5, 0.0, 1e-5):
        assert crop_grid(grid, np.full(3, 4.0) + noise, (4, 4, 4)).origin == (3.0, 3.0, 3.0)


def test_the_whole_grid_spans_the_field_of_view():
    image = _ramp((10, 20, 30), (3.0, 2.0, 1.0))
    grid = whole_grid(image, (5, 5, 5))
    np.testing.assert_allclose(grid.spacing, (6.0, 8.0, 6.0))
    np.testing.assert_allclose(image.index(grid.world([0, 0, 0])), (0.5, 1.5, 2.5))


def test_the_mask_centre_is_the_middle_of_its_box():
    mask = Image(np.zeros((9, 9, 9), np.uint8), (2.0, 1.0, 1.0), (10.0, 0.0, 0.0))
    mask.array[2, 3, 4] = mask.array[5, 3, 4] = mask.array[5, 3, 5] = 1
    np.testing.assert_allclose(mask_centre(mask), (10.0 + 4.5, 3.0, 7.0))
    mask.array[:] = 0
    with pytest.raises(ValueError, match="mask is empty"):
        mask_centre(mask)


def test_the_pet_peak_is_the_hottest_cubic_centimetre_not_the_hottest_voxel():
    image = Image(np.zeros((20, 20, 20), np.float32), (2.0, 2.0, 2.0), (7.0, 0.0, 0.0))
    image.array[3, 3, 3] = 50.0  # noise: 50 / 123 voxels on average
    index = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"), axis=-1)
    lesion = np.linalg.norm((index - [12, 13, 14]) * 2.0, axis=-1) <= 7.0
    image.array[lesion] = 4.0
    np.testing.assert_allclose(pet_peak(image), (7.0 + 28.0, 26.0, 24.0), atol=2.0)
    radius = (3 * 1000 / (4 * np.pi)) ** (1 / 3)
    points = index * 2.0
    means = [
        image.array[np.linalg.norm(points - points[tuple(at)], axis=-1) <= radius].mean()
        for at in (image.index(pet_peak(image)).astype(int), [12, 13, 14])
    ]
    assert means[0] == means[1] == 4.0


def test_a_large_voxel_is_its_own_peak():
    image = Image(np.zeros((4, 4, 4), np.float32), (20.0, 20.0, 20.0))
    image.array[1, 2, 3] = 1.0
    np.testing.assert_allclose(pet_peak(image), (60.0, 40.0, 20.0))


arrays = hnp.arrays(np.float32, (3, 4, 5), elements=st.floats(-1e4, 1e4, width=32))


@settings(max_examples=60, deadline=None)
@given(array=arrays, scale=st.floats(0.1, 100), shift=st.floats(-100, 100))
def test_a_zscore_has_mean_0_and_deviation_1_and_forgets_units(array, scale, shift):
    if np.ptp(array) < 1e-2:
        return
    scored = zscore(array)
    assert scored.dtype == np.float32
    assert abs(scored.mean(dtype=np.float64)) < 1e-5
    assert abs(scored.std(dtype=np.float64) - 1) < 1e-5
    again = zscore(array.astype(np.float64) * scale + shift)
    np.testing.assert_allclose(again, scored, atol=1e-3)


def test_a_constant_has_no_zscore():
    with pytest.raises(ValueError, match=r"one value only \(3\)"):
        zscore(np.full((2, 2, 2), 3.0))


def test_a_window_clips_and_scales():
    np.testing.assert_allclose(window([-200, -160, 40, 240, 999], -160, 240), [0, 0, 0.5, 1, 1])
    assert window([1.0], 0, 1).dtype == np.float32
