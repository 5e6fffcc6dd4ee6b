"""MDSN: a 3D DenseNet with an anisotropic stem and a Cox output.

References
----------
Jing B, Deng Y, Zhang T, et al. Deep learning for risk prediction in patients with nasopharyngeal
carcinoma using multi-parametric MRIs. Comput Methods Programs Biomed 197:105684, 2020.
As compared in: Meng et al., DeepMTS, IEEE J Biomed Health Inform 26(9):4497-4507, 2022.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from survimg.nets.fast_layers import use_fast_layers
from survimg.nets.layers import (
    check_clinical,
    check_images,
    conv3d,
    global_average,
    initialise,
    linear,
    max_pool,
    pad_end,
)
from survimg.nets.normalise import BatchNorm3d
from survimg.nets.outputs import LogitsOutput, RiskOutput, output_of

__all__ = ["MDSNNet"]

_GROWTH = 16
_WIDTH = 64
_DEPTHS = (3, 6, 16)
_MIN_INPUT = 16


class MDSNNet(nn.Module):
    """53 convolutions: stem, three dense blocks of 3, 6 and 16 bottlenecks, two transitions.

    Parameters
    ----------
    in_channels : int, default=2
        Image channels.
    n_clinical : int, default=1
        Clinical variables, appended to the 272 pooled features; 0 for none.
    stem : {"anisotropic", "isotropic"}, default="anisotropic"
        Kernel (3, 5, 5) with stride (2, 3, 3), coarse along the first axis (axial in (z, y, x)
        arrays), or 3 x 3 x 3 with stride 2.
    dropout : float, default=0.05
        Channel-wise dropout of each bottleneck's new features.
    n_outputs : int, optional
        Outputs of a case; None for one log-hazard.
    generator : torch.Generator, optional
        CPU generator for the initial weights; torch's global generator if None.

    Raises
    ------
    ValueError
        Unknown `stem`.

    Notes
    -----
    The layers follow a third-party implementation that takes its defaults from the paper; both
    papers state the number of dense blocks and convolutions, the loss, and that clinical values
    join the pooled features. That implementation's sigmoid on the risk is left out: it is not in
    the paper and would bound the log-hazard. Initial weights (He and Glorot uniform) and torch's
    batch-normalisation constants are chosen here. The original input is one channel with three
    MRI sequences stacked along the first axis; sequences are channels here, as in the DeepMTS
    paper's comparison. 875,866 parameters with the defaults.

    Axes shorter than the stem and the pools need (19 voxels for a stride of 2, 29 for 3) are
    zero-padded at their end to that size.
    """

    n_features = 272

    def __init__(
        self,
        in_channels: int = 2,
        n_clinical: int = 1,
        *,
        stem: Literal["anisotropic", "isotropic"] = "anisotropic",
        dropout: float = 0.05,
        n_outputs: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if stem == "anisotropic":
            self.stem = conv3d(in_channels, 24, (3, 5, 5), stride=(2, 3, 3))
            self._padded = (19, 29, 29)
        elif stem == "isotropic":
            self.stem = conv3d(in_channels, 24, 3, stride=2)
            self._padded = (19, 19, 19)
        else:
            raise ValueError(f"stem must be 'anisotropic' or 'isotropic'; got {stem!r}.")
        self.in_channels = in_channels
        self.n_clinical = n_clinical
        self.blocks = nn.ModuleList()
        self.transitions = nn.ModuleList()
        n_channels = 24
        for number, depth in enumerate(_DEPTHS):
            if number:
                self.transitions.append(_transition(n_channels))
                n_channels = 16
            self.blocks.append(
                nn.Sequential(
                    *(_Bottleneck(n_channels + k * _GROWTH, dropout) for k in range(depth))
                )
            )
            n_channels += depth * _GROWTH
        self.norm = BatchNorm3d(n_channels, rectify=True)
        self.n_outputs = n_outputs
        self.output = linear(n_channels + n_clinical, n_outputs or 1)
        use_fast_layers(self)
        initialise(self, generator)

    def forward(self, volumes: Tensor, clinical: Tensor | None = None) -> RiskOutput | LogitsOutput:
        """Predict the risk, or the outputs of another objective.

        Parameters
        ----------
        volumes : Tensor of shape (b, in_channels, d0, d1, d2)
            Each axis at least 16 voxels.
        clinical : Tensor of shape (b, n_clinical), optional
            Required if ``n_clinical > 0``.

        Raises
        ------
        ValueError
            Another number of channels or clinical variables, or a volume that is too small.
        """
        check_images(volumes, self.in_channels, 3, _MIN_INPUT)
        values = check_clinical(clinical, volumes, self.n_clinical)
        features = self.stem(pad_end(volumes, self._padded))
        features = max_pool(features, 3, stride=2)
        for number, block in enumerate(self.blocks):
            if number:
                features = self.transitions[number - 1](features)
            features = block(features)
        pooled = global_average(self.norm(features))
        with torch.autocast(volumes.device.type, enabled=False):
            outputs = self.output(torch.cat([pooled, values.to(pooled)], dim=1))
        return output_of(outputs, pooled, self.n_outputs)


class _Bottleneck(nn.Module):
    """BN, ReLU, conv 1x1x1, BN, ReLU, conv 3x3x3, channel-wise dropout; no biases."""

    def __init__(self, n_in: int, dropout: float) -> None:
        super().__init__()
        self.new = nn.Sequential(
            nn.BatchNorm3d(n_in),
            nn.ReLU(inplace=True),
            conv3d(n_in, _WIDTH, 1, bias=False),
            nn.BatchNorm3d(_WIDTH),
            nn.ReLU(inplace=True),
            conv3d(_WIDTH, _GROWTH, 3, padding=1, bias=False),
            nn.Dropout3d(dropout),
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features, self.new(features)], dim=1)


def _transition(n_in: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm3d(n_in),
        nn.ReLU(inplace=True),
        conv3d(n_in, 16, 1, bias=False),
        nn.AvgPool3d(2),
    )
