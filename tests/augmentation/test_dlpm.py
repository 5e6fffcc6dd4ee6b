"""DLPM's augmentation: each change is what it is called, masks follow, the draw is fair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from survimg.augmentation import OneOfTen, apply_one_of_ten, draw_one_of_ten
from survimg.augmentation.dlpm import CHANGES


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def case():
    volumes = torch.randn(1, 2, 4, 9, 9, generator=seeded())
    masks = (torch.rand(1, 4, 9, 9, generator=seeded(1)) > 0.7).to(torch.uint8)
    return volumes, masks


def only(change, amount=0.5, seed=3):
    return OneOfTen(
        torch.tensor([CHANGES.index(change)]), torch.tensor([amount]), torch.tensor([seed])
    )


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turns_are_clockwise_in_the_axial_plane_and_masks_follow(case, degrees):
    volumes, masks = case
    moved, moved_masks = apply_one_of_ten(volumes, masks, only(f"rotate-{degrees}"))
    expected = np.rot90(volumes.numpy(), -degrees // 90, axes=(-2, -1))
    np.testing.assert_array_equal(moved.numpy(), expected)
    np.testing.assert_array_equal(
        moved_masks.numpy(), np.rot90(masks.numpy(), -degrees // 90, axes=(-2, -1))
    )


@pytest.mark.parametrize(("name", "axis"), [("flip-left-right", -1), ("flip-up-down", -2)])
def test_flips(case, name, axis):
    volumes, masks = case
    moved, moved_masks = apply_one_of_ten(volumes, masks, only(name))
    assert torch.equal(moved, volumes.flip(axis))
    assert torch.equal(moved_masks, masks.flip(axis))


@pytest.mark.parametrize("amount", [0.0, 0.25, 0.99])
def test_blur_is_a_gaussian_in_the_plane(case, amount):
    volumes, masks = case
    blurred, same_masks = apply_one_of_ten(volumes, masks, only("blur", amount))
    sigma = (0, 0, 0, 0.8 * amount, 0.8 * amount)
    expected = ndimage.gaussian_filter(
        volumes.numpy().astype(float), sigma, mode="nearest", radius=(0, 0, 0, 3, 3)
    )
    np.testing.assert_allclose(blurred.numpy(), expected, atol=1e-5)
    assert torch.equal(same_masks, masks)


def test_sharpening_leaves_flat_planes_darker_and_raises_edges(case):
    flat = torch.ones(1, 1, 2, 5, 5)
    sharpened, _ = apply_one_of_ten(flat, None, only("sharpen"))
    assert torch.allclose(sharpened, torch.full_like(flat, 0.9 + 0.1 * 0.7))
    volumes, _ = case
    sharpened, _ = apply_one_of_ten(volumes, None, only("sharpen"))
    neighbours = np.ones((1, 1, 1, 3, 3))
    total = ndimage.correlate(volumes.numpy().astype(float), neighbours, mode="nearest")
    expected = 0.9 * volumes.numpy() + 0.1 * (9.7 * volumes.numpy() - total)
    np.testing.assert_allclose(sharpened.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("amount", "factor"), [(0.0, 0.5), (0.5, 0.7)])
def test_contrast_falls_towards_the_mean(case, amount, factor):
    volumes, _ = case
    assert torch.allclose(
        apply_one_of_ten(volumes, None, only("contrast", amount))[0], factor * volumes
    )


def test_noise_is_two_percent_of_the_range_and_repeats_with_its_seed():
    volumes = torch.linspace(-2, 3, 24**3).reshape(1, 1, 24, 24, 24)
    noisy, _ = apply_one_of_ten(volumes, None, only("noise"))
    noise = noisy - volumes
    assert abs(float(noise.std()) / (0.02 * 5) - 1) < 0.03
    assert abs(float(noise.mean())) < 0.005
    assert torch.equal(noisy, apply_one_of_ten(volumes, None, only("noise"))[0])
    assert not torch.equal(noisy, apply_one_of_ten(volumes, None, only("noise", seed=4))[0])


def test_all_ten_are_drawn_equally_often_and_reproducibly():
    drawn = draw_one_of_ten(5000, seeded())
    counts = np.bincount(drawn.change.numpy(), minlength=10)
    assert len(counts) == len(CHANGES) == 10
    assert (abs(counts - 500) < 4 * np.sqrt(5000 * 0.1 * 0.9)).all()
    assert torch.equal(drawn.change, draw_one_of_ten(5000, seeded()).change)
    volumes = torch.randn(10, 1, 3, 6, 6, generator=seeded(2))
    each = OneOfTen(torch.arange(10), drawn.amount[:10], drawn.noise_seed[:10])
    changed, _ = apply_one_of_ten(volumes, None, each)
    same = [bool(torch.equal(a, b)) for a, b in zip(changed, volumes, strict=True)]
    assert same == [name == "identity" for name in CHANGES]


def test_oblong_planes_cannot_be_turned():
    with pytest.raises(ValueError, match="as long in y as in x"):
        apply_one_of_ten(torch.zeros(1, 1, 4, 5, 6), None, only("rotate-90"))
    turned, _ = apply_one_of_ten(torch.zeros(1, 1, 4, 5, 6), None, only("rotate-180"))
    assert turned.shape == (1, 1, 4, 5, 6)
    with pytest.raises(ValueError, match="one case per change"):
        apply_one_of_ten(torch.zeros(2, 1, 4, 5, 6), None, only("identity"))
