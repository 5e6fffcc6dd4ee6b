"""Compilation of kernels: without the interpreter lock, and kept on disk where that is possible.

A kernel calls kernels of its own file only: Numba recompiles a cached function when its own file
has changed, but does not see that another one has. Importing Numba takes half a second and 60 MB:
modules with kernels are imported by the functions that call them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar, cast

import numba

__all__ = ["kernel", "reducing_kernel", "share_out"]

F = TypeVar("F", bound=Callable[..., Any])
#: Sums may be reordered and products fused with sums, which lets them use vector registers.
REORDERED = {"reassoc", "contract", "nsz", "arcp"}


def kernel(function: F) -> F:
    """Compile a function at its first call; later processes load it from disk.

    Numba keeps compiled code beside the module or, where that folder is read-only, in the user's
    cache folder (``NUMBA_CACHE_DIR`` overrides both). Floating-point order is that of the source.
    """
    return _compile(function, False)


def reducing_kernel(function: F) -> F:
    """Compile like `kernel`, and let sums be reordered, which lets them use vector registers.

    Only for sums whose order is nobody's definition, such as those that PyRadiomics, too, leaves
    to an order of NumPy's choosing. NaN and infinity are kept. Kernels that call it hold a copy,
    because the process that compiles would otherwise call one that is optimised another time than
    what is kept on disk, and round otherwise than the processes that load.
    """
    return _compile(function, REORDERED)


def _compile(function: F, fastmath: bool | set[str]) -> F:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    if fastmath:
        options["forceinline"] = True
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:
        # Numba found no folder it may write to, such as in a container without a home.
        compiled = numba.njit(**options)(function)
    return cast(F, compiled)


def share_out(function: Callable[..., None], n_parts: int, n_threads: int, *args: Any) -> None:
    """Call ``function(first, stop, *args)`` for all parts, in several threads.

    Numba's own threads are not used: their layers abort a process that was forked, or one that
    calls kernels from two threads at once, as joblib's threading backend does.

    Parameters
    ----------
    function : callable
        A kernel that computes the parts from `first` on and before `stop`. For results that do
        not depend on the number of threads, each part has its place in the output.
    n_parts : int
    n_threads : int
        Threads, this one included.
    *args
        Passed on.
    """
    n_threads = max(1, min(n_threads, n_parts))
    edges = [n_parts * k // n_threads for k in range(n_threads + 1)]
    others = [
        _threads().submit(function, first, stop, *args)
        for first, stop in pairwise(edges[1:])
    ]
    function(edges[0], edges[1], *args)
    for other in others:
        other.result()


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads that start when none is idle; kernels wait for no other kernel."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="survimg-kernels")


if hasattr(os, "register_at_fork"):
    # The child of a fork has none of these threads.
    os.register_at_fork(after_in_child=_threads.cache_clear)
