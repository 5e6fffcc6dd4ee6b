"""Reading of tumour masks: label images, RTSTRUCT and segmentation objects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from survimg.io.dicom.objects import damage_refused, is_dicom, read_dataset
from survimg.io.dicom.rtstruct import read_rtstruct
from survimg.io.dicom.seg import read_segmentation
from survimg.io.images.image import Image, resample_like, same_grid
from survimg.io.images.mask_place import check_mask_place
from survimg.io.images.reading import read_stored, readable_root

__all__ = ["Label", "placed_mask", "read_mask", "read_mask_image", "select_labels"]

#: What marks the tumour: one label, several that are merged, or the only one.
Label = int | float | str | Sequence[int | float | str] | None
_MAX_LISTED = 10


def read_mask(
    path: str | os.PathLike[str],
    like: Image,
    label: Label = None,
    *,
    root: str | os.PathLike[str] | None = None,
    allow_outside: bool = False,
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
    label : int, float, str or sequence of these, optional
        The label that marks the tumour; for an RTSTRUCT the name of the region, for a segmentation
        object the name or number of the segment. Several are merged: ``["GTVp", "GTVn"]``. By
        default the only labels allowed are 0 and 1, because in public data sets the number carries
        a meaning (in HECKTOR, 2 is a lymph node: taking "whatever is not 0" would mix lesions).
    root, allow_outside
        As in `read_image`.

    Returns
    -------
    ndarray of shape (z, y, x), uint8
        1 inside the tumour. All zeros where the file marks no tumour.

    Warns
    -----
    UserWarning
        As `read_rtstruct`.

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
    mask = read_mask_image(path, like, label, root=root, allow_outside=allow_outside)
    moved = resample_like(mask, like, interpolation="nearest", padding=0.0).array
    return moved.astype(np.uint8)


def read_mask_image(
    path: str | os.PathLike[str],
    like: Image,
    label: Label = None,
    *,
    root: str | os.PathLike[str] | None = None,
    allow_outside: bool = False,
) -> Image:
    """Read a tumour mask on its own grid, after checking that it belongs to an image.

    Parameters
    ----------
    path, like, label, root, allow_outside
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
    labels = _labels(label)
    folder = readable_root(path, root, allow_outside)
    if path.is_file() and is_dicom(path):
        header = read_dataset(
            path, "read a DICOM object", stop_before_pixels=True, tags=["Modality"]
        )
        with damage_refused(path):
            modality = str(header.get("Modality"))
        if modality == "SEG":
            return _placed_mask(read_segmentation(path, labels), like, path)  # type: ignore[arg-type]
        marked = read_rtstruct(path, like, labels if labels is None else [*map(str, labels)])
        return Image(marked, like.spacing, like.origin, like.direction)
    return placed_mask(read_stored(path, folder, suv=False), like, label, path)


def placed_mask(source: Image, like: Image, label: Label, path: Path) -> Image:
    """Return the tumour of a label image, after checking that it belongs to an image.

    Parameters
    ----------
    source : Image
        Labels, on any grid.
    like, label
        As in `read_mask`.
    path : Path
        Name of `source`, for messages.

    Returns
    -------
    Image
        On the grid of `source`; uint8, 0 and 1.

    Raises
    ------
    ValueError
        As in `read_mask`.
    """
    array = select_labels(source.array, label, path)
    mask = Image(array, source.spacing, source.origin, source.direction)
    if mask.shape != like.shape and same_grid(_cut(mask, like), _cut(like, mask)):
        raise ValueError(
            f"The mask {path} has shape {mask.shape} and its image {like.shape} (z, y, x), "
            "although both start at the same point with the same spacing: one of them was cropped "
            "without its position, or they do not belong together."
        )
    return _placed_mask(mask, like, path)


def select_labels(array: np.ndarray, label: Label, path: Path) -> np.ndarray:
    """Mark the voxels of labels, which are compared in the type that they are stored in.

    Parameters
    ----------
    array : ndarray of shape (z, y, x)
    label : int, float, str, sequence of these, or None
        As in `read_mask`.
    path : Path
        Where they come from, for messages.

    Returns
    -------
    ndarray of shape (z, y, x), uint8
        0 and 1.

    Raises
    ------
    ValueError
        Values that are not finite, other labels than 0 and 1 without `label`, or no such label.
    """
    labels = np.unique(array)
    if not np.isfinite(labels).all():
        raise ValueError(f"{path} holds values that are not finite (NaN or infinity).")
    tumour_labels = _labels(label)
    if tumour_labels is None:
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(
                f"The mask {path} holds the labels {_listed(labels)}; 0 and 1 are expected. Say "
                "which label is the tumour (label=..., or --mask-label)."
            )
        return array.astype(np.uint8)
    if tumour_labels == ["any"]:
        return (array != 0).astype(np.uint8)
    mask = np.zeros(array.shape, dtype=bool)
    for one in tumour_labels:
        mask |= array == labels[_same_label(labels, one, path)][0]
    return mask.astype(np.uint8)


def read_organs(path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Image:
    """Read a mask of organs on its own grid: whatever is not 0.

    Parameters
    ----------
    path : path
        A label image in any format of `read_image`.
    root : path, optional
        As in `read_image`; None for anywhere.
    """
    path = Path(path)
    source = read_stored(path, readable_root(path, root, root is None), suv=False)
    marks = (source.array != 0).astype(np.uint8)
    return Image(marks, source.spacing, source.origin, source.direction)


def _labels(label: Label) -> list[int | float | str] | None:
    if label is None:
        return None
    labels = [label] if isinstance(label, (int, float, str, np.number)) else list(label)
    if not labels:
        raise ValueError("label must name at least one label; the list is empty.")
    return labels


def _same_label(labels: np.ndarray, label: int | float | str, path: Path) -> np.ndarray:
    """Tell which of the labels of a mask is the one asked for."""
    value = _number(label)
    if value is None:
        raise ValueError(
            f"label={label!r} names a region, which only an RTSTRUCT has; the mask {path} "
            f"holds the labels {_listed(labels)}."
        )
    if labels.dtype.kind == "f":
        # what was written as 1/255 is there as its nearest number of few digits
        same = labels.astype(np.float32) == np.float32(value)
        same = labels == value if same.sum() > 1 else same
    else:
        same = np.array([int(other) == value for other in labels.tolist()], dtype=bool)
    if not same.any():
        raise ValueError(f"The mask {path} has no label {label}; it holds {_listed(labels)}.")
    return same


def _number(label: int | float | str) -> int | float | None:
    """Return a label as a number, whole ones of any size exactly; None for a name."""
    for kind in (int, float):
        try:
            if not isinstance(label, str) and kind is int and int(label) != label:
                continue
            return kind(label)
        except (ValueError, OverflowError):
            continue
    return None


def _listed(labels: np.ndarray) -> str:
    """Return labels so that each can be given back as it is printed."""
    texts = [
        np.format_float_positional(value, unique=True, trim="-") if labels.dtype.kind == "f"
        else str(int(value))
        for value in labels[:_MAX_LISTED]
    ]
    return f"[{', '.join(texts)}{', ...' if labels.size > _MAX_LISTED else ''}]"


def _placed_mask(mask: Image, like: Image, path: Path) -> Image:
    if not same_grid(mask, like):
        check_mask_place(mask, like, path)
    return Image(mask.array.astype(np.uint8), mask.spacing, mask.origin, mask.direction)


def _cut(image: Image, other: Image) -> Image:
    depth, height, width = np.minimum(image.shape, other.shape)
    return Image(
        image.array[:depth, :height, :width], image.spacing, image.origin, image.direction
    )
