"""Convolutions of [upsampled map, skip connection] without the upsampled map.

Nearest upsampling repeats each voxel eight times, and a convolution of the result multiplies all
eight copies. Each of its output voxels sees 2 x 2 x 2 coarse voxels only: a transposed convolution
with kernel 4 and stride 2, whose weights are sums of the 27, needs 8 products instead of 27.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.jit import share_out
from survimg.nets.channels_last import dense, flat, like, takes_kernels, threads_for
from survimg.nets.narrow import convolve
from survimg.nets.pointwise import multiply

__all__ = ["DoubledNearest", "convolve_joined", "joins_cheaply"]


class DoubledNearest(torch.autograd.Function):
    """Nearest upsampling by 2 along the three last axes, with a backward pass in any layout.

    torch's own backward pass copies a channels-last gradient to the contiguous layout first and
    returns that layout: 83 ms for 8 x 16 x 48^3 on one thread, where these sums take 17.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:  # noqa: ARG004
        """``(b, c, d0, d1, d2) -> (b, c, 2 d0, 2 d1, 2 d2)``."""
        return functional.interpolate(features, scale_factor=2, mode="nearest")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        """Sum the gradient over the eight voxels that each voxel became."""
        return _pooled(gradient)


def joins_cheaply(coarse: Tensor, skip: Tensor) -> bool:
    """Whether `convolve_joined` gains something: in training on the CPU, with large maps."""
    return takes_kernels(skip) and coarse.dtype == skip.dtype


def convolve_joined(
    convolution: nn.Conv3d, coarse: Tensor, skip: Tensor, bias: Tensor | None
) -> Tensor:
    """Convolve the concatenation of an upsampled map and a skip connection.

    Parameters
    ----------
    convolution : torch.nn.Conv3d
        Kernel 1, or kernel 3 with padding 1; stride 1. Its own bias is not used.
    coarse : Tensor of shape (b, n, d0, d1, d2)
        The first n input channels, upsampled by 2 (nearest).
    skip : Tensor of shape (b, m, 2 d0, 2 d1, 2 d2)
        The last m input channels.
    bias : Tensor of shape (n_out,) or None

    Returns
    -------
    Tensor of shape (b, n_out, 2 d0, 2 d1, 2 d2)
    """
    n = coarse.shape[1]
    weight = convolution.weight
    if convolution.kernel_size == (1, 1, 1):
        fine = multiply(skip, weight[:, n:].flatten(1), bias)
        joined: Tensor = _AddUpsampled.apply(fine, _product(coarse, weight[:, :n]))
        return joined.view(len(skip), *skip.shape[2:], -1).movedim(-1, 1)
    near = weight[:, n:].contiguous(memory_format=torch.channels_last_3d)
    fine = convolve(skip, near, bias)
    wide = _widened(weight[:, :n]).contiguous(memory_format=torch.channels_last_3d)
    return fine.add_(functional.conv_transpose3d(coarse, wide, stride=2, padding=1))


def _product(features: Tensor, weight: Tensor) -> Tensor:
    return functional.linear(features.movedim(1, -1), weight.flatten(1)).movedim(-1, 1)


def _widened(weight: Tensor) -> Tensor:
    """Weights ``(n_in, n_out, 4, 4, 4)`` of the transposed convolution.

    Along one axis, place t of the transposed kernel reaches the fine voxel 2 k + t - 1 from the
    coarse voxel k, which lies there under the taps t = 0: {2}, 1: {1, 2}, 2: {0, 1}, 3: {0}.
    """
    taps = weight.new_tensor([[0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]])
    with torch.autocast(weight.device.type, enabled=False):
        for _ in range(3):  # each round widens the first of the three axes and puts it last
            weight = weight.movedim(2, -1) @ taps
        return weight.transpose(0, 1)


class _AddUpsampled(torch.autograd.Function):
    """``fine + upsampled(coarse)``, in the memory of `fine`, which is (voxels, c)."""

    @staticmethod
    def forward(ctx: Any, fine: Tensor, coarse: Tensor) -> Tensor:
        from survimg.nets.kernels import add_upsampled

        ctx.mark_dirty(fine)
        b, c, d0, d1, d2 = ctx.coarse = coarse.shape
        share_out(
            add_upsampled, b * d0, threads_for(fine.numel()), flat(dense(coarse)), d1, d2, c,
            flat(fine.detach()),
        )  # fmt: skip
        return fine

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor]:
        b, c, d0, d1, d2 = ctx.coarse
        return gradients[0], _pooled(gradients[0].view(b, 2 * d0, 2 * d1, 2 * d2, c).movedim(-1, 1))


def _pooled(gradient: Tensor) -> Tensor:
    """Sum over the eight voxels that each voxel became."""
    if torch.is_grad_enabled() or not takes_kernels(gradient):
        gradient = gradient[..., ::2] + gradient[..., 1::2]
        gradient = gradient[..., ::2, :] + gradient[..., 1::2, :]
        return gradient[..., ::2, :, :] + gradient[..., 1::2, :, :]
    from survimg.nets.kernels import pool_gradient

    b, c, d0, d1, d2 = gradient.shape
    out = like(gradient[..., ::2, ::2, ::2])
    share_out(
        pool_gradient, b * d0 // 2, threads_for(gradient.numel()), flat(dense(gradient)), d1 // 2,
        d2 // 2, c, flat(out),
    )  # fmt: skip
    return out
