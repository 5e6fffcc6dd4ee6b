"""Checks of NIfTI files that ITK does not make.

ITK's NIfTI reader fills a truncated file with zeros, replaces NaN by zero and a voxel size of 0 by
1, and takes one of two contradicting positions, all without an error. Each would turn a damaged
scan into a plausible one. (NIfTI-1: Cox et al. 2004, nifti1.h, whose names the code below uses.)
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

__all__ = ["check_nifti", "is_nifti"]

_FLOAT_TYPES = {16: "f4", 64: "f8"}
#: Bits per voxel of the types that hold one real number.
_BITS = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64}
_CHUNK = 1 << 22
#: Part of a voxel by which the two positions of a file may differ: both are rounded.
_PLACE_TOLERANCE = 0.5
#: Part by which voxel sizes may differ.
_SIZE_TOLERANCE = 0.01
#: Shortest header and extension flag before the voxels in the same file.
_FIRST_VOXEL = 352


@dataclass(frozen=True)
class _Header:
    order: str
    dim: tuple[int, ...]
    datatype: int
    bits: int
    offset: int
    pixdim: np.ndarray  # (8,)
    scale: np.ndarray  # (2,): scl_slope, scl_inter
    codes: tuple[int, int]  # qform, sform
    quaternion: np.ndarray  # (6,): b, c, d, offset x, y, z
    srow: np.ndarray  # (3, 4)


def is_nifti(path: Path) -> bool:
    """Tell by its name whether a file is NIfTI: a single file, or one of a pair."""
    return path.name.lower().endswith((".nii", ".nii.gz", ".hdr", ".img", ".img.gz"))


def check_nifti(path: Path) -> None:
    """Check header and voxels; the voxels pass through in small pieces.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz``; or either file of a pair ``.hdr`` and ``.img`` (``.img.gz``).

    Raises
    ------
    ValueError
        No NIfTI-1 header, truncated or longer than the header says, a damaged header, qform and
        sform that place the voxels differently, or values that are not finite.
    """
    header_path, voxel_path = _files(path)
    try:
        with _opened(header_path) as file:
            header = _read_header(file.read(544), path, header_path == voxel_path)
        _check_place(header, path)
        with _opened(voxel_path) as file:
            _check_voxels(file, header, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged or truncated ({error}).") from None


def _files(path: Path) -> tuple[Path, Path]:
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return path, path
    stem = path.name[: -len(".img.gz")] if name.endswith(".gz") else path.name[: -len(".img")]
    header = path if name.endswith(".hdr") else path.with_name(f"{stem}.hdr")
    candidates = [path.with_name(f"{stem}.img"), path.with_name(f"{stem}.img.gz")]
    voxels = next((candidate for candidate in candidates if candidate.is_file()), None)
    if voxels is None or not header.is_file():
        raise ValueError(f"{path} is one of a pair .hdr and .img; the other file is missing.")
    return header, voxels


def _opened(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(path))
    return open(path, "rb")


def _read_header(content: bytes, path: Path, single: bool) -> _Header:
    order = _byte_order(content, path)

    def numbers(kind: str, at: int) -> tuple[Any, ...]:
        return struct.unpack_from(f"{order}{kind}", content, at)

    wanted = b"n+1\0" if single else b"ni1\0"
    magic = content[344:348]
    if single and magic != wanted:
        raise ValueError(f"{path} is not a readable image: its NIfTI header is damaged (magic).")
    dim = numbers("8h", 40)
    datatype, bits = numbers("2h", 70)
    offset = numbers("f", 108)[0]
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise ValueError(f"{path} has a damaged NIfTI header (dimensions {dim}).")
    if _BITS.get(datatype) != bits:
        raise ValueError(
            f"{path} has voxels of type {datatype} with {bits} bits; one real number per voxel is "
            f"expected (types {sorted(_BITS)}, each with its own number of bits)."
        )
    lowest = _FIRST_VOXEL if single else 0
    if not (np.isfinite(offset) and lowest <= offset < 2**31 and offset == int(offset)):
        raise ValueError(f"{path} has a damaged NIfTI header (vox_offset {offset}).")
    header = _Header(
        order, dim, datatype, bits, int(offset),
        pixdim=np.array(numbers("8f", 76), dtype=np.float64),
        scale=np.array(numbers("2f", 112), dtype=np.float64),
        # Analyze 7.5, the ancestor of the pair, has other things in their place
        codes=cast(tuple[int, int], numbers("2h", 252)) if magic == wanted else (0, 0),
        quaternion=np.array(numbers("6f", 256), dtype=np.float64),
        srow=np.array(numbers("12f", 280), dtype=np.float64).reshape(3, 4),
    )
    if np.isinf(header.scale).any():  # NaN means that there is no scale
        raise ValueError(f"{path} has a damaged NIfTI header (scale {header.scale.tolist()}).")
    return header


def _byte_order(header: bytes, path: Path) -> str:
    if len(header) >= 348:
        for order in "<>":
            size = struct.unpack_from(f"{order}i", header)[0]
            if size == 348:
                return order
            if size == 540:
                raise ValueError(f"{path} is NIfTI-2, which is not read; save it as NIfTI-1.")
    raise ValueError(f"{path} is not a readable image: it has no NIfTI header.")


def _check_place(header: _Header, path: Path) -> None:
    sizes = header.pixdim[1:4]
    if not (np.isfinite(sizes) & (sizes != 0)).all():
        raise ValueError(
            f"{path} has a damaged NIfTI header (pixdim {sizes.tolist()}): the voxels have no size."
        )
    qform_code, sform_code = header.codes
    if sform_code > 0:
        lengths = np.linalg.norm(header.srow[:, :3], axis=0)
        if not np.allclose(lengths, np.abs(sizes), rtol=_SIZE_TOLERANCE, atol=0):
            raise ValueError(
                f"{path} has voxels of {np.abs(sizes).tolist()} mm by pixdim and of "
                f"{lengths.tolist()} mm by its sform; one of the two is damaged."
            )
    if qform_code > 0 and not np.isfinite(header.quaternion).all():
        raise ValueError(f"{path} has a damaged NIfTI header (qform is not finite).")
    if qform_code <= 0 or sform_code <= 0:
        return
    last = np.array([*header.dim[1:4]], dtype=np.float64) - 1
    corners = np.array(np.meshgrid(*([0.0, end] for end in last))).reshape(3, -1)
    ends = np.vstack([corners, np.ones(corners.shape[1])])
    apart = np.linalg.norm((_qform(header) - header.srow) @ ends, axis=0).max()
    if not apart <= _PLACE_TOLERANCE * np.abs(sizes).min():
        raise ValueError(
            f"The qform and the sform of {path} place its voxels up to {apart:.1f} mm apart, and "
            "nothing tells which is right. Write the file again with the right one alone (the code "
            "of the other set to 0)."
        )


def _qform(header: _Header) -> np.ndarray:
    """Matrix (3, 4) of the quaternion, as nifti1.h defines it."""
    b, c, d = header.quaternion[:3]
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    steps = np.abs(header.pixdim[1:4]) * [1.0, 1.0, -1.0 if header.pixdim[0] < 0 else 1.0]
    return np.column_stack([rotation * steps, header.quaternion[3:]])


def _check_voxels(file: IO[bytes], header: _Header, path: Path) -> None:
    left = int(np.prod(header.dim[1 : header.dim[0] + 1], dtype=object)) * header.bits // 8
    file.seek(header.offset)
    while left:
        block = file.read(min(left, _CHUNK))
        if not block:
            raise ValueError(f"{path} is truncated: {left} bytes of its voxels are missing.")
        left -= len(block)
        if header.datatype in _FLOAT_TYPES:
            kind = np.dtype(header.order + _FLOAT_TYPES[header.datatype])
            whole = len(block) - len(block) % kind.itemsize
            if not np.isfinite(np.frombuffer(block[:whole], kind)).all():
                raise ValueError(f"{path} holds values that are not finite (NaN or infinity).")
    if file.read(1):
        raise ValueError(
            f"{path} holds more voxels than the {header.dim[1 : header.dim[0] + 1]} of its header; "
            "its header is damaged, or it is two files in one."
        )
