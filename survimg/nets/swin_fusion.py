"""Fusion of tumour, peritumoral shell, radiomic features and clinical variables.

References
----------
Tang et al. 2025, arXiv 2508.20469 (v2: Tong N. et al., Prediction of distant metastasis in head and
neck cancer patients using tumor and peritumoral multi-modal deep learning).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from survimg.nets.layers import check_clinical, check_images, initialise, linear
from survimg.nets.outputs import LogitsOutput, RiskOutput, output_of
from survimg.nets.swin_transformer import SwinTransformer3D

__all__ = ["SwinFusionNet"]


class SwinFusionNet(nn.Module):
    """One encoder per region; their features and a table through two layers to the outputs.

    Parameters
    ----------
    in_channels : int
        Image channels of one region.
    regions : sequence of str
        Names of the regions, each with an encoder of its own; empty for a table alone.
    n_table : int
        Radiomic features and clinical variables together, standardised; 0 for none.
    n_outputs : int, optional
        None for one number per case (`RiskOutput`); k for k of them (`LogitsOutput`).
    image_features : int, default=128
        Features of each region.
    hidden : int, default=128
        Units of the fusing layer.
    dropout : float, default=0.0
        Dropout on the inputs of both fully connected layers.
    encoders : mapping of str to torch.nn.Module, optional
        Another encoder for each region, from its image to features (b, n), with ``n_features``;
        None builds Swin Transformers.
    patch_size, window_size, embed_dim, depths, heads, mlp_ratio, drop_path
        Of the encoders: see `survimg.nets.swin_transformer.SwinTransformer3D`.
    generator : torch.Generator, optional
        CPU generator for the initial weights; torch's global generator if None.

    Notes
    -----
    The paper gives the inputs, the 3D Swin Transformer and the fully connected fusion by
    concatenation; sizes, dropout and one encoder per region are chosen here.
    """

    def __init__(
        self,
        in_channels: int,
        regions: Sequence[str],
        n_table: int,
        n_outputs: int | None = None,
        *,
        image_features: int = 128,
        hidden: int = 128,
        dropout: float = 0.0,
        encoders: Mapping[str, nn.Module] | None = None,
        patch_size: int = 4,
        window_size: int = 4,
        embed_dim: int = 48,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.regions = tuple(regions)
        self.n_table = n_table
        self.n_features = image_features * len(self.regions) + n_table
        if self.n_features == 0:
            raise ValueError("The network has no input: give a region or a table.")
        self.projections = nn.ModuleDict()
        if encoders is None:
            encoders = {
                name: SwinTransformer3D(
                    in_channels,
                    patch_size=patch_size,
                    window_size=window_size,
                    embed_dim=embed_dim,
                    depths=depths,
                    heads=heads,
                    mlp_ratio=mlp_ratio,
                    drop_path=drop_path,
                    generator=generator,
                )
                for name in self.regions
            }
        for name in self.regions:
            self.projections[name] = linear(encoders[name].n_features, image_features)  # type: ignore[arg-type]
        self.dropout = nn.Dropout(dropout)
        self.fc = linear(self.n_features, hidden)
        self.n_outputs = n_outputs
        self.output = linear(hidden, n_outputs or 1)
        initialise(self, generator)
        # After `initialise`, which would draw the encoders' weights a second time.
        self.encoders = nn.ModuleDict(encoders)
        #: Whether the training engine may give it volumes in that memory layout.
        self.channels_last = all(getattr(e, "channels_last", True) for e in self.encoders.values())

    def forward(self, volumes: Tensor, clinical: Tensor | None = None) -> RiskOutput | LogitsOutput:
        """Predict the log-odds or log-hazard, or the logits of several classes.

        Parameters
        ----------
        volumes : Tensor of shape (b, in_channels * n_regions, d0, d1, d2)
            Each region's image, zero outside it, in the order of `regions`; ignored without any.
            A region that is zero throughout is absent, and so are its features (zeros).
        clinical : Tensor of shape (b, n_table), optional
            The table; required if ``n_table > 0``.
        """
        table = check_clinical(clinical, volumes, self.n_table)
        parts = []
        if self.regions:
            check_images(volumes, self.in_channels * len(self.regions), 3, 1)
            parts = [
                self._region_features(name, image)
                for name, image in zip(
                    self.regions, volumes.split(self.in_channels, dim=1), strict=True
                )
            ]
        with torch.autocast(volumes.device.type, enabled=False):
            features = torch.cat([*(part.float() for part in parts), table.float()], dim=1)
            hidden = functional.relu(self.fc(self.dropout(features)))
            outputs = self.output(self.dropout(hidden))
        return output_of(outputs, features, self.n_outputs)

    def _region_features(self, name: str, image: Tensor) -> Tensor:
        features = functional.relu(self.projections[name](self.encoders[name](image)))
        present = (image != 0).flatten(1).any(dim=1, keepdim=True)
        return features * present.to(features.dtype)
