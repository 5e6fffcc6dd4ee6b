"""Steps that run out of memory are split, or wait until they are alone; fits wait for slots."""

from __future__ import annotations

import functools
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import quick_networks
import torch

from survimg.compute import device_slot, slots_per_device
from survimg.compute.devices import _name_for_all_processes, slot_on
from survimg.training.batches import PatientBatches
from survimg.training.engine import TrainingNet
from survimg.training.memory import is_out_of_memory

CPU = _name_for_all_processes(torch.device("cpu"))
#: Two epochs.
quick = functools.partial(quick_networks.quick, n_iterations=4)
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SURVIMG_RUNTIME_DIR", str(tmp_path / "runtime"))


def fail_if(condition, monkeypatch, error=FULL):
    """Let the network fail after it has computed: random numbers are drawn, statistics moved."""
    whole = TrainingNet.infer

    def infer(self, x, **arguments):
        output = whole(self, x, **arguments)
        if torch.is_grad_enabled() and condition(len(x["volumes"])):
            raise error
        return output

    monkeypatch.setattr(TrainingNet, "infer", infer)


def same_weights(one, other):
    states = [model.net_.module_.state_dict() for model in (one, other)]
    return all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_a_split_step_is_that_of_a_smaller_micro_batch(cohort, monkeypatch):
    from_the_start = quick(micro_batch_size=2).fit(cohort, cohort.outcome)
    whole = quick().fit(cohort, cohort.outcome)
    assert not same_weights(from_the_start, whole)
    fail_if(lambda n: n > 2, monkeypatch)
    with pytest.warns(UserWarning, match="with 4 patients at once in step 1; going on with 2") as w:
        split = quick().fit(cohort, cohort.outcome)
    assert len(w) == 1  # the next steps know
    assert same_weights(split, from_the_start)
    assert split.history_["micro_batch_size"].tolist() == [2, 2]
    assert whole.history_["micro_batch_size"].tolist() == [4, 4]
    assert split.history_["seconds_waited"].tolist() == [0, 0]


def test_gradients_of_the_failed_attempt_do_not_count(cohort, monkeypatch):
    """The second of two parts fails once, when the first has sent its gradients back."""
    from_the_start = quick(micro_batch_size=1).fit(cohort, cohort.outcome)
    calls = []

    def second_of_two(n):
        calls.append(n)
        return calls == [2, 2]

    fail_if(second_of_two, monkeypatch)
    with pytest.warns(UserWarning, match="going on with 1 at once"):
        split = quick(micro_batch_size=2).fit(cohort, cohort.outcome)
    assert same_weights(split, from_the_start)


def test_a_patient_that_does_not_fit_is_an_error(cohort, monkeypatch):
    fail_if(lambda n: True, monkeypatch)
    with (
        pytest.warns(UserWarning, match="going on with [21] at once"),
        pytest.raises(torch.OutOfMemoryError, match=r"Not even one patient.*2\.00 GiB.*'cpu'"),
    ):
        quick().fit(cohort, cohort.outcome)


def test_other_errors_are_not_tried_again(cohort, monkeypatch):
    attempts = []

    def count(n):
        attempts.append(n)
        return True

    fail_if(count, monkeypatch, RuntimeError("expected scalar type Half"))
    with pytest.raises(RuntimeError, match="Half"):
        quick().fit(cohort, cohort.outcome)
    assert attempts == [4]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FULL, True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_errors_mean_memory(error, expected):
    assert is_out_of_memory(error) == expected


def test_what_the_allocator_of_the_cpu_says_is_known():
    # In a thread: glibc takes memory from elsewhere for a thread that was refused some.
    with ThreadPoolExecutor(1) as thread:
        error = thread.submit(torch.empty, 1 << 60, dtype=torch.uint8).exception()
    assert type(error) is RuntimeError
    assert is_out_of_memory(error)


def test_a_resumed_fit_keeps_the_smaller_micro_batch(cohort, monkeypatch, tmp_path):
    fail_if(lambda n: n > 2, monkeypatch)
    with pytest.warns(UserWarning, match="going on with 2"):
        whole = quick().fit(cohort, cohort.outcome)
    drawn, draw = [], PatientBatches.draw

    def interrupt(self):
        drawn.append(1)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return draw(self)

    with monkeypatch.context() as patch:
        patch.setattr(PatientBatches, "draw", interrupt)
        with pytest.warns(UserWarning, match="going on with 2"), pytest.raises(KeyboardInterrupt):
            quick(checkpoint_folder=tmp_path / "c").fit(cohort, cohort.outcome)
    # A warning would be an error here: it does not try the larger batch again.
    resumed = quick(checkpoint_folder=tmp_path / "c").fit(cohort, cohort.outcome)
    assert same_weights(resumed, whole)
    assert resumed.history_["micro_batch_size"].tolist() == [2, 2]


class WhenLogged(logging.Handler):
    """Calls a function a third of a second after a message: the fit is waiting by then."""

    def __init__(self, action):
        super().__init__()
        self.action = action

    def emit(self, record):
        threading.Timer(0.3, self.action).start()


def test_a_fit_waits_for_a_slot_and_says_how_long(cohort, caplog, monkeypatch):
    released, taken = threading.Event(), threading.Event()
    logger = logging.getLogger("survimg.compute")
    monkeypatch.setattr(logger, "handlers", [WhenLogged(released.set)])

    def neighbour():
        with device_slot("cpu", [CPU]):
            taken.set()
            released.wait(timeout=20)

    with slots_per_device(cpu=1), caplog.at_level(logging.INFO, "survimg.compute"):
        other = threading.Thread(target=neighbour)
        other.start()
        taken.wait(timeout=20)
        model = quick().fit(cohort, cohort.outcome)
        other.join(timeout=20)
    assert "Waiting for a free slot" in caplog.text
    first, second = model.history_["seconds_waited"]
    assert 0.2 < first < 20
    assert second == 0
    assert same_weights(model, quick().fit(cohort, cohort.outcome))


def test_memory_that_others_use_is_waited_for_before_the_batch_is_split(cohort, monkeypatch):
    """The result does not depend on who else computed on the device."""
    whole = quick().fit(cohort, cohort.outcome)
    failed, gone, taken = threading.Event(), threading.Event(), threading.Event()

    def neighbour():
        with device_slot("cpu", [CPU]):
            taken.set()
            failed.wait(timeout=20)
            gone.set()

    def in_use(n):
        if not gone.is_set():
            failed.set()
            return True
        return False

    fail_if(in_use, monkeypatch)
    with slots_per_device(cpu=2):
        other = threading.Thread(target=neighbour)
        other.start()
        taken.wait(timeout=20)
        model = quick().fit(cohort, cohort.outcome)
        other.join(timeout=20)
        with device_slot("cpu", [CPU]), device_slot("cpu", [CPU]) as second:
            assert second.waited < 1  # all slots are given back
    assert same_weights(model, whole)
    assert model.history_["micro_batch_size"].tolist() == [4, 4]


def test_several_gpus_are_taken_in_turn(monkeypatch):
    """Named by UUID: under CUDA_VISIBLE_DEVICES=1 the second GPU is number 0."""
    names = ["a", "b"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda d: SimpleNamespace(uuid=names[d.index or 0])
    )
    any_gpu = torch.device("cuda")
    with slot_on(any_gpu) as (first, _), slot_on(any_gpu) as (second, _):
        assert (str(first), str(second)) == ("cuda:0", "cuda:1")
        names[:] = ["c"]
        with slot_on(any_gpu) as (third, slot):
            assert str(third) == "cuda"  # the only one: as asked for
            assert slot.waited < 1
    names[:] = ["a", "b"]
    with slot_on(any_gpu) as (_, _):
        names[:] = ["b"]
        with slot_on(any_gpu) as (_, slot):
            assert slot.waited < 1


def test_a_fitted_model_is_the_same_after_pickling(cohort):
    import pickle

    model = quick().fit(cohort, cohort.outcome)
    assert model.net_.make_room_ is None
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(cohort), model.predict(cohort))
