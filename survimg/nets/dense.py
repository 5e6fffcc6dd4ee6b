"""Densely connected stages and the cascaded survival network (CSN) of DeepMTS.

References
----------
Huang et al., Densely connected convolutional networks, CVPR 2017.
Meng et al., DeepMTS, IEEE J Biomed Health Inform 26(9):4497-4507, 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.nets.dropout import Dropout
from survimg.nets.layers import batch_norm, conv3d, global_average, max_pool, pad_end

__all__ = ["CASCADE_MIN_SIZE", "Bottleneck", "CascadedSurvivalNet", "DenseBlock"]

CASCADE_MIN_SIZE = 19
"""Smallest axis that leaves one voxel in the last stage: 19 -> 9 -> 4 -> 2 -> 1."""


class Bottleneck(nn.Module):
    """BN, ReLU, conv 1x1x1, dropout, BN, ReLU, conv 3x3x3, dropout; appended to its input.

    Parameters
    ----------
    n_in : int
        Input channels.
    growth : int
        Channels that are appended.
    width : int
        Channels between the two convolutions.
    dropout : float
        Probability with which single elements (not channels) are dropped after each convolution.
    """

    def __init__(self, n_in: int, growth: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = batch_norm(n_in, rectify=True)
        self.conv1 = conv3d(n_in, width, 1)
        self.norm2 = batch_norm(width, rectify=True)
        self.conv2 = conv3d(width, growth, 3, padding=1)
        self.dropout = Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """``(b, n_in, ...) -> (b, n_in + growth, ...)``."""
        new = self.dropout(self.conv1(self.norm1(features)))
        new = self.dropout(self.conv2(self.norm2(new)))
        return torch.cat([features, new], dim=1)


class DenseBlock(nn.Sequential):
    """`n_layers` bottlenecks in a row; output channels ``n_in + n_layers * growth``."""

    def __init__(
        self, n_in: int, n_layers: int, *, growth: int = 16, width: int = 64, dropout: float = 0.05
    ) -> None:
        super().__init__(
            *(Bottleneck(n_in + k * growth, growth, width, dropout) for k in range(n_layers))
        )
        self.n_out = n_in + n_layers * growth


class CascadeStage(nn.Module):
    """Dense block, transition (BN, ReLU, conv 1x1x1, dropout) and the feature head's BN."""

    def __init__(self, n_in: int, n_layers: int, n_out: int, dropout: float) -> None:
        super().__init__()
        self.block = DenseBlock(n_in, n_layers, dropout=dropout)
        self.norm = batch_norm(self.block.n_out, rectify=True)
        self.conv = conv3d(self.block.n_out, n_out, 1)
        self.dropout = Dropout(dropout)
        self.head_norm = batch_norm(n_out, rectify=True)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the stage's output and its pooled features ``(b, n_out)``.

        The next stage pools the output itself: only the feature head is normalised and rectified.
        """
        features = self.dropout(self.conv(self.norm(self.block(features))))
        return features, global_average(self.head_norm(features))


class CascadedSurvivalNet(nn.Module):
    """The cascaded survival network of DeepMTS: 60 convolutions, 112 pooled features.

    Stem (conv 3x3x3, stride 2, **valid**, no activation; dropout; max-pool 3, stride 2, valid),
    then dense stages of 4, 8 and 16 bottlenecks whose transitions give 16, 32 and 64 channels.
    128 voxels become 63, 31, 15 and 7 along the way.

    Axes shorter than 19 voxels are zero-padded at their end to 19, the least that leaves a voxel
    in the last stage (deviation: the published code cannot run below that). Larger ones are never
    padded, so that the pooled features average over image voxels only.

    Parameters
    ----------
    in_channels : int
        Image channels plus, in DeepMTS, the tumour probability map.
    dropout : float, default=0.05
        Element-wise dropout after the convolutions.
    """

    widths = (16, 32, 64)
    n_features = sum(widths)

    def __init__(self, in_channels: int, dropout: float = 0.05) -> None:
        super().__init__()
        self.stem = conv3d(in_channels, 24, 3, stride=2)
        self.dropout = Dropout(dropout)
        self.stages = nn.ModuleList(
            CascadeStage(n_in, n_layers, n_out, dropout)
            for n_in, n_layers, n_out in zip((24, 16, 32), (4, 8, 16), self.widths, strict=True)
        )

    def forward(self, volumes: Tensor) -> Tensor:
        """``(b, in_channels, d0, d1, d2) -> (b, 112)``."""
        volumes = pad_end(volumes, (CASCADE_MIN_SIZE,) * 3)
        features = max_pool(self.dropout(self.stem(volumes)), 3, stride=2)
        pooled = []
        for number, stage in enumerate(self.stages):
            if number:
                features = functional.avg_pool3d(features, 2)
            features, stage_features = stage(features)
            pooled.append(stage_features)
        return torch.cat(pooled, dim=1)
