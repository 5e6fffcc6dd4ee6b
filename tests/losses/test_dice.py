"""Soft Dice loss: both published forms, missing masks, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from survimg.losses import dice_loss


def random_case(seed, n=3):
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(n, 4, 5, 3, generator=generator, dtype=torch.float64)
    mask = torch.rand(n, 4, 5, 3, generator=generator) > 0.6
    return probability, mask.to(torch.uint8)


def test_both_forms_written_out():
    p, g = random_case(0)
    squared, plain = [], []
    for pi, gi in zip(p.numpy(), g.numpy().astype(float), strict=True):
        overlap = 2 * np.sum(pi * gi)
        squared.append(overlap / (np.sum(pi**2) + np.sum(gi**2)))
        plain.append(overlap / (np.sum(pi) + np.sum(gi)))
    assert dice_loss(p, g).item() == pytest.approx(-np.mean(squared), abs=1e-12)
    assert dice_loss(p, g, squared=False).item() == pytest.approx(-np.mean(plain), abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), squared=st.booleans())
def test_range_and_best_value(seed, squared):
    p, g = random_case(seed)
    assert -1 <= dice_loss(p, g, squared=squared) <= 0
    assert dice_loss(g.double(), g, squared=squared).item() == pytest.approx(-1)
    assert dice_loss(1 - g.double(), g, squared=squared).item() == 0


@pytest.mark.parametrize("squared", [True, False])
def test_gradient_equals_finite_differences(squared):
    p, g = random_case(2)
    has_mask = torch.tensor([True, False, True])
    p.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: dice_loss(x, g, squared=squared, has_mask=has_mask), p
    )


def test_cases_without_a_mask_are_left_out_of_the_average():
    p, g = random_case(3)
    p.requires_grad_()
    has_mask = torch.tensor([True, False, True])
    loss = dice_loss(p, g, has_mask=has_mask)
    loss.backward()
    assert torch.equal(loss, dice_loss(p[has_mask], g[has_mask]))
    assert (p.grad[1] == 0).all()
    assert (p.grad[0] != 0).any()


def test_without_any_mask_contributes_exactly_nothing():
    p, g = random_case(4)
    p.requires_grad_()
    loss = dice_loss(p, g, has_mask=torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert (p.grad == 0).all()


def test_empty_mask_and_empty_prediction_stay_finite():
    p = torch.zeros(1, 2, 2, 2, requires_grad=True)
    loss = dice_loss(p, torch.zeros(1, 2, 2, 2))
    loss.backward()
    assert loss.item() == 0
    assert p.grad.isfinite().all()


def test_half_precision_is_summed_in_float32():
    p = torch.full((1, 64, 64, 64), 0.5, dtype=torch.float16)
    g = torch.ones_like(p)
    # 262144 voxels overflow float16; squared: 2 * .5 / (.25 + 1).
    assert dice_loss(p, g).item() == pytest.approx(-0.8)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="same shape"):
        dice_loss(torch.zeros(2, 4, 4), torch.zeros(2, 4, 5))
    with pytest.raises(ValueError, match="has_mask must have shape"):
        dice_loss(torch.zeros(2, 4), torch.zeros(2, 4), has_mask=torch.ones(3))
