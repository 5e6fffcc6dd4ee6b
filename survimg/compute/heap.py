"""Memory that a network's tensors free and take again, on the CPU.

For users without a GPU, whose training steps take 0.7 of the time with it.
"""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_heap"]

# mallopt's names in <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4


class _Heap:
    """glibc's malloc, whose settings belong to the whole process: the last user restores them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0

    def keep(self) -> None:
        """Serve every request from the heap, and let none of it go."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                libc = ctypes.CDLL(None)
                libc.mallopt(_MMAP_MAX, 0)
                libc.mallopt(_TRIM_THRESHOLD, -1)

    def release(self) -> None:
        """Return what is free to the system.

        The thresholds end where glibc itself moves them in a process that frees large blocks, and
        the number of mappings at its default.
        """
        with self._lock:
            self._users -= 1
            if self._users == 0:
                libc = ctypes.CDLL(None)
                libc.mallopt(_MMAP_MAX, 65536)
                libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
                libc.mallopt(_TRIM_THRESHOLD, 64 << 20)
                libc.malloc_trim(0)


_HEAP = _Heap()


@contextmanager
def kept_heap() -> Iterator[None]:
    """Keep freed memory in the process, and return it to the system at the end.

    glibc hands large tensors back to the system at once: the next layer's tensor then costs a page
    fault per 4 KiB, tens of thousands in a training step. docs/decisions/0008 measures the gain,
    and the price: a heap with holes. Elsewhere than on glibc this does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    _HEAP.keep()
    try:
        yield
    finally:
        _HEAP.release()
