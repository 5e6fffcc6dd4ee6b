"""Reading and writing of images: the one place where axes and orientation are converted.

Inside survimg an image is an array with axes ``(z, y, x)`` in a canonical orientation: x runs to
the patient's left, y to the back, z to the head ("LPS", DICOM's world axes). **Axis x is therefore
the left-right axis of every patient**, whatever the file's own order of axes; the sagittal flip of
the augmentation depends on it. An oblique image keeps its small rotation in `Image.direction`: its
axes are permuted and flipped to the nearest world axes, never interpolated.

SimpleITK counts axes as (x, y, z) and so does everything it returns; the conversion is in
`from_sitk` and `to_sitk` and nowhere else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

from survimg.io.dicom.series import is_dicom, read_series
from survimg.io.images.nifti import check_nifti, is_nifti
from survimg.io.images.text_headers import check_text_header, has_text_header

__all__ = [
    "Image",
    "from_sitk",
    "read_image",
    "read_mask",
    "read_mask_image",
    "resample_like",
    "same_grid",
    "to_sitk",
    "write_image",
]

#: Grids whose corners lie within this part of a voxel of each other are the same grid.
GRID_TOLERANCE = 0.01

#: 8 GB in float32. No clinical volume has so many voxels; a damaged header may claim more.
_MAX_VOXELS = 2**31

#: gzip, the strongest compression in use for NIfTI and NRRD, shrinks zeros to about 1/1030.
_MAX_COMPRESSION = 1100


@dataclass(frozen=True, eq=False)
class Image:
    """A volume and where it lies in the patient.

    Attributes
    ----------
    array : ndarray of shape (z, y, x)
        float32, canonical orientation (see the module).
    spacing : tuple of float
        Distance between voxels in mm, ``(z, y, x)``.
    origin : tuple of float
        World coordinates ``(x, y, z)`` in mm (LPS) of the centre of voxel ``[0, 0, 0]``.
    direction : tuple of 9 floats
        Row-major matrix whose columns are the world directions of the axes x, y, z; the identity
        unless the image is oblique.
    """

    array: np.ndarray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along ``(z, y, x)``."""
        depth, height, width = self.array.shape
        return depth, height, width

    def world(self, index: npt.ArrayLike) -> np.ndarray:
        """Return the world coordinates of positions given in voxels.

        Parameters
        ----------
        index : array-like of shape (..., 3)
            Positions ``(z, y, x)`` in voxels; fractions allowed.

        Returns
        -------
        ndarray of shape (..., 3)
            ``(x, y, z)`` in mm.
        """
        steps = np.asarray(index, dtype=np.float64) * np.asarray(self.spacing)
        return steps[..., ::-1] @ self._axes().T + np.asarray(self.origin)

    def index(self, world: npt.ArrayLike) -> np.ndarray:
        """Return positions in voxels ``(z, y, x)``, with fractions, of world coordinates.

        Parameters
        ----------
        world : array-like of shape (..., 3)
            ``(x, y, z)`` in mm.

        Returns
        -------
        ndarray of shape (..., 3)
        """
        steps = (np.asarray(world, dtype=np.float64) - np.asarray(self.origin)) @ self._axes()
        return steps[..., ::-1] / np.asarray(self.spacing)

    def corners(self) -> np.ndarray:
        """Return the world coordinates ``(x, y, z)`` of the centres of the eight outermost voxels.

        Returns
        -------
        ndarray of shape (8, 3)
        """
        ends = np.meshgrid(*[(0, size - 1) for size in self.shape], indexing="ij")
        return self.world(np.array(ends).reshape(3, -1).T)

    def _axes(self) -> np.ndarray:
        return np.asarray(self.direction, dtype=np.float64).reshape(3, 3)


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
            from survimg.io.dicom.suv import suv_factor_of_files

            scale = suv_factor_of_files(series.files)
    else:
        raw = _read_file(path)
    image = from_sitk(raw)
    if scale != 1.0:
        image = Image(image.array * np.float32(scale), image.spacing, image.origin, image.direction)
    if not np.isfinite(image.array).all():
        raise ValueError(f"{path} holds values that are not finite (NaN or infinity).")
    return image


def read_mask(
    path: str | os.PathLike[str], like: Image, label: int | str | None = None
) -> np.ndarray:
    """Read a tumour mask on the grid of an image.

    Parameters
    ----------
    path : path
        A label image in any format of `read_image`, a DICOM RTSTRUCT file, or a DICOM segmentation
        object.
    like : Image
        The image whose grid is wanted. A mask on another grid is resampled to it by world
        coordinates (nearest neighbour).
    label : int or str, optional
        The label that marks the tumour; for an RTSTRUCT the name of the region, for a segmentation
        object the name or number of the segment. By default the only labels allowed are 0 and 1,
        because in public data sets the number carries a meaning
        (in HECKTOR, 2 is a lymph node: taking "whatever is not 0" would mix lesions).

    Returns
    -------
    ndarray of shape (z, y, x), uint8
        1 inside the tumour. All zeros where the file marks no tumour.

    Raises
    ------
    FileNotFoundError
        Nothing at `path`.
    ValueError
        Unreadable, labels other than 0 and 1 without `label`, `label` not in the file. A mask that
        does not belong to the image or has lost its header: of another shape at the same place, of
        the same shape at another place, with the spacing and origin of a file without a header,
        with tumour outside the image, or with a tumour whose volume changes by more than half on
        the image's voxels.
    """
    mask = read_mask_image(path, like, label)
    moved = resample_like(mask, like, interpolation="nearest", padding=0.0).array
    return moved.astype(np.uint8)


def read_mask_image(
    path: str | os.PathLike[str], like: Image, label: int | str | None = None
) -> Image:
    """Read a tumour mask on its own grid, after checking that it belongs to an image.

    Parameters
    ----------
    path, like, label
        As in `read_mask`.

    Returns
    -------
    Image
        `array` is uint8 and holds 0 and 1. An RTSTRUCT has no grid and comes on that of `like`; a
        segmentation object covers the planes that it marks.

    Raises
    ------
    FileNotFoundError, ValueError
        As in `read_mask`.
    """
    path = Path(path)
    if path.is_file() and is_dicom(path):
        from survimg.io.dicom.rtstruct import read_rtstruct
        from survimg.io.dicom.seg import is_segmentation, read_segmentation

        if is_segmentation(path):
            return _placed_mask(from_sitk(read_segmentation(path, label)), like, path)
        marked = read_rtstruct(path, like, roi=None if label is None else str(label))
        return Image(marked, like.spacing, like.origin, like.direction)
    source = read_image(path, pet_units="stored")
    mask = Image(
        _select_label(source.array, label, path), source.spacing, source.origin, source.direction
    )
    if mask.shape != like.shape and same_grid(_cut(mask, like), _cut(like, mask)):
        raise ValueError(
            f"The mask {path} has shape {mask.shape} and its image {like.shape} (z, y, x), "
            "although both start at the same point with the same spacing: one of them was cropped "
            "without its position, or they do not belong together."
        )
    return _placed_mask(mask, like, path)


def write_image(path: str | os.PathLike[str], array: npt.ArrayLike, like: Image) -> None:
    """Write a volume with the position of an image; the suffix chooses the format.

    Parameters
    ----------
    path : path
        ``.nii.gz``, ``.nii``, ``.nrrd`` or another format that SimpleITK writes.
    array : array-like of shape (z, y, x)
        On the grid of `like`; written with its own type.
    like : Image

    Raises
    ------
    ValueError
        `array` has another shape than `like`, or SimpleITK cannot write it there.
    """
    values = np.asarray(array)
    if values.shape != like.shape:
        raise ValueError(f"array has shape {values.shape}; the grid of `like` has {like.shape}.")
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    image = to_sitk(Image(values, like.spacing, like.origin, like.direction))
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise ValueError(f"{path} could not be written: {_last_line(error)}") from None


def resample_like(
    image: Image,
    like: Image,
    *,
    interpolation: str = "linear",
    padding: float | None = None,
) -> Image:
    """Resample an image to the grid of another one, by world coordinates.

    Parameters
    ----------
    image : Image
    like : Image
        Only its grid is used.
    interpolation : {"linear", "nearest"}, default="linear"
        Linear for images, nearest for masks.
    padding : float, optional
        Value outside the field of view of `image`; by default the lowest value of `image` (air in
        CT, nothing in PET).

    Returns
    -------
    Image
        float32; `image` itself where the grids agree.
    """
    interpolators = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}
    if interpolation not in interpolators:
        raise ValueError(
            f"interpolation must be one of {list(interpolators)}; got {interpolation!r}."
        )
    if same_grid(image, like):
        return image
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(tuple(int(size) for size in like.shape[::-1]))
    resampler.SetOutputSpacing(like.spacing[::-1])
    resampler.SetOutputOrigin(like.origin)
    resampler.SetOutputDirection(like.direction)
    resampler.SetInterpolator(interpolators[interpolation])
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    resampler.SetNumberOfThreads(1)
    resampler.SetDefaultPixelValue(float(image.array.min()) if padding is None else padding)
    moved = sitk.GetArrayFromImage(resampler.Execute(to_sitk(image)))
    return Image(moved, like.spacing, like.origin, like.direction)


def same_grid(first: Image, second: Image, tolerance: float = GRID_TOLERANCE) -> bool:
    """Tell whether two images have the same shape and lie on the same points.

    The corners may differ by 1 % of a voxel (`tolerance`), which covers the rounding of file
    headers.
    """
    if first.shape != second.shape:
        return False
    distance = np.linalg.norm(first.corners() - second.corners(), axis=1).max()
    return bool(distance <= tolerance * min(first.spacing))


def from_sitk(image: sitk.Image) -> Image:
    """Convert a SimpleITK image to canonical orientation and ``(z, y, x)`` axes, float32."""
    oriented = sitk.DICOMOrient(image, "LPS")
    with np.errstate(over="ignore"):
        array = sitk.GetArrayFromImage(oriented).astype(np.float32)
    x, y, z = oriented.GetSpacing()
    return Image(array, (z, y, x), oriented.GetOrigin(), oriented.GetDirection())


def to_sitk(image: Image) -> sitk.Image:
    """Convert to a SimpleITK image, which copies the voxels and keeps their type."""
    converted = sitk.GetImageFromArray(np.ascontiguousarray(image.array))
    converted.SetSpacing(image.spacing[::-1])
    converted.SetOrigin(image.origin)
    converted.SetDirection(image.direction)
    return converted


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


def _select_label(array: np.ndarray, label: int | str | None, path: Path) -> np.ndarray:
    found = np.unique(array)
    if label is None:
        if not np.isin(found, (0.0, 1.0)).all():
            raise ValueError(
                f"The mask {path} holds the labels {_listed(found)}; 0 and 1 are expected. Say "
                "which label is the tumour (label=..., or --label)."
            )
        return array.astype(np.uint8)
    try:
        wanted = float(label)
    except ValueError:
        raise ValueError(
            f"label={label!r} names a region, which only an RTSTRUCT has; the mask {path} holds "
            f"the labels {_listed(found)}."
        ) from None
    if wanted not in found:
        raise ValueError(f"The mask {path} has no label {label}; it holds {_listed(found)}.")
    return (array == wanted).astype(np.uint8)


def _listed(values: np.ndarray) -> str:
    listed = ", ".join(f"{value:g}" for value in values[:10])
    return f"[{listed}{', ...' if values.size > 10 else ''}]"


def _placed_mask(mask: Image, like: Image, path: Path) -> Image:
    if not same_grid(mask, like):
        from survimg.io.images.mask_place import check_mask_place

        check_mask_place(mask, like, path)
    return Image(mask.array.astype(np.uint8), mask.spacing, mask.origin, mask.direction)


def _cut(image: Image, other: Image) -> Image:
    depth, height, width = np.minimum(image.shape, other.shape)
    return Image(
        image.array[:depth, :height, :width], image.spacing, image.origin, image.direction
    )


def _last_line(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
