"""Slots of devices: never more fits at once than slots, over processes and threads, crash-safe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import joblib
import pytest
from joblib.externals.loky import get_reusable_executor
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV

from survimg.compute import device_slot, slots_per_device
from survimg.compute.device_slots import slots_of


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SURVIMG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.delenv("SURVIMG_DEVICE_SLOTS", raising=False)
    return tmp_path / "runtime"


@pytest.fixture(scope="module")
def fresh_workers(tmp_path_factory):
    """Worker processes inherit the environment when they start, so they start anew."""
    get_reusable_executor(max_workers=1).shutdown(wait=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SURVIMG_RUNTIME_DIR", str(tmp_path_factory.mktemp("slots") / "runtime"))
        with slots_per_device(test=1, pair=2):
            joblib.Parallel(n_jobs=3)(joblib.delayed(time.sleep)(0.1) for _ in range(3))
    yield
    get_reusable_executor(max_workers=1).shutdown(wait=True)


def hold(
    log: str, seconds: float = 0.15, keys: tuple[str, ...] = ("test-device",), kind: str = "test"
) -> None:
    """Take a slot, and write down when it was held, and of which device."""
    with device_slot(kind, keys) as slot:
        start = time.monotonic()
        time.sleep(seconds)
        line = f"{start} {time.monotonic()} {slot.device} {slot.waited}\n"
    with open(log, "a", encoding="utf-8") as file:
        file.write(line)


def hold_with_three(log: str, seconds: float, kind: str) -> None:
    """Hold a slot once three processes are ready to: imports take long on a busy machine."""
    ready = Path(f"{log}.ready")
    ready.mkdir(exist_ok=True)
    (ready / str(os.getpid())).touch()
    deadline = time.monotonic() + 120
    while len(list(ready.iterdir())) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    hold(log, seconds, kind=kind)


def held(log: Path) -> list[tuple[float, float, int, float]]:
    rows = [line.split() for line in log.read_text().splitlines()]
    return [(float(a), float(b), int(device), float(waited)) for a, b, device, waited in rows]


def most_at_once(rows, device: int = 0) -> int:
    mine = [row for row in rows if row[2] == device]
    return max(sum(a <= start < b for a, b, _, _ in mine) for start, _, _, _ in mine)


@pytest.mark.parametrize("n_slots", [1, 2])
def test_never_more_fits_in_threads_than_slots(n_slots, tmp_path):
    log = tmp_path / "log"
    with slots_per_device(test=n_slots), joblib.parallel_config(backend="threading"):
        joblib.Parallel(n_jobs=4)(joblib.delayed(hold)(str(log)) for _ in range(6))
    rows = held(log)
    assert len(rows) == 6
    assert most_at_once(rows) == n_slots  # and no fewer: they do run side by side
    assert max(waited for *_, waited in rows) > 0.1


def test_never_more_fits_in_processes_than_slots(tmp_path, fresh_workers):
    log = tmp_path / "log"
    joblib.Parallel(n_jobs=3)(
        joblib.delayed(hold_with_three)(str(log), 0.5, "pair") for _ in range(6)
    )
    rows = held(log)
    assert len(rows) == 6
    assert most_at_once(rows) == 2
    assert max(waited for *_, waited in rows) > 0.1


def test_several_devices_fill_up_evenly(tmp_path):
    log = tmp_path / "log"
    with slots_per_device(test=2), joblib.parallel_config(backend="threading"):
        joblib.Parallel(n_jobs=4)(
            joblib.delayed(hold)(str(log), 0.5, ("first", "second")) for _ in range(4)
        )
    rows = held(log)
    assert sorted(device for _, _, device, _ in rows) == [0, 0, 1, 1]
    assert most_at_once(rows, 0) == most_at_once(rows, 1) == 2


def test_the_emptier_device_comes_first():
    with slots_per_device(test=2):
        with device_slot("test", ["a", "b"]) as first, device_slot("test", ["a", "b"]) as second:
            assert (first.device, second.device) == (0, 1)
            with device_slot("test", ["a"]), device_slot("test", ["a", "b"]) as fourth:
                assert fourth.device == 1
        with device_slot("test", ["a", "b"]) as again:
            assert again.device == 0


def test_a_killed_process_gives_its_slot_back(tmp_path):
    code = (
        "import sys, time\nfrom survimg.compute import device_slot\n"
        "with device_slot('test', ['test-device']):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        waiting = threading.Thread(target=hold, args=(str(tmp_path / "log"), 0.0))
        waiting.start()
        time.sleep(0.3)
        assert waiting.is_alive()
        other.send_signal(signal.SIGKILL)
        waiting.join(timeout=20)
        assert not waiting.is_alive()
    assert held(tmp_path / "log")[0][3] > 0.25


def test_an_error_gives_the_slot_back():
    with pytest.raises(RuntimeError, match="diverged"), device_slot("test", ["d"]):
        raise RuntimeError("diverged")
    with device_slot("test", ["d"]) as slot:
        assert slot.waited < 0.05


def test_a_fit_can_wait_until_it_is_alone():
    """Two fits that want the whole device at once get it in turn, and neither waits for ever."""
    alone: list[tuple[float, float, int, float]] = []
    both_hold = threading.Barrier(2)

    def fit():
        with device_slot("test", ["d"]) as slot:
            both_hold.wait()
            assert slot.take_whole_device()
            start = time.monotonic()
            assert not slot.take_whole_device()
            time.sleep(0.2)
            alone.append((start, time.monotonic(), 0, slot.waited))

    with slots_per_device(test=2):
        fits = [threading.Thread(target=fit) for _ in range(2)]
        for each in fits:
            each.start()
        for each in fits:
            each.join(timeout=20)
        assert len(alone) == 2
        assert most_at_once(alone) == 1
        with device_slot("test", ["d"]) as slot:  # all is free again
            assert slot.waited < 0.05


def test_one_slot_or_no_limit_is_the_whole_device_already():
    with device_slot("test", ["d"]) as slot:
        assert not slot.take_whole_device()
    with device_slot("cpu", ["d"]) as slot:
        assert not slot.take_whole_device()


def test_defaults_and_configuration(monkeypatch):
    assert slots_of("cuda") == 1
    assert slots_of("cpu") is None
    with slots_per_device(cuda=3, cpu=2):
        with slots_per_device(cpu=None):
            assert (slots_of("cuda"), slots_of("cpu")) == (3, None)
        assert slots_of("cpu") == 2
    assert "SURVIMG_DEVICE_SLOTS" not in os.environ
    monkeypatch.setenv("SURVIMG_DEVICE_SLOTS", "cuda:2")
    with pytest.raises(ValueError, match="'cuda:2'.*malformed.*cuda=2,cpu=4"):
        slots_of("cuda")
    monkeypatch.delenv("SURVIMG_DEVICE_SLOTS")
    with pytest.raises(ValueError, match="cuda=0"), slots_per_device(cuda=0):
        pass


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can chown")
def test_a_folder_of_somebody_else_is_refused(runtime_folder):
    runtime_folder.mkdir()
    os.chown(runtime_folder, 12345, 12345)
    with pytest.raises(PermissionError, match="SURVIMG_RUNTIME_DIR"), device_slot("test", ["d"]):
        pass


def test_a_link_is_no_folder_of_locks(runtime_folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    runtime_folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="link"), device_slot("test", ["d"]):
        pass


class Trainer(BaseEstimator):
    """Trains on the fake device, in a search."""

    def __init__(self, log: str = "", rate: float = 1.0) -> None:
        self.log = log
        self.rate = rate

    def fit(self, X, y=None):
        hold_with_three(self.log, 0.2, "test")
        return self

    def score(self, X, y=None):
        return self.rate


def test_a_search_in_processes_takes_turns(tmp_path, fresh_workers):
    log = tmp_path / "log"
    search = GridSearchCV(Trainer(str(log)), {"rate": [1, 2]}, cv=2, n_jobs=3)
    search.fit([[0.0]] * 6)
    rows = held(log)
    assert len(rows) == 5  # four fits and the refit
    assert most_at_once(rows) == 1
