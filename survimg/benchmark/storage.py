"""JSON and arrays of a run's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from survimg import files
from survimg.npz import pack_arrays, unpack_arrays

__all__ = ["read_arrays", "read_json", "write_arrays"]

#: Bytes that a record of survimg's first days, which were compressed, may hold.
_LARGEST_COMPRESSED = 2**28


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        The file does not hold a JSON object, or not the one that was written.
    """
    try:
        return files.read_json(path)
    except ValueError as error:
        raise ValueError(f"{error} Delete it and run again.") from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write arrays to an ``.npz`` file and return the SHA-256 of its bytes.

    Raises
    ------
    ValueError
        An array of Python objects, which could be read with pickle only.
    """
    content = pack_arrays(arrays)
    files.write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def read_arrays(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """Read the arrays of `write_arrays`.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        The bytes are not those that were written, or no arrays.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} does not hold the bytes that its record was written with.")
    try:
        return unpack_arrays(content, largest=_LARGEST_COMPRESSED)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
