"""Resampling: noise of a coarser grid, volumes of small tumours, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from survimg.io import Image
from survimg.preprocessing import WorldMap, resample, resample_image, resample_mask
from survimg.preprocessing.alignment import mapped_grid
from survimg.preprocessing.steps import resampled_grid

CT = (3.0, 0.98, 0.98)


def _noise(shape=(60, 150, 150), spacing=CT):
    values = np.random.default_rng(0).normal(0, 25, size=shape)
    return Image(values.astype(np.float32), spacing)


def _ball(radius, offset=(0.0, 0.0, 0.0), spacing=CT, shape=(24, 64, 64)):
    centre = (np.array(shape) - 1) / 2 + np.array(offset) / spacing
    axes = np.meshgrid(*map(np.arange, shape), indexing="ij")
    distance = sum(((a - c) * s) ** 2 for a, c, s in zip(axes, centre, spacing, strict=True))
    return Image((distance <= radius**2).astype(np.uint8), spacing)


@pytest.mark.parametrize(("step", "sd"), [(4.0, 4.9), (6.0, 2.4), (12.0, 0.9)])
def test_a_coarser_grid_averages_the_noise_of_a_ct(step, sd):
    inner = (slice(1, -1), slice(2, -2), slice(2, -2))
    assert resample(_noise(), step).array[inner].std() == pytest.approx(sd, rel=0.15)
    assert resample(_noise(), step, antialias=False).array[inner].std() > 2.5 * sd


def test_registration_averages_it_too_in_any_pose():
    image = _noise((40, 120, 120))
    angle = np.deg2rad(30)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    middle = image.world((np.array(image.shape) - 1) / 2)
    grid = Image(np.zeros((8, 8, 8), np.float32), (6.0,) * 3, tuple(middle - 21.0))
    turned = mapped_grid(grid, WorldMap(turn, middle - turn @ middle))
    assert resample_image(image, turned).array.std() == pytest.approx(2.4, rel=0.3)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_a_finer_grid_is_not_blurred(interpolation):
    image = _noise((12, 20, 20), (3.0, 3.0, 3.0))
    grid = resampled_grid(image, 1.0)
    fine = resample_image(image, grid, interpolation=interpolation)
    np.testing.assert_allclose(fine.array[1::3, 1::3, 1::3], image.array, atol=1e-3)
    unblurred = resample_image(image, grid, interpolation=interpolation, antialias=False)
    np.testing.assert_array_equal(fine.array, unblurred.array)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_only_the_voxels_near_the_grid_matter(interpolation):
    image = _noise((40, 60, 60))
    grid = Image(np.zeros((6, 6, 6), np.float32), (4.0,) * 3, (20.0, 22.0, 50.0))
    whole = Image(np.zeros((40, 15, 15), np.float32), (4.0,) * 3, (-8.0, -6.0, -6.0))
    part = resample_image(image, grid, interpolation=interpolation).array
    same = resample_image(image, whole, interpolation=interpolation).array[14:20, 7:13, 7:13]
    np.testing.assert_allclose(part, same, atol=1e-3)


def test_small_tumours_keep_their_volume_by_default():
    rng = np.random.default_rng(1)
    errors = {how: [] for how in ("volume", "linear", "nearest")}
    for _ in range(25):
        mask = _ball(6.0, rng.uniform(-6, 6, 3))
        own = mask.array.sum() * np.prod(CT)
        grid = resampled_grid(mask, 4.0)
        for how, values in errors.items():
            values.append(resample_mask(mask, grid, how).sum() * 64 / own - 1)
    spread = {how: np.sqrt(np.mean(np.square(values))) for how, values in errors.items()}
    assert spread["volume"] < 0.08
    assert spread["volume"] < spread["linear"] < spread["nearest"]


def test_the_mask_of_ibsis_configurations_is_that_of_scipy_to_the_voxel():
    # 0.977 x 0.977 x 3 mm to 2 mm as IBSI's CT phantom, and 46,000 voxels as its mask, from a lobed
    # shape; each third slice lies halfway between two, where voxels of exactly 0.5 belong to it
    spacing, shape = np.array((3.0, 0.977, 0.977)), (40, 120, 124)
    place = np.moveaxis(np.indices(shape), 0, -1) * spacing - (np.array(shape) - 1) * spacing / 2
    z, y, x = np.moveaxis(place / (46.0, 42.0, 45.0), -1, 0)
    inside = np.sqrt(x**2 + y**2 + z**2) <= 1 + 0.15 * np.sin(3 * np.arctan2(y, x)) * np.cos(z)
    mask = Image(inside.astype(np.uint8), tuple(spacing))
    counts = [int(np.ceil(size * step / 2)) for size, step in zip(shape, spacing, strict=True)]
    points = [
        ((size - 1) - (count - 1) * 2 / step) / 2 + np.arange(count) * 2 / step
        for size, count, step in zip(shape, counts, spacing, strict=True)
    ]
    parts = map_coordinates(inside.astype(float), np.meshgrid(*points, indexing="ij"), order=1)
    moved = resample_mask(mask, resampled_grid(mask, 2.0), "linear")
    np.testing.assert_array_equal(moved, parts >= 0.5 - 1e-6)
    assert 46_000 < moved.sum() < 47_000


def test_no_tumour_is_lost_between_coarse_voxels():
    rng = np.random.default_rng(2)
    for _ in range(20):
        mask = _ball(3.0, rng.uniform(-8, 8, 3))
        assert resample_mask(mask, resampled_grid(mask, 12.0)).sum() >= 1


@pytest.mark.parametrize("how", ["volume", "linear"])
def test_a_mirrored_tumour_gives_the_mirrored_mask(how):
    mask = _ball(9.0, (2.0, 3.0, -4.0))
    mirrored = Image(mask.array[:, :, ::-1].copy(), mask.spacing)
    grid = resampled_grid(mask, 4.0)
    np.testing.assert_array_equal(
        resample_mask(mirrored, grid, how), resample_mask(mask, grid, how)[:, :, ::-1]
    )


def test_the_own_grid_changes_neither_image_nor_mask():
    image, mask = _noise((8, 9, 10)), _ball(6.0)
    assert resample_image(image, image) is image
    np.testing.assert_array_equal(resample_mask(mask, mask), mask.array)


def test_a_mask_outside_the_grid_is_empty():
    mask = _ball(6.0)
    grid = Image(np.zeros((4, 4, 4), np.float32), (4.0,) * 3, (500.0, 0.0, 0.0))
    for how in ("volume", "linear", "nearest"):
        assert not resample_mask(mask, grid, how).any()
