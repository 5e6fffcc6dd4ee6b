"""Images in space: the one place where axes and orientation are converted.

Inside survimg an image is an array with axes ``(z, y, x)`` in a canonical orientation: x runs to
the patient's left, y to the back, z to the head ("LPS", DICOM's world axes). **Axis x is therefore
the left-right axis of every patient**, whatever the file's own order of axes; the sagittal flip of
the augmentation depends on it. An oblique image keeps its small rotation in `Image.direction`: its
axes are permuted and flipped to the nearest world axes, never interpolated.

SimpleITK and every file format count axes as (x, y, z); the conversion is in `placed_image` and
`to_sitk` and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from survimg.files import writing

if TYPE_CHECKING:  # it takes half a second: imported by the functions that need it
    import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

__all__ = [
    "Image",
    "as_stored",
    "placed_image",
    "resample_like",
    "same_grid",
    "to_sitk",
    "write_image",
    "write_whole",
]

#: mm; nothing that is scanned is larger, or lies further away.
_MAX_LENGTH = 1e6
#: Scalar products of the axes of a file may be off by this much: headers round.
_SHEAR_TOLERANCE = 1e-3
#: Grids whose corners lie within this part of a voxel of each other are the same grid.
GRID_TOLERANCE = 0.01


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
    stored : tuple of 3 int
        How the file's axes run, the fastest first: 1 to the left, 2 to the back, 3 to the head,
        negative the other way. See `as_stored`.
    """

    array: np.ndarray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    stored: tuple[int, ...] = (1, 2, 3)

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
    OSError
        The file is not complete, as on a full disk.
    """
    values = np.asarray(array)
    if values.shape != like.shape:
        raise ValueError(f"array has shape {values.shape}; the grid of `like` has {like.shape}.")
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    image = to_sitk(Image(values, like.spacing, like.origin, like.direction))
    try:
        write_whole(image, Path(path))
    except RuntimeError as error:
        raise ValueError(f"{path} could not be written: {_last_line(error)}") from None


def write_whole(image: sitk.Image, path: Path) -> None:
    """Write an image of SimpleITK, and read it back: ITK says nothing of a full disk.

    Raises
    ------
    RuntimeError
        ITK cannot write it there.
    OSError
        The file is not complete.
    """
    import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

    with writing(path) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=True)
        files = sorted(temporary.parent.iterdir())
        if not (all(_can_grow(file) for file in files) and _holds(temporary, image)):
            raise OSError(
                f"{path} could not be written completely. Is the disk full? Make room, and run "
                "again."
            )


def _can_grow(path: Path) -> bool:
    """Whether there is room for another byte: without it, the last ones may be missing.

    They are the checksum of a compressed stream, which ITK does not read.
    """
    try:
        with open(path, "ab") as file:
            size = file.tell()
            file.write(b"0")
            file.flush()
            file.truncate(size)
    except OSError:
        return False
    return True


def _holds(path: Path, image: sitk.Image) -> bool:
    import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

    try:
        written = sitk.ReadImage(str(path))
    except RuntimeError:
        return False
    # views, valid as long as their images are; ITK reads what is not finite in NIfTI as 0
    written_array, array = (
        np.nan_to_num(sitk.GetArrayViewFromImage(each), nan=0.0, posinf=0.0, neginf=0.0)
        for each in (written, image)
    )
    return np.array_equal(written_array, array)


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
    interpolation : {"linear", "cubic", "nearest"}, default="linear"
        Linear or cubic B-splines for images, nearest for masks. A coarser grid aliases what it
        cannot hold: see `survimg.preprocessing.resample_image`.
    padding : float, optional
        Value outside the field of view of `image`; by default the lowest value of `image` (air in
        CT, nothing in PET).

    Returns
    -------
    Image
        float32; `image` itself where the grids agree.
    """
    import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

    interpolators = {
        "linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline, "nearest": sitk.sitkNearestNeighbor
    }
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


def placed_image(
    array: np.ndarray,
    spacing: npt.ArrayLike,
    origin: npt.ArrayLike,
    direction: npt.ArrayLike,
    path: Path,
) -> Image:
    """Bring voxels in a file's own order to canonical orientation, and check where they lie.

    Parameters
    ----------
    array : ndarray of shape (z, y, x)
        In the order of the file: its fastest axis last.
    spacing : array-like of shape (3,)
        In mm, of the file's axes, the fastest first.
    origin : array-like of shape (3,)
        World coordinates (x, y, z) in mm (LPS) of the first voxel.
    direction : array-like of shape (3, 3)
        Columns are the world directions of the file's axes, the fastest first.
    path : Path
        For messages.

    Returns
    -------
    Image
        `array` is a view of the given one, with its type.

    Raises
    ------
    ValueError
        Voxels without size, a position that is not finite, or directions that are not orthonormal:
        a scalar product that is off by more than 0.001 (an angle of 0.06 degrees). What is within
        the tolerance, such as rounded numbers, becomes the nearest orthonormal matrix.
    """
    steps, corner = np.asarray(spacing, np.float64), np.asarray(origin, np.float64)
    axes = np.asarray(direction, np.float64).reshape(3, 3)
    if not ((steps > 1 / _MAX_LENGTH) & (steps < _MAX_LENGTH)).all():
        raise ValueError(
            f"{path} has a damaged header: the voxels have no size (spacing {steps.tolist()} mm)."
        )
    if not (np.abs(corner) < _MAX_LENGTH).all():  # false for NaN as well
        raise ValueError(f"{path} has a damaged header: it lies at {corner.tolist()} mm.")
    if not (np.abs(axes) <= 2).all() or np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR_TOLERANCE:
        raise ValueError(
            f"{path}: the directions of its axes, {axes.T.tolist()}, are not perpendicular and of "
            "length 1; such a grid is not supported. Resample the image to one that is."
        )
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-9:
        left, _, right = np.linalg.svd(axes)
        axes = left @ right
    order, signs = _nearest_axes(axes)
    turned = array.transpose([2 - order[world] for world in (2, 1, 0)])
    ends = [array.shape[2 - axis] - 1 for axis in order]
    for world, axis in enumerate(order):
        if signs[world] < 0:
            corner = corner + axes[:, axis] * steps[axis] * ends[world]
            turned = np.flip(turned, 2 - world)
    x, y, z = corner.tolist()
    width, height, depth = steps[order].tolist()
    matrix = axes[:, order] * signs
    stored = [0, 0, 0]
    for world, axis in enumerate(order):
        stored[axis] = int(signs[world]) * (world + 1)
    place = (depth, height, width), (x, y, z), tuple(matrix.ravel().tolist())
    return Image(turned, *place, stored=tuple(stored))


def as_stored(array: np.ndarray, stored: Sequence[int]) -> np.ndarray:
    """Turn an array in canonical orientation back to the order of its file.

    Parameters
    ----------
    array : ndarray of shape (..., z, y, x)
    stored : sequence of int
        `Image.stored`.

    Returns
    -------
    ndarray of shape (..., 3 axes)
        A view; the file's fastest axis is the last.
    """
    lead = array.ndim - 3
    axes = [lead + 3 - abs(axis) for axis in reversed(list(stored))]
    backwards = [lead + j for j, axis in enumerate(reversed(list(stored))) if axis < 0]
    return np.flip(array.transpose([*range(lead), *axes]), tuple(backwards))


def _nearest_axes(axes: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Return the file's axis along each world axis, and whether it runs the same way (1 or -1)."""
    left = np.abs(axes)
    order, signs = [0, 0, 0], np.ones(3)
    for _ in range(3):  # the strongest first, of equals the last, as ITK does
        last = left.size - 1 - int(np.argmax(left.ravel()[::-1]))
        world, axis = np.unravel_index(last, left.shape)
        order[int(world)], signs[world] = int(axis), np.sign(axes[world, axis])
        left[world, :] = left[:, axis] = -1
    return order, signs


def to_sitk(image: Image) -> sitk.Image:
    """Convert to a SimpleITK image, which copies the voxels and keeps their type."""
    import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

    converted = sitk.GetImageFromArray(np.ascontiguousarray(image.array))
    converted.SetSpacing(image.spacing[::-1])
    converted.SetOrigin(image.origin)
    converted.SetDirection(image.direction)
    return converted


def _last_line(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
