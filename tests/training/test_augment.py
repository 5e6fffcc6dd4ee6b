"""Transforms of any library over {"image", "mask"}."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import Compose, OneOf, RandAffined, RandFlip, RandFlipd, RandGaussianNoised

from survimg.training.augment import TransformedCases

MONAI = Compose(
    [
        RandAffined(["image", "mask"], prob=0.9, mode=("bilinear", "nearest"),
                    rotate_range=0.3, translate_range=2),
        OneOf([RandGaussianNoised(["image"], prob=1.0), RandFlipd(["image", "mask"], prob=1.0)]),
    ]
)  # fmt: skip


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(4, 2, 8, 9, 10, generator=generator)
    return images, (images[:, 0] > 1).float()


def apply(transform, batch, seed=0):
    return TransformedCases(transform, torch.Generator().manual_seed(seed))(*batch)


def torchio_transform():
    torchio = pytest.importorskip("torchio", reason="TorchIO is not installed")
    return torchio.Compose([torchio.RandomFlip(axes="LR", flip_probability=0.5),
                            torchio.RandomAffine(), torchio.RandomNoise()])  # fmt: skip


def of_numpy(case):
    turns = np.random.randint(1, 4)  # noqa: NPY002
    return {"image": case["image"] * turns, "mask": case["mask"]}


@pytest.mark.parametrize("make", [lambda: MONAI, torchio_transform, lambda: of_numpy],
                         ids=["monai", "torchio", "numpy"])  # fmt: skip
def test_the_seed_decides_and_global_generators_stay_as_they_are(make, batch):
    transform, before = make(), batch[0].clone()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    images, masks = apply(transform, batch)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    again, masks_again = apply(transform, batch)
    assert torch.equal(images, again)
    assert torch.equal(masks, masks_again)
    assert not torch.equal(images, apply(transform, batch, seed=1)[0])
    assert torch.equal(batch[0], before)
    assert type(images) is torch.Tensor
    assert images.shape == batch[0].shape
    assert masks.dtype == batch[1].dtype
    assert set(masks.unique().tolist()) <= {0.0, 1.0}


def test_cases_are_transformed_apart(batch):
    images, _ = apply(of_numpy, batch)
    factors = (images / batch[0]).mean(dim=(1, 2, 3, 4))
    assert len(factors.round().unique()) > 1


def test_masks_move_with_their_images():
    volume = torch.zeros(1, 1, 8, 8, 8)
    volume[0, 0, 2, 3, 4] = 5.0
    images, masks = apply(RandFlipd(["image", "mask"], prob=1.0), (volume, volume[:, 0] / 5))
    assert torch.equal(images[:, 0] / 5, masks)
    assert not torch.equal(images, volume)


def test_torchio_is_told_which_axis_is_left_right():
    torchio = pytest.importorskip("torchio", reason="TorchIO is not installed")
    volume = torch.arange(4 * 5 * 6.0).reshape(1, 1, 4, 5, 6)
    flipped, _ = apply(torchio.RandomFlip(axes="LR", flip_probability=1), (volume, None))
    assert torch.equal(flipped, volume.flip(-1))


def test_slices_have_no_mask(batch):
    seen = []

    def look(case):
        seen.append(sorted(case))
        return case

    images, masks = apply(look, (batch[0][:, :, 0], batch[1]))
    assert torch.equal(images, batch[0][:, :, 0])
    assert torch.equal(masks, batch[1])
    assert seen == [["image"]] * 4


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda case: case["image"], "must return a dictionary"),
        (lambda case: {"image": case["image"]}, "it returned \\['image'\\]"),
        (lambda case: {**case, "image": case["image"][:, 1:]}, "must keep the shape"),
        (RandFlip(prob=1), "RandFlip fails on a dictionary of .*'image'.*AttributeError.*Flipd"),
    ],
)
def test_other_results_are_refused(transform, message, batch):
    with pytest.raises(ValueError, match=message):
        apply(transform, batch)
