"""Files that are either complete or absent: bytes, JSON, rows of ``.npy``; a folder's lock."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, BinaryIO

import numpy as np

__all__ = [
    "allocate_npy", "check_npy", "file_name", "lock_folder", "make_folder", "remove_empty",
    "unlock_folder", "write_atomically", "write_json", "write_npy_row",
]


def file_name(text: str) -> str:
    """Replace what is no letter, digit, dot, underscore or hyphen, such as a path separator."""
    return re.sub(r"[^\w.-]", "_", text).lstrip(".")


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that a reader finds the old content or the new one, never a part of it.

    The content goes to a temporary file beside it, down to the disk, and takes the name in one
    step; a process killed at any moment leaves at most the temporary file (``*.tmp``).
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that the file is either absent (or as before) or complete."""
    write_atomically(path, json.dumps(content, allow_nan=False, indent=1).encode())


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and its parents; return those that were missing, innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        remove_empty(missing)
        raise
    return missing


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, innermost first; one that is absent or in use stays as it is."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def allocate_npy(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Create a ``.npy`` file of full size, filled with zeros (sparse where the disk allows it)."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + _n_bytes(shape, dtype))


def write_npy_row(path: Path, i: int, row: np.ndarray) -> None:
    """Write row `i` of a ``.npy`` file made by `allocate_npy`, down to the disk.

    With ordinary writes, not through a memory map: a full disk is then an OSError, where a memory
    map would end the process with a bus error.
    """
    with open(path, "r+b") as file:
        _read_npy_header(file)
        file.seek(i * row.nbytes, os.SEEK_CUR)
        file.write(row.data)
        file.flush()
        os.fsync(file.fileno())


def check_npy(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Check that a ``.npy`` file has this shape and type, C order, and its full length.

    Raises
    ------
    ValueError
        The file is missing, not a ``.npy`` file, of another shape or type, or truncated.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing.")
    with open(path, "rb") as file:
        try:
            stored_shape, fortran, stored_dtype = _read_npy_header(file)
        except (ValueError, EOFError, SyntaxError, TokenError) as error:
            raise ValueError(f"{path} is not a readable .npy file ({error}).") from None
        start = file.tell()
    if stored_shape != shape or fortran or stored_dtype != dtype:
        raise ValueError(
            f"{path} holds {stored_dtype} values of shape {stored_shape}"
            f"{' in Fortran order' if fortran else ''}; expected {dtype} values of shape {shape}."
        )
    expected = start + _n_bytes(shape, dtype)
    size = path.stat().st_size
    if size != expected:
        raise ValueError(f"{path} has {size} bytes instead of {expected}; it is damaged.")


def lock_folder(folder: Path) -> IO[str]:
    """Take the folder's lock; the operating system releases it when this process ends.

    Raises
    ------
    BlockingIOError
        Another living process holds it.
    """
    file = open(folder / "lock", "a+", encoding="utf-8")  # noqa: SIM115  # held until unlocked
    try:
        _lock(file)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise BlockingIOError(
            f"{folder} is being written by {holder}. Wait for it, or choose another output folder."
        ) from None
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
    except OSError:  # a full disk: nobody would release it
        with contextlib.suppress(OSError):
            file.close()
        raise
    return file


def unlock_folder(file: IO[str]) -> None:
    """Release a lock; releasing it twice is harmless."""
    with contextlib.suppress(ValueError):
        file.close()


def _lock(file: IO[str]) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the .npy format")


def _n_bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return int(np.prod(shape, dtype=object)) * dtype.itemsize
