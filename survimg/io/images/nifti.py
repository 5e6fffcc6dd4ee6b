"""NIfTI-1 and NIfTI-2: single files and pairs, plain and gzip.

The names of the fields are those of nifti1.h and nifti2.h (Cox et al. 2004). nibabel is no help
here: it reads voxels through a memory map or gzip without looking at what follows them, takes a
header whose qform and sform contradict each other, and has no limit on what a header may claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from survimg.io.containment import check_inside
from survimg.io.images.image import Image, placed_image
from survimg.io.images.stream import MAX_VOXELS, inflated, raw_bytes, start_of

__all__ = ["header_beside", "is_nifti", "read_nifti"]

#: Field, type, place in NIfTI-1, type, place in NIfTI-2; numpy's letters.
_FIELDS = (
    ("dim", "8i2", 40, "8i8", 16), ("datatype", "i2", 70, "i2", 12),
    ("bitpix", "i2", 72, "i2", 14), ("pixdim", "8f4", 76, "8f8", 104),
    ("vox_offset", "f4", 108, "i8", 168), ("scl_slope", "f4", 112, "f8", 176),
    ("scl_inter", "f4", 116, "f8", 184), ("xyzt_units", "u1", 123, "i4", 500),
    ("qform_code", "i2", 252, "i4", 344), ("sform_code", "i2", 254, "i4", 348),
    ("quatern", "6f4", 256, "6f8", 352), ("srow", "(3,4)f4", 280, "(3,4)f8", 400),
)  # fmt: skip
#: Length of the header, where its magic lies, that of a single file, that of a pair.
_VERSIONS = {348: (344, b"n+1\0", b"ni1\0"), 540: (4, b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")}
_HEADER = 544
#: Types that hold one real number.
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8",
}  # fmt: skip
#: mm in a unit of length; a file that does not say is taken to mean mm, as everywhere.
_UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_TIME_UNITS = (0, 8, 16, 24, 32, 40, 48)
#: Below it some readers take a scale for none.
_SMALLEST_SCALE = 1e-10
#: Part of a voxel by which the two positions of a file may differ: both are rounded.
_PLACE_TOLERANCE = 0.1
#: Scalar products of the axes of an sform up to which it, and not the qform, has the last word.
_STRAIGHT = 1e-4
#: Part by which voxel sizes may differ.
_SIZE_TOLERANCE = 0.001
_SCANNER, _LAST_CODE = 1, 5  # codes of a transform to the scanner's coordinates, to a template


@dataclass(frozen=True)
class _Header:
    fields: np.void
    single: bool
    shape: tuple[int, int, int]  # (x, y, z)
    dtype: np.dtype
    offset: int


def is_nifti(start: bytes) -> bool:
    """Tell by its first bytes, inflated, whether a file is a NIfTI header."""
    return _version(start) is not None


def header_beside(path: Path) -> Path:
    """Return the header of a pair for either of its files, which share their name but the suffix.

    Raises
    ------
    ValueError
        There is none, or there are two.
    """
    if not path.name.lower().endswith((".img", ".img.gz")):
        return path
    return _beside(path, ".hdr")


def read_nifti(path: Path, root: Path | None) -> Image:
    """Read a NIfTI file; of a pair, give the header.

    Parameters
    ----------
    path : Path
        ``.nii``, ``.nii.gz``, ``.hdr`` or ``.hdr.gz``.
    root : Path or None
        Folder in which the voxels of a pair must lie; None for anywhere.

    Returns
    -------
    Image
        Voxels in the stored type, or float64 where the header has a scale.

    Raises
    ------
    ValueError
        Not one volume of real numbers, truncated or longer than the header says, a damaged header,
        qform and sform that place the voxels differently, directions that are not orthonormal.
    """
    header = _read_header(path)
    voxels = path
    if not header.single:
        voxels = _beside(path, ".img")
        check_inside(voxels, root, path)
    n_bytes = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
    with open(voxels, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    if compressed:
        content = inflated(voxels, 0, header.offset + n_bytes, "gzip")[header.offset :]
    else:
        content = raw_bytes(voxels, header.offset, n_bytes)
    array = content.view(header.dtype).reshape(header.shape[::-1])
    slope, inter = float(header.fields["scl_slope"]), float(header.fields["scl_inter"])
    if np.isfinite(slope) and slope != 0 and (slope, inter) != (1.0, 0.0):
        array = array * slope + inter
    matrix = _matrix(header, path) * _UNITS[int(header.fields["xyzt_units"]) & 7]
    matrix = matrix * [[-1.0], [-1.0], [1.0]]  # right, anterior, superior to LPS
    steps = np.linalg.norm(matrix[:, :3], axis=0)
    return placed_image(array, steps, matrix[:, 3], matrix[:, :3] / steps, path)


def _version(start: bytes) -> tuple[int, Literal["<", ">"], bool] | None:
    """Return length of the header, byte order, and whether the voxels are in the same file."""
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for order in orders:
        length = int.from_bytes(start[:4], "little" if order == "<" else "big")
        if length in _VERSIONS and len(start) >= length:
            at, single, pair = _VERSIONS[length]
            magic = start[at : at + len(single)]
            if magic in (single, pair):
                return length, order, magic == single
    return None


def _beside(path: Path, suffix: str) -> Path:
    name = path.name.removesuffix(".gz") if path.name.lower().endswith(".gz") else path.name
    stem = name[:-4] if name[-4:].lower() in (".hdr", ".img") else name
    names = {f"{stem}{end}" for plain in (suffix, suffix.upper()) for end in (plain, f"{plain}.gz")}
    # listed, for where capitals make no difference each name would be found twice
    files = [file for file in path.parent.iterdir() if file.name in names]
    files = [file for file in files if file.is_file() or file.is_symlink()]
    if len(files) != 1:
        count = "two of those" if files else "the other file is missing"
        raise ValueError(f"{path} is one of a pair .hdr and .img; {count}.")
    return files[0]


def _read_header(path: Path) -> _Header:
    start = start_of(path, _HEADER)
    version = _version(start)
    if version is None:
        raise ValueError(f"{path} is not a readable image: it has no NIfTI header.")
    length, order, single = version
    columns = [(name, one, at) if length == 348 else (name, two, place)
               for name, one, at, two, place in _FIELDS]
    dtype = np.dtype({
        "names": [name for name, _, _ in columns],
        "formats": [np.dtype(kind).newbyteorder(order) for _, kind, _ in columns],
        "offsets": [at for _, _, at in columns],
        "itemsize": length,
    })
    fields = np.frombuffer(start, dtype, count=1)[0]
    datatype, bits = int(fields["datatype"]), int(fields["bitpix"])
    if datatype not in _TYPES or 8 * np.dtype(_TYPES[datatype]).itemsize != bits:
        raise ValueError(
            f"{path} has voxels of type {datatype} with {bits} bits; one real number per voxel is "
            f"expected (types {sorted(_TYPES)}, each with its own number of bits)."
        )
    offset, lowest = float(fields["vox_offset"]), length + 4 if single else 0
    if not (lowest <= offset < 2**31 and offset == int(offset)):
        raise ValueError(f"{path} has a damaged NIfTI header (vox_offset {offset}).")
    slope = abs(float(fields["scl_slope"]))  # 0 and NaN: there is no scale
    if 0 < slope < _SMALLEST_SCALE or np.isinf([slope, fields["scl_inter"]]).any():
        raise ValueError(
            f"{path} has a damaged NIfTI header (scale {fields['scl_slope']} and "
            f"{fields['scl_inter']})."
        )
    inter = float(fields["scl_inter"])
    if not slope > 0 and inter != 0 and np.isfinite(inter):  # nibabel takes it for none, ITK adds
        raise ValueError(
            f"{path} has scl_slope {fields['scl_slope']} and scl_inter {inter:g}: readers do not "
            "agree whether the intercept counts. Write scl_slope 1 if it does, else scl_inter 0."
        )
    unit = int(fields["xyzt_units"])
    if unit & 7 not in _UNITS or unit & ~7 not in _TIME_UNITS:
        raise ValueError(f"{path} has a damaged NIfTI header (unit {fields['xyzt_units']}).")
    voxel = np.dtype(_TYPES[datatype]).newbyteorder(order)
    return _Header(fields, single, _shape(fields["dim"], path), voxel, int(offset))


def _shape(dim: np.ndarray, path: Path) -> tuple[int, int, int]:
    n_axes, *extents = dim.tolist()
    if not 1 <= n_axes <= 7 or min(extents[:n_axes]) < 1:
        raise ValueError(f"{path} has a damaged NIfTI header (dimensions {dim.tolist()}).")
    if n_axes < 3 or max(extents[3:n_axes], default=1) != 1:
        raise ValueError(
            f"{path} must be one three-dimensional volume; it has size "
            f"{tuple(extents[:n_axes])} (x, y, z)."
        )
    if np.prod(extents[:3], dtype=object) > MAX_VOXELS:
        raise ValueError(
            f"{path} claims {tuple(extents[:3])} voxels; a volume has {MAX_VOXELS} at most."
        )
    x, y, z = extents[:3]
    return x, y, z


def _matrix(header: _Header, path: Path) -> np.ndarray:
    """Return the matrix (3, 4) from voxels to world coordinates (right, anterior, superior)."""
    fields = header.fields
    sizes = fields["pixdim"][1:4].astype(np.float64)
    if not (np.isfinite(sizes) & (sizes > 0)).all():  # of negative ones readers make two things
        raise ValueError(
            f"{path} has a damaged NIfTI header (pixdim {sizes.tolist()}): voxels have a size "
            "above 0."
        )
    qform_code, sform_code = int(fields["qform_code"]), int(fields["sform_code"])
    if not (0 <= qform_code <= _LAST_CODE and 0 <= sform_code <= _LAST_CODE):
        raise ValueError(
            f"{path} has a damaged NIfTI header (qform_code {qform_code}, sform_code {sform_code})."
        )
    sform = fields["srow"].astype(np.float64)
    if sform_code > 0:
        lengths = np.linalg.norm(sform[:, :3], axis=0)
        if not np.allclose(lengths, sizes, rtol=_SIZE_TOLERANCE, atol=0):
            raise ValueError(
                f"{path} has voxels of {sizes.tolist()} mm by pixdim and of {lengths.tolist()} mm "
                "by its sform; one of the two is damaged."
            )
    if qform_code <= 0 and sform_code <= 0:  # no place at all: as ITK has it, unturned in LPS
        return np.column_stack([np.diag(sizes * [-1.0, -1.0, 1.0]), np.zeros(3)])
    if qform_code <= 0:
        return sform
    qform = _qform(fields, sizes, path)
    if sform_code <= 0:
        return qform
    corners = np.array(np.meshgrid(*([0.0, extent - 1.0] for extent in header.shape)))
    ends = np.vstack([corners.reshape(3, -1), np.ones(8)])
    apart = np.linalg.norm((qform - sform) @ ends, axis=0).max()
    if not apart <= _PLACE_TOLERANCE * sizes.min():
        raise ValueError(
            f"The qform and the sform of {path} place its voxels up to {apart:.1f} mm apart, and "
            "nothing tells which is right. Write the file again with the right one alone (the code "
            "of the other set to 0)."
        )
    axes = sform[:, :3] / np.linalg.norm(sform[:, :3], axis=0)
    straight = np.abs(axes.T @ axes - np.eye(3)).max() <= _STRAIGHT
    return sform if sform_code == _SCANNER and straight else qform  # ITK's choice


def _qform(fields: np.void, sizes: np.ndarray, path: Path) -> np.ndarray:
    """Matrix (3, 4) of the quaternion, as nifti1.h defines it."""
    quaternion = fields["quatern"].astype(np.float64)
    b, c, d = quaternion[:3]
    squares = b * b + c * c + d * d
    if not squares <= 1 + 1e-4:
        raise ValueError(
            f"{path} has a damaged NIfTI header: its quaternion {[b, c, d]} is no rotation."
        )
    b, c, d = quaternion[:3] / max(1.0, np.sqrt(squares))
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    steps = sizes * [1.0, 1.0, -1.0 if fields["pixdim"][0] < 0 else 1.0]
    return np.column_stack([rotation * steps, quaternion[3:]])
