"""Soft Dice loss of a segmentation."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dice_loss"]

_SMALLEST_DENOMINATOR = 1e-5


def dice_loss(
    probability: Tensor,
    mask: Tensor,
    *,
    squared: bool = True,
    has_mask: Tensor | None = None,
) -> Tensor:
    r"""Minus the soft Dice overlap, averaged over the cases that have a mask.

    .. math:: -\frac{2 \sum p g}{\sum p^2 + \sum g^2} \quad\text{(squared)}, \qquad
              -\frac{2 \sum p g}{\sum p + \sum g} \quad\text{(not squared)},

    with sums over the voxels of one case.

    Parameters
    ----------
    probability : Tensor of shape (n, ...)
        Foreground probability p per voxel.
    mask : Tensor of shape (n, ...)
        Binary reference g, any type. Values of cases without a mask are ignored.
    squared : bool, default=True
        The form printed in the DeepMTS paper (after Milletari et al.); False is the form
        in its published code. For binary p they are equal.
    has_mask : Tensor of shape (n,), optional
        True for the cases that have a mask; default all.

    Returns
    -------
    Tensor, scalar
        Between -1 (perfect) and 0. Exactly zero, with a gradient of zero, if no case has a mask.
        A mask without foreground gives 0 whatever is predicted: Dice cannot say more about it.

    Raises
    ------
    ValueError
        Shapes that differ.

    References
    ----------
    Milletari et al., V-Net, 3DV 2016. Meng et al., IEEE JBHI 26:4497-4507, 2022 (DeepMTS).
    """
    if probability.shape != mask.shape or probability.ndim < 2:
        raise ValueError(
            "probability and mask must have the same shape (n, ...); got "
            f"{tuple(probability.shape)} and {tuple(mask.shape)}."
        )
    p = probability.to(torch.promote_types(probability.dtype, torch.float32))
    if has_mask is not None:
        if has_mask.shape != (len(p),):
            raise ValueError(
                f"has_mask must have shape ({len(p)},); got {tuple(has_mask.shape)}."
            )
        if not has_mask.all():
            with_mask = has_mask.bool()
            p, mask = p[with_mask], mask[with_mask]
    if len(p) == 0:
        return p.sum()
    p, g = p.flatten(1), mask.to(p).flatten(1)
    overlap = 2 * (p * g).sum(dim=1)
    total = (p.square() + g.square() if squared else p + g).sum(dim=1)
    return -(overlap / total.clamp(min=_SMALLEST_DENOMINATOR)).mean()
