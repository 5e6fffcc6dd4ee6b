"""Compilation of kernels: without the interpreter lock, and kept on disk where that is possible.

A kernel calls kernels of its own file only: Numba recompiles a cached function when its own file
has changed, but does not see that another one has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["kernel", "reducing_kernel"]

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function at its first call; later processes load it from disk.

    Numba keeps compiled code beside the module or, where that folder is read-only, in the user's
    cache folder (``NUMBA_CACHE_DIR`` overrides both). Floating-point order is that of the source.
    """
    return _compile(function, False)


def reducing_kernel(function: F) -> F:
    """Compile like `kernel`, and let sums be reordered, which lets them use vector registers.

    Only for sums that PyRadiomics, too, leaves to an order of NumPy's choosing.
    """
    return _compile(function, {"reassoc", "contract", "nsz", "arcp"})


def _compile(function: F, fastmath: bool | set[str]) -> F:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:
        # Numba found no folder it may write to, such as in a container without a home.
        compiled = numba.njit(**options)(function)
    return cast(F, compiled)
