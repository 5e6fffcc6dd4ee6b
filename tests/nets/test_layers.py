"""Layers of our own against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from survimg.nets.layers import PointwiseConv3d, conv3d


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("bias", [True, False])
def test_a_pointwise_convolution_is_torchs_in_value_gradient_and_layout(layout, bias):
    generator = torch.Generator().manual_seed(0)
    layer = conv3d(5, 7, 1, bias=bias).double()
    assert isinstance(layer, PointwiseConv3d)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, generator=generator)
    image = torch.randn(2, 5, 3, 4, 6, dtype=torch.double, generator=generator)
    image = image.to(memory_format=layout).requires_grad_()
    ours = layer(image)
    theirs = functional.conv3d(image, layer.weight, layer.bias)
    torch.testing.assert_close(ours, theirs)
    inputs = [image, *layer.parameters()]
    for first, second in zip(
        torch.autograd.grad(ours.square().sum(), inputs),
        torch.autograd.grad(theirs.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(first, second)
    if layout == torch.channels_last_3d:  # else the next layer would copy it
        assert ours.is_contiguous(memory_format=torch.channels_last_3d)


def test_other_convolutions_stay_torchs():
    assert type(conv3d(2, 3, 3, padding=1)) is nn.Conv3d
    assert type(conv3d(2, 3, 1, stride=2)) is nn.Conv3d
