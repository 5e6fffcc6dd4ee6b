"""One patient: images and mask in, a block of voxels out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from survimg.io.images import Image, resample_like
from survimg.preprocessing.settings import Preparation
from survimg.preprocessing.steps import (
    crop_grid,
    mask_centre,
    pet_peak,
    resampled_grid,
    whole_grid,
    window,
    zscore,
)

__all__ = ["PreparedCase", "prepare_case"]


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A prepared patient.

    Attributes
    ----------
    volume : ndarray of shape (channels, z, y, x), float32
        Zeros in the channels that the patient lacks.
    mask : ndarray of shape (z, y, x), uint8, or None
    spacing : tuple of float
        mm, ``(z, y, x)``.
    origin, direction
        Where the block lies in the world; as in `survimg.io.Image`.
    mask_cut : float
        Part of the tumour (0 to 1) that lies outside the block.
    """

    volume: np.ndarray
    mask: np.ndarray | None
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    mask_cut: float


def prepare_case(
    images: Sequence[Image | None],
    mask: Image | None,
    channel_names: Sequence[str],
    settings: Preparation,
) -> PreparedCase:
    """Resample, crop and normalise one patient.

    All channels come onto one grid, by world coordinates and in one interpolation: that of the
    first channel the patient has, resampled and cropped. Voxels outside the crop are never
    computed. A registration to a template would be one more function of the images and the mask,
    before this one.

    Parameters
    ----------
    images : sequence of (Image or None)
        One per channel; None where the patient lacks it.
    mask : Image or None
        On any grid.
    channel_names : sequence of str
    settings : Preparation

    Returns
    -------
    PreparedCase

    Raises
    ------
    ValueError
        No image; ``crop="mask"`` without a mask or ``crop="pet_peak"`` without PET; an empty mask;
        a mask with no voxel inside the crop; a constant crop that is to be z-scored.
    """
    grid = _target_grid(images, mask, channel_names, settings)
    volume = np.zeros((len(images), *grid.shape), dtype=np.float32)
    for c, (name, image) in enumerate(zip(channel_names, images, strict=True)):
        if image is None:
            continue
        block = resample_like(image, grid, padding=settings.padding_of(name)).array
        try:
            volume[c] = _normalise(block, settings.normalisation(name))
        except ValueError as error:
            raise ValueError(f"channel {name!r}: {error}") from None
    block_mask, cut = (None, 0.0) if mask is None else _block_mask(mask, grid)
    return PreparedCase(volume, block_mask, grid.spacing, grid.origin, grid.direction, cut)


def _target_grid(
    images: Sequence[Image | None],
    mask: Image | None,
    channel_names: Sequence[str],
    settings: Preparation,
) -> Image:
    reference = next((image for image in images if image is not None), None)
    if reference is None:
        raise ValueError("there is no image")
    if settings.crop == "whole":
        return whole_grid(reference, settings.shape)
    lattice = resampled_grid(reference, settings.spacing or reference.spacing)
    if settings.crop == "fixed":
        offset = np.asarray(settings.centre or (0.0, 0.0, 0.0)) / np.asarray(lattice.spacing)
        centre = (np.asarray(lattice.shape) - 1) / 2 + offset
    elif settings.crop == "mask":
        if mask is None:
            raise ValueError("there is no tumour mask, which crop='mask' needs")
        centre = lattice.index(mask_centre(mask))
    else:
        pet = images[list(channel_names).index("PET")]
        if pet is None:
            raise ValueError("there is no PET, which crop='pet_peak' needs")
        centre = lattice.index(pet_peak(pet))
    return crop_grid(lattice, centre, settings.shape)


def _normalise(block: np.ndarray, how: str | tuple[Any, ...]) -> np.ndarray:
    if how == "none":
        return block
    if how == "zscore":
        return zscore(block)
    return window(block, float(how[1]), float(how[2]))


def _block_mask(mask: Image, grid: Image) -> tuple[np.ndarray, float]:
    tumour = grid.index(mask.world(np.argwhere(mask.array)))
    if not tumour.size:
        raise ValueError(
            "the tumour mask is empty (leave the mask out if the patient has no delineated tumour)"
        )
    inside = ((tumour >= -0.5) & (tumour <= np.asarray(grid.shape) - 0.5)).all(axis=1)
    block = resample_like(mask, grid, interpolation="nearest", padding=0.0).array.astype(np.uint8)
    if not block.any():
        where = "outside the crop" if not inside.any() else "between the voxels of the new spacing"
        raise ValueError(f"the tumour mask lies {where}, so that nothing of it would be left")
    return block, float(1.0 - inside.mean())
