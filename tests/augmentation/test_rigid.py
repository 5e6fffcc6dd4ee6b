"""Augmentation: identities, exact moves, agreement with SciPy, alignment, the recipes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from survimg.augmentation import Transforms, apply_transforms, draw_transforms

SIZE = (9, 12, 15)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def moves(flip=(False,), rotation=((0, 0, 0),), translation=((0, 0, 0),), **options):
    return Transforms(
        torch.tensor(flip),
        torch.tensor(rotation, dtype=torch.float64),
        torch.tensor(translation, dtype=torch.float64),
        **options,
    )


both_interpolations = pytest.mark.parametrize("interpolation", ["nearest", "linear"])


def random_case(n=1, size=SIZE, seed=0):
    volumes = torch.randn(n, 2, *size, generator=seeded(seed))
    masks = (torch.rand(n, *size, generator=seeded(seed + 1)) > 0.7).to(torch.uint8)
    return volumes, masks


@both_interpolations
@pytest.mark.parametrize("threshold", [None, 0.2])
def test_nothing_drawn_nothing_moved(threshold, interpolation):
    volumes, masks = random_case()
    nothing = moves(mask_threshold=threshold, interpolation=interpolation)
    moved, moved_masks = apply_transforms(volumes, masks, nothing)
    assert torch.allclose(moved, volumes, atol=1e-4)
    assert torch.equal(moved_masks, masks)


@both_interpolations
def test_flip_mirrors_the_last_axis_and_undoes_itself(interpolation):
    volumes, masks = random_case()
    flip = moves(flip=(True,), interpolation=interpolation)
    once = apply_transforms(volumes, masks, flip)
    assert torch.allclose(once[0], volumes.flip(-1), atol=1e-4)
    assert torch.equal(once[1], masks.flip(-1))
    twice = apply_transforms(*once, flip)
    assert torch.allclose(twice[0], volumes, atol=1e-4)
    assert torch.equal(twice[1], masks)


@settings(deadline=None, max_examples=30)
@given(
    shift=st.tuples(*(st.integers(-4, 4) for _ in range(3))),
    interpolation=st.sampled_from(["nearest", "linear"]),
)
def test_integer_translation_is_exact_and_fills_with_zero(shift, interpolation):
    volumes, masks = random_case()
    expected = torch.zeros_like(volumes)
    expected_masks = torch.zeros_like(masks)
    source = tuple(slice(max(0, -s), d - max(0, s)) for s, d in zip(shift, SIZE, strict=True))
    target = tuple(slice(max(0, s), d - max(0, -s)) for s, d in zip(shift, SIZE, strict=True))
    expected[(..., *target)] = volumes[(..., *source)]
    expected_masks[(..., *target)] = masks[(..., *source)]
    shifted = moves(translation=(shift,), interpolation=interpolation)
    moved, moved_masks = apply_transforms(volumes, masks, shifted)
    assert torch.allclose(moved, expected, atol=1e-4)
    assert torch.equal(moved_masks, expected_masks)


@both_interpolations
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quarter_turns_are_exact(axis, interpolation):
    volumes, masks = random_case(size=(8, 8, 8))
    rotation = [0.0, 0.0, 0.0]
    rotation[axis] = 90.0
    turned = moves(rotation=(tuple(rotation),), interpolation=interpolation)
    moved, moved_masks = apply_transforms(volumes, masks, turned)
    plane = ((axis + 1) % 3, (axis + 2) % 3)
    assert torch.allclose(moved, torch.rot90(volumes, 1, [a + 2 for a in plane]), atol=1e-4)
    assert torch.equal(moved_masks, torch.rot90(masks, 1, [a + 1 for a in plane]))


@pytest.mark.parametrize(("recipe", "order"), [("uniform", 1), ("nearest", 0)])
def test_equals_scipys_affine_transform(recipe, order):
    volumes, _ = random_case(n=3)
    transforms = draw_transforms(
        3, seeded(4), translation=(1.5, 3, 2), rotation=20, recipe=recipe
    )
    moved, _ = apply_transforms(volumes, None, transforms)
    centre = (np.array(SIZE) - 1) / 2
    for case in range(3):
        backward = np.linalg.inv(transforms.linear_part()[case].numpy())
        offset = centre - backward @ (centre + transforms.translation[case].numpy())
        for channel in range(2):
            expected = ndimage.affine_transform(
                volumes[case, channel].numpy(), backward, offset, order=order, mode="grid-constant"
            )
            actual = moved[case, channel].numpy()
            differs = np.abs(actual - expected) > 1e-4
            # Half-way between two voxels, rounding decides which one is the nearest.
            assert differs.mean() <= (1e-3 if recipe == "nearest" else 0)


def test_nearest_neighbours_keep_noise_that_linear_interpolation_smooths():
    volumes = torch.randn(8, 1, 24, 24, 24, generator=seeded())
    inner = (..., *[slice(5, -5)] * 3)
    spread = {}
    for recipe in ("nearest", "uniform"):
        transforms = draw_transforms(8, seeded(2), translation=2, rotation=5, recipe=recipe)
        moved, _ = apply_transforms(volumes, None, transforms)
        spread[recipe] = moved[inner].std().item()
        if recipe == "nearest":
            assert torch.isin(moved, torch.cat([volumes.flatten(), torch.zeros(1)])).all()
    assert spread["nearest"] == pytest.approx(1, abs=0.02)
    assert spread["uniform"] < 0.7


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), recipe=st.sampled_from(["nearest", "uniform", "fixed"]))
def test_image_and_mask_move_together(seed, recipe):
    """A smooth ball and its own mask must still match after any transform."""
    axes = torch.meshgrid(*(torch.arange(float(d)) for d in (24, 24, 24)), indexing="ij")
    distance = sum((a - c) ** 2 for a, c in zip(axes, (11.0, 9.0, 14.0), strict=True)).sqrt()
    volumes = (8 - distance)[None, None]
    masks = (volumes[:, 0] > 2).to(torch.uint8)
    transforms = draw_transforms(1, seeded(seed), translation=3, rotation=10, recipe=recipe)
    moved, moved_masks = apply_transforms(volumes, masks, transforms)
    # the code's 0.2 dilates by about a third of a voxel
    level = 1.7 if recipe == "fixed" else 2.0
    expected = moved[:, 0] > level
    both = (expected & moved_masks.bool()).sum()
    agreement = 2 * both / (expected.sum() + moved_masks.sum())
    assert agreement == 1 if recipe == "nearest" else agreement > 0.9
    assert (moved_masks.sum() > masks.sum()) or recipe != "fixed"


def test_a_transform_and_its_inverse_cancel():
    volumes = torch.zeros(1, 1, 25, 25, 25)
    axes = torch.linspace(-2, 2, 25)
    bump = (-(axes**2)).exp()
    volumes[0, 0] = bump[:, None, None] * bump[None, :, None] * bump[None, None, :]
    turned, _ = apply_transforms(volumes, None, moves(rotation=((0, 7, 0),)))
    back, _ = apply_transforms(turned, None, moves(rotation=((0, -7, 0),)))
    assert (back - volumes).abs().max() < 0.02


def test_paper_draws_within_and_code_draws_at_the_limits():
    paper = draw_transforms(4000, seeded(1), translation=(10, 5, 0), rotation=5, recipe="uniform")
    assert (paper.translation.abs() <= torch.tensor([10.0, 5.0, 0.0])).all()
    assert paper.translation[:, 0].abs().mean() == pytest.approx(5, abs=0.2)
    assert paper.rotation.abs().max() <= 5
    assert paper.rotation.std().item() == pytest.approx(5 / 3**0.5, rel=0.03)
    assert paper.flip.double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert paper.mask_threshold is None
    assert paper.interpolation == "linear"

    code = draw_transforms(4000, seeded(1), translation=(10, 5, 0), rotation=5, recipe="fixed")
    assert set(code.translation[:, 0].tolist()) == {-10.0, 10.0}
    assert set(code.translation[:, 1].tolist()) == {-5.0, 5.0}
    assert code.translation.mean(0)[:2].abs().max() < 0.5
    assert code.mask_threshold == 0.2
    assert torch.equal(code.rotation, paper.rotation)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_flip_probability(probability):
    flips = draw_transforms(50, seeded(), flip_probability=probability).flip
    assert (flips == bool(probability)).all()


def test_same_generator_state_same_transforms_and_global_generator_untouched():
    before = torch.random.get_rng_state()
    first, second = draw_transforms(5, seeded(3)), draw_transforms(5, seeded(3))
    assert torch.equal(first.rotation, second.rotation)
    assert torch.equal(first.translation, second.translation)
    assert not torch.equal(first.rotation, draw_transforms(5, seeded(4)).rotation)
    assert torch.equal(before, torch.random.get_rng_state())


def test_types_are_kept_and_cases_move_independently():
    volumes, masks = random_case(n=2)
    transforms = moves((False, True), ((0, 0, 0),) * 2, ((2, 0, 0), (0, 0, 0)))
    moved, moved_masks = apply_transforms(volumes.to(torch.bfloat16), masks.bool(), transforms)
    assert moved.dtype == torch.bfloat16
    assert moved_masks.dtype == torch.bool
    alone = moves((True,), ((0, 0, 0),), ((0, 0, 0),))
    assert torch.allclose(
        apply_transforms(volumes, None, transforms)[0][1:],
        apply_transforms(volumes[1:], None, alone)[0],
        atol=1e-5,
    )


def test_single_slices_move_in_their_plane():
    volumes = torch.randn(1, 2, 1, 8, 8, generator=seeded())
    turned, _ = apply_transforms(volumes, None, moves(rotation=((90, 0, 0),)))
    assert torch.allclose(turned, torch.rot90(volumes, 1, [3, 4]), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "imgaug"}, "recipe must be"),
        ({"flip_probability": 1.5}, "flip_probability"),
        ({"translation": -1}, "translation is the largest amount"),
        ({"rotation": (1, 2)}, "rotation is the largest amount"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        draw_transforms(2, seeded(), **options)


def test_shapes_that_do_not_fit_are_refused():
    volumes, masks = random_case(n=2)
    with pytest.raises(ValueError, match="one case per transform"):
        apply_transforms(volumes, masks, moves())
    with pytest.raises(ValueError, match="masks must have shape"):
        apply_transforms(volumes[:1], masks[:1, :3], moves())
