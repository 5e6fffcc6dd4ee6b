"""The heap that is kept while a network computes."""

from __future__ import annotations

import platform
import sys
import threading

import numpy as np
import psutil
import pytest

from survimg.compute.heap import kept_heap

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's malloc has these settings"
)
_MIB = 2**20


def _page_faults() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _take_and_free(mib: int) -> int:
    """Fill an array, free it, and return the page faults that it cost."""
    before = _page_faults()
    np.empty(mib * _MIB, np.uint8).fill(1)
    return _page_faults() - before


def _resident_mib() -> float:
    return psutil.Process().memory_info().rss / _MIB


def test_memory_taken_again_costs_no_page_faults() -> None:
    # NumPy asks the system for huge pages where it may, which makes faults fewer, not none.
    outside = [_take_and_free(256) for _ in range(3)]
    with kept_heap():
        _take_and_free(256)
        inside = [_take_and_free(256) for _ in range(3)]
    assert max(inside) < 0.1 * min(outside)


def test_memory_is_returned_at_the_end() -> None:
    before = _resident_mib()
    with kept_heap():
        _take_and_free(400)
        kept = _resident_mib()
    assert kept - before > 300
    assert _resident_mib() - before < 100


def test_the_last_of_several_users_returns_it() -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with kept_heap():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(10)
    before = _resident_mib()
    with kept_heap():
        _take_and_free(400)
    assert _resident_mib() - before > 300
    leave.set()
    thread.join()
    assert _resident_mib() - before < 100


def test_an_error_returns_it_too() -> None:
    def diverge() -> None:
        with kept_heap():
            _take_and_free(400)
            raise RuntimeError("diverged")

    before = _resident_mib()
    with pytest.raises(RuntimeError, match="diverged"):
        diverge()
    assert _resident_mib() - before < 100


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("malloc of another system was touched")

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(sys.modules["survimg.compute.heap"].ctypes, "CDLL", refuse)
    with kept_heap():
        pass
