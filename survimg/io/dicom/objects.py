"""Reading of DICOM objects by pydicom: what is damaged is refused, and no header is quoted."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "DicomError", "content_of", "damage_refused", "damage_types", "import_pydicom", "is_dicom",
    "parsed", "read_dataset",
]

_DAMAGE: tuple[type[Exception], ...] = (
    ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError,
    RecursionError, RuntimeError, TypeError, ValueError, struct.error,
)


#: Transfer syntax whose tags are compressed as well: pydicom would inflate them without a limit.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
#: No text has so many zeros; pydicom would take every eight of them for an element.
_ZEROS = bytes(1 << 16)
#: Integer, float and double pixels.
_PIXELS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
#: A slice of 2^26 pixels of 32 bits, or a segmentation of 2^31 voxels; of a structure set, all the
#: contours of a body.
_MAX_BYTES = 1 << 28
#: Items of sequences: all contours of a body are some ten thousand, with their slices twice that.
#: Each costs 20 microseconds, and 8 bytes suffice for one.
_MAX_ITEMS, _ITEMS = 250_000, (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
#: Stretches of a file, and items in one: with what they hold, they take 25 bytes at the least.
_STRETCH, _MAX_ITEMS_IN_STRETCH = 1 << 18, 12_000
#: Elements of a header, those in sequences not counted.
_MAX_ELEMENTS = 20_000


class DicomError(ValueError):
    """A refusal in survimg's own words, which `damage_refused` lets through."""


class _Content(io.BytesIO):
    """The content of a file, unless it goes on in zeros, as that of a broken download does."""

    _zeros = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as usual; the second header of an element in sequence must not be all zeros."""
        part = super().read(size)
        self._zeros = self._zeros + 1 if size == 8 and part == bytes(8) else 0
        if self._zeros > 1:
            raise ValueError("zeros instead of elements")
        return part


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM: the letters DICM after the preamble, or the suffix .dcm."""
    with open(path, "rb") as file:
        start = file.read(132)
    return start[128:132] == b"DICM" or path.suffix.lower() == ".dcm"


def import_pydicom(purpose: str) -> Any:
    """Import pydicom, or say how to get it."""
    try:
        import pydicom
    except ImportError:
        raise ImportError(
            f"pydicom is needed to {purpose}: pip install pydicom."
        ) from None
    return pydicom


def damage_types() -> tuple[type[Exception], ...]:
    """Return what pydicom raises on damaged content, depending on where it lies."""
    errors = import_pydicom("read DICOM").errors
    return (*_DAMAGE, OSError, errors.BytesLengthException, errors.InvalidDicomError)


@contextmanager
def damage_refused(path: Path) -> Iterator[None]:
    """Turn whatever pydicom raises on damaged content into a ValueError that names the file.

    Attributes are converted when they are first asked for, so this belongs around every access.
    Neither errors nor warnings of pydicom are passed on in their own words: they quote the header,
    which names the patient.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DicomError:
        raise
    except damage_types() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk; pydicom's own have no number
        # an AttributeError names an attribute, never a value
        what = f": {error}" if isinstance(error, AttributeError) else ""
        raise ValueError(
            f"{path} is not a readable DICOM object: it is damaged or truncated "
            f"({type(error).__name__}{what})."
        ) from None


def read_dataset(
    path: Path,
    purpose: str,
    *,
    stop_before_pixels: bool = False,
    tags: Sequence[str] | None = None,
) -> Any:
    """Read a DICOM file.

    Parameters
    ----------
    path : Path
    purpose : str
        For the error where pydicom is not installed.
    stop_before_pixels : bool, default=False
    tags : sequence of str, optional
        Keywords of the only attributes that are wanted, which takes half the time.

    Returns
    -------
    pydicom.FileDataset

    Raises
    ------
    ImportError
        pydicom is not installed.
    ValueError
        Not DICOM, or damaged.
    """
    import_pydicom(purpose)
    return parsed(path, content_of(path), stop_before_pixels, tags)[0]


def content_of(path: Path) -> bytes:
    """Read a DICOM file whole.

    Raises
    ------
    ValueError
        It is larger than any object that is read.
    """
    n_bytes = path.stat().st_size
    if n_bytes > _MAX_BYTES:
        raise ValueError(
            f"{path} has {n_bytes >> 20} MiB; DICOM objects are read up to {_MAX_BYTES >> 20} MiB. "
            "If it is raw data of a scanner, keep it in another folder."
        )
    return path.read_bytes()


def parsed(
    path: Path, content: bytes, stop_before_pixels: bool, tags: Sequence[str] | None = None
) -> tuple[Any, int]:
    """Parse the content of a DICOM file, which no element can claim to be longer than it is.

    Returns
    -------
    dataset : pydicom.FileDataset
    place : int
        Where the parser stopped: at the pixels, if it was to.

    Raises
    ------
    ValueError
        Not DICOM, damaged, an element twice (readers do not agree on which one counts), or
        deflated.
    """
    pydicom = import_pydicom("read DICOM")
    if content[128:132] != b"DICM":
        raise ValueError(f"{path} is not a DICOM file.")
    if _DEFLATED in content:
        raise ValueError(
            f"{path} is deflated DICOM, which is not read: convert it with dcmconv +te of DCMTK."
        )
    if not stop_before_pixels and _ZEROS in content:
        raise ValueError(f"{path} is not a readable DICOM object: zeros replace a part of it.")
    _check_items(content, path)
    seen: set[int] = set()

    def is_last(tag: int, _: object, __: object) -> bool:
        if tag in seen:
            raise DicomError(f"{path} is damaged: its header has the element {tag:08X} twice.")
        if len(seen) == _MAX_ELEMENTS:
            raise DicomError(f"{path} is damaged: its header has over {_MAX_ELEMENTS} elements.")
        seen.add(tag)
        return stop_before_pixels and tag in _PIXELS

    with damage_refused(path):
        buffer = _Content(content)
        dataset = pydicom.filereader.read_partial(
            buffer, is_last,
            specific_tags=None if tags is None else [pydicom.tag.Tag(name) for name in tags],
        )
        return dataset, buffer.tell()


def _check_items(content: bytes, path: Path) -> None:
    """Refuse more items than any object has, or in a stretch than can hold anything."""
    for mark in _ITEMS:
        number = content.count(mark)
        if number > _MAX_ITEMS:
            raise ValueError(f"{path} is damaged: its sequences have more than {_MAX_ITEMS} items.")
        starts = range(0, len(content), _STRETCH) if number > _MAX_ITEMS_IN_STRETCH else ()
        if any(content.count(mark, at, at + _STRETCH) > _MAX_ITEMS_IN_STRETCH for at in starts):
            raise ValueError(
                f"{path} is damaged: its sequences have more than {_MAX_ITEMS_IN_STRETCH} items in "
                f"{_STRETCH >> 10} KiB, which leaves no room for what they hold."
            )
