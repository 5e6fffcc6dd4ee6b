"""Convolutions 1x1x1 as the matrix products over channels that they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.nets.channels_last import takes_kernels
from survimg.nets.narrow import autocast_as_convolutions

__all__ = ["PointwiseConv3d", "multiply"]

#: Most channels of a row that several voxels make.
_ROW = 16


class PointwiseConv3d(nn.Conv3d):
    """Convolution 1x1x1, computed as a matrix product.

    In the channels-last layout a voxel's channels lie side by side, so that nothing is copied.
    torch itself computes this case on one thread by a slow kernel in the other layout: on a
    processor with AVX-512 a DeepMTS step of 8 x 2 x 32^3 takes 0.80 of the time this way.
    """

    def forward(self, features: Tensor) -> Tensor:
        """``(b, n_in, d0, d1, d2) -> (b, n_out, d0, d1, d2)``."""
        if self.training:
            rows = multiply(features, self.weight.flatten(1), self.bias)
            shape = len(features), *features.shape[2:], self.out_channels
            return rows.view(shape).movedim(-1, 1)
        voxels = features.movedim(1, -1)
        return functional.linear(voxels, self.weight.flatten(1), self.bias).movedim(-1, 1)


def multiply(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply the channels of each voxel with a matrix.

    Of at most eight input channels, two to eight neighbouring voxels make one row, and the matrix
    stands as often on the diagonal of a larger one. Half or more of its products are with zeros,
    but libraries are slow at thin matrices.

    Parameters
    ----------
    features : Tensor of shape (b, n_in, ...)
    weight : Tensor of shape (n_out, n_in)
    bias : Tensor of shape (n_out,) or None

    Returns
    -------
    Tensor of shape (voxels, n_out)
        No view: who changes a view in place has it copied in the backward pass.
    """
    voxels = features.movedim(1, -1).flatten(0, -2)
    together = next((n for n in (8, 4, 2) if n * voxels.shape[1] <= _ROW), 1)
    if together == 1 or len(voxels) % together or not takes_kernels(features):
        return functional.linear(voxels, weight, bias)
    inputs = autocast_as_convolutions(voxels.contiguous(), weight, bias)
    product: Tensor = _Product.apply(*inputs, together)
    return product


class _Product(torch.autograd.Function):
    """``voxels @ weight.T + bias`` with several voxels in a row."""

    @staticmethod
    def forward(
        ctx: Any, voxels: Tensor, weight: Tensor, bias: Tensor | None, together: int
    ) -> Tensor:
        ctx.save_for_backward(voxels, weight)
        ctx.together = together
        out = voxels.new_empty(len(voxels), len(weight))
        rows, into = _rows(voxels, together), _rows(out, together)
        wide = _on_diagonal(weight, together).t()
        if bias is None:
            torch.mm(rows, wide, out=into)
        else:
            torch.addmm(bias.repeat(together), rows, wide, out=into)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        voxels, weight = ctx.saved_tensors
        g, together, wanted = gradients[0], ctx.together, ctx.needs_input_grad
        of_bias = g.sum(0) if wanted[2] else None
        if torch.is_grad_enabled():  # somebody differentiates this gradient again
            of_voxels = g @ weight if wanted[0] else None
            return of_voxels, g.t() @ voxels if wanted[1] else None, of_bias, None
        rows = _rows(g.contiguous(), together)
        of_voxels = of_weight = None
        if wanted[0]:
            of_voxels = torch.mm(rows, _on_diagonal(weight, together)).view_as(voxels)
        if wanted[1]:
            both = torch.mm(rows.t(), _rows(voxels, together))
            blocks = both.view(together, len(weight), together, -1).diagonal(dim1=0, dim2=2)
            of_weight = blocks.float().sum(-1).to(weight.dtype)
        return of_voxels, of_weight, of_bias, None


def _rows(voxels: Tensor, together: int) -> Tensor:
    return voxels.view(len(voxels) // together, -1)


def _on_diagonal(weight: Tensor, together: int) -> Tensor:
    return torch.block_diag(*[weight] * together)
