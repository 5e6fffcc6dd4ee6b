"""Cohorts larger than the memory: what is kept of them, and what is read ahead."""

from __future__ import annotations

import threading
import time
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from survimg import Cohort
from survimg.cohort import stores
from survimg.compute.devices import OneDNNForSingleCases
from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS
from survimg.target import make_outcome
from survimg.training import resident
from survimg.training.batches import BatchSampler, PatientBatches, Patients
from survimg.training.resident import ResidentPatients
from survimg.training.views import whole_volume

N, SIDE = 96, 32
CPU = torch.device("cpu")
MIB = 2**20


def file_pages() -> int:
    """Bytes of files that are mapped into this process and resident (Linux)."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs Linux's /proc")
    line = next(line for line in status.read_text().splitlines() if line.startswith("RssFile"))
    return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Cohort:
    """24 MiB of volumes on disk, each patient's with his number in it."""
    rng = np.random.default_rng(0)
    volumes = np.broadcast_to(
        np.arange(N, dtype=np.float32)[:, None, None, None, None], (N, 2, SIDE, SIDE, SIDE)
    )
    outcome = make_outcome(np.arange(N) % 2 == 0, rng.uniform(1, 60, N))
    folder = tmp_path_factory.mktemp("big") / "cohort"
    return Cohort(volumes, masks=volumes[:, 0] > 40, outcome=outcome).save(folder)


def batches_of(cohort: Cohort, view=whole_volume, epochs: int = 1) -> PatientBatches:
    n = len(cohort)
    none, event = np.zeros((n, 0), np.float32), cohort.outcome["event"]
    patients = Patients(cohort, none, cohort.outcome["time"], event, view, with_masks=True)
    sampler = BatchSampler(event, 8, True, np.random.default_rng(0))
    return PatientBatches(patients, CPU, sampler, epochs * n // 8, n // 8, None)


def test_reading_a_cohort_does_not_make_it_resident(stored, monkeypatch):
    monkeypatch.setattr(stores, "RESIDENT", 2 * MIB)
    batches_of(stored).draw()  # libraries are loaded
    before, peak, seen = file_pages(), 0, set()
    for inputs, _ in batches_of(stored, epochs=3):
        peak = max(peak, file_pages())
        seen |= set(inputs["volumes"][:, 0, 0, 0, 0].int().tolist())
    assert len(seen) > N / 2
    # Two files, each with up to 2 MiB, what is being read and what the system reads around it.
    assert peak - before < 12 * MIB
    # The same without letting go, lest the test be one that cannot fail.
    monkeypatch.setattr(stores, "RESIDENT", 2**40)
    for i in range(N):
        stored.volume(i)
    assert file_pages() - before > 20 * MIB  # of 27


def test_views_outlive_the_pages_they_came_from(stored, monkeypatch):
    monkeypatch.setattr(stores, "RESIDENT", 1)
    kept = [stored.volume(i) for i in range(4)]
    assert [float(volume.mean()) for volume in kept] == [0, 1, 2, 3]


def test_tumour_maps_are_not_collected(stored, monkeypatch):
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = []

    def outputs(_self, patients):
        for i in range(len(patients)):
            probability = torch.full((1, SIDE, SIDE, SIDE), i / 100)
            alive.add(probability)
            most.append(len(alive))
            yield SimpleNamespace(segmentation=probability)

    monkeypatch.setattr(DeepMTS, "_outputs", outputs)
    none = np.zeros(N)
    patients = Patients(stored, np.zeros((N, 0), np.float32), none, none > 0)
    masks = DeepMTS()._maps(patients, threshold=0.5)
    assert masks.dtype == np.uint8
    assert masks.mean(axis=(1, 2, 3)).tolist() == [float(i > 50) for i in range(N)]
    assert max(most) <= 3
    assert DeepMTS()._maps(patients)[7].max() == np.float32(0.07)


def test_risk_and_mask_in_one_pass_are_those_of_two():
    cohort = make_phantom_cohort(n=8, shape=(16, 16, 16), random_state=0).cohort
    model = DeepMTS(
        n_iterations=1, batch_size=4, batch_norm_batches=1, n_threads=1, random_state=0,
        device="cpu", precision="float32",
    ).fit(cohort, cohort.outcome)  # fmt: skip
    level = float(np.median(model.predict_mask_proba(cohort)))
    risk, mask = model.predict_risk_and_mask(cohort, threshold=level)
    np.testing.assert_array_equal(risk, model.predict(cohort))
    np.testing.assert_array_equal(mask, model.predict_mask(cohort, threshold=level))
    assert 0.2 < mask.mean() < 0.8


class Convolutions(TorchDispatchMode):
    """Names of the convolutions that are computed."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "convolution" in func.name():
            self.found.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_convolutions_of_one_patient_are_left_to_onednn(stored):
    """torch would unfold small volumes of a single patient, several times as slow."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Conv3d(2, 8, 3, padding=1), torch.nn.Conv3d(8, 4, 3, stride=2)
        )
        volume = torch.randn(1, 2, 9, 9, 9)
    module = torch.nn.Module()
    module.layer = net
    module.forward = lambda volumes, _clinical: net(volumes[:, :, :9, :9, :9])
    none = np.zeros(2)
    patients = Patients(stored[[3, 5]], np.zeros((2, 0), np.float32), none, none > 0)
    with Convolutions() as convolutions:
        found = list(DeepMTS()._forward(module, patients))
    assert set(convolutions.found) == {"aten::mkldnn_convolution"}
    assert len(convolutions.found) == 4
    for output, value in zip(found, (3.0, 5.0), strict=True):
        with torch.inference_mode():
            expected = net(torch.full((1, 2, 9, 9, 9), value))
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    with OneDNNForSingleCases():  # all others as torch would
        several = net(torch.cat([volume, volume]))
    torch.testing.assert_close(several, net(torch.cat([volume, volume])), rtol=0, atol=0)


# ---------------------------------------------------------------- reading ahead


def test_reading_ahead_changes_neither_order_nor_random_streams(stored):
    ahead, plain = batches_of(stored, epochs=2), batches_of(stored, epochs=2)
    for _ in range(2):
        for inputs, targets in ahead:
            expected, outcome = plain.draw()
            assert torch.equal(inputs["volumes"], expected["volumes"])
            assert torch.equal(targets.masks, outcome.masks)
            assert torch.equal(targets.time, outcome.time)
        # Between epochs a checkpoint saves the stream: nothing may have been drawn ahead.
        states = [b._sampler._generator.bit_generator.state for b in (ahead, plain)]
        assert states[0] == states[1]


def test_an_epoch_that_ends_early_loses_no_batch(stored):
    ahead, plain = batches_of(stored), batches_of(stored)
    for _ in ahead:
        break
    plain.draw()
    for _ in range(2):
        assert torch.equal(ahead.draw()[1].time, plain.draw()[1].time)


def test_the_next_batch_is_read_while_one_is_trained_on(stored):
    reads, second = [], threading.Event()

    def view(cohort, i):
        reads.append(threading.current_thread().name)
        if len(reads) == 16:
            second.set()
        return whole_volume(cohort, i)

    for _ in batches_of(stored, view):
        assert second.wait(timeout=20)  # nobody has asked for it
        break
    assert reads[0] == threading.current_thread().name
    assert reads[8].startswith("survimg-reader")


def test_what_cannot_be_read_ahead_is_told(stored):
    trained = []

    def view(cohort, i):
        if trained:
            raise OSError(f"The disk of patient {cohort.ids[i]} is gone.")
        return whole_volume(cohort, i)

    def epoch():
        for inputs, _ in batches_of(stored, view):
            trained.append(inputs)
            time.sleep(0.01)

    with pytest.raises(OSError, match="is gone"):
        epoch()
    assert 0 < len(trained) < N // 8


# ---------------------------------------------------------------- volumes that stay on a GPU


def test_resident_patients_are_read_once_and_stay_the_same(stored, monkeypatch):
    reads: list[int] = []
    read = Cohort.volume
    monkeypatch.setattr(Cohort, "volume", lambda c, i: (reads.append(int(i)), read(c, i))[1])
    patients = batches_of(stored)._patients
    kept = ResidentPatients(patients, CPU)
    reads.clear()
    positions = [np.array([3, 60, 3, 80]), np.array([80, 5, 60, 3])]
    for chosen in positions:
        for one, other in (
            (kept.inputs(chosen, CPU), patients.inputs(chosen, CPU)),
            (kept.targets(chosen, CPU)._asdict(), patients.targets(chosen, CPU)._asdict()),
        ):
            assert one.keys() == other.keys()
            for name, value in one.items():
                if value is None:  # weights, which only batches have
                    assert other[name] is None
                    continue
                assert torch.equal(value, other[name])
                assert value.dtype == other[name].dtype
    from_disk = [int(i) for chosen in positions for i in chosen]
    assert sorted(reads) == sorted([*from_disk, 3, 5, 60, 80])


def test_volumes_stay_on_a_gpu_with_room_for_them(stored, monkeypatch):
    patients = batches_of(stored)._patients
    n_bytes = N * SIDE**3 * (2 * 4 + 1)
    gpu = torch.device("cuda")
    monkeypatch.setattr(resident, "ResidentPatients", lambda taken, device: (taken, device))
    assert resident.resident_if_they_fit(patients, CPU) is patients
    for free, fits in ((4 * n_bytes, True), (4 * n_bytes - 4, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 2 * free))
        expected = (patients, gpu) if fits else patients
        assert resident.resident_if_they_fit(patients, gpu) == expected
