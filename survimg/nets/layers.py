"""Layer conventions shared by the networks: Keras constants, initialisation, padding, pooling.

The published DeepMTS and DLPM networks were written in Keras, whose defaults differ from torch's
where it matters: batch normalisation uses epsilon 1e-3 and keeps 99 % of its running statistics,
convolutions start with zero bias. These are set here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils import skip_init

from survimg.nets.narrow import NarrowConv3d, is_narrow
from survimg.nets.normalise import BatchNorm3d
from survimg.nets.pointwise import PointwiseConv3d
from survimg.nets.upsampling import DoubledNearest, convolve_joined

__all__ = [
    "BATCH_NORM_EPS",
    "BATCH_NORM_MOMENTUM",
    "ConvUnit",
    "batch_norm",
    "check_clinical",
    "check_images",
    "conv2d",
    "conv3d",
    "conv_unit",
    "crop",
    "global_average",
    "initialise",
    "linear",
    "max_pool",
    "pad_end",
]

BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.01
"""torch's momentum is the weight of the new batch, Keras' (0.99) that of the running value."""


def conv3d(
    n_in: int,
    n_out: int,
    kernel: int | tuple[int, int, int],
    *,
    stride: int | tuple[int, int, int] = 1,
    padding: int = 0,
    bias: bool = True,
) -> nn.Conv3d:
    """3D convolution with uninitialised weights; `initialise` fills them.

    `padding` is the number of zeros on either side: 0 is Keras' "valid", and half the kernel is
    "same" for stride 1.
    """
    kind = PointwiseConv3d if (kernel, stride, padding) == (1, 1, 0) else nn.Conv3d
    # skip_init: the stock constructor would draw weights from the global generator.
    layer = skip_init(kind, n_in, n_out, kernel, stride=stride, padding=padding, bias=bias)
    if is_narrow(layer):
        layer.__class__ = NarrowConv3d
    return layer


def conv2d(n_in: int, n_out: int, kernel: int, *, padding: int = 0) -> nn.Conv2d:
    """2D convolution with uninitialised weights; see `conv3d`."""
    return skip_init(nn.Conv2d, n_in, n_out, kernel, padding=padding)


def linear(n_in: int, n_out: int) -> nn.Linear:
    """Fully connected layer with uninitialised weights; `initialise` fills them."""
    return skip_init(nn.Linear, n_in, n_out)


def batch_norm(n_channels: int, *, rectify: bool = False) -> BatchNorm3d:
    """3D batch normalisation with Keras' constants (epsilon 1e-3, momentum 0.99), maybe a ReLU."""
    return BatchNorm3d(
        n_channels, rectify=rectify, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM
    )


class ConvUnit(nn.Sequential):
    """A "same" convolution with stride 1, batch normalisation and ReLU."""

    def __init__(self, convolution: nn.Conv3d, norm: BatchNorm3d) -> None:
        super().__init__(convolution, norm)

    def forward(
        self, features: Tensor, added: Tensor | None = None, coarse: Tensor | None = None
    ) -> Tensor:
        """Compute the unit.

        Parameters
        ----------
        features : Tensor of shape (b, n_in, ...)
            With `coarse`, the last of the n_in channels.
        added : Tensor of shape (b, n_out, ...), optional
            Added to the result.
        coarse : Tensor of shape (b, n, ...), optional
            The first of the n_in channels, before they are upsampled by 2.
        """
        convolution = cast(nn.Conv3d, self[0])
        norm = cast(BatchNorm3d, self[1])
        if coarse is not None and convolution._forward_hooks:  # which want to see its output
            features = torch.cat([DoubledNearest.apply(coarse), features], dim=1)
            coarse = None
        bias = convolution.bias
        constant = bias.detach() if bias is not None and norm.training else None
        if coarse is not None:
            plain = bias if constant is None else constant
            result = convolve_joined(convolution, coarse, features, plain)
        elif constant is not None:
            result = functional_call(convolution, {"bias": constant}, (features,))
        else:
            result = convolution(features)
        if constant is not None:
            result = _Cancelled.apply(result, bias)
        normalised: Tensor = norm(result, added)
        return normalised


class _Cancelled(torch.autograd.Function):
    """A bias that `features` contain and normalisation takes out again: its gradient is zero.

    Its sums over the whole map would give rounding errors alone.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(bias)
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor]:
        (bias,) = ctx.saved_tensors
        return gradients[0], torch.zeros_like(bias)


def conv_unit(n_in: int, n_out: int, kernel: int) -> ConvUnit:
    """Build a "same" convolution with stride 1, batch normalisation and ReLU."""
    convolution = conv3d(n_in, n_out, kernel, padding=kernel // 2)
    return ConvUnit(convolution, batch_norm(n_out, rectify=True))


def initialise(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw the initial weights of every convolution and fully connected layer.

    Convolutions: He uniform, bound ``sqrt(6 / fan_in)``. Fully connected layers: Glorot uniform.
    Biases: zero. Batch normalisation: scale 1, shift 0, running mean 0, running variance 1.

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place, in the order of ``module.modules()``.
    generator : torch.Generator, optional
        CPU generator to draw from. Without one torch's global generator is used.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        else:
            if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
                layer.reset_parameters()
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def pad_end(volumes: Tensor, size: Sequence[int]) -> Tensor:
    """Zero-pad the last axes up to `size`, at their ends only; never crops.

    Padding at the end keeps every voxel at its index, so that results are cropped back by
    `crop(result, original_size)`. Zero is the mean of a z-scored image, and what "same"
    convolutions assume outside the volume anyway. A volume that is already large enough is
    returned as it is.
    """
    present = volumes.shape[-len(size) :]
    missing = [max(0, target - length) for target, length in zip(size, present, strict=True)]
    if not any(missing):
        return volumes
    widths = [width for amount in reversed(missing) for width in (0, amount)]
    return functional.pad(volumes, widths)


def crop(volumes: Tensor, size: Sequence[int]) -> Tensor:
    """Keep the first ``size[k]`` voxels of each of the three last axes (a view)."""
    return volumes[..., : size[0], : size[1], : size[2]]


def max_pool(features: Tensor, size: int, stride: int | None = None) -> Tensor:
    """Pool in the type that the map has: autocast would turn it, and all behind it, to float32."""
    with torch.autocast(features.device.type, enabled=False):
        return functional.max_pool3d(features, size, stride)


def global_average(features: Tensor) -> Tensor:
    """Mean over the spatial axes, ``(b, c, ...) -> (b, c)``, at least float32 under autocast."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    # Voxels in a row, so that the gradient has their layout and is not copied into it.
    return features.movedim(1, -1).flatten(1, -2).mean(dim=1, dtype=dtype)


def check_images(images: Tensor, n_channels: int, n_spatial: int, minimum: int) -> None:
    """Refuse input whose axes, channels or size a network cannot take.

    Raises
    ------
    ValueError
        Not ``(b, n_channels, ...)`` with `n_spatial` spatial axes of at least `minimum` voxels.
    """
    if images.ndim != 2 + n_spatial or images.shape[1] != n_channels:
        axes = ", ".join(f"d{k}" for k in range(n_spatial))
        raise ValueError(
            f"The network takes images of shape (b, {n_channels}, {axes}); got "
            f"{tuple(images.shape)}. Build it with in_channels equal to the number of channels."
        )
    if min(images.shape[2:]) < minimum:
        last = images.shape[-1] < minimum <= min(images.shape[1:-1])
        hint = " If the last axis counts channels: np.moveaxis(volumes, -1, 1)." if last else ""
        raise ValueError(
            f"Every spatial axis needs at least {minimum} voxels; got {tuple(images.shape[2:])}. "
            f"Crop less tightly or resample to a finer grid.{hint}"
        )


def check_clinical(clinical: Tensor | None, images: Tensor, n_clinical: int) -> Tensor:
    """Return the clinical values of the cases in `images`, ``(b, n_clinical)``, also for none.

    Raises
    ------
    ValueError
        Another shape, or none given although the network takes clinical variables.
    """
    expected = (len(images), n_clinical)
    if clinical is None and n_clinical == 0:
        return images.new_zeros(expected)
    if clinical is None or clinical.shape != expected:
        shape = "none" if clinical is None else str(tuple(clinical.shape))
        raise ValueError(
            f"The network was built with n_clinical={n_clinical} and got {len(images)} image(s), "
            f"so clinical values must have shape {expected}; got {shape}."
        )
    return clinical
