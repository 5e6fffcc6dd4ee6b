"""One patient: images and mask in, a block of voxels out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from survimg.io.images.image import Image
from survimg.io.images.resampling import resample_image, resample_mask, with_organs
from survimg.preprocessing.alignment import voxels_of
from survimg.preprocessing.settings import Preparation
from survimg.preprocessing.steps import (
    EMPTY_MASK,
    MaskError,
    crop_grid,
    mask_centre,
    pet_peak,
    resampled_grid,
    whole_grid,
    window,
    zscore,
)

__all__ = ["PreparedCase", "finer_case", "fixed_grid", "prepare_case"]


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A prepared patient.

    Attributes
    ----------
    volume : ndarray of shape (channels, z, y, x), float32
        Zeros in the channels that the patient lacks.
    mask : ndarray of shape (z, y, x), uint8, or None
        1 is tumour, 2 an organ that shells leave out.
    spacing : tuple of float
        mm, ``(z, y, x)``.
    origin, direction
        Where the block lies in the patient's world; as in `survimg.io.Image`, except that after an
        affine registration the columns of `direction` are neither of unit length nor orthogonal.
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
    grid: Image | None = None,
    organs: Image | None = None,
) -> PreparedCase:
    """Resample, crop and normalise one patient.

    All channels come onto one grid, by world coordinates and in one interpolation: that of the
    first channel the patient has, resampled and cropped. Voxels outside the crop are never
    computed.

    Parameters
    ----------
    images : sequence of (Image or None)
        One per channel; None where the patient lacks it.
    mask : Image or None
        On any grid.
    channel_names : sequence of str
    settings : Preparation
    grid : Image, optional
        The block in the patient's world, where a registration has found it (`mapped_grid`);
        `spacing`, `shape`, `crop` and `centre` are then in it.
    organs : Image, optional
        Mask of organs on any grid; they are 2 in the prepared mask.

    Returns
    -------
    PreparedCase

    Raises
    ------
    ValueError
        No image; ``crop="mask"`` without a mask or ``crop="pet_peak"`` without PET; a crop outside
        an image; a constant crop that is to be z-scored. As a `MaskError`: an empty mask; a mask
        with no voxel inside the crop.
    """
    if grid is None:
        grid = _target_grid(images, mask, channel_names, settings)
    volume = np.zeros((len(images), *grid.shape), dtype=np.float32)
    for c, (name, image) in enumerate(zip(channel_names, images, strict=True)):
        if image is None:
            continue
        if _apart(grid, image):
            raise ValueError(f"channel {name!r}: {_outside(settings, images)}")
        block = resample_image(
            image, grid, interpolation=settings.interpolation, antialias=settings.antialias,
            padding=settings.padding_of(name),
        ).array
        try:
            volume[c] = _normalise(block, settings.normalisation(name))
        except ValueError as error:
            raise ValueError(f"channel {name!r}: {error}") from None
    block_mask, cut = (None, 0.0) if mask is None else _block_mask(mask, grid, settings)
    if block_mask is not None and organs is not None:
        block_mask = with_organs(block_mask, organs, grid)
    return PreparedCase(volume, block_mask, grid.spacing, grid.origin, grid.direction, cut)


def finer_case(
    images: Sequence[Image | None],
    mask: Image,
    settings: Preparation,
    organs: Image | None = None,
) -> PreparedCase:
    """Resample one patient around the tumour for features, in the units of the images.

    Parameters
    ----------
    images : sequence of (Image or None)
    mask : Image
        On any grid.
    settings : Preparation
        Its `features_spacing` and `features_margin` say how.
    organs : Image, optional
        As in `prepare_case`.

    Returns
    -------
    PreparedCase

    Raises
    ------
    MaskError
        An empty mask.
    """
    reference, spacing = _first(images), settings.features_spacing
    lattice = resampled_grid(
        reference, reference.spacing if spacing in (None, "native") else spacing  # type: ignore[arg-type]
    )
    marked = np.argwhere(mask.array)
    if not marked.size:
        raise MaskError(EMPTY_MASK)
    reach = np.asarray(settings.features_margin) / np.asarray(lattice.spacing)
    positions = lattice.index(mask.world(marked))
    last = np.asarray(lattice.shape) - 1
    low = np.clip(np.floor(positions.min(axis=0) - reach), 0, last)
    high = np.clip(np.ceil(positions.max(axis=0) + reach), 0, last)
    grid = crop_grid(lattice, (low + high) / 2, (high - low + 1).astype(int))
    volume = np.zeros((len(images), *grid.shape), dtype=np.float32)
    for c, image in enumerate(images):
        if image is not None:
            volume[c] = resample_image(
                image, grid, interpolation=settings.interpolation, antialias=settings.antialias
            ).array
    marks = resample_mask(mask, grid, settings.mask_interpolation)
    if organs is not None:
        marks = with_organs(marks, organs, grid)
    return PreparedCase(volume, marks, grid.spacing, grid.origin, grid.direction, 0.0)


def _target_grid(
    images: Sequence[Image | None],
    mask: Image | None,
    channel_names: Sequence[str],
    settings: Preparation,
) -> Image:
    reference = _first(images)
    if settings.crop in ("whole", "fixed"):
        return fixed_grid(reference, settings)
    lattice = resampled_grid(reference, settings.spacing or reference.spacing)
    if settings.crop == "mask":
        if mask is None:
            raise ValueError("there is no tumour mask, which crop='mask' needs")
        centre = lattice.index(mask_centre(mask))
    else:
        pet = images[list(channel_names).index("PET")]
        if pet is None:
            raise ValueError("there is no PET, which crop='pet_peak' needs")
        centre = lattice.index(pet_peak(pet))
    return crop_grid(lattice, centre, settings.shape)


def fixed_grid(reference: Image, settings: Preparation) -> Image:
    """Return the block that ``crop="fixed"`` or ``"whole"`` takes of a field of view."""
    if settings.crop == "whole":
        return whole_grid(reference, settings.shape)
    lattice = resampled_grid(reference, settings.spacing or reference.spacing)
    offset = np.asarray(settings.centre or (0.0, 0.0, 0.0)) / np.asarray(lattice.spacing)
    return crop_grid(lattice, (np.asarray(lattice.shape) - 1) / 2 + offset, settings.shape)


def _first(images: Sequence[Image | None]) -> Image:
    reference = next((image for image in images if image is not None), None)
    if reference is None:
        raise ValueError("there is no image")
    return reference


def _apart(grid: Image, image: Image) -> bool:
    """Whether a crop lies wholly on one side of an image."""
    corners = image.index(grid.corners())
    last = np.asarray(image.shape) - 0.5
    return bool(((corners < -0.5).all(axis=0) | (corners > last).all(axis=0)).any())


def _outside(settings: Preparation, images: Sequence[Image | None]) -> str:
    message = "the crop lies outside the image"
    if settings.registration is not None:
        return f"{message} that was registered to the template"
    if settings.centre is None:
        return message
    reference = _first(images)
    extent = np.asarray(reference.shape) * np.asarray(reference.spacing)
    centre, size = (", ".join(f"{part:g}" for part in parts) for parts in (settings.centre, extent))
    return (
        f"{message}: centre ({centre}) counts in mm from the middle of the first channel's field "
        f"of view, which measures ({size}) mm (z, y, x)"
    )


def _normalise(block: np.ndarray, how: str | tuple[Any, ...]) -> np.ndarray:
    if how == "none":
        return block
    if how == "zscore":
        return zscore(block)
    return window(block, float(how[1]), float(how[2]))


def _block_mask(mask: Image, grid: Image, settings: Preparation) -> tuple[np.ndarray, float]:
    tumour = voxels_of(grid, mask.world(np.argwhere(mask.array)))
    if not tumour.size:
        raise MaskError(EMPTY_MASK)
    inside = ((tumour >= -0.5) & (tumour <= np.asarray(grid.shape) - 0.5)).all(axis=1)
    block = resample_mask(mask, grid, settings.mask_interpolation)
    if not block.any():
        where = "outside the crop" if not inside.any() else "between the voxels of the new spacing"
        raise MaskError(f"the tumour mask lies {where}, so that nothing of it would be left")
    return block, float(1.0 - inside.mean())
