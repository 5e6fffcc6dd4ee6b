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
    "DicomError", "damage_refused", "damage_types", "import_pydicom", "is_dicom", "parsed",
    "read_dataset",
]

_DAMAGE: tuple[type[Exception], ...] = (
    ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError,
    RecursionError, RuntimeError, TypeError, ValueError, struct.error,
)


#: Transfer syntax whose tags are compressed as well: pydicom would inflate them without a limit.
_DEFLATED = b"1.2.840.10008.1.2.1.99"


class DicomError(ValueError):
    """A refusal in survimg's own words, which `damage_refused` lets through."""


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
    return parsed(path, path.read_bytes(), stop_before_pixels, tags)[0]


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
        Not DICOM, damaged, or deflated.
    """
    pydicom = import_pydicom("read DICOM")
    if content[128:132] != b"DICM":
        raise ValueError(f"{path} is not a DICOM file.")
    if _DEFLATED in content:
        raise ValueError(
            f"{path} is deflated DICOM, which is not read: convert it with dcmconv +te of DCMTK."
        )
    with damage_refused(path):
        buffer = io.BytesIO(content)
        dataset = pydicom.dcmread(
            buffer, stop_before_pixels=stop_before_pixels,
            specific_tags=None if tags is None else list(tags),
        )
        return dataset, buffer.tell()
