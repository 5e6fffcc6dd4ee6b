"""What the headers of NRRD and MetaImage have in common: lines of text, read strictly.

A line that one reader ends where another does not, a key that is given twice, a number that is one
only for some: each can show one file to the check and another one to the reader. There is one
reader here, and what is not in its grammar is refused.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from survimg.io.images.stream import MAX_VOXELS

__all__ = [
    "HeaderError", "beside", "lines_of", "numbers", "sizes", "voxel_type", "whole", "words",
]

#: A header is text of this length at most; longer ones are damaged.
MAX_HEADER = 1 << 20

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,12}", re.ASCII)
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


class HeaderError(ValueError):
    """A header outside the grammar; the message lacks the file's name."""


def lines_of(content: bytes) -> list[str]:
    """Split a header at its newlines, of one kind, and refuse all other control characters.

    Parameters
    ----------
    content : bytes
        The header; without the newline that ends its last line, or with it.
    """
    lines = content.removesuffix(b"\n").split(b"\n")
    if all(line.endswith(b"\r") for line in lines[:-1]) and len(lines) > 1:
        lines = [line.removesuffix(b"\r") for line in lines]
    for i, line in enumerate(lines, start=1):
        if _CONTROL.search(line):
            raise HeaderError(f"line {i} of its header holds control characters")
    return [line.decode("latin-1") for line in lines]


def words(text: str) -> list[str]:
    """Split a value at blanks and tabs; to Python other characters are blanks as well."""
    return [word for word in re.split(r"[ \t]", text) if word]


def numbers(text: str, count: int, name: str) -> list[float]:
    """Return exactly so many finite decimal numbers, separated by blanks."""
    parts = words(text)
    values = [float(part) for part in parts if _NUMBER.fullmatch(part)]
    if len(values) != len(parts) or len(values) != count or not np.isfinite(values).all():
        raise HeaderError(f"{name} must be {count} number(s); found {text!r}")
    return values


def whole(text: str, name: str) -> int:
    """Return one whole number."""
    if not _WHOLE.fullmatch(text):
        raise HeaderError(f"{name} must be a whole number; found {text!r}")
    return int(text)


def sizes(text: str, n_axes: int, name: str) -> list[int]:
    """Return the extents of the axes, which make a volume that can exist."""
    extents = [whole(part, name) for part in words(text)]
    if len(extents) != n_axes or min(extents) < 1:
        raise HeaderError(f"{name} must be {n_axes} positive whole numbers; found {text!r}")
    if np.prod(extents, dtype=object) > MAX_VOXELS:
        raise HeaderError(f"it claims {text} voxels; a volume has {MAX_VOXELS} at most")
    return extents


def voxel_type(name: str, types: dict[str, str], big_endian: bool) -> np.dtype:
    """Return the type of the voxels, by the format's name for it."""
    if name not in types:
        raise HeaderError(
            f"voxels of type {name!r} are not supported; one number of {sorted(types)} is"
        )
    return np.dtype(types[name]).newbyteorder(">" if big_endian else "<")


def beside(path: Path, name: str) -> Path:
    """Return the file that a header names, relative to its own folder.

    Raises
    ------
    HeaderError
        A list or pattern of several files.
    """
    if not name or "%" in name or words(name)[:1] in (["LIST"], ["list"]):
        raise HeaderError(f"voxels in several files ({name!r}) are not supported; write one file")
    return path.parent / name
