"""Reading of images: which reader a file gets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

from survimg.io.dicom.series import is_dicom, read_series
from survimg.io.dicom.suv import suv_factor_of_files
from survimg.io.images.image import Image, from_sitk
from survimg.io.images.nifti import check_nifti, is_nifti
from survimg.io.images.text_headers import check_text_header, has_text_header

__all__ = ["read_image"]

#: 8 GB in float32. No clinical volume has so many voxels; a damaged header may claim more.
_MAX_VOXELS = 2**31

#: gzip, the strongest compression in use for NIfTI and NRRD, shrinks zeros to about 1/1030.
_MAX_COMPRESSION = 1100


def read_image(path: str | os.PathLike[str], *, pet_units: str = "suv") -> Image:
    """Read a volume from a NIfTI, NRRD or other file that SimpleITK knows, or a DICOM series.

    Parameters
    ----------
    path : path
        An image file, or a folder that holds exactly one DICOM image series.
    pet_units : {"suv", "stored"}, default="suv"
        For DICOM PET only: convert to SUV (body weight, g/ml), or keep the stored unit (usually
        Bq/ml). Other formats do not say what they hold and are read as they are.

    Returns
    -------
    Image

    Raises
    ------
    FileNotFoundError
        Nothing at `path`.
    ValueError
        Unreadable or truncated, not one three-dimensional scalar volume, a header that contradicts
        itself or the voxels, voxels outside the header's folder, values that are not finite; a
        folder without a series, with several series, or with missing, duplicate or unevenly spaced
        slices; PET whose header does not allow the conversion to SUV (the message names the missing
        tag).
    ImportError
        PET is to be converted and pydicom is not installed.
    """
    path = Path(path)
    if pet_units not in ("suv", "stored"):
        raise ValueError(f"pet_units must be 'suv' or 'stored'; got {pet_units!r}.")
    if not path.exists():
        raise FileNotFoundError(f"There is no image {path}.")
    scale = 1.0
    if path.is_dir():
        series = read_series(path)
        raw = series.image
        if series.modality == "PT" and pet_units == "suv":
            scale = suv_factor_of_files(series.files)
    else:
        raw = _read_file(path)
    image = from_sitk(raw)
    if scale != 1.0:
        image = Image(image.array * np.float32(scale), image.spacing, image.origin, image.direction)
    if not np.isfinite(image.array).all():
        raise ValueError(f"{path} holds values that are not finite (NaN or infinity).")
    return image


def _read_file(path: Path) -> sitk.Image:
    if not path.is_file():  # opening a named pipe would wait for ever
        raise ValueError(f"{path} is neither a file nor a folder.")
    if is_nifti(path):
        check_nifti(path)
    elif has_text_header(path):
        check_text_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check_header(reader, path)
        size = list(reader.GetSize())
        reader.SetExtractSize(size[:3] + [0] * (len(size) - 3))
        return reader.Execute()
    except RuntimeError as error:
        raise ValueError(f"{path} is not a readable image: {_last_line(error)}") from None


def _check_header(reader: sitk.ImageFileReader, path: Path) -> None:
    size = reader.GetSize()
    if len(size) < 3 or any(extent != 1 for extent in size[3:]) or min(size) < 1:
        raise ValueError(
            f"{path} must be one three-dimensional volume; it has size {size} (x, y, z)."
        )
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if reader.GetNumberOfComponents() != 1 or "complex" in kind:
        raise ValueError(f"{path} must have one real value per voxel; it has {kind} values.")
    if is_dicom(path):
        what = "one DICOM slice" if size[2] == 1 else "a DICOM object with several frames"
        raise ValueError(f"{path} is {what}; give the folder that holds a series of single slices.")
    claimed = int(np.prod(size, dtype=object))
    if claimed > _MAX_VOXELS:
        raise ValueError(f"{path} claims {claimed} voxels; a volume has {_MAX_VOXELS} at most.")
    if path.suffix.lower() not in (".nhdr", ".mhd", ".hdr"):  # these keep the voxels elsewhere
        available = path.stat().st_size * _MAX_COMPRESSION
        if claimed > available:
            raise ValueError(f"{path} claims {claimed} voxels in {path.stat().st_size} bytes.")


def _last_line(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
