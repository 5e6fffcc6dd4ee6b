"""The layer of a network that Grad-CAM uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["FEWEST_VOXELS", "last_resolved_convolution", "named_layer"]

FEWEST_VOXELS = 4
"""Smallest size of a map along each axis; coarser maps do not localise."""


def last_resolved_convolution(
    network: nn.Module, score: Callable[[Tensor], Tensor], inputs: Tensor
) -> nn.Module:
    """Find the last convolution with enough spatial resolution on which the score depends.

    Parameters
    ----------
    network : torch.nn.Module
        Part of `score`.
    score : callable
        From inputs to one number per case.
    inputs : Tensor of shape (1, channels, z, y, x) or (1, channels, y, x)
        Requires a gradient.

    Returns
    -------
    torch.nn.Module
        Its map has at least `FEWEST_VOXELS` along every axis.

    Raises
    ------
    ValueError
        There is none.
    """
    outputs: list[tuple[nn.Module, Tensor]] = []

    def note(layer: nn.Module, _: Any, output: Tensor) -> None:
        if min(output.shape[2:]) >= FEWEST_VOXELS:
            outputs.append((layer, output))

    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    hooks = [layer.register_forward_hook(note) for layer in convolutions]
    try:
        number = score(inputs).sum()
    finally:
        for hook in hooks:
            hook.remove()
    maps = [output for _, output in outputs]
    gradients = torch.autograd.grad(number, maps, allow_unused=True) if maps else []
    layers = [layer for (layer, _), g in zip(outputs, gradients, strict=True) if g is not None]
    if not layers:
        raise ValueError(
            f"No convolution of {type(network).__name__} gives a map of {FEWEST_VOXELS} voxels or "
            "more along every axis; name a layer, or use integrated gradients or occlusion."
        )
    return layers[-1]


def named_layer(network: nn.Module, name: str) -> nn.Module:
    """Return a layer by its name in ``named_modules()``.

    Raises
    ------
    ValueError
        There is no such layer.
    """
    layers = dict(network.named_modules())
    if not name or name not in layers:
        convolutions = [n for n, m in layers.items() if isinstance(m, nn.Conv2d | nn.Conv3d)]
        raise ValueError(
            f"{type(network).__name__} has no layer {name!r}; its convolutions are "
            f"{', '.join(convolutions)}."
        )
    return layers[name]
