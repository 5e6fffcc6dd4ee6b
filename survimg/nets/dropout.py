"""Dropout whose random numbers are computed where they are needed, and again backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from survimg.jit import share_out
from survimg.nets.channels_last import dense, flat, like, takes_kernels, threads_for

__all__ = ["Dropout"]


class Dropout(nn.Dropout):
    """torch's element-wise dropout; training on the CPU, large maps draw one number only.

    torch draws a random number per voxel from its sequential generator and keeps it, which takes a
    twentieth of a DeepMTS step. Here torch's stream gives two seeds, and the bits of a voxel are a
    function of them and of its place. What torch computes itself, and what not:
    `survimg.nets.channels_last.takes_kernels`.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Drop each value with probability `p`, and scale the others by ``1 / (1 - p)``."""
        if self.training and 0 < self.p < 1 and takes_kernels(features):
            seeds = torch.randint(2**32, (2,)).tolist()
            dropped: Tensor = _Drop.apply(features, self.p, *seeds)
            return dropped
        return super().forward(features)


class _Drop(torch.autograd.Function):
    """A linear function, so that the gradient of its gradient is the same function again."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, p: float, seed: int, key: int) -> Tensor:
        from survimg.nets.kernels import BLOCK, drop

        ctx.options = p, seed, key
        x = dense(features)
        out = like(x)
        values = flat(x)
        share_out(
            drop, -(-len(values) // BLOCK), threads_for(len(values)), values, np.uint32(seed),
            np.uint32(key), np.uint32(min(round(p * 2**32), 2**32 - 1)), np.float32(1 / (1 - p)),
            BLOCK, flat(out),
        )  # fmt: skip
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        return _Drop.apply(gradients[0], *ctx.options), None, None, None
