"""Networks whose risk is known, in estimators that fit in no time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from survimg.estimators.deep import CoxVolumeEstimator
from survimg.nets import RiskOutput, initialise

SHAPE = (8, 8, 8)
CORNER = (slice(0, 4), slice(0, 4), slice(4, 8))
SLOPE = 3.0


class CornerNet(nn.Module):
    """Risk = `SLOPE` times the mean of channel 0 in one corner, rectified on request."""

    n_features = 1

    def __init__(self, n_channels: int, rectified: bool) -> None:
        super().__init__()
        weight = torch.zeros(1, n_channels, *SHAPE)
        weight[(0, 0, *CORNER)] = SLOPE / 64
        self.weight = nn.Parameter(weight)
        self.blur = nn.Conv3d(n_channels, n_channels, 1, bias=False)
        with torch.no_grad():
            self.blur.weight.copy_(torch.eye(n_channels)[:, :, None, None, None])
        self.norm = nn.BatchNorm3d(n_channels, momentum=0.0)
        self.dropout = nn.Dropout(0.5)
        self.rectified = rectified

    def forward(self, volumes: Tensor, clinical: Tensor) -> RiskOutput:
        seen = self.norm(self.blur(volumes))
        if self.rectified:
            seen = torch.relu(seen)
        features = (self.dropout(seen) * self.weight).flatten(1).sum(dim=1, keepdim=True)
        return RiskOutput(features[:, 0] + clinical.sum(dim=1), features)


class SmallNet(nn.Module):
    """One convolution, pooling by 4, one fully connected layer."""

    n_features = 256

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, padding=1)
        self.fc = nn.Linear(self.n_features, 1)
        initialise(self, generator)

    def forward(self, volumes: Tensor, clinical: Tensor) -> RiskOutput:
        features = nn.functional.avg_pool3d(torch.relu(self.conv(volumes)), 4).flatten(1)
        return RiskOutput(self.fc(features)[:, 0], features)


@dataclass(kw_only=True, eq=False, repr=False)
class CornerCox(CoxVolumeEstimator):
    """`CornerNet` in the shared engine, with a learning rate that changes nothing."""

    rectified: bool = False
    n_iterations: int = 1
    batch_norm_batches: int = 1
    learning_rate: float = 1e-30
    batch_size: int = 4
    augmentation: Any = None
    n_threads: int | None = 1
    random_state: Any = 0
    device: str = "cpu"
    frozen: Any = ("norm",)  # an identity, up to its epsilon

    def _make_module(self, n_channels: int, n_clinical: int, generator: torch.Generator):
        return CornerNet(n_channels, self.rectified)


@dataclass(kw_only=True, eq=False, repr=False)
class SmallCox(CoxVolumeEstimator):
    """`SmallNet` in the shared engine."""

    def _make_module(self, n_channels: int, n_clinical: int, generator: torch.Generator):
        return SmallNet(generator)
