"""Random translation, rotation and left-right flip of image volumes and their masks.

`apply_transforms` is differentiable in the images.

Reference
---------
Meng et al., DeepMTS, IEEE J Biomed Health Inform 26(9):4497-4507, 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Recipe", "Transforms", "apply_transforms", "draw_transforms"]

Recipe = Literal["nearest", "uniform", "fixed"]

_FIXED_MASK_THRESHOLD = 0.2


@dataclass(frozen=True)
class Transforms:
    """One rigid transform, with or without a flip, for each of `n` cases.

    A case is flipped first, then rotated about its centre, then shifted.
    """

    flip: Tensor
    """``(n,)`` bool: mirror the last axis, left-right in arrays stored as (z, y, x)."""

    rotation: Tensor
    """``(n, 3)`` float64: degrees about the first, second and third spatial axis; the turn about
    the third axis comes first."""

    translation: Tensor
    """``(n, 3)`` float64: voxels along the three spatial axes."""

    mask_threshold: float | None = None
    """None takes each voxel of a moved mask from the nearest one; a number interpolates the mask
    linearly and keeps what exceeds it."""

    interpolation: Literal["nearest", "linear"] = "linear"
    """How voxels of moved images are read; ``"nearest"``, which `draw_transforms` chooses by
    default, smooths neither noise nor detail."""

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.flip)

    def __getitem__(self, cases: slice) -> Transforms:
        """Return the transforms of some of the cases."""
        return replace(
            self,
            flip=self.flip[cases],
            rotation=self.rotation[cases],
            translation=self.translation[cases],
        )

    def linear_part(self) -> Tensor:
        """Rotations times flips: ``(n, 3, 3)`` float64, acting on (d0, d1, d2) columns."""
        angles = torch.deg2rad(self.rotation)
        matrix = torch.eye(3, dtype=torch.float64).repeat(len(self), 1, 1)
        matrix[self.flip, 2, 2] = -1.0
        for axis in (2, 1, 0):
            matrix = _rotation_about(axis, angles[:, axis]) @ matrix
        return matrix


def draw_transforms(
    n: int,
    generator: torch.Generator,
    *,
    translation: float | Sequence[float] = 10.0,
    rotation: float | Sequence[float] = 5.0,
    flip_probability: float = 0.5,
    recipe: Recipe = "nearest",
) -> Transforms:
    """Draw random transforms for `n` cases.

    Parameters
    ----------
    n : int
        Number of cases; each gets its own transform.
    generator : torch.Generator
        CPU generator. Three draws per call, whatever the other parameters are.
    translation : float or sequence of 3 floats, default=10.0
        Largest shift in **voxels**, for all axes or per spatial axis. The published 10 belong to
        128 voxels (8 % of the field of view); scale it for smaller volumes, e.g.
        ``[0.08 * d for d in volumes.shape[2:]]``.
    rotation : float or sequence of 3 floats, default=5.0
        Largest angle in degrees about each spatial axis.
    flip_probability : float, default=0.5
        Probability of mirroring the last axis.
    recipe : {"nearest", "uniform", "fixed"}, default="nearest"
        ``"uniform"``: shifts uniform within +-`translation`, as in the DeepMTS paper; images by
        linear interpolation, masks by nearest neighbour. ``"nearest"``: the same with images by
        nearest neighbour too, so that a network sees noise and detail in training as in
        prediction. ``"fixed"``, what the paper's code does: every case is shifted by exactly
        +`translation` or -`translation` on every axis; images and masks are interpolated linearly,
        and masks cut at 0.2, which dilates them a little. Rotations and flips have one
        distribution in all.

    Returns
    -------
    Transforms

    Raises
    ------
    ValueError
        Negative ranges, a probability outside [0, 1], or an unknown recipe.

    Notes
    -----
    Deviations from the published code: it turns and shifts in three successive 2D passes, each
    of them interpolated and cut at the borders; here their product is applied at once, which blurs
    less and loses less at the borders. It flips the second spatial axis of arrays of unstated
    orientation; here left and right are exchanged, as the paper says.
    """
    if recipe not in get_args(Recipe):
        raise ValueError(f"recipe must be one of {', '.join(get_args(Recipe))}; got {recipe!r}.")
    if not 0 <= flip_probability <= 1:
        raise ValueError(f"flip_probability must lie in [0, 1]; got {flip_probability}.")
    shift_range = _per_axis("translation", translation)
    angle_range = _per_axis("rotation", rotation)
    flip = torch.rand(n, generator=generator, dtype=torch.float64) < flip_probability
    angles = 2 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 1
    shifts = 2 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 1
    if recipe == "fixed":
        shifts = torch.where(shifts < 0, -1.0, 1.0).to(torch.float64)
    return Transforms(
        flip=flip,
        rotation=angles * angle_range,
        translation=shifts * shift_range,
        mask_threshold=_FIXED_MASK_THRESHOLD if recipe == "fixed" else None,
        interpolation="nearest" if recipe == "nearest" else "linear",
    )


def apply_transforms(
    volumes: Tensor, masks: Tensor | None, transforms: Transforms
) -> tuple[Tensor, Tensor | None]:
    """Move every case and its mask by the same transform.

    Parameters
    ----------
    volumes : Tensor of shape (n, channels, d0, d1, d2)
        Images, normally z-scored: what comes from outside the image is 0, their mean.
    masks : Tensor of shape (n, d0, d1, d2), or None
        Binary, any type.
    transforms : Transforms
        As many as there are cases. Angles are in voxel space: voxels should be isotropic.

    Returns
    -------
    volumes : Tensor of shape (n, channels, d0, d1, d2)
        Interpolated as the transforms say; same shape, type and device.
    masks : Tensor of shape (n, d0, d1, d2), or None
        Binary, of the type given.

    Raises
    ------
    ValueError
        Shapes or numbers of cases that do not fit.
    """
    if volumes.ndim != 5 or len(volumes) != len(transforms):
        raise ValueError(
            f"volumes must have shape ({len(transforms)}, channels, d0, d1, d2), one case per "
            f"transform; got {tuple(volumes.shape)}."
        )
    if masks is not None and masks.shape != (len(volumes), *volumes.shape[2:]):
        raise ValueError(
            f"masks must have shape {(len(volumes), *volumes.shape[2:])}; got "
            f"{tuple(masks.shape)}."
        )
    grid = _sampling_grid(transforms, volumes.shape[2:], volumes.device)
    mode = "nearest" if transforms.interpolation == "nearest" else "bilinear"
    # Sampling in 16 bits would misplace voxels: coordinates need float32.
    moved = functional.grid_sample(volumes.float(), grid, mode, "zeros", align_corners=False)
    moved = moved.to(volumes.dtype)
    if masks is None:
        return moved, None
    foreground = masks.unsqueeze(1).float()
    if transforms.mask_threshold is None:
        foreground = functional.grid_sample(
            foreground, grid, "nearest", "zeros", align_corners=False
        )
        foreground = foreground > 0.5
    else:
        foreground = functional.grid_sample(
            foreground, grid, "bilinear", "zeros", align_corners=False
        )
        foreground = foreground > transforms.mask_threshold
    return moved, foreground[:, 0].to(masks.dtype)


def _sampling_grid(transforms: Transforms, size: torch.Size, device: torch.device) -> Tensor:
    """Where each output voxel is read from, in `grid_sample`'s coordinates (borders at -1, 1)."""
    half = torch.tensor([length / 2 for length in size], dtype=torch.float64)
    # output = linear (input - centre) + centre + shift, read backwards; linear is orthogonal.
    backward = transforms.linear_part().transpose(1, 2)
    offset = -(backward @ transforms.translation.unsqueeze(2))
    affine = torch.cat([backward * half, offset], dim=2) / half.unsqueeze(1)
    # grid_sample orders coordinates as (d2, d1, d0).
    affine[:, :, :3] = affine[:, :, :3].flip(2)
    affine = affine.flip(1).to(device, torch.float32)
    return functional.affine_grid(affine, [len(transforms), 1, *size], align_corners=False)


def _rotation_about(axis: int, angle: Tensor) -> Tensor:
    """Rotation matrices ``(n, 3, 3)`` that turn the next axis towards the one after it."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = torch.eye(3, dtype=torch.float64).repeat(len(angle), 1, 1)
    matrix[:, first, first] = matrix[:, second, second] = angle.cos()
    matrix[:, second, first] = angle.sin()
    matrix[:, first, second] = -angle.sin()
    return matrix


def _per_axis(name: str, value: float | Sequence[float]) -> Tensor:
    values = torch.as_tensor(value, dtype=torch.float64)
    if values.shape not in ((), (3,)) or not (values >= 0).all():
        raise ValueError(
            f"{name} is the largest amount, for all axes or for each of the three: one or three "
            f"non-negative numbers; got {value!r}."
        )
    return values.expand(3)
