"""Networks as users write them, importable by the workers of a search."""

from __future__ import annotations

import torch
from torch import nn


class SmallNet(nn.Module):
    """A map of features."""

    def __init__(self, in_channels: int, width: int = 4, layers: int = 1) -> None:
        super().__init__()
        blocks = []
        for _ in range(layers):
            blocks += [nn.Conv3d(in_channels, width, 3, stride=2), nn.BatchNorm3d(width), nn.ReLU()]
            in_channels = width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, volumes):
        return self.blocks(volumes)


class Pyramid(SmallNet):
    """A list of maps, of which the last one counts."""

    def forward(self, volumes):
        return [volumes, (volumes, super().forward(volumes))]


class Wrong(nn.Module):
    """Not features."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, 1, 1)

    def forward(self, volumes):
        return {"out": self.conv(volumes)}


def small_net(width: int = 4, **rest) -> SmallNet:
    return SmallNet(width=width, **rest)


def noise(case):
    """Augment from torch's global generator."""
    case["image"] = case["image"] + torch.randn(case["image"].shape)
    return case
