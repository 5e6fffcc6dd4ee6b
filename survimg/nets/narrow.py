"""`NarrowConv3d`: convolutions to few channels, such as those of DeepMTS at full resolution.

For users who train without a GPU: those at full resolution take a third of a training step there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.jit import share_out
from survimg.nets.channels_last import dense, flat, like, takes_kernels, threads_for

__all__ = ["NarrowConv3d", "convolve", "is_narrow"]

#: Up to how many output channels our loops are faster than oneDNN's, by what torch computes with:
#: for the convolution and the gradient of its map, and for the gradient of its weights.
_MOST_CHANNELS = {"AVX2": (0, 16), "AVX512": (8, 8)}
#: Stride, padding, dilation and groups, by position: `OneDNNForSingleCases` knows such calls alone.
_LIKE_A_LAYER = (1, 1, 1), (1, 1, 1), (1, 1, 1), 1
_SAME = [1, 1, 1], [1, 1, 1], [1, 1, 1], False, [0, 0, 0], 1


def is_narrow(convolution: nn.Conv3d) -> bool:
    """Whether a layer is "same", 3x3x3, to 8 or 16 channels, from a multiple of eight."""
    return (
        convolution.out_channels in (8, 16)
        and convolution.in_channels % 8 == 0
        and convolution.kernel_size == (3, 3, 3)
        and convolution.padding in ((1, 1, 1), "same")
        and (convolution.stride, convolution.dilation) == ((1, 1, 1), (1, 1, 1))
        and (convolution.groups, convolution.padding_mode) == (1, "zeros")
    )


class NarrowConv3d(nn.Conv3d):
    """A "same" convolution 3x3x3 to 8 or 16 channels, from a multiple of eight.

    Training on the CPU in float32 takes the compiled loops of `survimg.nets.narrow_kernels` where
    they are faster: on processors with AVX-512 for all of a convolution to eight channels, with
    AVX2 alone for the gradient of the weights. Everything else is computed by torch.
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
    n_out = weight.shape[0]
    if (
        takes_kernels(features)
        and not torch.is_autocast_enabled("cpu")
        and (features.ndim, features.dtype, features.stride(1)) == (5, torch.float32, 1)
        and features.shape[1] % 8 == 0
        and features.shape[-1] >= 8
        and n_out in (8, 16)
        and (weight.shape[1:], weight.dtype) == ((features.shape[1], 3, 3, 3), torch.float32)
        and (bias is None or (bias.shape, bias.dtype) == ((n_out,), torch.float32))
    ):
        capability = torch.backends.cpu.get_cpu_capability()
        with_planes, with_sums = _MOST_CHANNELS.get(capability, (0, 0))
        # A single case is left to oneDNN, forward and back: aten's own backward pass unfolds it.
        if n_out <= with_planes or (n_out <= with_sums and len(features) > 1):
            narrow: Tensor = _Convolution.apply(features, weight, bias, n_out <= with_planes)
            return narrow
    return functional.conv3d(features, weight, bias, *_LIKE_A_LAYER)


class _Convolution(torch.autograd.Function):
    """The convolution; keeps its inputs for the backward pass, as torch does."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, ours: bool
    ) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.ours = ours
        if ours:
            return _planes(features, weight, bias)
        return functional.conv3d(features, weight, bias, *_LIKE_A_LAYER)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        features, weight = ctx.saved_tensors
        g, wanted = gradients[0], ctx.needs_input_grad
        if torch.is_grad_enabled():  # somebody differentiates this gradient again
            return *_torchs(g, features, weight, list(wanted[:3])), None
        if not wanted[0]:
            of_map = None
        elif ctx.ours:
            turned = weight.transpose(0, 1).flip(2, 3, 4)
            of_map = _planes(g, turned, None)
        else:
            of_map = _torchs(g, features, weight, [True, False, False])[0]
        return (
            of_map,
            _weight_gradient(features, g) if wanted[1] else None,
            g.sum(dim=(0, 2, 3, 4)) if wanted[2] else None,
            None,
        )


def _torchs(
    gradient: Tensor, features: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor | None, ...]:
    """Return torch's gradients of the map, the weights and the bias, those that are wanted."""
    into: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
        gradient, features, weight, [len(weight)], *_SAME, wanted
    )
    return into


def _planes(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    from survimg.nets.narrow_kernels import convolve_planes

    start = weight.new_zeros(len(weight)) if bias is None else bias
    x = dense(features)
    b, n_in, *shape = x.shape
    out = like(x.new_empty(()).expand(b, len(weight), *shape))
    packed = weight.detach().permute(2, 3, 4, 1, 0).flatten()
    n_threads = threads_for(x.numel() * len(weight))
    share_out(
        convolve_planes, b * shape[0], n_threads, flat(x), *shape, n_in,
        packed.contiguous().numpy(), start.detach().contiguous().numpy(), flat(out),
    )  # fmt: skip
    return out


def _weight_gradient(features: Tensor, gradient: Tensor) -> Tensor:
    from survimg.nets.narrow_kernels import weight_sums

    x, g = dense(features), dense(gradient)
    b, n_in, *shape = x.shape
    n_parts, n_out = b * shape[0], g.shape[1]
    sums = np.zeros((n_parts, 27 * n_in * n_out), np.float32)
    share_out(
        weight_sums, n_parts, threads_for(x.numel() * n_out), flat(x), *shape, n_in, flat(g),
        n_out, sums.reshape(-1),
    )  # fmt: skip
    total = torch.from_numpy(sums.sum(axis=0, dtype=np.float64)).to(gradient.dtype)
    packed = total.view(3, 3, 3, n_in, n_out).permute(4, 3, 0, 1, 2)
    return packed.contiguous(memory_format=torch.channels_last_3d)
