"""DeepMTS: joint tumour segmentation and survival prediction from PET/CT, and its ablations.

References
----------
Meng M, Gu B, Bi L, Song S, Feng DD, Kim J. DeepMTS: Deep multi-task learning for survival
prediction in patients with advanced nasopharyngeal carcinoma using pretreatment PET/CT.
IEEE J Biomed Health Inform 26(9):4497-4507, 2022. arXiv:2109.07711.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.nets.backbone import ENCODER_WIDTHS, Backbone, Decoder, Encoder
from survimg.nets.dense import CascadedSurvivalNet
from survimg.nets.layers import (
    check_clinical,
    check_images,
    conv_unit,
    crop,
    global_average,
    initialise,
    linear,
    pad_end,
)

__all__ = ["MIN_SIZE", "DeepMTSNet", "DeepMTSOutput"]

MIN_SIZE = 16
"""Smallest axis that is accepted: four poolings by 2 leave one voxel."""

_GRID = 16


class DeepMTSOutput(NamedTuple):
    """What `DeepMTSNet` returns for a batch of `b` cases."""

    segmentation: Tensor | None
    """Tumour probability, ``(b, d0, d1, d2)``; None without a segmentation branch."""

    risk: Tensor | None
    """Predicted log-hazard up to a constant, ``(b,)``, higher = earlier event; None without a
    survival branch."""

    features: Tensor | None
    """Globally averaged deep features, ``(b, n_features)``: 124 hard-sharing features by encoder
    stage, then 112 of the cascaded survival network; None without a survival branch."""

    logits: Tensor | None = None
    """``(b, n_outputs)`` of a network with several outputs, whose risk is None."""


class DeepMTSNet(nn.Module):
    """DeepMTS with all the ablations of its paper.

    A U-shaped backbone segments the tumour; its five encoder stages give 124 *hard-sharing*
    features. A *cascaded survival network* (CSN) reads the images and the soft tumour map, through
    which gradients flow, and gives 112 more. Two fully connected layers of 64 units and the
    clinical values lead to one risk.

    =================  ===================================================  =================
    name in the paper  arguments                                            parameters (k=1)
    =================  ===================================================  =================
    DeepMTS            (defaults)                                           3,709,672
    Seg-Backbone       ``hard_sharing=False, cascade=False``                2,664,066
    Sur-HS             ``segmentation=False, cascade=False``                1,939,950
    Sur-CasNet         ``segmentation=False, hard_sharing=False``           1,025,610
    MT-HS              ``cascade=False``                                    2,683,416
    MT-HS baseline     ``cascade=False, head_convolutions=False``           2,680,068
    MT-CasNet          ``hard_sharing=False``                               3,690,324
    =================  ===================================================  =================

    Parameters
    ----------
    in_channels : int, default=2
        Image channels; PET, CT in that order in the published model.
    n_clinical : int, default=1
        Clinical variables; 0 for none.
    backbone : {"residual", "unet"}, default="residual"
        Residual blocks of 2, 2, 3, 3, 4 convolutions, or two plain convolutions per stage.
    segmentation : bool, default=True
        Has a decoder, hence a tumour map. Without one the CSN reads the images alone.
    hard_sharing : bool, default=True
        The encoder's features enter the survival head.
    cascade : bool, default=True
        The CSN's features enter the survival head.
    head_convolutions : bool, optional
        Reduce each encoder stage by conv 1x1x1, BN, ReLU to half its channels before averaging
        (124 features); otherwise average the stages themselves (248 features). Default: as in the
        paper, i.e. for the residual backbone only.
    dropout : float, default=0.5
        Dropout on the inputs of each fully connected layer. As in the published code this drops
        the clinical values too, when they enter the last layer.
    cascade_dropout : float, default=0.05
        Element-wise dropout in the CSN.
    map_gradient : bool, default=True
        Let gradients flow back from the CSN through the tumour map, as in the published code.
    n_outputs : int, optional
        Numbers of a case, for other losses than the paper's; None for the one log-hazard.
    generator : torch.Generator, optional
        CPU generator for the initial weights (He uniform for convolutions, Glorot uniform for
        fully connected layers, zero biases); torch's global generator if None.

    Raises
    ------
    ValueError
        Options that leave neither a segmentation nor a survival branch, or an unknown backbone.

    Notes
    -----
    *Any size.* The backbone pools four times, so its input is zero-padded at the end of each axis
    to the next multiple of 16; the tumour map is cropped back, and the encoder's maps are cropped
    to the ``ceil(d / 2**stage)`` voxels that hold image before the hard-sharing heads see them,
    so that padding enters neither the averages nor the heads' batch statistics. The CSN runs at
    the input's own size (at least 19 voxels, see `CascadedSurvivalNet`). Sizes that are multiples
    of 16, from 32 up, such as the paper's 128 x 128 x 112, are not padded anywhere.

    *Single-branch heads.* The first published commit feeds the ablations' heads with the last
    stage's features only, by mistake; here all features enter, and clinical values join before
    the last layer as in the full model (parameter counts above).

    *Precision.* Averages and the survival head run in float32 also under autocast: bfloat16 has
    too few digits for a Cox loss.

    *Memory.* Extrapolated from 48 voxels, training at 2 x 128 x 128 x 112 keeps about 1.7 GiB of
    activations per case in float32 (1.1 GiB with the U-Net backbone), 14 GiB for the published
    batch of 8.
    """

    def __init__(
        self,
        in_channels: int = 2,
        n_clinical: int = 1,
        *,
        backbone: Backbone = "residual",
        segmentation: bool = True,
        hard_sharing: bool = True,
        cascade: bool = True,
        head_convolutions: bool | None = None,
        dropout: float = 0.5,
        cascade_dropout: float = 0.05,
        map_gradient: bool = True,
        n_outputs: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not (segmentation or hard_sharing or cascade):
            raise ValueError(
                "Nothing to compute: at least one of segmentation, hard_sharing and cascade must "
                "be True."
            )
        if head_convolutions is None:
            head_convolutions = backbone == "residual"
        self.in_channels = in_channels
        self.n_clinical = n_clinical
        self.backbone = backbone
        self.map_gradient = map_gradient
        self.n_outputs = n_outputs
        self.encoder = Encoder(in_channels, backbone) if segmentation or hard_sharing else None
        self.decoder = Decoder(backbone) if segmentation else None
        self.heads = _hard_sharing_heads(head_convolutions) if hard_sharing else None
        self.cascade = (
            CascadedSurvivalNet(in_channels + int(segmentation), cascade_dropout)
            if cascade
            else None
        )
        self.dropout = nn.Dropout(dropout)
        self._head_widths = tuple(
            width // 2 if head_convolutions else width for width in ENCODER_WIDTHS
        )
        self.fc = nn.ModuleDict()
        if hard_sharing:
            self.fc["shared"] = linear(sum(self._head_widths), 64)
        if cascade:
            self.fc["cascade"] = linear(CascadedSurvivalNet.n_features, 64)
        n_hidden = 64 * len(self.fc) + n_clinical
        self.fc_risk = linear(n_hidden, n_outputs or 1) if self.fc else None
        initialise(self, generator)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the deep features, e.g. ``"encoder3_07"`` or ``"cascade1_00"``, in order."""
        widths = {}
        if self.heads is not None:
            widths["encoder"] = self._head_widths
        if self.cascade is not None:
            widths["cascade"] = self.cascade.widths
        return tuple(
            f"{part}{stage}_{k:02d}"
            for part, stages in widths.items()
            for stage, width in enumerate(stages, 1)
            for k in range(width)
        )

    def l2_penalty(self) -> Tensor:
        """Sum of squares of the kernels (not biases) of the fully connected layers, a scalar.

        The published loss adds 0.1 times this number, without a factor of one half.
        """
        penalty = next(self.parameters()).new_zeros(())
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                penalty = penalty + layer.weight.square().sum()
        return penalty

    def forward(self, volumes: Tensor, clinical: Tensor | None = None) -> DeepMTSOutput:
        """Segment the tumour and predict the risk.

        Parameters
        ----------
        volumes : Tensor of shape (b, in_channels, d0, d1, d2)
            Each axis at least 16 voxels.
        clinical : Tensor of shape (b, n_clinical), optional
            Required if ``n_clinical > 0``.

        Returns
        -------
        DeepMTSOutput
            ``segmentation (b, d0, d1, d2)``, ``risk (b,)``, ``features (b, n_features)``.

        Raises
        ------
        ValueError
            Another number of channels or clinical variables, or a volume that is too small.
        """
        check_images(volumes, self.in_channels, 3, MIN_SIZE)
        values = check_clinical(clinical, volumes, self.n_clinical)
        size = volumes.shape[2:]
        encoded = self._encode(volumes)
        segmentation = None
        if self.decoder is not None:
            segmentation = crop(self.decoder(encoded), size)
        if self.fc_risk is None:
            return DeepMTSOutput(segmentation, None, None)
        pooled: dict[str, Tensor] = {}
        if self.heads is not None:
            pooled["shared"] = _hard_sharing(self.heads, encoded, size)
        if self.cascade is not None:
            if segmentation is not None:
                tumour_map = segmentation if self.map_gradient else segmentation.detach()
                tumour_map = tumour_map.unsqueeze(1).to(volumes)
                volumes = torch.cat([volumes, tumour_map], dim=1)
            pooled["cascade"] = self.cascade(volumes)
        features = torch.cat(list(pooled.values()), dim=1)
        # Autocast would compute the risk with three significant digits.
        with torch.autocast(volumes.device.type, enabled=False):
            hidden = [functional.relu(self.fc[k](self.dropout(part))) for k, part in pooled.items()]
            hidden.append(values.to(features))
            outputs = self.fc_risk(self.dropout(torch.cat(hidden, dim=1)))
        if self.n_outputs is not None:
            return DeepMTSOutput(segmentation, None, features, outputs)
        return DeepMTSOutput(segmentation, outputs[:, 0], features)

    def _encode(self, volumes: Tensor) -> list[Tensor]:
        if self.encoder is None:
            return []
        padded = [-(-length // _GRID) * _GRID for length in volumes.shape[2:]]
        encoded: list[Tensor] = self.encoder(pad_end(volumes, padded))
        return encoded


def _hard_sharing_heads(head_convolutions: bool) -> nn.ModuleList:
    if not head_convolutions:
        return nn.ModuleList(nn.Identity() for _ in ENCODER_WIDTHS)
    return nn.ModuleList(conv_unit(width, width // 2, 1) for width in ENCODER_WIDTHS)


def _hard_sharing(heads: nn.ModuleList, encoded: list[Tensor], size: torch.Size) -> Tensor:
    """Average each stage over the voxels that hold image, not over the padding."""
    averages = []
    for stage, (head, stage_map) in enumerate(zip(heads, encoded, strict=True)):
        holds_image = [-(-length // 2**stage) for length in size]
        averages.append(global_average(head(crop(stage_map, holds_image))))
    return torch.cat(averages, dim=1)
