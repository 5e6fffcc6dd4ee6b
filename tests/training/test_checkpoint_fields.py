"""A checkpoint of another meaning is refused by the name of the file and of the field."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival
from survimg.training.checkpoints import _MAGIC, Checkpoint


class Stop(Callback):
    def on_epoch_begin(self, net, **_):
        if len(net.history) > 2:
            raise OSError("the disk is full")


def quick(folder, **parameters):
    return CNNSurvival(
        n_iterations=4, iterations_per_epoch=1, batch_size=4, batch_norm_batches=1, width=4,
        hidden=8, learning_rate=1e-2, n_threads=1, random_state=0, precision="float32",
        checkpoint_folder=folder, checkpoint_every=1, verbose=0, validation_fraction=0.3,
        **parameters,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=12, shape=(16, 20, 20), random_state=0).cohort


@pytest.fixture(scope="module")
def left(cohort, tmp_path_factory):
    """What an interrupted training leaves: name, tensors, values."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.raises(OSError, match="full"):
        quick(folder, callbacks=[Stop()]).fit(cohort, cohort.outcome)
    (path,) = folder.iterdir()
    return path.name, path.read_bytes()


def payload(content):
    return content[len(_MAGIC) + 65 :]


def edited(content, change):
    """The same checkpoint with something else in it, and no checksum to say so."""
    tensors = torch.load(io.BytesIO(payload(content)), weights_only=True)
    values = json.loads(tensors.pop("json"))
    change(values, tensors)
    buffer = io.BytesIO()
    torch.save({"json": json.dumps(values), **tensors}, buffer)
    return buffer.getvalue()


def put(where, name, value):
    def change(values, tensors):
        {"values": values, "tensors": tensors}[where][name] = value

    return change


def in_tensors(edit):
    return lambda values, tensors: edit(tensors)


def test_what_has_no_checksum_is_read_as_before(left, cohort, tmp_path):
    name, content = left
    risks = []
    older = edited(content, lambda values, tensors: tensors.pop("last_step"))  # before averages
    for k, what in enumerate((content, payload(content), older)):
        folder = tmp_path / str(k)
        folder.mkdir()
        (folder / name).write_bytes(what)
        assert Checkpoint(folder / name).seed is not None
        risks.append(quick(folder).fit(cohort, cohort.outcome).predict(cohort))
        assert not list(folder.iterdir())
    whole = quick(None).fit(cohort, cohort.outcome).predict(cohort)
    for risk in risks:
        np.testing.assert_array_equal(risk, whole)


CHANGES = {
    "seed": [put("values", "seed", value) for value in (-1, "0", None, 1.5, 2**70, True)],
    "iteration": [put("values", "iteration", value) for value in (-5, "text", None, 1.0, 2**60)],
    "stop": [put("values", "stop", value) for value in (1, "no", None)],
    "micro_batch_size": [
        put("values", "micro_batch_size", value) for value in (0, -1, 10**10, "4", 2.0)
    ],
    "history": [
        put("values", "history", value)
        for value in ([], None, {}, [1, 2], [{"epoch": 2}], [{"epoch": 1}, {"epoch": 1}])
    ],
    "batches": [
        put("values", "batches", value) for value in (
            None, {}, {"bit_generator": "PCG64"},
            {"bit_generator": "MT19937", "state": {}, "has_uint32": 0, "uinteger": 0},
            {"bit_generator": "PCG64", "state": {"state": -1, "inc": 1}, "has_uint32": 0,
             "uinteger": 0},
            {"bit_generator": "PCG64", "state": {"state": 1, "inc": 1}, "has_uint32": 7,
             "uinteger": 0},
        )
    ],
    "best_epoch": [put("values", "best_epoch", value) for value in (-1, 99, None, "1")],
    "best_score": [put("values", "best_score", value) for value in (float("nan"), None, "0.5")],
    "fields": [put("values", "more", 1), lambda values, _: values.pop("stop")],
    "tensors": [put("tensors", "more", 1), lambda _, tensors: tensors.pop("cpu")],
    "module": [
        put("tensors", "module", {}), put("tensors", "module", 3),
        in_tensors(lambda t: t["module"].update(more=torch.zeros(1))),
        in_tensors(lambda t: t["module"].update({next(iter(t["module"])): torch.zeros(1)})),
        in_tensors(lambda t: next(iter(t["module"].values())).fill_(float("nan"))),
        in_tensors(lambda t: t.update(module={k: v.double() for k, v in t["module"].items()})),
    ],
    "last_step": [put("tensors", "last_step", value) for value in (None, {"a": torch.zeros(1)})],
    "best_weights": [put("tensors", "best_weights", {"a": torch.zeros(1)})],
    "optimizer": [
        put("tensors", "optimizer", {}), put("tensors", "optimizer", []),
        in_tensors(lambda t: t["optimizer"]["param_groups"].clear()),
        in_tensors(lambda t: t["optimizer"]["param_groups"][0].update(lr=float("inf"))),
        in_tensors(lambda t: t["optimizer"]["param_groups"][0].update(lr="fast")),
        in_tensors(lambda t: t["optimizer"]["param_groups"][0].update(params=[0])),
        in_tensors(lambda t: t["optimizer"]["state"].update({999: {}})),
        in_tensors(lambda t: t["optimizer"]["state"][0].update(exp_avg=torch.zeros(1))),
        in_tensors(lambda t: t["optimizer"]["state"][0]["exp_avg"].fill_(float("nan"))),
    ],
    "augmentation": [put("tensors", "augmentation", v) for v in (None, torch.zeros(3))],
    "cpu": [put("tensors", "cpu", value) for value in ([], torch.zeros(3, dtype=torch.uint8))],
    "cuda": [put("tensors", "cuda", value) for value in (None, [1])],
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "change"),
    [
        pytest.param(field, change, id=f"{field} {k}")
        for field, changes in CHANGES.items()
        for k, change in enumerate(changes)
    ],
)
def test_each_field_is_checked_and_named(field, change, left, cohort, tmp_path):
    name, content = left
    (tmp_path / name).write_bytes(edited(content, change))
    with pytest.raises(ValueError, match=rf"checkpoint .*{name} is damaged .*{field}"):
        quick(tmp_path).fit(cohort, cohort.outcome)
    assert (tmp_path / name).exists()


def test_a_changed_byte_is_refused(left, tmp_path):
    name, content = left
    rng = np.random.default_rng(0)
    path = tmp_path / name
    for _ in range(100):
        changed = bytearray(content)
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="is damaged"):
            Checkpoint(path)
