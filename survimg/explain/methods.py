"""Three ways from a score to a map: integrated gradients, occlusion, Grad-CAM.

The computations are Captum's (Kokhlikyan et al., arXiv:2009.07896).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor

from survimg.explain.layers import last_resolved_convolution, named_layer
from survimg.explain.score import ExplainedScore

__all__ = ["GradCAM", "IntegratedGradients", "Occlusion", "SaliencyMethod"]


class SaliencyMethod(Protocol):
    """Computes the map of the selected patient of a score."""

    @property
    def by_channel(self) -> bool:
        """Whether channels have maps of their own."""
        ...

    def attribute(
        self, score: ExplainedScore, inputs: Tensor, batch_size: int, separate: bool
    ) -> Tensor:
        """Map of one case.

        Parameters
        ----------
        score : ExplainedScore
        inputs : Tensor of shape (1, inputs, z, y, x) or (1, inputs, y, x)
        batch_size : int
            Versions of the case that pass through the network at once.
        separate : bool
            One map per input; otherwise maps that the caller adds up, or a single one.

        Returns
        -------
        Tensor of shape (inputs or 1, z, y, x) or (inputs or 1, y, x)
        """
        ...


@dataclass(frozen=True)
class IntegratedGradients:
    """Gradient times input, averaged along the straight path from a baseline image.

    Parameters
    ----------
    n_steps : int, default=50
        Points of the Gauss-Legendre rule.
    baseline : array-like broadcast to (channels, z, y, x), default=0
        Image that stands for "nothing to see"; 0 is the mean of a z-scored volume.

    Notes
    -----
    *Completeness*: the map sums to the score less the score of the baseline, up to the error of
    the rule, which `survimg.explain.integrated_gradients` returns.

    References
    ----------
    Sundararajan M, Taly A, Yan Q. Axiomatic attribution for deep networks. ICML 2017, equation 1.
    """

    n_steps: int = 50
    baseline: npt.ArrayLike = 0.0

    by_channel = True

    def attribute(
        self,
        score: ExplainedScore,
        inputs: Tensor,
        batch_size: int,
        separate: bool,  # noqa: ARG002
    ) -> Tensor:
        """See `SaliencyMethod`."""
        if self.n_steps < 1:
            raise ValueError(f"n_steps must be at least 1; got {self.n_steps}.")
        attributions: Tensor = (
            _captum()
            .IntegratedGradients(score)
            .attribute(
                inputs,
                baselines=score.baseline(self.baseline),
                n_steps=self.n_steps,
                internal_batch_size=batch_size,
            )
        )
        return attributions[0]


@dataclass(frozen=True)
class Occlusion:
    """How much the score falls when a cube of the image is replaced; no gradient is needed.

    Each voxel gets the mean over the cubes that hold it.

    Parameters
    ----------
    window : int, default=8
        Edge of the cube in voxels (of the square, for a network that sees one slice).
    stride : int, optional
        Distance between cubes; by default half of `window`.
    baseline : array-like broadcast to (channels, z, y, x), default=0
        What the cube is replaced by.

    References
    ----------
    Zeiler MD, Fergus R. Visualizing and understanding convolutional networks. ECCV 2014.
    """

    window: int = 8
    stride: int | None = None
    baseline: npt.ArrayLike = 0.0

    by_channel = True

    def attribute(
        self, score: ExplainedScore, inputs: Tensor, batch_size: int, separate: bool
    ) -> Tensor:
        """See `SaliencyMethod`."""
        stride = max(1, self.window // 2) if self.stride is None else self.stride
        if not 1 <= stride <= self.window:
            raise ValueError(
                "window and stride must be at least 1, and stride at most window; got "
                f"window={self.window}, stride={stride}."
            )
        n_inputs, *size = inputs.shape[1:]
        window = [min(self.window, length) for length in size]
        deep = 1 if separate else n_inputs
        with torch.no_grad():
            attributions: Tensor = (
                _captum()
                .Occlusion(score)
                .attribute(
                    inputs.detach(),
                    sliding_window_shapes=(deep, *window),
                    strides=(deep, *(min(stride, length) for length in window)),
                    baselines=score.baseline(self.baseline),
                    perturbations_per_eval=batch_size,
                )
            )
        return attributions[0] if separate else attributions[0, :1]


@dataclass(frozen=True)
class GradCAM:
    """Feature maps of one layer, weighted by their mean gradient; only what raises the score.

    Parameters
    ----------
    layer : str, optional
        Name of the layer in ``net_.module_.named_modules()``. By default the last convolution that
        the score depends on with a map of at least 4 voxels along every axis.

    Notes
    -----
    A map has the coarseness of its layer, and is stretched to the volume as if the layer covered
    it evenly; layers without padding, or with padding at the end, are off by part of their voxel.
    A network with several paths to the risk is seen through one layer only: for DeepMTS the
    cascaded network, not the encoder's features. Values have no unit.

    References
    ----------
    Selvaraju RR, Cogswell M, Das A, et al. Grad-CAM: visual explanations from deep networks via
    gradient-based localization. ICCV 2017, equations 1 and 2.
    """

    layer: str | None = None

    by_channel = False

    def attribute(
        self,
        score: ExplainedScore,
        inputs: Tensor,
        batch_size: int,  # noqa: ARG002
        separate: bool,  # noqa: ARG002
    ) -> Tensor:
        """See `SaliencyMethod`."""
        captum = _captum()
        size = tuple(inputs.shape[2:])
        maps = []
        for network in score.networks:
            if self.layer is None:
                layer = last_resolved_convolution(network, score, inputs)
            else:
                layer = named_layer(network, self.layer)
            coarse = captum.LayerGradCam(score, layer).attribute(inputs, relu_attributions=True)
            if coarse.ndim != inputs.ndim:
                raise ValueError(
                    f"Layer {self.layer!r} gives no map over the volume (its output has "
                    f"{coarse.ndim} axes); name a convolution."
                )
            mode = "trilinear" if len(size) == 3 else "bilinear"
            maps.append(captum.LayerAttribution.interpolate(coarse, size, mode)[0])
        # The score is a mean over the networks, so that each map holds its share already.
        return torch.stack(maps).sum(dim=0)


def _captum() -> Any:
    try:
        import captum.attr
    except ModuleNotFoundError as error:
        raise ImportError(
            "Saliency maps are computed by Captum, which is not installed; "
            "pip install captum."
        ) from error
    return captum.attr
