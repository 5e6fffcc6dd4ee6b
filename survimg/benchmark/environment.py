"""The environment of a record: versions, hardware, revision, memory."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
from pathlib import Path
from typing import Any

__all__ = ["GpuMemory", "MemoryIncrease", "environment", "survimg_version", "versions"]

_PACKAGES = (
    "numpy", "scipy", "pandas", "scikit-learn", "scikit-survival", "torch", "skorch", "SimpleITK",
    "numba", "PyWavelets", "joblib", "pyradiomics",
)


def survimg_version() -> str:
    """Version of survimg, also from a source tree that is not installed."""
    # The package is loaded whenever this module is; an import statement would make the benchmark
    # depend on everything that survimg/__init__.py imports, models included.
    return str(sys.modules["survimg"].__version__)


def environment() -> dict[str, Any]:
    """Versions, hardware and source revision of this process.

    Returns
    -------
    dict
        ``versions`` (package to version, installed ones only), ``hardware`` and ``git`` (revision
        of survimg's source tree, ``+changes`` if it is modified, or None where it is not in a
        checkout). Asked after a fit: a GPU is known only once torch is loaded.
    """
    python = {"python": platform.python_version()}
    return {"versions": python | versions(), "hardware": _hardware(), "git": _revision()}


@functools.cache
def versions() -> dict[str, str]:
    """Versions of survimg and of the libraries that compute its results, installed ones only."""
    import importlib.metadata  # as subprocess below: not needed to read a run

    numbers = {"survimg": survimg_version()}
    for name in _PACKAGES:
        try:
            numbers[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return numbers


class MemoryIncrease:
    """How far this process's resident memory has risen above its size when the object was made.

    Libraries that are loaded meanwhile count; memory of child processes and of a GPU does not.
    Measured on Linux only, where a process can reset its own peak of memory.
    """

    def __init__(self) -> None:
        self._start: int | None = None
        # A platform without the file, and a container that forbids writing to it, give no figure.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._start = _resident_memory("VmRSS")

    def read(self) -> int | None:
        """Bytes, or None if the platform does not report it."""
        if self._start is None:
            return None
        return max(0, _resident_memory("VmHWM") - self._start)


class GpuMemory:
    """Peak of torch's memory on the GPU since the object was made."""

    def __init__(self) -> None:
        if (cuda := _cuda_in_use()) is not None:
            cuda.reset_peak_memory_stats()

    def read(self) -> int | None:
        """Bytes, or None if no GPU is in use."""
        cuda = _cuda_in_use()
        return None if cuda is None else int(cuda.max_memory_allocated())


def _cuda_in_use() -> Any:
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _resident_memory(line: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{line}:")[2].split()[0]) * 1024


def _hardware() -> dict[str, Any]:
    hardware: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": _usable_cores(),
        "gpu": None,
    }
    torch = sys.modules.get("torch")  # asked only if a model has loaded it: records need no torch
    if torch is not None and torch.cuda.is_available():
        hardware["gpu"] = torch.cuda.get_device_name()
    return hardware


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


@functools.cache
def _revision() -> str | None:
    from subprocess import SubprocessError

    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None  # an installed package may lie inside somebody else's repository
    try:
        head = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, SubprocessError):
        return None
    return f"{head}+changes" if changes else head


def _git(root: Path, *arguments: str) -> str:
    from subprocess import run

    return run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=20
    ).stdout.strip()
