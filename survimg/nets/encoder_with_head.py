"""Any network that makes features of a volume, with a layer that makes survival of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from survimg.nets.layers import check_clinical, initialise, linear
from survimg.nets.outputs import LogitsOutput, RiskOutput, output_of
from survimg.nets.probing import count_features, takes_channels_last

__all__ = [
    "ClinicalPath",
    "EncoderWithHead",
    "Pool",
    "PooledEncoder",
    "pooled",
]

Pool = Literal["mean", "mean-sd"]
ClinicalPath = Literal["joined", "undropped", "offset"]


class EncoderWithHead(nn.Module):
    """Features of an image and clinical values through one fully connected layer.

    Parameters
    ----------
    encoder : torch.nn.Module
        From volumes (b, channels, z, y, x) to features, a map, tokens, or a list of these; see
        `pooled`.
    shape : sequence of int
        Shape of a case that it takes, to find out how many features it gives: channels, then voxels
        along each axis.
    n_clinical : int
        Clinical values of a case.
    n_outputs : int or None
        None for one number per case (`RiskOutput`); k for k of them (`LogitsOutput`).
    pool : {"mean", "mean-sd"}, default="mean"
        What is taken of a map over its voxels: the mean of each channel, or also the standard
        deviation.
    clinical_path : {"joined", "undropped", "offset"}, default="joined"
        Clinical values enter the layer with the features; or behind the dropout, which then drops
        features only; or, with one clinical value, that is added to the output as it is.
    dropout : float, default=0.0
        Dropout on the inputs of the layer.
    generator : torch.Generator, optional
        CPU generator for the weights of the layer; torch's global generator if None.

    Raises
    ------
    ValueError
        The encoder cannot take such a case, or returns something else.
    """

    def __init__(
        self,
        encoder: nn.Module,
        shape: Any,
        n_clinical: int,
        n_outputs: int | None,
        *,
        pool: Pool = "mean",
        clinical_path: ClinicalPath = "joined",
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.n_clinical = n_clinical
        self.n_outputs = n_outputs
        self.pool = pool
        self.clinical_path = clinical_path
        self.n_features = count_features(encoder, shape, partial(pooled, pool=pool))
        #: Whether the training engine may give it volumes in that memory layout.
        self.channels_last = takes_channels_last(encoder, shape)
        joined = 0 if clinical_path == "offset" else n_clinical
        self.dropout = nn.Dropout(dropout)
        self.head = linear(self.n_features + joined, n_outputs or 1)
        initialise(self.head, generator)

    def forward(self, volumes: Tensor, clinical: Tensor | None = None) -> RiskOutput | LogitsOutput:
        """Predict.

        Parameters
        ----------
        volumes : Tensor of shape (b, channels, z, y, x)
        clinical : Tensor of shape (b, n_clinical), optional
            Required if ``n_clinical > 0``.
        """
        table = check_clinical(clinical, volumes, self.n_clinical)
        features = pooled(self.encoder(volumes), self.pool)
        if len(features) != len(volumes):
            raise ValueError(
                f"{type(self.encoder).__name__} returns features of {len(features)} case(s) for a "
                f"batch of {len(volumes)}. Return one row for each volume, in their order."
            )
        with torch.autocast(volumes.device.type, enabled=False):
            features, table = features.float(), table.float()
            if self.clinical_path == "joined":
                outputs = self.head(self.dropout(torch.cat([features, table], dim=1)))
            elif self.clinical_path == "undropped":
                outputs = self.head(torch.cat([self.dropout(features), table], dim=1))
            else:
                outputs = self.head(self.dropout(features)) + table.sum(dim=1, keepdim=True)
            return output_of(outputs, features, self.n_outputs)

    def l2_penalty(self) -> Tensor:
        """Sum of squares of the kernel of the last layer."""
        return self.head.weight.square().sum()


class PooledEncoder(nn.Module):
    """An encoder whose maps or tokens are averaged.

    Parameters
    ----------
    encoder : torch.nn.Module
        As in `EncoderWithHead`.
    shape : sequence of int
        Shape of a case that it takes: channels, then voxels along each axis.

    Raises
    ------
    ValueError
        The encoder cannot take such a case, or returns something else.
    """

    def __init__(self, encoder: nn.Module, shape: Any) -> None:
        super().__init__()
        self.n_features = count_features(encoder, shape, pooled)
        self.channels_last = takes_channels_last(encoder, shape)
        self.encoder = encoder

    def forward(self, volumes: Tensor) -> Tensor:
        """Return features, (b, n_features)."""
        return pooled(self.encoder(volumes))


def pooled(output: Any, pool: Pool = "mean") -> Tensor:
    """Return the features in what an encoder gives, (b, n), at least float32.

    Parameters
    ----------
    output : Tensor of shape (b, n), (b, tokens, n) or (b, n, ...), or list or tuple
        Features (b, n); tokens (b, tokens, n), as transformers give; a map (b, n, ...) with two or
        three spatial axes. Of a list or tuple it is the last item.
    pool : {"mean", "mean-sd"}, default="mean"
        What is taken over tokens or voxels.

    Raises
    ------
    ValueError
        Anything else.
    """
    while isinstance(output, (list, tuple)) and len(output):
        output = output[-1]
    if not (isinstance(output, Tensor) and 2 <= output.ndim <= 5 and output.is_floating_point()):
        description = type(output).__name__
        if isinstance(output, Tensor):
            description = f"a tensor of shape {tuple(output.shape)} and {output.dtype}"
        elif isinstance(output, Mapping):
            description = f"a {description} with {list(output)}"
        raise ValueError(
            "The network must return features (b, n), a map (b, n, z, y, x), tokens (b, tokens, n) "
            f"or a list of these, of which the last is taken; it returns {description}. Wrap it in "
            "a module whose forward returns the right one, as floating-point numbers."
        )
    features = output.to(torch.promote_types(output.dtype, torch.float32))
    if features.ndim == 2:
        return features
    if features.ndim == 3:
        features = features.transpose(1, 2)
    voxels = features.flatten(2)
    mean = voxels.mean(dim=2)
    if pool == "mean":
        return mean
    # The root of a variance of 0 has no gradient.
    spread = (voxels.var(dim=2, correction=0) + 1e-12).sqrt()
    return torch.cat([mean, spread], dim=1)
