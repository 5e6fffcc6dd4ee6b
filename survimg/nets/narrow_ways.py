"""Three ways to compute a convolution 3x3x3 to few channels and its gradients, on the CPU.

* `LOOPS`: compiled loops, see `survimg.nets.narrow_kernels`.
* `SUMS`: oneDNN convolves, the compiled loops make the gradient of the weights.
* `PAIRS`: oneDNN computes two neighbouring voxels at once. In the channels-last layout their eight
  channels lie side by side: sixteen channels of a convolution with stride 2 along the rows, whose
  kernel, 3x3x4, holds the kernel 3x3x3 twice, for the first voxel and moved by one for the second.
  A quarter of the products are with zeros, but they fill vectors of sixteen values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from survimg.jit import share_out
from survimg.nets.channels_last import dense, flat, like, threads_for

__all__ = ["LOOPS", "PAIRS", "SUMS", "Way", "convolution", "convolution_gradients"]

#: Stride, padding, dilation and groups, by position: `OneDNNForSingleCases` knows such calls alone.
_LIKE_A_LAYER = (1, 1, 1), (1, 1, 1), (1, 1, 1), 1
_SAME = [1, 1, 1], [1, 1, 1], [1, 1, 1], False, [0, 0, 0], 1
_PAIRED = [1, 1, 2], *_SAME[1:]


class Way(NamedTuple):
    """How a convolution, the gradient of its map and that of its weights are computed."""

    convolve: Callable[[Tensor, Tensor, Tensor | None], Tensor]  # features, weight, bias
    map_gradient: Callable[[Tensor, Tensor, Tensor], Tensor]  # gradient, features, weight
    weight_gradient: Callable[[Tensor, Tensor], Tensor]  # gradient, features


def convolution(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return torch's convolution."""
    return functional.conv3d(features, weight, bias, *_LIKE_A_LAYER)


def convolution_gradients(
    gradient: Tensor, features: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor | None, ...]:
    """Return torch's gradients of the map, the weights and the bias, those that are wanted."""
    into: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
        gradient, features, weight, [len(weight)], *_SAME, wanted
    )
    return into


def _torchs_map_gradient(gradient: Tensor, features: Tensor, weight: Tensor) -> Tensor:
    of_map = convolution_gradients(gradient, features, weight, [True, False, False])[0]
    assert of_map is not None
    return of_map


def _turned(weight: Tensor) -> Tensor:
    """Return the weights of the convolution that makes the gradient of the map."""
    return weight.transpose(0, 1).flip(2, 3, 4)


def _loops(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
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


def _loops_map_gradient(gradient: Tensor, features: Tensor, weight: Tensor) -> Tensor:  # noqa: ARG001
    return _loops(gradient, _turned(weight), None)


def _sums(gradient: Tensor, features: Tensor) -> Tensor:
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


def _pairs(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    twice = torch.cat([functional.pad(weight, (0, 1)), functional.pad(weight, (1, 0))])
    both = None if bias is None else bias.repeat(2)
    # Not through `functional`: a backward pass inside autocast would be lowered.
    flattened = dense(torch.ops.aten.convolution(features, twice, both, *_PAIRED)).movedim(1, -1)
    voxels = flattened.view(len(features), *features.shape[2:], len(weight)).movedim(-1, 1)
    # A tensor of its own on the same memory: the decoder adds to it in place, which autograd
    # refuses for views.
    return voxels.new_empty(0).set_(voxels.untyped_storage(), 0, voxels.shape, voxels.stride())


def _pairs_map_gradient(gradient: Tensor, features: Tensor, weight: Tensor) -> Tensor:
    if features.shape[1] != 8:  # wide enough for oneDNN
        return _torchs_map_gradient(gradient, features, weight)
    return _pairs(gradient, _turned(weight), None)


def _pairs_weight_gradient(gradient: Tensor, features: Tensor) -> Tensor:
    n_out, n_in = gradient.shape[1], features.shape[1]
    voxels = dense(gradient).movedim(1, -1)
    paired = voxels.view(*voxels.shape[:3], -1, 2 * n_out).movedim(-1, 1)
    both = torch.ops.aten.convolution_backward(
        paired, features, gradient.new_empty(2 * n_out, n_in, 3, 3, 4), None, *_PAIRED,
        [False, True, False],
    )[1].float()  # fmt: skip
    total = both[:n_out, ..., :3] + both[n_out:, ..., 1:]
    return total.to(gradient.dtype).contiguous(memory_format=torch.channels_last_3d)


LOOPS = Way(_loops, _loops_map_gradient, _sums)
SUMS = Way(convolution, _torchs_map_gradient, _sums)
PAIRS = Way(_pairs, _pairs_map_gradient, _pairs_weight_gradient)
