"""What a file is, by its first bytes: four formats are read, and nothing else is opened."""

from __future__ import annotations

from pathlib import Path

from survimg.io.images.metaimage import is_metaimage
from survimg.io.images.nifti import is_nifti
from survimg.io.images.nrrd import is_nrrd
from survimg.io.images.stream import start_of

__all__ = ["format_of"]

#: Length of the longest mark: a NIfTI-2 header.
_START = 544
_CONVERT = "convert it with SimpleITK (ReadImage and WriteImage to .nii.gz) or 3D Slicer"
#: Marks of formats that are met where images are expected, their names, and the way out.
_OTHERS = (
    (0, b"\x89HDF\r\n\x1a\n", "HDF5 (also MINC 2 and ITK's .h5)", _CONVERT),
    (0, b"CDF\x01", "NetCDF (MINC 1)", "convert it with mnc2nii of the MINC tools"),
    (0, b"CDF\x02", "NetCDF (MINC 1)", "convert it with mnc2nii of the MINC tools"),
    (0, b"# vtk DataFile", "VTK", _CONVERT),
    (208, b"MAP ", "MRC", _CONVERT),
    (252, b"\xef\xff\xe9\xb0", "GIPL", _CONVERT),
    (252, b"\x2a\xe3\x89\xb4", "GIPL", _CONVERT),
    (0, b"\x00\x00\x01\x5c", "Analyze 7.5, or a damaged NIfTI header (magic)", _CONVERT),
    (0, b"\x5c\x01\x00\x00", "Analyze 7.5, or a damaged NIfTI header (magic)", _CONVERT),
    (0, b"\x89PNG", "a PNG picture", "give the volume that it was made from"),
    (0, b"\xff\xd8\xff", "a JPEG picture", "give the volume that it was made from"),
    (0, b"II*\x00", "TIFF", _CONVERT),
    (0, b"MM\x00*", "TIFF", _CONVERT),
    (0, b"PK\x03\x04", "a zip archive", "unpack it"),
    (0, b"\x93NUMPY", "a NumPy array, which has no place in the patient",
     "write it with survimg.io.write_image"),
    (0, b"MATLAB", "a MATLAB file, which has no place in the patient",
     "write its volume as NIfTI (niftiwrite)"),
)  # fmt: skip


def format_of(path: Path) -> str:
    """Return what a file holds.

    Parameters
    ----------
    path : Path
        A file; of a NIfTI pair, the header.

    Returns
    -------
    {"NIfTI", "NRRD", "MetaImage", "DICOM"}

    Raises
    ------
    ValueError
        Something else; the message names it, and what converts it.
    """
    start = start_of(path, _START)
    if start[128:132] == b"DICM":  # a name that ends in .dcm is not enough
        return "DICOM"
    for name, fits in (("NIfTI", is_nifti), ("NRRD", is_nrrd), ("MetaImage", is_metaimage)):
        if fits(start):
            with open(path, "rb") as file:
                if name == "NIfTI" or file.read(len(start)) == start:  # only NIfTI may be gzip
                    return name
    what, remedy = next(
        ((name, way) for at, mark, name, way in _OTHERS if start[at : at + len(mark)] == mark),
        ("no image format that is known, or its beginning is damaged", _CONVERT),
    )
    raise ValueError(
        f"{path} is not a readable image: it is {what}. Only NIfTI, NRRD, MetaImage and DICOM are "
        f"read; {remedy}."
    )
