"""Metrics take the tensors of a network as they are: on any device, with gradients, in bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from survimg import evaluation as e
from survimg.target import make_outcome

RNG = np.random.default_rng(0)
N = 60
Y = make_outcome(RNG.random(N) < 0.6, RNG.exponential(20, N))
RISK = torch.tensor(RNG.normal(size=N), dtype=torch.bfloat16)
GRID = np.array([5.0, 10.0, 20.0])
SURVIVAL = torch.exp(-torch.exp(RISK.double())[:, None] * torch.tensor(GRID) / 20)
MASK = torch.tensor(RNG.random((4, 4, 4)) < 0.5)

METRICS = {
    "harrell": lambda risk, _s, _m: e.concordance_index(Y, risk, sample_weight=risk > 0),
    "uno": lambda risk, _s, _m: e.uno_concordance(Y, Y, risk, 30),
    "auc": lambda risk, _s, _m: e.cumulative_dynamic_auc(Y, Y, risk, GRID).mean_auc,
    "auc by time": lambda _r, s, _m: e.cumulative_dynamic_auc(Y, Y, 1 - s, GRID).mean_auc,
    "cut-off": lambda risk, _s, _m: e.learn_cutoff(Y, risk).high_risk(risk).sum(),
    "antolini": lambda _r, s, _m: e.antolini_concordance(Y, s, GRID, 20),
    "brier": lambda _r, s, _m: e.brier_score(Y, Y, s, GRID),
    "calibration": lambda _r, s, _m: e.integrated_calibration_index(Y, s[:, 1], 10.0).ici,
    "decision": lambda _r, s, _m: e.decision_curve(Y, 1 - s[:, 1], 10.0, [0.2, 0.4]).net_benefit,
    "bootstrap": lambda risk, _s, _m: e.bootstrap_interval(
        e.concordance_index, Y, risk, n_resamples=100, random_state=0
    ).lower,
    "dice": lambda _r, _s, m: e.dice(m, m.flip(0) if hasattr(m, "flip") else m[::-1]),
}  # fmt: skip
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", METRICS)
def test_a_tensor_is_judged_as_its_array(name, device):
    arrays = (RISK.double().numpy(), SURVIVAL.numpy(), MASK.numpy())
    tensors = [tensor.clone().to(device) for tensor in (RISK, SURVIVAL, MASK)]
    for tensor in tensors[:2]:
        tensor.requires_grad_()
    np.testing.assert_array_equal(METRICS[name](*tensors), METRICS[name](*arrays))
