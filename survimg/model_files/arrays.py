"""Arrays and tensors as bytes, and back without unpickling and without trusting their headers."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from survimg.model_files.errors import ModelFileError

__all__ = ["pack_arrays", "pack_tensors", "unpack_arrays", "unpack_tensors"]

_ENDING = ".npy"


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of an uncompressed ``.npz`` file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(2, 0), allow_pickle=False)
            # A fixed date (the default, 1980): the bytes depend on nothing but the arrays.
            archive.writestr(zipfile.ZipInfo(name + _ENDING), member.getvalue())
    return buffer.getvalue()


def unpack_arrays(content: bytes) -> dict[str, np.ndarray]:
    """Read `pack_arrays`, or any other ``.npz`` file that is not compressed.

    Raises
    ------
    ModelFileError
        A file that is damaged, holds Python objects, or claims more than it has.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            # No compression: what is read is never larger than the file.
            stored = all(
                member.compress_type == zipfile.ZIP_STORED
                and member.file_size == member.compress_size
                for member in members
            )
            if not stored or sum(member.file_size for member in members) > len(content):
                raise ModelFileError("arrays.npz is compressed; survimg.save does not write that.")
            for member in members:
                if member.filename in arrays or not member.filename.endswith(_ENDING):
                    raise ModelFileError(f"arrays.npz holds {member.filename!r}, out of place.")
                arrays[member.filename] = _parse_npy(archive.read(member))
    except (
        zipfile.BadZipFile, ValueError, EOFError, OSError, struct.error, NotImplementedError,
        RuntimeError, OverflowError, SyntaxError, TypeError, MemoryError, IndexError,
    ) as error:  # fmt: skip
        raise ModelFileError(f"arrays.npz cannot be read ({error}); it is damaged.") from None
    return {name.removesuffix(_ENDING): array for name, array in arrays.items()}


def _parse_npy(content: bytes) -> np.ndarray:
    """Read a ``.npy`` file whose header is only believed where the bytes bear it out."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version != (2, 0):
        raise ValueError(f"version {version} of the .npy format")
    shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
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


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of a ``.safetensors`` file."""
    return save_safetensors(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    )


def unpack_tensors(content: bytes) -> dict[str, Tensor]:
    """Read `pack_tensors`.

    Raises
    ------
    ModelFileError
        The file is damaged.
    """
    try:
        return load_safetensors(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise ModelFileError(
            f"weights.safetensors cannot be read ({error}); it is damaged."
        ) from None
