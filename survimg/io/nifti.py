"""Checks of NIfTI files that ITK does not make.

ITK's NIfTI reader fills a truncated file with zeros and replaces NaN by zero, both without an
error. Either would turn a damaged scan into a plausible one.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

__all__ = ["check_nifti", "is_nifti"]

_FLOAT_TYPES = {16: "f4", 64: "f8"}
_CHUNK = 1 << 22


def is_nifti(path: Path) -> bool:
    """Tell by its name whether a file is a single-file NIfTI."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def check_nifti(path: Path) -> None:
    """Check that all voxels are there and finite; the voxels pass through in small pieces.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz``, NIfTI-1 or NIfTI-2.

    Raises
    ------
    ValueError
        No NIfTI header, truncated, or values that are not finite.
    """
    try:
        with open(path, "rb") as raw:
            if path.name.lower().endswith(".gz"):
                with gzip.open(raw) as unpacked:
                    _check_voxels(cast(IO[bytes], unpacked), path)
            else:
                _check_voxels(raw, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged or truncated ({error}).") from None


def _check_voxels(file: IO[bytes], path: Path) -> None:
    header = file.read(544)
    order, version = _byte_order(header, path)
    if version == 1:
        dim = struct.unpack_from(f"{order}8h", header, 40)
        datatype, bits = struct.unpack_from(f"{order}2h", header, 70)
        offset = int(struct.unpack_from(f"{order}f", header, 108)[0])
    else:
        dim = struct.unpack_from(f"{order}8q", header, 16)
        datatype, bits = struct.unpack_from(f"{order}2h", header, 12)
        offset = int(struct.unpack_from(f"{order}q", header, 168)[0])
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1 or bits < 1:
        raise ValueError(f"{path} has a damaged NIfTI header (dimensions {dim}).")
    left = int(np.prod(dim[1 : dim[0] + 1], dtype=object)) * bits // 8
    file.seek(offset)
    while left:
        block = file.read(min(left, _CHUNK))
        if not block:
            raise ValueError(f"{path} is truncated: {left} bytes of its voxels are missing.")
        left -= len(block)
        if datatype in _FLOAT_TYPES:
            kind = np.dtype(order + _FLOAT_TYPES[datatype])
            whole = len(block) - len(block) % kind.itemsize
            if not np.isfinite(np.frombuffer(block[:whole], kind)).all():
                raise ValueError(f"{path} holds values that are not finite (NaN or infinity).")


def _byte_order(header: bytes, path: Path) -> tuple[str, int]:
    if len(header) >= 352:
        for order in "<>":
            size = struct.unpack_from(f"{order}i", header)[0]
            if size == 348:
                return order, 1
            if size == 540 and len(header) == 544:
                return order, 2
    raise ValueError(f"{path} is not a readable image: it has no NIfTI header.")
