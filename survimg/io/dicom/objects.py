"""Reading of DICOM objects by pydicom: what is damaged is refused, and no header is quoted."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["DicomError", "damage_refused", "damage_types", "import_pydicom", "read_dataset"]

_DAMAGE: tuple[type[Exception], ...] = (
    ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, RecursionError,
    RuntimeError, TypeError, ValueError, struct.error,
)


class DicomError(ValueError):
    """A refusal in survimg's own words, which `damage_refused` lets through."""


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
    return (*_DAMAGE, errors.BytesLengthException, errors.InvalidDicomError)


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
        # an AttributeError names an attribute, never a value
        what = f": {error}" if isinstance(error, AttributeError) else ""
        raise ValueError(
            f"{path} is not a readable DICOM object, or is damaged ({type(error).__name__}{what})."
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
    pydicom = import_pydicom(purpose)
    with damage_refused(path):
        try:
            wanted = None if tags is None else list(tags)
            return pydicom.dcmread(
                path, stop_before_pixels=stop_before_pixels, specific_tags=wanted
            )
        except pydicom.errors.InvalidDicomError:
            pass
    raise ValueError(f"{path} is not a DICOM file.")
