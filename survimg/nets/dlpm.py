"""DLPM: a shallow 3D DenseNet with a discrete-time output.

References
----------
Kim H, Goo JM, Lee KH, Kim YT, Park CM. Preoperative CT-based deep learning model for predicting
disease-free survival in patients with lung adenocarcinomas. Radiology 296:216-224, 2020.
As compared in: Meng et al., DeepMTS, IEEE J Biomed Health Inform 26(9):4497-4507, 2022.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.nets.dropout import Dropout
from survimg.nets.layers import (
    batch_norm,
    check_clinical,
    check_images,
    conv3d,
    global_average,
    initialise,
    linear,
)
from survimg.nets.outputs import LogitsOutput, RiskOutput, output_of

__all__ = ["MIN_SIZE", "DLPMNet"]

MIN_SIZE = 6
"""Smallest axis: the valid stem and two poolings leave one voxel."""

_GROWTH = 32
_TRANSITION = 48


class DLPMNet(nn.Module):
    """BN, stem, dense blocks of 2, 2 and 1 layers with transitions in between, 80 pooled features.

    The stem is a 3x3x3 **valid** convolution with 32 channels and neither bias nor activation. A
    dense layer is **BN, conv 3x3x3, ReLU** in this order, 32 channels, appended to its input. A
    transition is BN, ReLU, conv 1x1x1 to 48 channels without bias, dropout, average-pool 2. The
    output layer starts at zero, i.e. at a survival of 1/2 in every interval.

    Parameters
    ----------
    in_channels : int, default=2
        Image channels; 1 in the original study.
    n_clinical : int, default=1
        Clinical variables, appended to the pooled features; 0 for none, as in the original study.
    n_outputs : int or None, default=6
        Outputs of a case, one per time interval; None for one log-hazard.
    dropout : float, default=0.2
        Element-wise dropout in the transitions.
    generator : torch.Generator, optional
        CPU generator for the initial weights (He uniform, as the published code states for the
        dense layers); torch's global generator if None.

    Notes
    -----
    248,496 parameters with the defaults, 247,624 for the original single channel. No axis is ever
    padded. *Memory*: nothing reduces the resolution before the first transition, so that a full
    2 x 128 x 128 x 112 case holds 96 channels at 126 x 126 x 110 voxels, 0.67 GB in float32 for
    that tensor alone and some 3.8 GiB (extrapolated from 48 voxels) with all that training keeps;
    train with small batches and gradient accumulation, or on 50-voxel crops as the original study
    did.
    """

    n_features = 80

    def __init__(
        self,
        in_channels: int = 2,
        n_clinical: int = 1,
        n_outputs: int | None = 6,
        *,
        dropout: float = 0.2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.n_clinical = n_clinical
        self.n_outputs = n_outputs
        self.norm_in = batch_norm(in_channels)
        self.stem = conv3d(in_channels, 32, 3, bias=False)
        self.block1 = _dense_block(32, 2)
        self.transition1 = _Transition(32 + 2 * _GROWTH, dropout)
        self.block2 = _dense_block(_TRANSITION, 2)
        self.transition2 = _Transition(_TRANSITION + 2 * _GROWTH, dropout)
        self.block3 = _dense_block(_TRANSITION, 1)
        self.norm_out = batch_norm(self.n_features, rectify=True)
        self.output = linear(self.n_features + n_clinical, n_outputs or 1)
        initialise(self, generator)
        nn.init.zeros_(self.output.weight)

    def l2_penalty(self) -> Tensor:
        """Sum of squares that the published code penalises with 1e-4, a scalar.

        Kernels of the stem and the transitions, scales and shifts of the transitions' and the
        last batch normalisation; not the dense layers, not the output.
        """
        return torch.stack([values.square().sum() for values in self._penalised()]).sum()

    def _penalised(self) -> Iterator[Tensor]:
        yield self.stem.weight
        for transition in (self.transition1, self.transition2):
            yield from (transition.conv.weight, transition.norm.weight, transition.norm.bias)
        yield from (self.norm_out.weight, self.norm_out.bias)

    def forward(self, volumes: Tensor, clinical: Tensor | None = None) -> RiskOutput | LogitsOutput:
        """Predict the log-odds of surviving each interval, or the outputs of another objective.

        Parameters
        ----------
        volumes : Tensor of shape (b, in_channels, d0, d1, d2)
            Each axis at least 6 voxels.
        clinical : Tensor of shape (b, n_clinical), optional
            Required if ``n_clinical > 0``.

        Raises
        ------
        ValueError
            Another number of channels or clinical variables, or a volume that is too small.
        """
        check_images(volumes, self.in_channels, 3, MIN_SIZE)
        values = check_clinical(clinical, volumes, self.n_clinical)
        features = self.block1(self.stem(self.norm_in(volumes)))
        features = self.block2(self.transition1(features))
        features = self.block3(self.transition2(features))
        pooled = global_average(self.norm_out(features))
        with torch.autocast(volumes.device.type, enabled=False):
            outputs = self.output(torch.cat([pooled, values.to(pooled)], dim=1))
        return output_of(outputs, pooled, self.n_outputs)


class _DenseLayer(nn.Module):
    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.norm = batch_norm(n_in)
        self.conv = conv3d(n_in, _GROWTH, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        new = functional.relu(self.conv(self.norm(features)), inplace=True)
        return torch.cat([features, new], dim=1)


class _Transition(nn.Module):
    def __init__(self, n_in: int, dropout: float) -> None:
        super().__init__()
        self.norm = batch_norm(n_in, rectify=True)
        self.conv = conv3d(n_in, _TRANSITION, 1, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        features = self.conv(self.norm(features))
        return functional.avg_pool3d(self.dropout(features), 2)


def _dense_block(n_in: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(_DenseLayer(n_in + k * _GROWTH) for k in range(depth)))
