"""Batch normalisation with the ReLU and the sum behind it: three passes over memory, not eight.

On the CPU a training step spends a fifth of its time on these cheap operations, because each of
torch's reads and writes the whole map. For users who train without a GPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.jit import share_out
from survimg.nets.channels_last import dense, flat, like, takes_kernels, threads_for

__all__ = ["BatchNorm3d"]


class BatchNorm3d(nn.BatchNorm3d):
    """torch's batch normalisation, optionally with what follows it.

    Statistics, running averages, parameters and their names are torch's. Training on the CPU in
    float32 or bfloat16 takes the compiled passes of `survimg.nets.kernels`; everything else
    (`survimg.nets.channels_last.takes_kernels`) is computed by torch.

    Parameters
    ----------
    n_channels : int
    rectify : bool, default=False
        A ReLU follows.
    eps : float, default=1e-5
    momentum : float, default=0.1
        As in torch.
    """

    def __init__(
        self, n_channels: int, *, rectify: bool = False, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(n_channels, eps=eps, momentum=momentum)
        self.rectify = rectify

    def extra_repr(self) -> str:
        """Name the options."""
        return f"{super().extra_repr()}, rectify={self.rectify}"

    def forward(self, features: Tensor, added: Tensor | None = None) -> Tensor:
        """Normalise, rectify, add.

        Parameters
        ----------
        features : Tensor of shape (b, c, d0, d1, d2)
        added : Tensor of shape (b, c, d0, d1, d2), optional
            Added to the result.
        """
        if self._takes_kernels(features, added):
            return self._fused(features, added)
        features = super().forward(features)
        if self.rectify:
            features = functional.relu(features, inplace=True)
        return features if added is None else features + added

    def _takes_kernels(self, features: Tensor, added: Tensor | None) -> bool:
        n_channels = self.num_features
        fits = features.ndim == 5 and features.shape[1] == n_channels < features.numel()
        if added is not None:
            fits = fits and (added.shape, added.dtype) == (features.shape, features.dtype)
        plain = self.affine and self.weight.dtype == torch.float32
        return fits and plain and self.training and takes_kernels(features)

    def _fused(self, features: Tensor, added: Tensor | None) -> Tensor:
        out, mean, variance = _NormRelu.apply(
            features, self.weight, self.bias, added, self.eps, self.rectify
        )
        if self.track_running_stats:
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            new = self.momentum
            if new is None:  # an average over all batches
                new = 1 / float(self.num_batches_tracked)
            n = features.numel() // self.num_features
            self.running_mean.lerp_(mean.to(self.running_mean), new)
            self.running_var.lerp_((variance * (n / (n - 1))).to(self.running_var), new)
        return out


# A training that diverges is told by its loss; until then NaN and infinity pass as in torch.
_as_torch = np.errstate(all="ignore")


class _Channels(NamedTuple):
    """What the passes need to know per channel, in float64."""

    mean: np.ndarray
    inverse: np.ndarray
    scale: np.ndarray
    shift: np.ndarray


class _NormRelu(torch.autograd.Function):
    """Batch normalisation by the batch's own statistics, ReLU, sum.

    Also returns mean and (biased) variance, in float64. Nothing is kept for the backward pass but
    the input: what it needs is computed again.
    """

    @staticmethod
    @_as_torch
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        shift: Tensor,
        added: Tensor | None,
        eps: float,
        rectify: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = dense(features)
        mean, variance = _moments(x)
        out = like(x)
        inverse = 1 / np.sqrt(variance + eps)
        scale = weight.detach().double().numpy() * inverse
        channels = _Channels(mean, inverse, scale, shift.detach().double().numpy() - mean * scale)
        _apply(x, channels, rectify, added, out)
        ctx.save_for_backward(features, weight, shift)
        ctx.rest = channels, eps, rectify, added is not None
        statistics = torch.from_numpy(mean), torch.from_numpy(variance)
        ctx.mark_non_differentiable(*statistics)
        return out, *statistics

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        features, weight, shift = ctx.saved_tensors
        channels, eps, rectify, adds = ctx.rest
        g = gradients[0]
        if torch.is_grad_enabled():  # somebody differentiates this gradient again
            inputs = features, weight, shift
            into = _differentiable(*inputs, eps, rectify, g)
        else:
            into = _gradients(dense(features), dense(g), channels, rectify)
            into = into[0], into[1].to(weight), into[2].to(shift)
        return *into, g if adds else None, None, None


def _differentiable(
    features: Tensor, weight: Tensor, shift: Tensor, eps: float, rectify: bool, g: Tensor
) -> tuple[Tensor | None, ...]:
    """Return the gradients through torch's own layers."""
    # Copies end the way back here, also if `features` were made with the same weight. In the plain
    # layout: of one case whose batch stride is another, torch 2.13 makes wrong gradients.
    layout = torch.contiguous_format
    features, weight, shift = (t.clone(memory_format=layout) for t in (features, weight, shift))
    out = functional.batch_norm(features, None, None, weight, shift, training=True, eps=eps)
    out = functional.relu(out) if rectify else out
    inputs = [tensor for tensor in (features, weight, shift) if tensor.requires_grad]
    gradients = iter(torch.autograd.grad(out, inputs, g, create_graph=True))
    return tuple(next(gradients) if t.requires_grad else None for t in (features, weight, shift))


def _moments(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance per channel, from those of blocks.

    Chan TF, Golub GH, LeVeque RJ. Updating formulae and a pairwise algorithm for computing sample
    variances. COMPSTAT 1982: equation 2.1 for many blocks at once.
    """
    from survimg.nets import kernels

    values = flat(x)
    n_channels = x.shape[1]
    tile, block = _tile_and_block(n_channels)
    n_blocks = -(-len(values) // block)
    means, squares = np.zeros((2, n_blocks, n_channels))
    n_threads = threads_for(len(values))
    share_out(kernels.moments, n_blocks, n_threads, values, tile, block, means, squares)
    sizes = np.full((n_blocks, 1), block / n_channels)
    sizes[-1] = (len(values) - (n_blocks - 1) * block) / n_channels
    n = sizes.sum()
    mean = (sizes * means).sum(axis=0) / n
    return mean, (squares + sizes * (means - mean) ** 2).sum(axis=0) / n


def _tile_and_block(n_channels: int) -> tuple[int, int]:
    """Whole voxels per tile, and whole tiles per block."""
    from survimg.nets.kernels import BLOCK, TILE

    tile = max(1, TILE // n_channels) * n_channels
    return tile, max(1, BLOCK // tile) * tile


def _repeated(values: np.ndarray, tile: int) -> np.ndarray:
    return np.resize(values.astype(np.float32), tile)


def _apply(
    x: Tensor, channels: _Channels, rectify: bool, added: Tensor | None, out: Tensor
) -> None:
    from survimg.nets import kernels

    values = flat(x)
    tile, block = _tile_and_block(x.shape[1])
    scale, shift = (_repeated(v, tile) for v in (channels.scale, channels.shift))
    floor = np.float32(0 if rectify else -np.inf)
    n, n_threads = -(-len(values) // block), threads_for(len(values))
    if added is None:
        share_out(kernels.apply, n, n_threads, values, scale, shift, floor, block, flat(out))
    else:
        more = flat(dense(added))
        share_out(
            kernels.apply_and_add, n, n_threads, values, scale, shift, floor, more, block, flat(out)
        )


@_as_torch
def _gradients(
    x: Tensor, g: Tensor, channels: _Channels, rectify: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the map, the scale and the shift.

    Ioffe S, Szegedy C. Batch normalization. ICML 2015, section 3: with xhat = (x - mean) / std and
    g behind the ReLU, dx = weight / std * (g - mean(g) - xhat * mean(g * xhat)), here as a linear
    function of g and x.
    """
    from survimg.nets import kernels

    values, grad, n_channels = flat(x), flat(g), x.shape[1]
    tile, block = _tile_and_block(n_channels)
    mean, inverse, scale, shift = channels
    floor = np.float32(0 if rectify else -np.inf)
    n_blocks, n_threads = -(-len(values) // block), threads_for(len(values))
    sums = np.zeros((n_blocks, 2, n_channels))
    a, b, centre = (_repeated(v, tile) for v in (scale, shift, mean))
    share_out(
        kernels.gradient_sums, n_blocks, n_threads, values, grad, a, b, floor, centre, block, sums
    )
    n = len(values) // n_channels
    d_shift, by_difference = sums.sum(axis=0)
    d_weight = by_difference * inverse
    by_x = -scale * inverse * d_weight / n
    constant = -scale * d_shift / n - by_x * mean
    out = like(x)
    factor, offset = (_repeated(v, tile) for v in (by_x, constant))
    share_out(
        kernels.gradient, n_blocks, n_threads, values, grad, a, b, floor, factor, offset, block,
        flat(out),
    )  # fmt: skip
    return out, torch.from_numpy(d_weight), torch.from_numpy(d_shift)
