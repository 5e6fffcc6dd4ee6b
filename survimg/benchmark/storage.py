"""JSON and arrays of a run's folder."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from survimg.files import write_atomically

__all__ = ["read_arrays", "read_json", "write_arrays"]


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
