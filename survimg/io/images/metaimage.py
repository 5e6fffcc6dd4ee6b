"""MetaImage, local and detached, raw and zlib (itk.org/Wiki/ITK/MetaIO/Documentation)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from survimg.io.containment import check_inside
from survimg.io.images.image import Image, placed_image
from survimg.io.images.stream import inflated, raw_bytes
from survimg.io.images.text_header import (
    MAX_HEADER,
    HeaderError,
    beside,
    lines_of,
    numbers,
    sizes,
    voxel_type,
    whole,
)

__all__ = ["is_metaimage", "read_metaimage"]

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
#: Names of one field.
_SPELLINGS = {
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB", "Position": "Offset", "Origin": "Offset",
    "ImagePosition": "Offset", "Orientation": "TransformMatrix", "Rotation": "TransformMatrix",
}
#: Fields that say nothing about the place or the value of a voxel.
_IDLE = frozenset(
    {"Comment", "ObjectSubType", "Name", "ID", "ParentID", "AcquisitionDate", "Color",
     "CompressionLevel", "CenterOfRotation", "AnatomicalOrientation", "ElementSize", "Modality",
     "SequenceID", "ElementMin", "ElementMax", "TransformType"}
)  # fmt: skip
_READ = frozenset(
    {"ObjectType", "NDims", "BinaryData", "BinaryDataByteOrderMSB", "CompressedData",
     "CompressedDataSize", "TransformMatrix", "Offset", "ElementSpacing", "DimSize", "HeaderSize",
     "ElementNumberOfChannels", "ElementType", "ElementDataFile", "DistanceUnits",
     "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"}
)  # fmt: skip
#: Those of one or four numbers; a reader that looks for more would take them from the next line.
_IDLE_NUMBERS = {
    "ID": 1, "ParentID": 1, "CompressionLevel": 1, "ElementMin": 1, "ElementMax": 1, "Color": 4,
}  # fmt: skip
#: Fields whose length is the number of axes.
_AFTER_NDIMS = frozenset(
    {"TransformMatrix", "Offset", "CenterOfRotation", "ElementSpacing", "ElementSize", "DimSize",
     "SequenceID"}
)
#: What ITK keeps of a file that it converted: DICOM tags and notes of its own.
_NOTES = re.compile(r"[0-9a-fA-F]{4}\|[0-9a-fA-F]{4}|ITK_\w+")
#: Fields that must have this value where they are given: all else would change the voxels.
_FIXED = {
    "ObjectType": ("Image",), "BinaryData": ("True",), "ElementNumberOfChannels": ("1",),
    "DistanceUnits": ("mm", "?"), "ElementToIntensityFunctionSlope": ("1",),
    "ElementToIntensityFunctionOffset": ("0",),
}
_START = re.compile(rb"(?:ObjectType|NDims|Comment) *= *[ -~\t]*\r?\n")


def is_metaimage(start: bytes) -> bool:
    """Tell by its first line whether a file is MetaImage, which has no other mark."""
    return _START.match(start) is not None


def read_metaimage(path: Path, root: Path | None) -> Image:
    """Read a MetaImage file.

    Parameters
    ----------
    path : Path
        Header with voxels, or the header of a detached file.
    root : Path or None
        Folder in which detached voxels must lie; None for anywhere.

    Returns
    -------
    Image
        Voxels in the stored type.

    Raises
    ------
    ValueError
        Outside the grammar: a field that is not known, or given twice; voxels in several files, as
        text, with several values or a scale; ``MET_LONG``, which has 4 or 8 bytes depending on who
        wrote it; truncated, damaged, or longer than the header says; directions that are not
        orthonormal.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_HEADER)
    # the field that says where the voxels lie is the last one
    last = re.search(rb"(?m)^ElementDataFile *=[^\n]*(?:\n|\Z)", content)
    try:
        if last is None:
            raise HeaderError("the field 'ElementDataFile' is missing")
        return _read(path, root, _fields(content[: last.end()]), last.end())
    except HeaderError as error:
        raise ValueError(f"{path} is not a readable MetaImage: {error}.") from None


def _fields(header: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines_of(header):
        name, equals, value = line.partition("=")
        name = _SPELLINGS.get(name.strip(" "), name.strip(" "))
        if _NOTES.fullmatch(name):
            continue
        if not equals or name not in _READ | _IDLE:
            raise HeaderError(f"the field {name[:40]!r} is not known")
        if name in fields:
            raise HeaderError(f"the field {name!r} is given twice")
        if name in _AFTER_NDIMS and "NDims" not in fields:
            raise HeaderError(f"the field {name!r} must come after 'NDims'")
        fields[name] = value.strip(" \t")
    for name in ("NDims", "DimSize", "ElementType", "ElementSpacing"):
        if name not in fields:
            raise HeaderError(f"the field {name!r} is missing")
    for name, values in _FIXED.items():
        if fields.get(name, values[0]) not in values:
            raise HeaderError(f"{name} must be {values[0]}; found {fields[name]!r}")
    return fields


def _flag(fields: dict[str, str], name: str) -> bool:
    value = fields.get(name, "False")
    if value not in ("True", "False"):
        raise HeaderError(f"{name} must be True or False; found {value!r}")
    return value == "True"


def _read(path: Path, root: Path | None, fields: dict[str, str], start: int) -> Image:
    n_axes = whole(fields["NDims"], "NDims")
    if n_axes not in (3, 4):
        raise HeaderError(f"it must be one three-dimensional volume; it has {n_axes} axes")
    extents = sizes(fields["DimSize"], n_axes, "DimSize")
    if n_axes == 4 and extents[3] != 1:
        raise HeaderError(f"it must be one three-dimensional volume; it has size {extents}")
    dtype = voxel_type(fields["ElementType"], _TYPES, _flag(fields, "BinaryDataByteOrderMSB"))
    unturned = " ".join(f"{value:g}" for value in np.eye(n_axes).ravel())
    # rows are the directions of the axes
    matrix = np.array(
        numbers(fields.get("TransformMatrix", unturned), n_axes**2, "TransformMatrix")
    ).reshape(n_axes, n_axes)
    per_axis = dict.fromkeys(("CenterOfRotation", "ElementSize", "SequenceID"), n_axes)
    for name, count in (_IDLE_NUMBERS | per_axis).items():
        if name in fields:
            numbers(fields[name], count, name)
    offset = numbers(fields.get("Offset", " ".join("0" * n_axes)), n_axes, "Offset")
    spacing = numbers(fields["ElementSpacing"], n_axes, "ElementSpacing")
    voxels, name = path, fields["ElementDataFile"]
    if name not in ("LOCAL", "Local", "local"):
        voxels, start = beside(path, name), 0
        check_inside(voxels, root, path)
    n_bytes = int(np.prod(extents, dtype=object)) * dtype.itemsize
    content = _content(voxels, start, n_bytes, fields)
    array = content.view(dtype).reshape(extents[2::-1])
    return placed_image(array, spacing[:3], offset[:3], matrix[:3, :3].T, path)


def _content(voxels: Path, start: int, n_bytes: int, fields: dict[str, str]) -> np.ndarray:
    skip = whole(fields.get("HeaderSize", "0"), "HeaderSize")
    if skip < -1 or (skip != 0 and start > 0):
        raise HeaderError(f"HeaderSize {skip} does not fit where the voxels are")
    size = voxels.stat().st_size
    if not _flag(fields, "CompressedData"):
        skip = max(size - n_bytes, 0) if skip == -1 else skip
        return raw_bytes(voxels, start + skip, n_bytes)
    if skip != 0:
        raise HeaderError("HeaderSize before compressed voxels is not supported")
    if "CompressedDataSize" not in fields and start > 0:  # the format wants it there
        raise HeaderError("the field 'CompressedDataSize' is missing")
    length = whole(fields.get("CompressedDataSize", str(size - start)), "CompressedDataSize")
    if length != size - start:
        raise HeaderError(
            f"there are {size - start} bytes of compressed voxels; CompressedDataSize is {length}"
        )
    return inflated(voxels, start, n_bytes, "zlib")
