"""Where and with what a record was made: versions, hardware, revision, peak memory."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["PeakMemory", "environment", "survimg_version"]

_PACKAGES = (
    "numpy", "scipy", "pandas", "scikit-learn", "scikit-survival", "torch", "skorch", "SimpleITK",
    "pyradiomics",
)


def survimg_version() -> str:
    """Version of survimg, also from a source tree that is not installed."""
    # The package is loaded whenever this module is; an import statement would tie the judge to all
    # that the package's front page imports, contestants included.
    return str(sys.modules["survimg"].__version__)


@functools.cache
def environment() -> dict[str, Any]:
    """Versions, hardware and source revision of this process.

    Returns
    -------
    dict
        ``versions`` (package to version, installed ones only), ``hardware`` and ``git`` (revision
        of survimg's source tree, ``+changes`` if it is modified, or None).
    """
    versions = {"python": platform.python_version(), "survimg": survimg_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"versions": versions, "hardware": _hardware(), "git": _revision()}


class PeakMemory:
    """Largest resident memory of this process since the object was made.

    Linux lets a process restart its own high-water mark. Elsewhere the mark covers the process's
    whole life, and `scope` says so. Memory of child processes is not counted.

    Attributes
    ----------
    scope : {"task", "process", "unknown"}
        What `read` covers.
    """

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self.scope = "task"
        except OSError:
            self.scope = "unknown" if os.name == "nt" else "process"

    def read(self) -> int | None:
        """Bytes, or None where the platform does not tell."""
        if self.scope == "task":
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        if self.scope == "unknown":
            return None
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak) if sys.platform == "darwin" else int(peak) * 1024


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


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _revision() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None  # an installed package may lie inside somebody else's repository
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if changed else head


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=20
    ).stdout.strip()
