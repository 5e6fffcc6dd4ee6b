"""Arrays as ``.npz`` bytes, and back without unpickling and without trusting their headers."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from typing import Literal

import numpy as np

__all__ = ["pack_arrays", "unpack_arrays"]

_ENDING = ".npy"
_DAMAGE = (
    zipfile.BadZipFile, ValueError, EOFError, OSError, struct.error, NotImplementedError,
    zlib.error, RuntimeError, OverflowError, SyntaxError, TypeError, MemoryError, IndexError,
    tokenize.TokenError,
)  # fmt: skip


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of an uncompressed ``.npz`` file; equal arrays give equal bytes.

    Raises
    ------
    ValueError
        An array of Python objects, which could be read with pickle only.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            if array.dtype.hasobject:
                raise ValueError(f"Array {name!r} holds Python objects; give plain data.")
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(2, 0), allow_pickle=False)
            # A fixed date (the default, 1980): the bytes depend on nothing but the arrays.
            archive.writestr(zipfile.ZipInfo(name + _ENDING), member.getvalue())
    return buffer.getvalue()


def unpack_arrays(content: bytes, *, largest: int | None = None) -> dict[str, np.ndarray]:
    """Read `pack_arrays`, or any other ``.npz`` file.

    Parameters
    ----------
    content : bytes
    largest : int, optional
        Bytes that a compressed file may hold; by default compressed files are refused. Without
        compression nothing is ever larger than the file.

    Raises
    ------
    ValueError
        It is damaged (each array has a checksum), compressed, holds Python objects, or claims more
        than it has.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            stored = all(
                member.compress_type == zipfile.ZIP_STORED
                and member.file_size == member.compress_size
                for member in members
            )
            limit = len(content) if stored or largest is None else largest
            if (not stored and largest is None) or sum(m.file_size for m in members) > limit:
                raise ValueError("compressed, or larger than it can be")
            for member in members:
                if member.filename in arrays or not member.filename.endswith(_ENDING):
                    raise ValueError(f"{member.filename!r} is out of place")
                arrays[member.filename] = _parse_npy(archive.read(member))
    except _DAMAGE as error:
        raise ValueError(f"cannot be read ({error}); it is damaged.") from None
    return {name.removesuffix(_ENDING): array for name, array in arrays.items()}


def _parse_npy(content: bytes) -> np.ndarray:
    """Read a ``.npy`` file whose header is only believed where the bytes bear it out."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the .npy format")
    if dtype.hasobject:
        raise ValueError("an array of Python objects, which could be read with pickle only")
    n_items = 1
    for length in shape:
        n_items *= int(length)
    start = file.tell()
    if n_items * dtype.itemsize != len(content) - start:
        raise ValueError(f"an array of shape {shape} with {len(content) - start} bytes")
    order: Literal["F", "C"] = "F" if fortran else "C"
    if n_items == 0:
        return np.empty(shape, dtype=dtype, order=order)
    array = np.frombuffer(content, dtype=dtype, count=n_items, offset=start)
    return array.reshape(shape, order=order).copy(order="K")
