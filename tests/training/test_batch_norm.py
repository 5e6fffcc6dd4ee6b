"""Statistics of batch normalisation: over what they are taken, and where there are none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from survimg.compute.devices import isolated_torch
from survimg.datasets import make_phantom_cohort
from survimg.estimators import MDSN, CNNSurvival
from survimg.training.batches import PatientBatches


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=12, shape=(18, 18, 18), random_state=0).cohort


def test_statistics_are_averages_over_the_last_batches_under_the_final_weights(
    cohort, monkeypatch
):
    drawn = []
    draw = PatientBatches.draw
    monkeypatch.setattr(
        PatientBatches, "draw", lambda self: (drawn.append(draw(self)), drawn[-1])[1]
    )
    model = CNNSurvival(
        n_iterations=4, batch_norm_batches=3, batch_size=6, width=4, hidden=8, learning_rate=0.05,
        n_threads=1, random_state=0, precision="float32",
    ).fit(cohort, cohort.outcome)  # fmt: skip
    assert len(drawn) == 4 + 3
    network = model.net_.module_.eval()
    norm = next(layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))
    seen = []
    norm.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for inputs, _targets in drawn[-3:]:
            model.net_.infer(inputs)
    means = torch.stack([values.mean((0, 2, 3)) for values in seen])
    variances = torch.stack([values.var((0, 2, 3)) for values in seen])
    torch.testing.assert_close(norm.running_mean, means.mean(0))
    torch.testing.assert_close(norm.running_var, variances.mean(0))


def test_a_single_value_per_channel_is_named(cohort):
    model = MDSN(
        n_iterations=1, batch_size=4, micro_batch_size=1, n_threads=1, random_state=0,
        precision="float32",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"1 patient\(s\) of 18 x 18 x 18.*micro_batch"):
        model.fit(cohort, cohort.outcome)


def test_a_fit_on_the_cpu_leaves_the_streams_of_gpus_alone(monkeypatch):
    def refuse(_seed: int) -> None:
        raise AssertionError("the GPUs were seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    with isolated_torch(torch.device("cpu"), None, 3):
        first = torch.rand(4)
    with isolated_torch(torch.device("cpu"), None, 3):
        assert torch.equal(torch.rand(4), first)
