"""CNN-Survival: a small 2D network with a discrete-time output.

References
----------
Zhang Y, Lobo-Mueller EM, Karanicolas P, Gallinger S, Haider MA, Khalvati F. CNN-based survival
model for pancreatic ductal adenocarcinoma in medical imaging. BMC Med Imaging 20:11, 2020.
As compared in: Meng et al., DeepMTS, IEEE J Biomed Health Inform 26(9):4497-4507, 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.nets.layers import check_clinical, check_images, conv2d, initialise, linear
from survimg.nets.outputs import LogitsOutput, RiskOutput, output_of

__all__ = ["MIN_SIZE", "CNNSurvivalNet"]

MIN_SIZE = 18
"""Smallest image axis: the pools by 2, 3 and 3 leave one pixel."""

_POOLS = (2, 3, 3)


class CNNSurvivalNet(nn.Module):
    """Six convolutions, three max-pools, one fully connected layer, one output per interval.

    Three stages of [conv 3x3 same, BN, ReLU] x 2, max-pool (2, 3, 3), dropout; the flattened map
    goes through a fully connected layer with ReLU, to whose output the clinical values are
    appended, and to the interval outputs.

    Parameters
    ----------
    in_channels : int, default=2
        Channels of the slice; PET and CT, both multiplied by the tumour mask, in the comparison
        of the DeepMTS paper.
    n_clinical : int, default=1
        Clinical variables; 0 for none.
    n_outputs : int or None, default=6
        Outputs of a case, one per time interval; None for one log-hazard.
    image_size : sequence of 2 int, default=(128, 128)
        Height and width of the slices, at least 18: the fully connected layer depends on it.
    width : int, default=32
        Channels of every convolution.
    hidden : int, default=64
        Units of the fully connected layer; 0 leaves it out, so that the output layer is the
        paper's "one FC layer" (another reading of its description).
    dropout : float, default=0.5
        Dropout after each stage.
    generator : torch.Generator, optional
        CPU generator for the initial weights; torch's global generator if None.

    Notes
    -----
    *Known from the papers*: 2D input, 6 convolutions, 3 max-pools, 1 FC layer, the discrete-time
    loss, the 6 outputs and where the clinical value enters. *Not published, chosen here*: the
    number of filters, pool sizes, dropout, hidden units, torch's batch-normalisation constants,
    He and Glorot uniform initial weights. 148,044 parameters with the defaults, 56,652 with
    ``hidden=0``.
    """

    def __init__(
        self,
        in_channels: int = 2,
        n_clinical: int = 1,
        n_outputs: int | None = 6,
        *,
        image_size: Sequence[int] = (128, 128),
        width: int = 32,
        hidden: int = 64,
        dropout: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(image_size) != 2 or min(image_size) < MIN_SIZE:
            raise ValueError(
                f"image_size must be (height, width) of at least {MIN_SIZE}; got {image_size!r}."
            )
        self.in_channels = in_channels
        self.n_clinical = n_clinical
        self.n_outputs = n_outputs
        self.image_size = tuple(image_size)
        self.stages = nn.Sequential(
            *(
                _stage(n_in, width, pool, dropout)
                for n_in, pool in zip((in_channels, width, width), _POOLS, strict=True)
            )
        )
        height, breadth = image_size
        for pool in _POOLS:
            height, breadth = height // pool, breadth // pool
        n_flat = width * height * breadth
        self.fc = linear(n_flat, hidden) if hidden else None
        self.n_features = hidden or n_flat
        self.output = linear(self.n_features + n_clinical, n_outputs or 1)
        initialise(self, generator)

    def forward(self, slices: Tensor, clinical: Tensor | None = None) -> RiskOutput | LogitsOutput:
        """Predict the log-odds of surviving each interval, or the outputs of another objective.

        Parameters
        ----------
        slices : Tensor of shape (b, in_channels, height, width)
        clinical : Tensor of shape (b, n_clinical), optional
            Required if ``n_clinical > 0``.

        Raises
        ------
        ValueError
            Another number of channels or clinical variables, or another image size.
        """
        check_images(slices, self.in_channels, 2, MIN_SIZE)
        values = check_clinical(clinical, slices, self.n_clinical)
        if tuple(slices.shape[2:]) != self.image_size:
            raise ValueError(
                f"The network was built for slices of {self.image_size}; got "
                f"{tuple(slices.shape[2:])}."
            )
        features = self.stages(slices).flatten(1)
        if self.fc is not None:
            features = functional.relu(self.fc(features))
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        with torch.autocast(slices.device.type, enabled=False):
            outputs = self.output(torch.cat([features, values.to(features)], dim=1))
        return output_of(outputs, features, self.n_outputs)


def _stage(n_in: int, n_out: int, pool: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise((n_in, n_out, n_out)):
        layers += [conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.MaxPool2d(pool), nn.Dropout(dropout))
