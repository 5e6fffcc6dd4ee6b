"""Checks of NRRD and MetaImage headers that ITK does not make.

A header may name the files that hold its voxels, anywhere on the machine: a data set from a
stranger could read files that its manifest was not allowed to. And ITK takes the first voxels of a
file that holds more than its header says.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["check_text_header", "has_text_header"]

_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
#: A header is text of this length at most; longer ones are damaged.
_MAX_HEADER = 1 << 20
_NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8",
                     "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "int16", "int16_t", "ushort",
                     "unsigned short", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32",
                     "uint32_t", "float"), 4),
    **dict.fromkeys(("longlong", "long long", "int64", "int64_t", "ulonglong", "uint64",
                     "uint64_t", "double"), 8),
}
_META_BYTES = {
    "met_char": 1, "met_uchar": 1, "met_short": 2, "met_ushort": 2, "met_int": 4, "met_uint": 4,
    "met_long_long": 8, "met_ulong_long": 8, "met_float": 4, "met_double": 8,
}


def has_text_header(path: Path) -> bool:
    """Tell by its name whether a file is NRRD or MetaImage."""
    return path.suffix.lower() in _SUFFIXES


def check_text_header(path: Path) -> None:
    """Check where the voxels lie and, where they are not compressed, how many there are.

    Parameters
    ----------
    path : Path
        ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``.

    Raises
    ------
    ValueError
        Voxels outside the header's folder (absolute, with ``..``, or through a link), or more of
        them than the header says.
    """
    with open(path, "rb") as file:
        content = file.read(_MAX_HEADER)
    nrrd = content.startswith(b"NRRD")
    end, fields, rest = _nrrd_fields(content) if nrrd else _meta_fields(content)
    where = fields.get("data file", fields.get("datafile")) if nrrd else fields.get(
        "elementdatafile"
    )
    if where is None or where.upper() == "LOCAL":
        size = path.stat().st_size - end
    else:
        listed = where.upper().split()[0:1] == ["LIST"]
        names = [line.strip() for line in rest.splitlines() if line.strip()] if listed else [where]
        for name in names:
            _check_inside(path, name)
        voxels = path.parent / where
        if listed or not voxels.is_file():
            return  # several files, or a pattern of names
        size = voxels.stat().st_size
    expected = _nrrd_size(fields) if nrrd else _meta_size(fields)
    if expected is not None and size > expected:
        raise ValueError(
            f"{path} holds {size} bytes of voxels; its header tells of {expected}. One of the two "
            "is damaged."
        )


def _check_inside(path: Path, name: str) -> None:
    folder = path.parent.resolve()
    target = path.parent / name
    if Path(name).is_absolute() or not target.resolve().is_relative_to(folder):
        raise ValueError(
            f"{path} takes its voxels from {name!r}, outside the folder of the header. Move the "
            "file beside the header, or convert both into one file."
        )


def _nrrd_fields(content: bytes) -> tuple[int, dict[str, str], str]:
    blank = re.search(rb"\r?\n\r?\n", content)
    end = len(content) if blank is None else blank.end()
    text = content[:end].decode("latin-1")
    pairs = [line.partition(":") for line in text.splitlines() if not line.startswith("#")]
    fields = {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}
    after = text.partition("LIST")[2].partition("\n")[2] if "LIST" in text else ""
    return end, fields, after


def _meta_fields(content: bytes) -> tuple[int, dict[str, str], str]:
    # the field that says where the voxels lie is the last one
    last = re.search(rb"(?im)^\s*ElementDataFile\s*=[^\n]*\n?", content)
    end = len(content) if last is None else last.end()
    pairs = [line.partition("=") for line in content[:end].decode("latin-1").splitlines()]
    fields = {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}
    return end, fields, content[end:].decode("latin-1") if "list" in str(
        fields.get("elementdatafile")
    ).lower() else ""


def _nrrd_size(fields: dict[str, str]) -> int | None:
    """Bytes of the voxels; None where they are compressed, or the header is not understood."""
    item = _NRRD_BYTES.get(fields.get("type", "").lower())
    skips = any(name.replace(" ", "") in ("lineskip", "byteskip") for name in fields)
    if item is None or skips or fields.get("encoding", "").lower() != "raw":
        return None
    return _product(fields.get("sizes", ""), item)


def _meta_size(fields: dict[str, str]) -> int | None:
    item = _META_BYTES.get(fields.get("elementtype", "").lower())
    compressed = fields.get("compresseddata", "false").lower() != "false"
    if item is None or compressed or fields.get("headersize", "0") != "0":
        return None
    channels = fields.get("elementnumberofchannels", "1")
    return _product(f"{fields.get('dimsize', '')} {channels}", item)


def _product(text: str, item: int) -> int | None:
    try:
        sizes = [int(size) for size in text.split()]
    except ValueError:
        return None
    if not sizes or min(sizes) < 1:
        return None
    total = item
    for size in sizes:
        total *= size
    return total
