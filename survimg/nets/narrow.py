"""`NarrowConv3d`: convolutions to few channels, such as those of DeepMTS at full resolution.

For users who train without a GPU: those at full resolution take a third of a training step there.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from survimg.nets.channels_last import takes_kernels
from survimg.nets.narrow_ways import LOOPS, PAIRS, SUMS, Way, convolution, convolution_gradients

__all__ = ["NarrowConv3d", "autocast_as_convolutions", "convolve", "is_narrow"]


def is_narrow(layer: nn.Conv3d) -> bool:
    """Whether a layer is "same", 3x3x3, to 8 or 16 channels, from a multiple of eight."""
    return (
        layer.out_channels in (8, 16)
        and layer.in_channels % 8 == 0
        and layer.kernel_size == (3, 3, 3)
        and layer.padding in ((1, 1, 1), "same")
        and (layer.stride, layer.dilation) == ((1, 1, 1), (1, 1, 1))
        and (layer.groups, layer.padding_mode) == (1, "zeros")
    )


class NarrowConv3d(nn.Conv3d):
    """A "same" convolution 3x3x3 to 8 or 16 channels, from a multiple of eight.

    Training on the CPU takes the fastest of the ways of `survimg.nets.narrow_ways`: with AVX-512
    for convolutions to eight channels, in float32 and bfloat16; with AVX2 alone for the gradient
    of the weights, in float32. Everything else is computed by torch.
    """

    def forward(self, features: Tensor) -> Tensor:
        """``(b, n_in, d0, d1, d2) -> (b, n_out, d0, d1, d2)``."""
        if self.training:
            return convolve(features, self.weight, self.bias)
        return super().forward(features)


def convolve(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve with a kernel 3x3x3 and a rim of zeros.

    Parameters
    ----------
    features : Tensor of shape (b, n_in, d0, d1, d2)
    weight : Tensor of shape (n_out, n_in, 3, 3, 3)
    bias : Tensor of shape (n_out,) or None

    Returns
    -------
    Tensor of shape (b, n_out, d0, d1, d2)
    """
    inputs = autocast_as_convolutions(features, weight, bias)
    way = _fastest(*inputs)
    if way is None:
        return convolution(features, weight, bias)
    narrow: Tensor = _Convolution.apply(*inputs, way)
    return narrow


def autocast_as_convolutions(
    features: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the tensors as autocast hands them to a convolution or a matrix product."""
    if not torch.is_autocast_enabled("cpu") or features.device.type != "cpu":
        return features, weight, bias
    return _cast(features), _cast(weight), None if bias is None else _cast(bias)


def _cast(tensor: Tensor) -> Tensor:
    lower = torch.get_autocast_dtype("cpu")
    return tensor.to(lower) if tensor.dtype == torch.float32 else tensor


def _fastest(features: Tensor, weight: Tensor, bias: Tensor | None) -> Way | None:
    """Return how to compute a convolution in training, as measured; None leaves it to torch."""
    n_out, dtype = weight.shape[0], features.dtype
    if not (
        takes_kernels(features)
        and (features.ndim, features.stride(1)) == (5, 1)
        and features.shape[1] % 8 == 0
        and features.shape[-1] >= 8
        and n_out in (8, 16)
        and (weight.shape[1:], weight.dtype) == ((features.shape[1], 3, 3, 3), dtype)
        and (bias is None or (bias.shape, bias.dtype) == ((n_out,), dtype))
    ):
        return None
    capability = torch.backends.cpu.get_cpu_capability()
    # Of a single case aten's own backward pass unfolds the map: then only loops or all torch's.
    several, in_float32 = len(features) > 1, dtype == torch.float32
    if capability == "AVX2":
        return SUMS if in_float32 and several else None
    if capability != "AVX512" or n_out != 8:
        return None
    # Kernels longer than the map are those that oneDNN gets wrong: `survimg.compute.autocast`.
    paired = several and features.shape[-1] % 2 == 0 and min(features.shape[2:4]) >= 3
    if paired and not (in_float32 and _halves_vectors()):
        return PAIRS
    return LOOPS if in_float32 else None


@cache
def _halves_vectors() -> bool:
    """Whether this processor takes two turns for sixteen values: with AVX-512 Zen 4 does."""
    from llvmlite.binding import get_host_cpu_name

    return bool(get_host_cpu_name() == "znver4")


class _Convolution(torch.autograd.Function):
    """The convolution; keeps its inputs for the backward pass, as torch does."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, way: Way
    ) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.way = way
        return way.convolve(features, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        features, weight = ctx.saved_tensors
        g, wanted = gradients[0], ctx.needs_input_grad
        if torch.is_grad_enabled():  # somebody differentiates this gradient again
            return *convolution_gradients(g, features, weight, list(wanted[:3])), None
        return (
            ctx.way.map_gradient(g, features, weight) if wanted[0] else None,
            ctx.way.weight_gradient(g, features) if wanted[1] else None,
            g.sum(dim=(0, 2, 3, 4)) if wanted[2] else None,
            None,
        )
