"""Reading of tumour masks: label images, RTSTRUCT and segmentation objects."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from survimg.io.dicom.rtstruct import read_rtstruct
from survimg.io.dicom.seg import is_segmentation, read_segmentation
from survimg.io.dicom.series import is_dicom
from survimg.io.images.image import Image, from_sitk, resample_like, same_grid
from survimg.io.images.mask_place import check_mask_place
from survimg.io.images.reading import read_image

__all__ = ["read_mask", "read_mask_image"]


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
        check_mask_place(mask, like, path)
    return Image(mask.array.astype(np.uint8), mask.spacing, mask.origin, mask.direction)


def _cut(image: Image, other: Image) -> Image:
    depth, height, width = np.minimum(image.shape, other.shape)
    return Image(
        image.array[:depth, :height, :width], image.spacing, image.origin, image.direction
    )
