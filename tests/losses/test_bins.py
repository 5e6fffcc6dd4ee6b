"""Losses over bins of time against pycox and torchmtlr, and their properties."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from survimg.losses import (
    deephit_ranking_loss,
    log_survival_of_bins,
    mtlr_logits,
    mtlr_loss,
)

CUTS = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
TIME = torch.tensor([0.5, 1.5, 2.5, 1.5], dtype=torch.float64)
EVENT = torch.tensor([True, True, False, False])
OUTPUTS = torch.tensor(
    [[0.1, -0.4, 0.9], [1.2, 0.3, -0.7], [-0.5, 0.8, 0.2], [0.0, 0.6, -1.1]], dtype=torch.float64
)
WITH_TAIL = torch.nn.functional.pad(OUTPUTS, (0, 1))


@pytest.mark.parametrize(
    ("time", "event", "value"),
    [
        ([1.5, 0.5], [True, True], 2.3039),
        ([1.5, 0.5], [False, False], 0.3575),
        ([1.5, 0.5], [True, False], 1.1019),
    ],
)
def test_the_likelihood_is_that_of_torchmtlr(time, event, value):
    logits = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    loss = mtlr_loss(logits, torch.tensor(time), torch.tensor(event), torch.tensor([1.0, 2.0]))
    assert 2 * loss.item() == pytest.approx(value, abs=1e-4)  # a sum there


def test_likelihoods_and_ranking_are_those_of_pycox():
    path = Path(__file__).parent / "references" / "interval_losses.json"
    expected = json.loads(path.read_text("utf-8"))
    mtlr = mtlr_loss(mtlr_logits(OUTPUTS), TIME, EVENT, CUTS).item()
    assert mtlr == pytest.approx(expected["mtlr"], rel=1e-5)
    rank = deephit_ranking_loss(WITH_TAIL, TIME, EVENT, CUTS, sigma=0.1).item()
    assert rank == pytest.approx(expected["ranking"], rel=1e-5)
    likelihood = mtlr_loss(WITH_TAIL, TIME, EVENT, CUTS).item()
    assert 0.2 * likelihood + 0.8 * rank == pytest.approx(expected["deephit"], rel=1e-5)


def test_small_probabilities_do_not_underflow():
    logits = torch.tensor([[0.0, -2000.0, -2000.0]], requires_grad=True)
    loss = mtlr_loss(logits, torch.tensor([1.5]), torch.tensor([False]), torch.tensor([1.0, 2.0]))
    loss.backward()
    assert loss.item() == pytest.approx(2000, rel=1e-3)
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0


def test_survival_is_the_probability_of_the_bins_that_follow():
    probability = mtlr_logits(OUTPUTS).softmax(dim=1)
    survival = log_survival_of_bins(mtlr_logits(OUTPUTS)).exp()
    torch.testing.assert_close(survival[:, 0], torch.ones(4, dtype=torch.float64))
    for k in range(1, 4):
        torch.testing.assert_close(survival[:, k], probability[:, k:].sum(dim=1))
    assert (survival.diff(dim=1) <= 0).all()


def test_a_cut_belongs_to_the_bin_that_it_starts():
    logits = torch.tensor([[3.0, 0.0, 0.0]])
    at, before = (
        mtlr_loss(logits, torch.tensor([t]), torch.tensor([True]), torch.tensor([1.0, 2.0]))
        for t in (1.0, 0.999)
    )
    assert at - before == pytest.approx(3.0)


def test_the_ranking_falls_when_the_earlier_patient_has_the_higher_incidence():
    early = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    time, event, cuts = torch.tensor([0.5, 1.5]), torch.tensor([True, False]), CUTS[:2].float()
    right = deephit_ranking_loss(early, time, event, cuts)
    wrong = deephit_ranking_loss(early.flip(0), time, event, cuts)
    assert right < wrong
    nobody = deephit_ranking_loss(early, time, torch.tensor([False, False]), cuts)
    assert nobody.item() == 0
    after_all_cuts = deephit_ranking_loss(early, time + 5, event, cuts)
    assert after_all_cuts.item() == 0


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"n cuts \+ 1"):
        mtlr_loss(OUTPUTS, TIME, EVENT, CUTS)
