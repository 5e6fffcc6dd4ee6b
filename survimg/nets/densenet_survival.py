"""The single-task 3D DenseNet with a Cox output, comparator of the MTDLR study.

References
----------
Gu B, Meng M, Xu M, et al. Multi-task deep learning-based radiomic nomogram for prognostic
prediction in locoregionally advanced nasopharyngeal carcinoma. Eur J Nucl Med Mol Imaging, 2023
(MTDLR; its comparator follows Qiang M, Li C, Sun Y, et al., J Natl Cancer Inst 113(5):606-615,
2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.nets.dense import CascadedSurvivalNet
from survimg.nets.layers import check_clinical, check_images, initialise, linear
from survimg.nets.outputs import LogitsOutput, RiskOutput, output_of

__all__ = ["DenseNetSurvivalNet"]

_MIN_INPUT = 16


class DenseNetSurvivalNet(nn.Module):
    """Dense stages of 4, 8 and 16 bottlenecks, 112 pooled features, 64 hidden units, one risk.

    Parameters
    ----------
    in_channels : int, default=2
        Image channels; no mask enters.
    n_clinical : int, default=1
        Clinical variables, appended to the hidden units; 0 for none.
    dropout : float, default=0.5
        Dropout on the inputs of both fully connected layers, clinical values included.
    dense_dropout : float, default=0.05
        Element-wise dropout after the convolutions.
    n_outputs : int, optional
        Outputs of a case; None for one log-hazard.
    generator : torch.Generator, optional
        CPU generator for the initial weights; torch's global generator if None.

    Notes
    -----
    The layers of the 2021 study are not published. Known is the family (3D DenseNet on images
    alone); chosen here is the cascaded survival network of DeepMTS without the tumour map, so that
    the comparison with DeepMTS isolates multi-task learning. 1,025,610 parameters. Sizes below 19
    voxels are padded as described in `survimg.nets.dense.CascadedSurvivalNet`.
    """

    n_features = CascadedSurvivalNet.n_features

    def __init__(
        self,
        in_channels: int = 2,
        n_clinical: int = 1,
        *,
        dropout: float = 0.5,
        dense_dropout: float = 0.05,
        n_outputs: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.n_clinical = n_clinical
        self.dense = CascadedSurvivalNet(in_channels, dense_dropout)
        self.dropout = nn.Dropout(dropout)
        self.fc = linear(self.n_features, 64)
        self.n_outputs = n_outputs
        self.output = linear(64 + n_clinical, n_outputs or 1)
        initialise(self, generator)

    def l2_penalty(self) -> Tensor:
        """Sum of squares of the kernels of the fully connected layers, as in DeepMTS."""
        return self.fc.weight.square().sum() + self.output.weight.square().sum()

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
        features = self.dense(volumes)
        with torch.autocast(volumes.device.type, enabled=False):
            hidden = functional.relu(self.fc(self.dropout(features)))
            outputs = self.output(self.dropout(torch.cat([hidden, values.to(features)], dim=1)))
        return output_of(outputs, features, self.n_outputs)
