"""The U-shaped segmentation backbones of DeepMTS: residual blocks, or a plain 3D U-Net.

Reference
---------
Meng et al., DeepMTS, IEEE J Biomed Health Inform 26(9):4497-4507, 2022.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from survimg.nets.layers import conv3d, conv_unit, max_pool
from survimg.nets.upsampling import DoubledNearest, joins_cheaply

__all__ = ["ENCODER_WIDTHS", "Backbone", "Decoder", "Encoder", "PlainBlock", "ResidualBlock"]

Backbone = Literal["residual", "unet"]

ENCODER_WIDTHS = (8, 16, 32, 64, 128)
_RESIDUAL_DEPTHS = (2, 2, 3, 3, 4)
_UNET_DEPTHS = (2, 2, 2, 2, 2)


class ResidualBlock(nn.Module):
    """`depth` units of conv 3x3x3, BN, ReLU; each one's output is added to the running sum.

    The sum starts with a projection (conv 1x1x1, BN, ReLU) of the block's input. Additions come
    after the ReLU of both terms, and no ReLU follows them.
    """

    def __init__(self, n_in: int, n_out: int, depth: int) -> None:
        super().__init__()
        self.projection = conv_unit(n_in, n_out, 1)
        self.units = nn.ModuleList(conv_unit(n_out if k else n_in, n_out, 3) for k in range(depth))

    def forward(self, features: Tensor, coarse: Tensor | None = None) -> Tensor:
        """``(b, n_in, ...) -> (b, n_out, ...)``; see `ConvUnit` for `coarse`."""
        projected = self.projection(features, coarse=coarse)
        total = self.units[0](features, projected, coarse)
        for unit in self.units[1:]:
            total = unit(total, total)
        return total


class PlainBlock(nn.Module):
    """`depth` units of conv 3x3x3, BN, ReLU in a row, as in a U-Net."""

    def __init__(self, n_in: int, n_out: int, depth: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(conv_unit(n_out if k else n_in, n_out, 3) for k in range(depth))

    def forward(self, features: Tensor, coarse: Tensor | None = None) -> Tensor:
        """``(b, n_in, ...) -> (b, n_out, ...)``; see `ConvUnit` for `coarse`."""
        features = self.units[0](features, coarse=coarse)
        for unit in self.units[1:]:
            features = unit(features)
        return features


class Encoder(nn.Module):
    """Five stages of 8, 16, 32, 64 and 128 channels with max-pooling by 2 in between."""

    def __init__(self, in_channels: int, backbone: Backbone) -> None:
        super().__init__()
        block, depths = _blocks(backbone)
        inputs = (in_channels, *ENCODER_WIDTHS[:-1])
        self.stages = nn.ModuleList(
            block(n_in, n_out, depth)
            for n_in, n_out, depth in zip(inputs, ENCODER_WIDTHS, depths, strict=True)
        )

    def forward(self, volumes: Tensor) -> list[Tensor]:
        """Return the five stages before pooling; every axis must be a multiple of 16."""
        outputs: list[Tensor] = []
        for stage in self.stages:
            features = max_pool(outputs[-1], 2) if outputs else volumes
            outputs.append(stage(features))
        return outputs


class Decoder(nn.Module):
    """Four stages of nearest upsampling by 2, concat [upsampled, skip], block; then 2 channels."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        block, depths = _blocks(backbone)
        self.stages = nn.ModuleList(
            block(ENCODER_WIDTHS[k + 1] + ENCODER_WIDTHS[k], ENCODER_WIDTHS[k], depths[k])
            for k in (3, 2, 1, 0)
        )
        self.output = conv3d(ENCODER_WIDTHS[0], 2, 1)

    def forward(self, encoded: list[Tensor]) -> Tensor:
        """Return the tumour probability ``(b, d0, d1, d2)``.

        The published code takes channel **0** of the two-channel softmax as the tumour.
        """
        features = encoded[-1]
        for stage, skip in zip(self.stages, encoded[-2::-1], strict=True):
            if self.training and joins_cheaply(features, skip):
                features = stage(skip, features)
            else:
                features = stage(torch.cat([DoubledNearest.apply(features), skip], dim=1))
        logits: Tensor = self.output(features)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return logits.softmax(dim=1, dtype=dtype)[:, 0]


def _blocks(backbone: Backbone) -> tuple[type[ResidualBlock] | type[PlainBlock], tuple[int, ...]]:
    if backbone == "residual":
        return ResidualBlock, _RESIDUAL_DEPTHS
    if backbone == "unet":
        return PlainBlock, _UNET_DEPTHS
    raise ValueError(f"backbone must be 'residual' or 'unet'; got {backbone!r}.")
