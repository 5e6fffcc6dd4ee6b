"""`NarrowConv3d`: convolutions to eight channels, such as those of DeepMTS at full resolution.

For users who train without a GPU: they take a third of a training step there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.jit import share_out
from survimg.nets.channels_last import dense, flat, like, takes_kernels

__all__ = ["NarrowConv3d", "convolve", "is_narrow"]


def is_narrow(convolution: nn.Conv3d) -> bool:
    """Whether a layer is "same", 3x3x3, to eight channels, from a multiple of eight."""
    return (
        (convolution.out_channels, convolution.in_channels % 8) == (8, 0)
        and convolution.kernel_size == (3, 3, 3)
        and convolution.padding in ((1, 1, 1), "same")
        and (convolution.stride, convolution.dilation) == ((1, 1, 1), (1, 1, 1))
        and (convolution.groups, convolution.padding_mode) == (1, "zeros")
    )


class NarrowConv3d(nn.Conv3d):
    """A "same" convolution 3x3x3 to eight channels, from a multiple of eight.

    Training on the CPU in float32 takes the compiled loops of `survimg.nets.narrow_kernels`;
    everything else is computed by torch.
    """

    def forward(self, features: Tensor) -> Tensor:
        """``(b, n_in, d0, d1, d2) -> (b, 8, d0, d1, d2)``."""
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
    n_out, n_in = weight.shape[:2]
    if (
        n_out == 8
        and n_in % 8 == 0
        and features.shape[-1] >= 8
        and (features.dtype, weight.dtype) == (torch.float32, torch.float32)
        and takes_kernels(features)
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    ):
        narrow: Tensor = _Convolution.apply(features, weight, bias)
        return narrow
    return functional.conv3d(features, weight, bias, padding=1)


class _Convolution(torch.autograd.Function):
    """The convolution; keeps its inputs for the backward pass, as torch does."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(features, weight, bias)
        values = np.zeros(8, np.float32) if bias is None else bias.detach().numpy()
        return _planes(features, weight.detach(), values)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        features, weight, bias = ctx.saved_tensors
        g = gradients[0]
        if torch.is_grad_enabled():  # somebody differentiates this gradient again
            return _differentiable(features, weight, bias, g)
        of_features, of_weight, of_bias = ctx.needs_input_grad
        turned = weight.transpose(0, 1).flip(2, 3, 4)
        return (
            _planes(g, turned, np.zeros(len(turned), np.float32)) if of_features else None,
            _weight_gradient(features, g) if of_weight else None,
            g.sum(dim=(0, 2, 3, 4)) if of_bias else None,
        )


def _differentiable(
    features: Tensor, weight: Tensor, bias: Tensor | None, g: Tensor
) -> tuple[Tensor | None, ...]:
    """Return the gradients through torch's own convolution."""
    inputs = features, weight, bias
    out = functional.conv3d(features, weight, bias, padding=1)
    wanted = [tensor for tensor in inputs if tensor is not None and tensor.requires_grad]
    into = iter(torch.autograd.grad(out, wanted, g, create_graph=True))
    return tuple(next(into) if t is not None and t.requires_grad else None for t in inputs)


def _planes(features: Tensor, weight: Tensor, bias: np.ndarray) -> Tensor:
    from survimg.nets.narrow_kernels import convolve_planes

    x = dense(features)
    b, n_in, *shape = x.shape
    out = like(x.new_empty(()).expand(b, len(weight), *shape))
    packed = weight.permute(2, 3, 4, 1, 0).flatten().numpy()
    share_out(
        convolve_planes, b * shape[0], torch.get_num_threads(), flat(x), *shape, n_in, packed,
        np.ascontiguousarray(bias), flat(out),
    )  # fmt: skip
    return out


def _weight_gradient(features: Tensor, gradient: Tensor) -> Tensor:
    from survimg.nets.narrow_kernels import weight_sums

    x, g = dense(features), dense(gradient)
    b, n_in, *shape = x.shape
    n_parts, n_out = b * shape[0], g.shape[1]
    sums = np.zeros((n_parts, 27 * n_in * n_out), np.float32)
    share_out(
        weight_sums, n_parts, torch.get_num_threads(), flat(x), *shape, n_in, flat(g), n_out,
        sums.reshape(-1),
    )  # fmt: skip
    total = torch.from_numpy(sums.sum(axis=0, dtype=np.float64)).to(gradient.dtype)
    packed = total.view(3, 3, 3, n_in, n_out).permute(4, 3, 0, 1, 2)
    return packed.contiguous(memory_format=torch.channels_last_3d)
