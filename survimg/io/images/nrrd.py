"""NRRD, attached and detached, raw and gzip (teem.sourceforge.net/nrrd/format.html)."""

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
    words,
)

__all__ = ["is_nrrd", "read_nrrd"]

_MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16",
                     "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long",
                     "signed long long int", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64",
                     "uint64_t"), "u8"),
    "float": "f4", "double": "f8",
}  # fmt: skip
_SPELLINGS = {
    "datafile": "data file", "byteskip": "byte skip", "lineskip": "line skip",
    "centerings": "centers", "oldmin": "old min", "oldmax": "old max", "blocksize": "block size",
    "sampleunits": "sample units",
}
#: Fields that say nothing about the place or the value of a scalar voxel.
_IDLE = frozenset(
    {"content", "number", "min", "max", "centers", "labels", "thicknesses", "measurement frame",
     "sample units"}
)  # fmt: skip
_READ = frozenset(
    {"type", "dimension", "sizes", "encoding", "endian", "space", "space dimension",
     "space directions", "space origin", "space units", "units", "kinds", "spacings", "data file",
     "byte skip", "line skip"}
)  # fmt: skip
#: Fields that the format wants behind others.
_AFTER_DIMENSION = frozenset(
    {"sizes", "spacings", "kinds", "centers", "labels", "thicknesses", "units", "space",
     "space dimension"}
)  # fmt: skip
_AFTER_SPACE = frozenset(
    {"space directions", "space origin", "space units", "measurement frame"}
)
#: World axes, and which of them run against left, posterior and superior.
_SPACES = {
    "left-posterior-superior": (1.0, 1.0, 1.0), "lps": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0), "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0), "las": (1.0, -1.0, 1.0),
}
_SPATIAL = frozenset({"domain", "space", "none", "???"})
_VECTOR = re.compile(r"none|\([^()]*\)")


def is_nrrd(start: bytes) -> bool:
    """Tell by its first bytes whether a file is NRRD."""
    return _MAGIC.match(start) is not None


def read_nrrd(path: Path, root: Path | None) -> Image:
    """Read an NRRD file.

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
        text or bzip2; several values per voxel; no place in the patient; truncated, damaged, or
        longer than the header says; directions that are not orthonormal.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_HEADER)
    blank = re.search(rb"\r?\n\r?\n", content)
    try:
        if blank is None and len(content) == MAX_HEADER:
            raise HeaderError("its header has no end")
        if blank is None and not content.endswith(b"\n"):
            raise HeaderError("its header ends within a line")
        fields = _fields(content if blank is None else content[: blank.start() + 1])
        return _read(path, root, fields, None if blank is None else blank.end())
    except HeaderError as error:
        raise ValueError(f"{path} is not a readable NRRD image: {error}.") from None


def _fields(header: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines_of(header)[1:]:
        name, colon, value = line.partition(": ")
        if line.startswith("#") or (":=" in line and not colon) or ":=" in name:
            continue  # comments, and what programs note for themselves
        name = name.lower()
        name = _SPELLINGS.get(name, name)
        if not colon or name not in _READ | _IDLE:
            raise HeaderError(f"the field {name[:40]!r} is not known")
        if name in fields:
            raise HeaderError(f"the field {name!r} is given twice")
        if name in _AFTER_DIMENSION and "dimension" not in fields:
            raise HeaderError(f"the field {name!r} must come after 'dimension'")
        if name in _AFTER_SPACE and not {"space", "space dimension"} & fields.keys():
            raise HeaderError(f"the field {name!r} must come after 'space'")
        fields[name] = value.strip(" \t")
    for name in ("type", "dimension", "sizes", "encoding"):
        if name not in fields:
            raise HeaderError(f"the field {name!r} is missing")
    return fields


def _read(path: Path, root: Path | None, fields: dict[str, str], start: int | None) -> Image:
    n_axes = whole(fields["dimension"], "dimension")
    if n_axes not in (3, 4):
        raise HeaderError(f"it must be one three-dimensional volume; its dimension is {n_axes}")
    extents = sizes(fields["sizes"], n_axes, "sizes")
    axes = _spatial_axes(fields, extents)
    for name, count in (("labels", n_axes), ("units", n_axes), ("space units", 3)):
        if name in fields and not re.fullmatch(rf'("[^"]*"\s*){{{count}}}', fields[name]):
            raise HeaderError(f"{name} must be {count} texts in quotes; found {fields[name]!r}")
    spacing, origin, direction = _place(fields, n_axes, axes)
    order = fields.get("endian", "").lower()
    kind = fields["type"].lower()
    if order not in ("little", "big") and not (order == "" and _TYPES.get(kind, "")[1:] == "1"):
        raise HeaderError(f"endian must be little or big; found {order!r}")
    dtype = voxel_type(kind, _TYPES, order == "big")
    voxels = path
    if "data file" in fields:
        voxels, start = beside(path, fields["data file"]), 0
        check_inside(voxels, root, path)
    elif start is None:
        raise HeaderError("it has no empty line before its voxels, and names no file with them")
    n_bytes = int(np.prod(extents, dtype=object)) * dtype.itemsize
    content = _content(voxels, start, n_bytes, fields)
    array = content.view(dtype).reshape([extents[i] for i in axes][::-1])
    return placed_image(array, spacing, origin, direction, path)


def _spatial_axes(fields: dict[str, str], extents: list[int]) -> list[int]:
    """Return the three axes of space; a fourth one has length 1."""
    kinds = words(fields.get("kinds", " ".join(["domain"] * len(extents))).lower())
    if len(kinds) != len(extents):
        raise HeaderError(f"kinds must be {len(extents)} words; found {fields['kinds']!r}")
    vectors = _VECTOR.findall(fields.get("space directions", ""))
    idle = [i for i, vector in enumerate(vectors) if vector == "none"]
    if len(extents) == 4 and not idle:
        idle = [3]
    axes = [i for i in range(len(extents)) if i not in idle]
    if len(axes) != 3 or any(extents[i] != 1 for i in idle):
        raise HeaderError(
            f"it must be one three-dimensional volume with one value per voxel; its sizes are "
            f"{extents}"
        )
    if not {kinds[i] for i in axes} <= _SPATIAL:
        raise HeaderError(f"its axes must be those of space; their kinds are {fields['kinds']!r}")
    return axes


def _place(
    fields: dict[str, str], n_axes: int, axes: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return spacing, origin and directions (columns), in LPS."""
    units = re.findall(r'"([^"]*)"', f"{fields.get('units', '')} {fields.get('space units', '')}")
    if not set(units) <= {"mm", "millimeter", "millimeters", "", "none", "???"}:
        raise HeaderError(f"lengths must be in mm; its units are {units}")
    if not {"space", "space dimension", "space directions", "space origin"} & fields.keys():
        return _spacings(fields, n_axes, axes), np.zeros(3), np.eye(3)
    space = fields.get("space", "").lower()
    if space not in _SPACES or fields.get("space dimension", "3") != "3":
        raise HeaderError(
            f"space must be one of {[name for name in _SPACES if '-' in name]}; found {space!r}, "
            "which does not say where the patient's left is"
        )
    for name in ("space directions", "space origin"):
        if name not in fields:
            raise HeaderError(f"the field {name!r} is missing: its place is not known")
    if "spacings" in fields:
        raise HeaderError("it has spacings and space directions; only one of them may be given")
    text = fields["space directions"]
    vectors = _VECTOR.findall(text)
    if _VECTOR.sub("", text).strip(" \t") or len(vectors) != n_axes:
        raise HeaderError(f"space directions must be one vector per axis; found {text!r}")
    signs = np.array(_SPACES[space])
    steps = np.array([_vector(vectors[i], "space directions") for i in axes]).T * signs[:, None]
    spacing = np.linalg.norm(steps, axis=0)
    if not (spacing > 0).all():
        raise HeaderError("its voxels have no size (space directions)")
    return spacing, _vector(fields["space origin"], "space origin") * signs, steps / spacing


def _spacings(fields: dict[str, str], n_axes: int, axes: list[int]) -> np.ndarray:
    if "spacings" not in fields:
        raise HeaderError("its voxels have no size (space directions)")
    every = words(fields["spacings"])
    if len(every) != n_axes:
        raise HeaderError(f"spacings must be one number per axis; found {every}")
    return np.array([numbers(every[i], 1, "spacings")[0] for i in axes])


def _vector(text: str, name: str) -> np.ndarray:
    if not (text.startswith("(") and text.endswith(")")):
        raise HeaderError(f"{name} must be (x,y,z); found {text!r}")
    parts = text[1:-1].split(",")
    if len(parts) != 3:
        raise HeaderError(f"{name} must have three components; found {text!r}")
    return np.array([numbers(part, 1, name)[0] for part in parts])


def _content(voxels: Path, start: int, n_bytes: int, fields: dict[str, str]) -> np.ndarray:
    encoding = fields["encoding"].lower()
    skip = whole(fields.get("byte skip", "0"), "byte skip")
    if whole(fields.get("line skip", "0"), "line skip") != 0:
        raise HeaderError("line skip is not supported")
    if encoding == "raw":
        if skip == -1:
            skip = max(voxels.stat().st_size - n_bytes - start, 0)
        if skip < 0:
            raise HeaderError(f"byte skip must be -1 or more; found {skip}")
        return raw_bytes(voxels, start + skip, n_bytes)
    if encoding in ("gzip", "gz"):
        if skip < 0:
            raise HeaderError(f"byte skip must be 0 or more; found {skip}")
        return inflated(voxels, start, skip + n_bytes, "gzip")[skip:]
    raise HeaderError(f"the encoding {encoding!r} is not supported; raw and gzip are")
