"""The augmentation of DLPM: one of ten changes per case.

Reference
---------
Kim H, Goo JM, Lee KH, Kim YT, Park CM. Radiology 296:216-224, 2020, and its published code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["CHANGES", "OneOfTen", "apply_one_of_ten", "draw_one_of_ten"]

CHANGES = (
    "rotate-90", "rotate-180", "rotate-270", "flip-left-right", "flip-up-down",
    "contrast", "blur", "sharpen", "noise", "identity",
)  # fmt: skip
"""All equally likely. Quarter turns, flips, blur and sharpening work in the axial plane."""

_CONTRAST = (0.5, 0.9)
_LARGEST_BLUR = 0.8
_SHARPEN, _LIGHTNESS = 0.1, 0.7
_NOISE = 0.02


@dataclass(frozen=True)
class OneOfTen:
    """What happens to each of `n` cases."""

    change: Tensor
    """``(n,)`` int64: positions in `CHANGES`."""

    amount: Tensor
    """``(n,)`` float64 in [0, 1): how far between the ends of its range a contrast or blur lies."""

    noise_seed: Tensor
    """``(n,)`` int64: of the noise of a case that gets some."""

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.change)

    def __getitem__(self, cases: slice) -> OneOfTen:
        """Return what happens to some of the cases."""
        return OneOfTen(self.change[cases], self.amount[cases], self.noise_seed[cases])


def draw_one_of_ten(n: int, generator: torch.Generator) -> OneOfTen:
    """Draw one change for each of `n` cases.

    Parameters
    ----------
    n : int
    generator : torch.Generator
        CPU generator. Three draws per call.

    Returns
    -------
    OneOfTen
    """
    return OneOfTen(
        change=torch.randint(len(CHANGES), (n,), generator=generator),
        amount=torch.rand(n, generator=generator, dtype=torch.float64),
        noise_seed=torch.randint(2**62, (n,), generator=generator),
    )


def apply_one_of_ten(
    volumes: Tensor, masks: Tensor | None, drawn: OneOfTen
) -> tuple[Tensor, Tensor | None]:
    """Change every case as drawn; its mask follows turns and flips.

    Parameters
    ----------
    volumes : Tensor of shape (n, channels, z, y, x)
        z-scored: contrast is lowered towards 0, their mean.
    masks : Tensor of shape (n, z, y, x), or None
    drawn : OneOfTen

    Returns
    -------
    volumes : Tensor of shape (n, channels, z, y, x)
    masks : Tensor of shape (n, z, y, x), or None
        Both of the types given.

    Raises
    ------
    ValueError
        A quarter turn of a volume whose y and x differ in length, or other numbers of cases.

    Notes
    -----
    Deviations from the published code, which works on CT scaled to [0, 1]: the noise's standard
    deviation of 0.02 is taken as a fraction of the range of each case and channel; turned volumes
    are not filled with -1000, since quarter turns leave no gap.
    """
    if len(volumes) != len(drawn) or volumes.ndim != 5:
        raise ValueError(
            f"volumes must have shape ({len(drawn)}, channels, z, y, x), one case per change "
            f"drawn; got {tuple(volumes.shape)}."
        )
    changed = [_apply(volumes[i], drawn, i) for i in range(len(drawn))]
    if masks is not None:
        moved_masks = [_move(masks[i], CHANGES[int(drawn.change[i])]) for i in range(len(drawn))]
        masks = torch.stack(moved_masks)
    return torch.stack(changed), masks


def _apply(volume: Tensor, drawn: OneOfTen, i: int) -> Tensor:
    change, amount = CHANGES[int(drawn.change[i])], float(drawn.amount[i])
    if change == "contrast":
        low, high = _CONTRAST
        return volume * (low + (high - low) * amount)
    if change == "blur":
        return _filter_planes(volume, _gaussian(_LARGEST_BLUR * amount))
    if change == "sharpen":
        kernel = torch.full((3, 3), -_SHARPEN)
        kernel[1, 1] = 1 - _SHARPEN + _SHARPEN * (8 + _LIGHTNESS)
        return _filter_planes(volume, kernel)
    if change == "noise":
        generator = torch.Generator().manual_seed(int(drawn.noise_seed[i]))
        noise = torch.randn(volume.shape, generator=generator).to(volume)
        extent = volume.amax((1, 2, 3), keepdim=True) - volume.amin((1, 2, 3), keepdim=True)
        return volume + _NOISE * extent * noise
    return _move(volume, change)


def _move(image: Tensor, change: str) -> Tensor:
    """Turn or flip ``(..., y, x)``; other changes move nothing."""
    if change.startswith("rotate"):
        quarters = -int(change.removeprefix("rotate-")) // 90
        if quarters % 2 and image.shape[-1] != image.shape[-2]:
            raise ValueError(
                "A quarter turn needs volumes as long in y as in x; got "
                f"{tuple(image.shape[-3:])}. Prepare the cohort with a square plane, or choose "
                "another augmentation."
            )
        return torch.rot90(image, quarters, (-2, -1))
    if change == "flip-left-right":
        return image.flip(-1)
    if change == "flip-up-down":
        return image.flip(-2)
    return image


def _gaussian(sigma: float) -> Tensor:
    """Kernel of 7 x 7, enough for the largest sigma; the identity for 0."""
    offsets = torch.arange(-3, 4, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / max(sigma, 1e-6)).square())
    weights = weights / weights.sum()
    return torch.outer(weights, weights)


def _filter_planes(volume: Tensor, kernel: Tensor) -> Tensor:
    """Correlate every axial plane of ``(channels, z, y, x)``; edges repeat the outermost voxel."""
    margin = len(kernel) // 2
    planes = volume.flatten(0, 1).unsqueeze(1)
    padded = functional.pad(planes, [margin] * 4, mode="replicate")
    filtered = functional.conv2d(padded, kernel.to(volume)[None, None])
    return filtered.view_as(volume)
