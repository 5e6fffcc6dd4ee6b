"""One fit shared by several processes: two on the CPU of this machine, which talk through gloo."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from torch import Tensor, nn

from survimg import Cohort
from survimg.compute import fit_on_devices, several_devices
from survimg.compute.ranks import Ranks, current_ranks
from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival, DeepMTS
from survimg.estimators.deep import CoxVolumeEstimator
from survimg.losses import cox_loss
from survimg.training.accumulation import parts_of
from survimg.training.batches import BatchSampler, PatientBatches

TWO = ["cpu", "cpu"]
STEPS: dict = {
    "n_iterations": 2, "iterations_per_epoch": 1, "batch_size": 6, "batch_norm_batches": 2,
    "n_threads": 1, "random_state": 0, "device": "cpu", "precision": "float32",
}  # fmt: skip

MOVING: dict = {
    **STEPS, "learning_rate": 1e-2, "width": 4, "hidden": 8, "slice_choice": "central",
    "masked_input": False,
}  # fmt: skip
# The second epoch begins when both processes are through with the first, checkpoint included.
DYING: dict = {**MOVING, "n_iterations": 4, "iterations_per_epoch": 2}


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


class BrokenOff(BaseEstimator):
    """Breaks a fit off when it reads a certain batch, in all processes, and begins it again."""

    def __init__(self, estimator, n_batches, folder) -> None:
        self.estimator = estimator
        self.n_batches = n_batches
        self.folder = folder

    def fit(self, X, y):
        model = clone(self.estimator).set_params(checkpoint_folder=self.folder)
        n_read, read = [], PatientBatches.draw

        def interrupted(batches):
            n_read.append(len(n_read))
            if len(n_read) == self.n_batches:
                raise KeyboardInterrupt
            return read(batches)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PatientBatches, "draw", interrupted)
            with pytest.raises(KeyboardInterrupt):
                model.fit(X, y)
            if current_ranks().rank == 0:  # which writes it
                assert len(list(Path(self.folder).glob("CNNSurvival-*-2-devices.pt"))) == 1
            model.fit(X, y)
        model.n_read_again_ = len(n_read) - self.n_batches
        return model


class Dies(CNNSurvival):
    """The first time that it is fitted with checkpoints, a process dies in the second epoch."""

    def _make_augment(self, generator):
        augment, self.n_batches_ = super()._make_augment(generator), 0

        def counted(images, masks, n_drawn, own):
            self.n_batches_ += 1
            if self.checkpoint_folder is not None and self.n_batches_ == 4 and own.start == 1:
                mark = Path(self.checkpoint_folder, "died")
                if not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            return augment(images, masks, n_drawn, own)

        return counted


def models(part: int | None) -> list:
    # With so small a rate the last gradient is still that of the first weights.
    still = {**STEPS, "learning_rate": 1e-12}
    return [
        LinearCox(**still),
        WithoutDropout(**still, micro_batch_size=part),
        CNNSurvival(**MOVING, validation_fraction=0.4, dropout=0.0, micro_batch_size=part),
    ]


def with_dropout() -> list:
    return [
        CNNSurvival(**MOVING, validation_fraction=0.4),
        CNNSurvival(**MOVING, micro_batch_size=2),
        Dies(**DYING),
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
def shared(cohort, tmp_path_factory) -> Each:
    whole = with_dropout()
    folder = str(tmp_path_factory.mktemp("checkpoints"))
    # The first batch of the second epoch, of two: three of the first, with those that prepare the
    # score of the held-out patients; or one.
    again = [BrokenOff(model, n, folder) for model, n in zip(whole, (4, 2), strict=False)]
    return fit_on_devices(Each([*models(None), *whole, *again]), cohort, cohort.outcome, TWO)


@pytest.fixture(scope="module")
def alone(cohort) -> list:
    return [model.fit(cohort, cohort.outcome) for model in models(3)]


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


@pytest.fixture(scope="module")
def died(cohort, tmp_path_factory) -> SimpleNamespace:
    model = Dies(**DYING, checkpoint_folder=tmp_path_factory.mktemp("checkpoints"))
    with pytest.raises(ChildProcessError) as caught:
        fit_on_devices(model, cohort, cohort.outcome, TWO)
    return SimpleNamespace(model=model, message=str(caught.value))


def test_a_dying_process_ends_the_fit(died):
    assert "in process 2 of 2, on cpu:" in died.message
    assert "SIGKILL" in died.message
    assert not hasattr(died.model, "net_")


def test_an_interrupted_call_ends_the_processes(cohort, monkeypatch):
    def spawn(_function, args, nprocs, join):
        assert not join
        assert len(args[0]) == nprocs
        for process in processes:
            process.start()

        def interrupt():
            raise KeyboardInterrupt

        return SimpleNamespace(processes=processes, join=interrupt)

    start = multiprocessing.get_context("spawn").Process
    processes = [start(target=time.sleep, args=(600,)) for _ in TWO]
    monkeypatch.setattr(torch.multiprocessing, "spawn", spawn)
    with pytest.raises(KeyboardInterrupt):
        fit_on_devices(LinearCox(), cohort, cohort.outcome, TWO)
    assert [process.exitcode for process in processes] == [-signal.SIGTERM] * 2


# ---------------------------------------------------------------- checkpoints


def same_to_the_bit(resumed, whole, cohort):
    np.testing.assert_array_equal(resumed.predict(cohort), whole.predict(cohort))
    state = whole.net_.module_.state_dict()
    for name, value in resumed.net_.module_.state_dict().items():
        assert torch.equal(value, state[name]), name
    columns = whole.history_.columns.drop("seconds")
    assert resumed.history_[columns].equals(whole.history_[columns])


@pytest.mark.parametrize("which", [0, 1], ids=["held-out patients", "none"])
def test_a_fit_that_was_broken_off_goes_on_with_the_same_bits(which, shared, cohort):
    """Dropout, augmentation, batch normalisation of shares: as if nothing had happened."""
    whole, resumed = shared.fitted_[3 + which], shared.fitted_[6 + which]
    same_to_the_bit(resumed, whole, cohort)
    assert resumed.n_read_again_ == 1 + 2  # the second epoch, and batch normalisation
    assert not list(Path(resumed.checkpoint_folder).iterdir())


def test_another_number_of_devices_does_not_go_on(died, cohort):
    (path,) = Path(died.model.checkpoint_folder).glob("*.pt")
    with pytest.raises(ValueError, match=f"{path}.*another number of devices than 1") as caught:
        clone(died.model).fit(cohort, cohort.outcome)
    assert "delete the file" in str(caught.value)
    assert path.exists()


@pytest.mark.slow
def test_a_fit_whose_process_died_goes_on_with_the_same_bits(died, shared, cohort):
    resumed = fit_on_devices(died.model, cohort, cohort.outcome, TWO)
    same_to_the_bit(resumed, shared.fitted_[5], cohort)
    assert (resumed.n_batches_, shared.fitted_[5].n_batches_) == (2 + 2, 4 + 2)


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

    def spawn(_function, args, nprocs, join):
        assert (nprocs, join) == (2, False)
        assert taken == ["cuda:0", "cuda:1"]
        devices, folder, model, _, _ = args
        assert devices == ["cuda:1", "cuda:0"]
        Path(folder, "fitted").write_bytes(pickle.dumps(model))
        return SimpleNamespace(processes=[], join=lambda: True)

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
