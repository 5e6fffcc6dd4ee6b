"""One fit shared by several processes: two on the CPU of this machine, which talk through gloo."""

from __future__ import annotations

import os
import pickle
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival, DeepMTS, fit_on_devices, several_devices
from survimg.estimators.accumulation import parts_of
from survimg.estimators.batches import BatchSampler
from survimg.estimators.ranks import Ranks, current_ranks
from survimg.estimators.volume_survival_estimator import CoxVolumeEstimator
from survimg.losses import cox_loss

TWO = ["cpu", "cpu"]
STEPS: dict = {
    "n_iterations": 2, "iterations_per_epoch": 1, "batch_size": 6, "batch_norm_batches": 2,
    "n_threads": 1, "random_state": 0, "device": "cpu", "precision": "float32",
}  # fmt: skip


class RiskOutput(NamedTuple):
    risk: Tensor
    features: Tensor | None


class Linear(nn.Module):
    """Cases do not meet each other in it, so that shares must give the whole batch's gradient."""

    n_features = 1

    def __init__(self, n_channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layer = nn.Linear(n_channels, 1)
        nn.init.normal_(self.layer.weight, generator=generator)
        nn.init.zeros_(self.layer.bias)

    def forward(self, volumes: Tensor, _clinical: Tensor) -> RiskOutput:
        return RiskOutput(self.layer(volumes.std(dim=(2, 3, 4)))[:, 0], None)


def cox_and_penalty(net, output, targets):
    cox = cox_loss(output.risk, targets.time, targets.event, ties="efron")
    return {"cox": cox, "penalty": net.layer.weight.square().sum()}


class KeepsGradients:
    def _keep(self, net, term_names, hold_out):
        self.gradients_ = {n: p.grad.clone() for n, p in net.module_.named_parameters()}
        super()._keep(net, term_names, hold_out)


class LinearCox(KeepsGradients, CoxVolumeEstimator):
    def _make_module(self, n_channels, n_clinical, generator):
        return Linear(n_channels, generator)

    def _make_loss(self, cohort):
        return cox_and_penalty, ("cox", "penalty")


class WithoutDropout(KeepsGradients, DeepMTS):
    """Processes drop different units; without any, they compute what one does."""

    def _make_module(self, n_channels, n_clinical, generator):
        module = super()._make_module(n_channels, n_clinical, generator)
        for layer in module.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        return module


class Each(BaseEstimator):
    """Fits one after the other: the processes that share them are started once."""

    def __init__(self, estimators) -> None:
        self.estimators = estimators

    def fit(self, X, y):
        self.n_ranks_ = current_ranks().n
        self.fitted_ = [estimator.fit(X, y) for estimator in self.estimators]
        return self


def models(part: int | None) -> list:
    # With so small a rate the last gradient is still that of the first weights.
    still = {**STEPS, "learning_rate": 1e-12}
    moving = {
        **STEPS, "learning_rate": 1e-2, "validation_fraction": 0.4, "width": 4, "hidden": 8,
        "slice_choice": "central", "masked_input": False,
    }  # fmt: skip
    return [
        LinearCox(**still),
        WithoutDropout(**still, micro_batch_size=part),
        CNNSurvival(**moving, dropout=0.0, micro_batch_size=part),
        CNNSurvival(**moving, dropout=0.5),
    ]


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    made = make_phantom_cohort(n=16, shape=(16, 20, 20), random_state=0).cohort
    masks = [made.mask(i) for i in range(len(made))]
    return Cohort(
        np.stack([made.volume(i) for i in range(len(made))]),
        masks=np.stack(masks),
        has_mask=np.arange(len(made)) % 3 > 0,
        outcome=made.outcome,
    )


@pytest.fixture(scope="module")
def shared(cohort) -> Each:
    return fit_on_devices(Each(models(None)), cohort, cohort.outcome, TWO)


@pytest.fixture(scope="module")
def alone(cohort) -> list:
    return [model.fit(cohort, cohort.outcome) for model in models(3)[:3]]


def close(found, expected, tolerance):
    scale = max(float(value.abs().max()) for value in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance * scale)


def test_the_loss_is_that_of_the_whole_batch(shared, alone):
    """The Cox risk set is taken over both processes, and the penalty counts once."""
    assert shared.n_ranks_ == 2
    close(shared.fitted_[0].gradients_, alone[0].gradients_, 1e-5)
    assert alone[0].gradients_["layer.weight"].abs().max() > 1e-2
    for term in ("cox", "penalty", "loss"):
        np.testing.assert_allclose(
            shared.fitted_[0].history_[term], alone[0].history_[term], rtol=1e-5
        )


def test_deepmts_has_the_gradient_of_micro_batches_of_the_same_size(shared, alone, cohort):
    """Statistics of batch normalisation are those of a share; all else is that of the batch."""
    found, expected = shared.fitted_[1], alone[1]
    close(found.gradients_, expected.gradients_, 1e-4)
    for term in ("cox", "dice", "l2"):
        np.testing.assert_allclose(found.history_[term], expected.history_[term], rtol=1e-4)
    np.testing.assert_allclose(
        found.predict(cohort), expected.predict(cohort), rtol=1e-3, atol=1e-4
    )


def test_the_trained_model_is_that_of_micro_batches(shared, alone, cohort):
    found, expected = shared.fitted_[2], alone[2]
    np.testing.assert_allclose(
        found.predict(cohort), expected.predict(cohort), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        found.history_["validation_c_index"], expected.history_["validation_c_index"]
    )
    assert found.best_epoch_ == expected.best_epoch_
    assert found.history_["micro_batch_size"].tolist() == [3, 3]
    assert found.net_.ranks_.n == 1
    assert current_ranks().n == 1
    assert np.isfinite(shared.fitted_[3].predict(cohort)).all()


class Dies(CNNSurvival):
    def _make_augment(self, generator):
        calls = []

        def augment(images, masks, n_drawn, own):
            calls.append(n_drawn)
            if len(calls) == 2 and own.start == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return images, masks

        return augment


def test_a_dying_process_ends_the_fit(cohort):
    model = Dies(**STEPS, slice_choice="central", masked_input=False)
    with pytest.raises(ChildProcessError, match="in process 2 of 2, on cpu:.*SIGKILL"):
        fit_on_devices(model, cohort, cohort.outcome, TWO)
    assert not hasattr(model, "net_")


@pytest.mark.slow
def test_what_a_process_refuses_is_told(cohort):
    model = CNNSurvival(**{**STEPS, "batch_size": 5})
    with pytest.raises(ChildProcessError, match="ValueError: A batch of 5 patients cannot be"):
        fit_on_devices(model, cohort, cohort.outcome, TWO)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ([], "at least one"),
        ("cpu", "at least one"),
        (["cuda:0", "cpu"], "one kind"),
        (["cuda:0", "cuda:0"], "different GPUs"),
        (["cuda", "cuda:1"], "different GPUs"),
        (["cuda:0", "cuda:7"], "torch sees 2 GPUs"),
    ],
)
def test_devices_are_checked(cohort, devices, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=message):
        fit_on_devices(LinearCox(), cohort, cohort.outcome, devices)


def test_a_slot_of_each_device_is_held(cohort, monkeypatch):
    """In one order, lest two fits wait for each other."""
    taken = []

    @contextmanager
    def slot_on(device):
        taken.append(str(device))
        yield device, None
        taken.append(f"{device} released")

    def spawn(_function, args, nprocs):
        assert nprocs == 2
        assert taken == ["cuda:0", "cuda:1"]
        devices, folder, model, _, _ = args
        assert devices == ["cuda:1", "cuda:0"]
        Path(folder, "fitted").write_bytes(pickle.dumps(model))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(several_devices, "slot_on", slot_on)
    monkeypatch.setattr(torch.multiprocessing, "spawn", spawn)
    model = LinearCox(learning_rate=0.5)
    found = fit_on_devices(model, cohort, cohort.outcome, ["cuda:1", "cuda:0"])
    assert found is not model
    assert found.learning_rate == 0.5
    assert len(taken) == 4


def test_shares_and_parts_hold_both_kinds():
    """Batch normalisation over patients with the event alone would level what they share."""
    event = np.arange(20) < 8
    drawn = BatchSampler(event, 8, True, np.random.default_rng(0)).draw()
    for parts in (parts_of(8, 4), parts_of(8, 3), [Ranks(rank, 2).share(8) for rank in (0, 1)]):
        assert all(event[drawn[part]].any() and not event[drawn[part]].all() for part in parts)
        assert sorted(np.concatenate([np.arange(8)[part] for part in parts])) == list(range(8))


def test_processes_drop_different_units():
    def units(rank, iteration):
        with torch.random.fork_rng(devices=[]):
            Ranks(rank, 2).own_dropout(0, iteration)
            return torch.rand(4)

    assert torch.equal(units(1, 3), units(1, 3))
    assert not torch.equal(units(0, 3), units(1, 3))
    assert not torch.equal(units(0, 3), units(0, 4))
