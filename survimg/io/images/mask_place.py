"""Whether a mask on another grid than its image's can be a mask of that image.

A mask that has lost its header still has the right voxels, and a reader puts it somewhere else: at
the origin, with voxels of 1 mm. Resampled, most of the tumour is gone, and nothing looks wrong.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from survimg.io.images.image import Image, resample_like, same_grid

__all__ = ["check_mask_place"]

#: A mask of its image's shape may be off by this part of a voxel: some converters round directions.
_SAME_SHAPE_TOLERANCE = 0.1

#: Part of its volume by which a tumour may change on the voxels of its image.
_MAX_VOLUME_CHANGE = 0.5

_REMEDY = (
    "Write the mask with the header of the image it was drawn on; if both headers are right, "
    "resample it to the image's grid."
)


def check_mask_place(mask: Image, like: Image, path: Path) -> None:
    """Refuse a mask that cannot belong to an image, by its name.

    Parameters
    ----------
    mask : Image
        0 and 1, on another grid than `like`.
    like : Image
        The patient's image.
    path : Path
        Of the mask, for messages.

    Raises
    ------
    ValueError
        The tumour lies outside the image, in whole or in part; the mask has the image's shape, but
        another position or spacing; its position is that of a file without a header; or the
        tumour's volume changes by more than half on the image's voxels.
    """
    tumour = like.index(mask.world(np.argwhere(mask.array)))
    inside = ((tumour >= -0.5) & (tumour <= np.array(like.shape) - 0.5)).all(axis=1)
    if tumour.size and not inside.any():
        raise ValueError(
            f"The mask {path} marks nothing inside its image: in world coordinates the tumour lies "
            "outside of it. Check that both come from the same patient and that no file has lost "
            "its position."
        )
    if mask.shape == like.shape and not same_grid(mask, like, _SAME_SHAPE_TOLERANCE):
        raise ValueError(
            f"The mask {path} has the shape of its image, {like.shape} (z, y, x), but another "
            f"position or spacing ({_spacing(mask)}; image {_spacing(like)}): one of the files has "
            f"lost its header. {_REMEDY}"
        )
    if _without_header(mask) and not _without_header(like):
        raise ValueError(
            f"The mask {path} lies at the origin with voxels of 1 mm, as a file does that has lost "
            f"its header, and its image does not. {_REMEDY}"
        )
    if not inside.all():
        raise ValueError(
            f"The mask {path} marks {int((~inside).sum())} of {inside.size} voxels outside its "
            "image. Check that both come from the same patient and that no file has lost its "
            "position; if the mask was drawn on another modality, name that column first "
            "(modalities=..., or --modalities)."
        )
    if tumour.size:
        _check_volume(mask, like, tumour, path)


def _check_volume(mask: Image, like: Image, tumour: np.ndarray, path: Path) -> None:
    before = len(tumour) * np.prod(mask.spacing) / 1000
    block = resample_like(mask, _around(tumour, mask, like), interpolation="nearest", padding=0.0)
    after = block.array.sum() * np.prod(like.spacing) / 1000
    if after == 0:
        raise ValueError(
            f"The tumour in the mask {path} lies between the voxels of its image: with "
            f"{before:.3g} ml it is smaller than they are, or the mask has lost its header."
        )
    if abs(after - before) > _MAX_VOLUME_CHANGE * before:
        raise ValueError(
            f"The tumour in the mask {path} has {before:.3g} ml, and {after:.3g} ml on the voxels "
            "of its image: it is hardly larger than one of them, or the mask has lost its header. "
            "If the mask was drawn on a finer modality, name that column first (modalities=..., "
            "or --modalities)."
        )


def _around(tumour: np.ndarray, mask: Image, like: Image) -> Image:
    """Return the part of an image's grid that the tumour's voxels reach."""
    margin = np.ceil(max(mask.spacing) / np.asarray(like.spacing))
    low = np.maximum(np.floor(tumour.min(axis=0)) - margin, 0)
    high = np.minimum(np.ceil(tumour.max(axis=0)) + margin, np.asarray(like.shape) - 1)
    size = tuple(int(extent) for extent in high - low + 1)
    x, y, z = like.world(low).tolist()
    return Image(np.broadcast_to(np.float32(0), size), like.spacing, (x, y, z), like.direction)


def _without_header(image: Image) -> bool:
    # a flipped axis moves the file's first voxel to another corner
    at_origin = np.isclose(image.corners(), 0.0, atol=1e-6).all(axis=1).any()
    return bool(at_origin and np.allclose(image.spacing, 1.0, rtol=0, atol=1e-6))


def _spacing(image: Image) -> str:
    return f"{' x '.join(f'{step:g}' for step in image.spacing)} mm"
