"""Reading of images: each format has one reader, chosen by the file's first bytes."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from survimg.io.containment import check_inside
from survimg.io.dicom.series import read_series
from survimg.io.images.formats import format_of
from survimg.io.images.image import Image
from survimg.io.images.metaimage import read_metaimage
from survimg.io.images.nifti import header_beside, read_nifti
from survimg.io.images.nrrd import read_nrrd

__all__ = ["read_image", "read_stored", "readable_root"]

_READERS = {"NIfTI": read_nifti, "NRRD": read_nrrd, "MetaImage": read_metaimage}


def read_image(
    path: str | os.PathLike[str],
    *,
    pet_units: str = "suv",
    root: str | os.PathLike[str] | None = None,
    allow_outside: bool = False,
) -> Image:
    """Read a volume from a NIfTI, NRRD or MetaImage file, or from a DICOM series.

    Parameters
    ----------
    path : path
        An image file, or a folder that holds exactly one DICOM image series. The format is that of
        the first bytes, whatever the name; of a NIfTI pair give either file.
    pet_units : {"suv", "stored"}, default="suv"
        For DICOM PET only: convert to SUV (body weight, g/ml), or keep the stored unit (usually
        Bq/ml). Other formats do not say what they hold and are read as they are.
    root : path, optional
        Folder in which every file that is opened must lie, its links followed: the image, the other
        file of a pair, the voxels that a header names, the slices of a series. By default that of
        `path` (for a series, `path` itself), which itself may be a link.
    allow_outside : bool, default=False
        Read files wherever they lie.

    Returns
    -------
    Image

    Raises
    ------
    FileNotFoundError
        Nothing at `path`.
    ValueError
        Another format; unreadable, truncated or damaged; not one three-dimensional scalar volume; a
        header that contradicts itself or the voxels; directions that are not orthonormal; files
        outside of `root`; values that are not finite; a folder without a series, with several
        series, or with missing, duplicate or unevenly spaced slices; PET whose header does not
        allow the conversion to SUV (the message names the missing tag).
    ImportError
        DICOM, and pydicom is not installed.
    """
    path = Path(path)
    if pet_units not in ("suv", "stored"):
        raise ValueError(f"pet_units must be 'suv' or 'stored'; got {pet_units!r}.")
    image = read_stored(path, readable_root(path, root, allow_outside), suv=pet_units == "suv")
    array = image.array
    with np.errstate(over="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NaN that is cast
        array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{path} holds values that are not finite (NaN or infinity).")
    return replace(image, array=array)


def readable_root(
    path: Path, root: str | os.PathLike[str] | None, allow_outside: bool
) -> Path | None:
    """Return the folder in which the files of an image must lie; None for anywhere.

    Raises
    ------
    FileNotFoundError
        Nothing at `path`.
    ValueError
        `path` lies outside of `root`.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no image {path}.")
    if allow_outside:
        return None
    if root is None:
        return (path if path.is_dir() else path.parent).resolve()
    folder = Path(root).resolve()
    if not path.is_dir():
        check_inside(path, folder, path)
    return folder


def read_stored(path: Path, root: Path | None, *, suv: bool) -> Image:
    """Read a volume in the type it is stored in, which `read_image` then makes float32.

    Parameters
    ----------
    path : Path
    root : Path or None
        See `readable_root`.
    suv : bool
        Convert DICOM PET to SUV.

    Returns
    -------
    Image

    Raises
    ------
    ValueError, ImportError
        As in `read_image`.
    """
    if path.is_dir():
        return read_series(path, root, suv=suv).image
    check_inside(path, None, path)  # opening a named pipe would wait for ever
    header = header_beside(path)
    if header != path:
        check_inside(header, root, path)
    name = format_of(header)
    if name == "DICOM":
        raise ValueError(
            f"{path} is one DICOM file, a slice or an object with several frames; give the folder "
            "that holds a series of single slices."
        )
    with np.errstate(all="ignore"):  # of damaged numbers, which are refused afterwards
        return _READERS[name](header, root)
