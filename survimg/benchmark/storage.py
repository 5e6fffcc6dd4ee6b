"""Files of a run that are either complete or absent, and the lock of its folder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

__all__ = ["locked", "read_arrays", "read_json", "write_arrays", "write_atomically", "write_json"]

#: An ending of our own, because users may have ``*.tmp`` files in the folder.
_TEMPORARY = ".survimg-tmp"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file in one step: readers see the old content or the new one, never a part of it.

    A process that is killed leaves at most a temporary file in the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=_TEMPORARY)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp makes files that only the owner can read
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; a NaN is an error, because JSON has none."""
    write_atomically(path, json.dumps(content, allow_nan=False, indent=1).encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        The file does not hold a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); delete it and run again.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold a JSON object; delete it and run again.")
    return content


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write arrays to a compressed ``.npz`` file and return the SHA-256 of its bytes.

    Raises
    ------
    ValueError
        An array of Python objects, which could be read with pickle only.
    """
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"Array {name!r} holds Python objects; records hold plain data only.")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def read_arrays(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """Read the arrays of `write_arrays`.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        The bytes are not those that were written.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} does not hold the bytes that its record was written with.")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, and delete temporary files of killed processes.

    The operating system releases the lock when the process ends, however it ends.

    Raises
    ------
    BlockingIOError
        Another living process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+b") as file:
        try:
            _lock(file)
        except OSError:
            file.seek(0)
            holder = file.read(100).decode("ascii", "replace").strip() or "another process"
            raise BlockingIOError(
                f"{folder} is in use by another benchmark ({holder}). Wait for it, or choose "
                "another folder."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}".encode())
        file.flush()
        for leftover in folder.rglob(f"*{_TEMPORARY}"):
            leftover.unlink()
        yield


def _lock(file: IO[bytes]) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there; the file itself is on disk
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
