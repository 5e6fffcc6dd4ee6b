"""The training engine: accumulation, validation, checkpoints, continued and transferred weights."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from quick_networks import quick
from torch import Tensor, nn
from tqdm.auto import tqdm

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import MDSN, CNNSurvival, DeepMTS, SingleTaskSurvival
from survimg.losses import cox_loss
from survimg.target import make_outcome
from survimg.training.accumulation import backward_in_parts
from survimg.training.batches import PatientBatches
from survimg.training.checkpoints import fit_key, without_checksum
from survimg.training.holdout import HoldOut, split_by_event

N = 12


@pytest.fixture(scope="module")
def fitted(cohort: Cohort) -> CNNSurvival:
    return quick().fit(cohort, cohort.outcome)


def weights(model) -> dict[str, Tensor]:
    return model.net_.module_.state_dict()


# ---------------------------------------------------------------- every training parameter

CHANGES = {
    "n_iterations": 5,
    "batch_size": 6,
    "learning_rate": 1e-3,
    "schedule": "step",
    "balanced": False,
    "augmentation": None,
    "max_translation": 0.3,
    "max_rotation": 40,
    "gradient_clip": 1e-4,
    "ema_decay": 0.9,
    "test_time_flip": True,
    "micro_batch_size": 2,
    "validation_fraction": 0.4,
    "batch_norm_batches": 3,
    "frozen": ["stages.0"],
    "clinical_columns": [],
    "random_state": 1,
}


@pytest.mark.parametrize("name", CHANGES)
def test_training_parameters_change_the_result(name, fitted, cohort):
    changed = quick(**{name: CHANGES[name]}).fit(cohort, cohort.outcome)
    assert not np.array_equal(changed.predict(cohort), fitted.predict(cohort))


@pytest.mark.parametrize(
    ("kind", "ties"),
    [(MDSN, "efron"), (MDSN, "sorted"), (DeepMTS, "efron"), (SingleTaskSurvival, "efron")],
)
def test_treatment_of_ties_changes_the_result(kind, ties):
    tied = make_phantom_cohort(n=6, shape=(16, 16, 16), random_state=0).cohort
    y = make_outcome([1, 1, 1, 1, 0, 0], [5.0, 5.0, 5.0, 7.0, 9.0, 9.0])
    risks = [
        kind(
            n_iterations=2, batch_size=6, balanced=False, batch_norm_batches=1, n_threads=1,
            random_state=0, ties=choice,
        ).fit(tied, y).predict(tied[:1])
        for choice in ("breslow", ties)
    ]  # fmt: skip
    assert not np.array_equal(*risks)


# ---------------------------------------------------------------- gradient accumulation


class Output(NamedTuple):
    risk: Tensor
    unused: None


class Toy(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout)).double()
        self.output = nn.Linear(8, 1).double()
        self.seen: list[Tensor] = []

    def forward(self, inputs) -> Output:
        hidden = self.layers(inputs["volumes"])
        self.seen.append(hidden.detach().clone())
        return Output(self.output(hidden)[:, 0], None)


@pytest.fixture
def toy_batch():
    rng = np.random.default_rng(0)
    inputs = {"volumes": torch.from_numpy(rng.normal(size=(7, 5)))}
    time = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0])
    event = torch.tensor([True, True, False, True, True, False, True])
    return inputs, time, event


def gradients_of(net: Toy) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in net.parameters()]


@pytest.mark.parametrize("ties", ["breslow", "efron", "sorted"])
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_parts_give_the_gradient_of_the_whole_risk_set(toy_batch, size, ties):
    inputs, time, event = toy_batch
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        net = Toy()

    def loss(output):
        penalty = net.output.weight.square().sum()
        return cox_loss(output.risk, time, event, ties=ties) + penalty

    whole = loss(net(inputs))
    whole.backward()
    expected = gradients_of(net)
    net.zero_grad()
    total, output = backward_in_parts(net, loss, inputs, size)
    assert total.item() == pytest.approx(whole.item(), abs=1e-12)
    assert output.risk.shape == (7,)
    for found, true in zip(gradients_of(net), expected, strict=True):
        torch.testing.assert_close(found, true, rtol=1e-10, atol=1e-12)
    # The usual accumulation, the mean of the parts' own losses, is something else.
    net.zero_grad()
    for start in range(0, 7, size):
        part = {"volumes": inputs["volumes"][start : start + size]}
        cases = slice(start, start + size)
        cox_loss(net(part).risk, time[cases], event[cases], ties=ties).backward()
    assert not torch.allclose(net.layers[0].weight.grad, expected[0], rtol=1e-3)


def test_both_passes_drop_the_same_units(toy_batch):
    inputs, time, event = toy_batch
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        net = Toy(dropout=0.5).train()
        backward_in_parts(net, lambda out: cox_loss(out.risk, time, event), inputs, 3)
        following = torch.rand(1)
        torch.random.default_generator.manual_seed(0)
        once = Toy(dropout=0.5).train()
        for start in (0, 3, 6):
            once({"volumes": inputs["volumes"][start : start + 3]})
        assert torch.equal(following, torch.rand(1))  # the stream moved on once, not twice
    first, second = net.seen[:3], net.seen[3:]
    assert len(second) == 3
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    assert (first[0] == 0).any()


def test_parts_as_large_as_the_batch_are_the_plain_step(fitted, cohort):
    same = quick(micro_batch_size=4).fit(cohort, cohort.outcome)
    np.testing.assert_array_equal(same.predict(cohort), fitted.predict(cohort))


# ---------------------------------------------------------------- validation


def test_held_out_patients_have_their_share_of_events():
    event = np.arange(40) % 4 == 0
    train, held_out = split_by_event(event, 0.2, 3)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(40))
    assert len(held_out) == 8
    assert event[held_out].sum() == 2
    assert not np.array_equal(held_out, split_by_event(event, 0.2, 4)[1])


@pytest.mark.parametrize(("n_events", "fraction"), [(1, 0.3), (4, 0.01), (4, 0.99)])
def test_a_part_without_events_is_refused(n_events, fraction):
    event = np.arange(10) < n_events
    with pytest.raises(ValueError, match=f"validation_fraction={fraction}"):
        split_by_event(event, fraction, 0)


def test_the_best_epoch_is_returned_and_scores_what_the_history_says(cohort, monkeypatch):
    held_out = []
    split = split_by_event
    monkeypatch.setattr(
        "survimg.estimators.deep.volume_estimator.split_by_event",
        lambda *arguments: (held_out.append(split(*arguments)[1]), split(*arguments))[1],
    )
    model = quick(validation_fraction=0.5, n_iterations=10).fit(cohort, cohort.outcome)
    history = model.history_
    assert history["iteration"].tolist() == [2, 4, 6, 8, 10]
    assert model.best_epoch_ == 1 + history["validation_c_index"].argmax()
    patients = held_out[0]
    score = model.score(cohort[patients], cohort.outcome[patients])
    assert score == pytest.approx(history["validation_c_index"].max())


def test_held_out_patients_are_not_trained_on(cohort, monkeypatch):
    drawn, held_out = [], []
    split, inputs = split_by_event, PatientBatches.draw

    def watch(self):
        drawn.extend(self._patients.cohort.ids)
        return inputs(self)

    monkeypatch.setattr(PatientBatches, "draw", watch)
    monkeypatch.setattr(
        "survimg.estimators.deep.volume_estimator.split_by_event",
        lambda *arguments: (held_out.append(split(*arguments)[1]), split(*arguments))[1],
    )
    quick(validation_fraction=0.25).fit(cohort, cohort.outcome)
    assert len(held_out[0]) == 3
    assert not set(cohort.ids[held_out[0]]) & set(drawn)


def test_patience_stops_and_the_best_weights_return():
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    module = nn.Linear(1, 1)
    history: list[dict] = []
    net = SimpleNamespace(module_=module, stop_=False, history=None, iteration_=1)
    hold_out = HoldOut("score", lambda _: next(scores), lambda _: None, patience=2)
    while not net.stop_:
        history.append({})
        net.history = _History(history)
        nn.init.constant_(module.weight, len(history))
        hold_out.on_epoch_end(net)
    assert len(history) == 4
    assert hold_out.best_epoch == 2
    hold_out.on_train_end(net)
    assert module.weight.item() == 2


class _History(list):
    def record(self, name, value):
        self[-1][name] = value


def test_patience_ends_a_training_early_and_needs_held_out_patients(cohort):
    model = quick(
        n_iterations=40, validation_fraction=0.5, patience=1, learning_rate=1e-6
    ).fit(cohort, cohort.outcome)  # fmt: skip
    assert len(model.history_) == model.best_epoch_ + 1 < 20
    with pytest.raises(ValueError, match="validation_fraction"):
        quick(patience=3).fit(cohort, cohort.outcome)


# ---------------------------------------------------------------- interruption


class Killed(BaseException):
    pass


def kill_after(n_draws: int, monkeypatch) -> None:
    draw = PatientBatches.draw
    count = 0

    def draw_or_die(self):
        nonlocal count
        count += 1
        if count > n_draws:
            raise Killed
        return draw(self)

    monkeypatch.setattr(PatientBatches, "draw", draw_or_die)


@pytest.mark.parametrize("n_draws", [2, 3, 5, 6])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"validation_fraction": 0.4, "patience": 2, "batch_norm_batches": 2},
        {"schedule": "step"},
        {"ema_decay": 0.7},
    ],
    ids=["plain", "validation", "step", "average"],
)
def test_resumed_equals_uninterrupted(options, n_draws, cohort, tmp_path):
    whole = quick(**options).fit(cohort, cohort.outcome)
    model = quick(**options, checkpoint_folder=tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        kill_after(n_draws, patch)
        with pytest.raises(Killed):
            model.fit(cohort, cohort.outcome)
    if n_draws >= 3 and not options.get("validation_fraction"):
        assert len(list(tmp_path.glob("CNNSurvival-*.pt"))) == 1
    resumed = quick(**options, checkpoint_folder=tmp_path).fit(cohort, cohort.outcome)
    np.testing.assert_array_equal(resumed.predict(cohort), whole.predict(cohort))
    columns = whole.history_.columns.drop("seconds")
    assert resumed.history_[columns].equals(whole.history_[columns])
    assert not list(tmp_path.iterdir())


def test_resuming_does_not_train_the_finished_epochs_again(cohort, tmp_path, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        kill_after(5, patch)
        with pytest.raises(Killed):
            quick(checkpoint_folder=tmp_path).fit(cohort, cohort.outcome)
    drawn = []
    draw = PatientBatches.draw
    monkeypatch.setattr(
        PatientBatches, "draw", lambda self: (drawn.append(1), draw(self))[1]
    )
    quick(checkpoint_folder=tmp_path).fit(cohort, cohort.outcome)
    assert len(drawn) == 2 + 1  # the last epoch, and batch normalisation


def test_checkpoints_are_as_rare_as_asked_for(cohort, tmp_path):
    written = {}
    for every in (1, 2):
        with pytest.MonkeyPatch.context() as patch:
            kill_after(3, patch)
            with pytest.raises(Killed):
                quick(checkpoint_folder=tmp_path / str(every), checkpoint_every=every).fit(
                    cohort, cohort.outcome
                )
        written[every] = list((tmp_path / str(every)).glob("*.pt"))
    assert len(written[1]) == 1
    assert not written[2]


def test_another_fit_does_not_continue_this_one(cohort, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        kill_after(3, patch)
        with pytest.raises(Killed):
            quick(checkpoint_folder=tmp_path).fit(cohort, cohort.outcome)
    others = {
        "parameters": (quick(width=5, checkpoint_folder=tmp_path), cohort, cohort.outcome),
        "patients": (quick(checkpoint_folder=tmp_path), cohort[:10], cohort.outcome[:10]),
    }
    for model, X, y in others.values():
        expected = quick(width=model.width).fit(X, y)
        np.testing.assert_array_equal(model.fit(X, y).predict(X), expected.predict(X))
    assert len(list(tmp_path.iterdir())) == 1


def test_an_unseeded_fit_goes_on_with_its_own_seed(cohort, tmp_path):
    seeded = quick(random_state=None, checkpoint_folder=tmp_path, validation_fraction=0.4)
    with pytest.MonkeyPatch.context() as patch:
        kill_after(5, patch)
        with pytest.raises(Killed):
            seeded.fit(cohort, cohort.outcome)
    (path,) = tmp_path.glob("*.pt")
    content = torch.load(io.BytesIO(without_checksum(path.read_bytes())), weights_only=True)
    kernel = content["module"]["stages.0.0.weight"]
    resumed = quick(
        random_state=None, checkpoint_folder=tmp_path, validation_fraction=0.4
    ).fit(cohort, cohort.outcome)  # fmt: skip
    # Two unseeded networks have nothing in common; two epochs move weights a little.
    assert (weights(resumed)["stages.0.0.weight"] - kernel).abs().max() < 0.1


def test_a_random_state_is_known_by_its_state(cohort):
    """Its address would be another one in the process that continues the fit."""
    event, time = cohort.outcome["event"], cohort.outcome["time"]
    states = [np.random.RandomState(seed) for seed in (3, 3, 4)]
    one, same, other = (
        fit_key(quick(random_state=state), cohort, event, time) for state in states
    )
    assert one == same
    assert one != other


def test_a_keyboard_interrupt_is_not_taken_for_the_end(cohort, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(PatientBatches, "draw", interrupt)
    with pytest.raises(KeyboardInterrupt):
        quick().fit(cohort, cohort.outcome)


def test_the_progress_bar_is_closed_after_an_interruption(cohort, monkeypatch, capsys):
    kill_after(3, monkeypatch)
    with pytest.raises(Killed):
        quick(verbose=1).fit(cohort, cohort.outcome)
    assert "CNNSurvival" in capsys.readouterr().err
    assert not tqdm._instances


_INTERRUPTED_FIT = """
import os, signal, sys
from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival
from survimg.training.batches import PatientBatches

folder, n_draws = sys.argv[1], int(sys.argv[2])
draw = PatientBatches.draw

def draw_or_die(self):
    global n_draws
    n_draws -= 1
    if n_draws < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(self)

PatientBatches.draw = draw_or_die
cohort = make_phantom_cohort(n=12, shape=(16, 20, 20), random_state=0).cohort
CNNSurvival(
    n_iterations=6, iterations_per_epoch=2, batch_size=4, batch_norm_batches=1, width=4, hidden=8,
    learning_rate=1e-2, n_threads=1, random_state=0, precision="float32",
    checkpoint_folder=folder,
).fit(cohort, cohort.outcome)
"""


def test_a_killed_process_loses_nothing(fitted, cohort, tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_FIT, str(tmp_path), "5"],
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert len(list(tmp_path.glob("*.pt"))) == 1
    resumed = quick(checkpoint_folder=tmp_path).fit(cohort, cohort.outcome)
    np.testing.assert_array_equal(resumed.predict(cohort), fitted.predict(cohort))
    assert not list(tmp_path.iterdir())


def test_divergence_in_the_last_step_is_an_error(cohort):
    with pytest.raises(FloatingPointError, match="diverged"):
        quick(learning_rate=1e30, n_iterations=1).fit(cohort, cohort.outcome)


# ---------------------------------------------------------------- weights from elsewhere


def test_warm_start_goes_on_from_the_fitted_weights(cohort):
    model = quick(warm_start=True).fit(cohort, cohort.outcome)
    before = {name: value.clone() for name, value in weights(model).items()}
    model.set_params(learning_rate=1e-12).fit(cohort, cohort.outcome)
    kernel = "stages.0.0.weight"
    torch.testing.assert_close(weights(model)[kernel], before[kernel])
    cold = quick(learning_rate=1e-12).fit(cohort, cohort.outcome)
    assert not torch.allclose(weights(cold)[kernel], before[kernel])
    with pytest.raises(ValueError, match="do not fit"):
        model.set_params(width=5).fit(cohort, cohort.outcome)


def test_initial_weights_come_from_a_file_by_name_and_shape(fitted, cohort, tmp_path):
    path = tmp_path / "pretrained.pt"
    torch.save(weights(fitted), path)
    model = quick(
        initial_weights=path, hidden=7, random_state=5, learning_rate=1e-12
    ).fit(cohort, cohort.outcome)  # fmt: skip
    torch.testing.assert_close(
        weights(model)["stages.1.0.weight"], weights(fitted)["stages.1.0.weight"]
    )
    assert "stages.1.0.weight" in model.load_report_.loaded
    assert set(model.load_report_.mismatched) >= {"fc.weight", "output.weight"}
    torch.save({"another": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="No tensor of the source"):
        quick(initial_weights=path).fit(cohort, cohort.outcome)


def test_frozen_parts_keep_weights_and_statistics(fitted, cohort, tmp_path):
    path = tmp_path / "pretrained.pt"
    torch.save(weights(fitted), path)
    model = quick(initial_weights=path, frozen=["stages"], random_state=5).fit(
        cohort, cohort.outcome
    )
    for name, value in weights(fitted).items():
        same = torch.equal(weights(model)[name], value)
        assert same == name.startswith("stages"), name
    with pytest.raises(ValueError, match="no part 'encoder'"):
        quick(frozen=["encoder"]).fit(cohort, cohort.outcome)
    with pytest.raises(ValueError, match="Every part of the network is frozen"):
        quick(frozen=["stages", "fc", "output"]).fit(cohort, cohort.outcome)
