"""Files that are either complete or absent, locks, digests; what survimg writes is written here.

Files and folders have the permissions that the user's umask leaves of ``0o666`` and ``0o777``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, BinaryIO

import numpy as np

__all__ = [
    "allocate_npy", "check_npy", "file_digest", "file_name", "lock_file", "lock_folder", "locked",
    "make_folder", "package_digest", "read_json", "remove_empty", "remove_temporaries",
    "source_digest", "sync_folder", "unlock",
    "write_atomically", "write_json", "write_new", "write_npy_row", "writing",
]  # fmt: skip

#: An ending of our own, because users may have ``*.tmp`` files in the folder.
_TEMPORARY = ".survimg-tmp"
#: Where a JSON file holds the checksum of the rest of it.
_CHECKSUM = "sha256"


def file_name(text: str) -> str:
    """Replace what is no letter, digit, dot, underscore or hyphen, such as a path separator."""
    return re.sub(r"[^\w.-]", "_", text).lstrip(".")


def write_new(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is not there yet, down to the disk.

    Raises
    ------
    FileExistsError
        It is there.
    """
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that a reader finds the old content or the new one, never a part of it.

    The content goes to a temporary file beside it, down to the disk, and takes the name in one
    step; a process killed at any moment leaves at most the temporary file. The folder is made
    where there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        write_new(temporary, content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a library that writes by itself a path, whose files take their place at the end.

    The path has the name of the final one, in a temporary folder beside it: the library sees the
    right ending, and a second file (the voxels of a header) gets its right name. After an error
    nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = _beside(path)
    folder.mkdir()
    try:
        yield folder / path.name
        for file in sorted(folder.iterdir()):
            with open(file, "rb") as content:
                os.fsync(content.fileno())
            file.replace(path.parent / file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sync_folder(path.parent)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with a checksum of itself; the file is absent (or as before) or complete."""
    plain = json.loads(json.dumps(content, allow_nan=False))  # names of text, as they are read
    checked = {**plain, _CHECKSUM: _checksum(plain)}
    write_atomically(path, json.dumps(checked, indent=1).encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read the JSON object that `write_json` wrote, or one of survimg's first days, unchecked.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        It is no JSON object, or not the one that was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object.")
    expected = content.pop(_CHECKSUM, None)
    if expected is not None and expected != _checksum(content):
        raise ValueError(f"{path} is not as it was written: its checksum does not hold.")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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


def lock_file(path: Path, *, wait: bool = False) -> IO[str]:
    """Take a lock; the operating system releases it when this process ends.

    Parameters
    ----------
    path : Path
        A file that is there for the lock only; made where there is none.
    wait : bool, default=False
        Wait until another process releases it.

    Raises
    ------
    BlockingIOError
        Another living process holds it, and `wait` is False.
    """
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  # held until unlocked
    try:
        _lock(file, wait)
    except OSError:
        file.seek(0)
        holder = file.read(100).strip() or "another process"
        file.close()
        raise BlockingIOError(
            f"{path.parent} is in use: it is being written by {holder}. Wait for it, or choose "
            "another output folder."
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


def lock_folder(folder: Path) -> IO[str]:
    """Take the lock of a folder, the file ``lock`` in it; see `lock_file`."""
    return lock_file(folder / "lock")


def unlock(file: IO[str]) -> None:
    """Release a lock; releasing it twice is harmless."""
    with contextlib.suppress(ValueError):
        file.close()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, and delete temporary files of killed processes.

    Raises
    ------
    BlockingIOError
        Another living process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = lock_folder(folder)
    try:
        remove_temporaries(folder.rglob("*"))
        yield
    finally:
        unlock(file)


def remove_temporaries(paths: Iterable[Path]) -> None:
    """Remove what a killed process left of these: temporary files and folders, nothing else.

    The caller knows that nobody is writing them: he holds the lock.
    """
    for path in [path for path in paths if path.name.endswith(_TEMPORARY)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def source_digest(thing: Any) -> str | None:
    """Digest of the file that defines a class or function; None for compiled or typed-in code."""
    try:
        file = inspect.getsourcefile(thing)
    except (TypeError, OSError):
        return None
    return file_digest(file) if file is not None and Path(file).is_file() else None


@functools.cache
def package_digest(folder: Path, without: frozenset[str]) -> str:
    """Digest of a package's Python files, read once per process.

    Parameters
    ----------
    folder : Path
        Folder of the package.
    without : frozenset of str
        Names of the folders and files in it that are left out.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        part = file.relative_to(folder)
        if part.parts[0] not in without:
            digest.update(f"{part.as_posix()}\n{file_digest(file)}\n".encode())
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder down to the disk."""
    if os.name == "nt":  # folders cannot be opened there; the files themselves are on disk
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")


def _lock(file: IO[str], wait: bool) -> None:
    if os.name == "nt":
        import msvcrt

        mode = msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK  # type: ignore[attr-defined]
        msvcrt.locking(file.fileno(), mode, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _read_npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the .npy format")


def _n_bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return int(np.prod(shape, dtype=object)) * dtype.itemsize
