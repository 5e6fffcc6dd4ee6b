"""What people hold images in: paths, arrays, and images of nibabel, SimpleITK, TorchIO and MONAI.

None of these libraries is imported for it: an image is known by what it can do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from survimg.columns import is_missing
from survimg.io.images.image import Image, placed_image

__all__ = ["Source", "channels_of", "widen"]

#: One channel of one patient: a file, an image in its place, voxels (z, y, x), or nothing.
Source: TypeAlias = "Path | Image | np.ndarray | None"


def channels_of(value: Any, where: str, folder: Path) -> list[Source]:
    """Return the channels that one cell of a table holds.

    Parameters
    ----------
    value : path, array, image, list of these, or None
        Arrays have axes (z, y, x) or (channel, z, y, x). Images with an affine have the axes of
        NIfTI, (x, y, z), with the channels first in those of TorchIO and MONAI.
    where : str
        Patient and column, for messages.
    folder : Path
        Where relative paths begin.

    Returns
    -------
    list
        Of one entry, but for arrays with several channels and lists. Voxels keep their type: labels
        may be larger than what float32 tells apart.

    Raises
    ------
    TypeError, ValueError
        Something else; the message says where.
    """
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        return [None] if is_missing(text) else [folder / text]
    if isinstance(value, list | tuple):
        return [source for item in value for source in channels_of(item, where, folder)]
    if isinstance(value, Image) or value is None or is_missing(value):
        return [value if isinstance(value, Image) else None]
    if hasattr(value, "GetDirection"):
        return [_from_sitk(value, where)]
    if hasattr(value, "affine"):
        return _with_affine(value, where)
    array = np.asarray(value)
    if array.ndim not in (3, 4) or array.dtype.kind not in "fiub":
        raise TypeError(
            f"{where}: {type(value).__name__} of shape {array.shape} is no image; give a path, an "
            "array (z, y, x) or (channel, z, y, x), or an image of nibabel, SimpleITK or TorchIO."
        )
    return [array] if array.ndim == 3 else list(array)


def _with_affine(value: Any, where: str) -> list[Source]:
    """Take an image with an affine: voxels (x, y, z), world coordinates as in NIfTI (RAS)."""
    if hasattr(value, "get_fdata"):  # nibabel
        array = np.asarray(value.dataobj)
        array = array[..., 0] if array.ndim == 4 and array.shape[3] == 1 else array
        channels = [array]
    else:  # TorchIO's images hold their voxels as `data`, MONAI's MetaTensor is them
        data = value.data if hasattr(value, "spatial_shape") else value
        array = np.asarray(data.detach().cpu() if hasattr(data, "detach") else data)
        channels = [array] if array.ndim == 3 else list(array)
    if any(channel.ndim != 3 for channel in channels):
        raise ValueError(f"{where}: the image has shape {array.shape}; three axes are needed.")
    affine = np.asarray(value.affine, dtype=np.float64)
    return [_placed(channel, affine, where) for channel in channels]


def _placed(voxels: np.ndarray, affine: np.ndarray, where: str) -> Image:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / np.where(spacing > 0, spacing, 1.0)
    return placed_image(voxels.T, spacing, lps[:3, 3], direction, Path(where))


def _from_sitk(image: Any, where: str) -> Image:
    # its arrays are z, y, x; its vectors x, y, z
    import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

    array = np.array(sitk.GetArrayViewFromImage(image))
    return placed_image(
        array, image.GetSpacing(), image.GetOrigin(), image.GetDirection(), Path(where)
    )


def widen(rows: Sequence[list[Source]], where: str) -> list[list[Source]]:
    """Give every patient the same number of channels; a patient without the image has none of them.

    Raises
    ------
    ValueError
        Patients with different numbers of channels.
    """
    width = max(len(row) for row in rows)
    empty = [len(row) == 1 and row[0] is None for row in rows]
    if any(len(row) != width and not none for row, none in zip(rows, empty, strict=True)):
        raise ValueError(f"{where} has {sorted({len(row) for row in rows})} channels by patient.")
    return [[None] * width if none else row for row, none in zip(rows, empty, strict=True)]
