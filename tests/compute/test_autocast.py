"""bfloat16 on processors: no convolution returns what lay in memory."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from survimg.compute.autocast import bfloat16_autocast
from survimg.compute.devices import has_bfloat16

CPU = torch.device("cpu")
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
LAYOUTS = (torch.contiguous_format, torch.channels_last_3d)
NATIVE = has_bfloat16(CPU)


def poison_freed_memory() -> None:
    """Leave NaN in blocks of many sizes that the next allocations may get."""
    blocks = [torch.full((n,), float("nan")) for n in (300, 1000, 10_000, 100_000, 400_000)]
    del blocks


def relative_error(value, exact):
    return float((value.detach().double() - exact.detach()).norm() / exact.detach().norm())


def thin_shapes():
    """Kernels and maps that are shorter than the kernel along one axis, or along all."""
    for kernel, padding in ((2, 1), (3, 1), (4, 2), (5, 2)):
        for length in range(1, kernel):
            for axis in range(3):
                shape = [kernel + 2] * 3
                shape[axis] = length
                yield kernel, padding, 1, tuple(shape)
            yield kernel, padding, 1, (length,) * 3
            yield kernel, padding, 2, (length,) * 3


def thin_transposed():
    """Transposed convolutions whose result is shorter than the kernel along some axis."""
    for padding, stride, shape in (
        (1, 1, (2, 2, 2)), (1, 1, (2, 4, 4)), (1, 2, (1, 1, 1)), (1, 2, (4, 1, 4)),
        (1, 2, (4, 4, 1)), (2, 1, (4, 5, 6)),
    ):  # fmt: skip
        yield 3, padding, stride, shape


@pytest.mark.parametrize(
    ("kind", "kernel", "padding", "stride", "shape"),
    [(nn.Conv3d, *options) for options in thin_shapes()]
    + [(nn.ConvTranspose3d, *options) for options in thin_transposed()],
)
def test_gradients_of_thin_maps_are_those_of_float64(kind, kernel, padding, stride, shape):
    torch.manual_seed(0)
    for layout, batch in itertools.product(LAYOUTS, (1, 3)):
        layer = kind(8, 16, kernel, padding=padding, stride=stride)
        exact = kind(8, 16, kernel, padding=padding, stride=stride).double()
        exact.load_state_dict(layer.state_dict())
        image = torch.randn(batch, 8, *shape).contiguous(memory_format=layout).requires_grad_()
        image64 = image.detach().double().requires_grad_()
        poison_freed_memory()
        with bfloat16_autocast(CPU, True):
            result = layer(image)
        assert result.dtype == torch.bfloat16
        gradient = torch.randn_like(result)
        exact_result = exact(image64)
        poison_freed_memory()
        result.backward(gradient)
        exact_result.backward(gradient.double())
        assert relative_error(result, exact_result) < 0.02
        assert relative_error(image.grad, image64.grad) < 0.02
        assert relative_error(layer.weight.grad, exact.weight.grad) < 0.02


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_dilated_kernels_count_with_their_holes(n_axes):
    layer = CONVOLUTIONS[n_axes](2, 4, 3, padding=2, dilation=2, bias=False)
    image = torch.randn(2, 2, *[4] * n_axes)  # the kernel reaches over five
    with bfloat16_autocast(CPU, True):
        result = layer(image)
    assert torch.equal(result, layer(image).to(torch.bfloat16))


def test_arguments_may_be_named_and_strided_or_padded_by_word():
    image, weight = torch.randn(1, 2, 2, 2, 2), torch.randn(3, 2, 3, 3, 3)
    with bfloat16_autocast(CPU, True):
        result = nn.functional.conv3d(input=image, weight=weight, padding="same")
    expected = nn.functional.conv3d(image, weight, padding="same")
    assert torch.equal(result, expected.to(torch.bfloat16))


def test_layers_that_leave_autocast_stay_in_float32():
    image, layer = torch.randn(1, 2, 2, 2, 2), nn.Conv3d(2, 3, 3, padding=1)
    with bfloat16_autocast(CPU, True), torch.autocast("cpu", enabled=False):
        assert layer(image).dtype == torch.float32


@pytest.mark.skipif(not NATIVE, reason="this processor only emulates bfloat16")
def test_other_maps_are_convolved_in_bfloat16_itself():
    image, layer = torch.randn(2, 8, 4, 4, 4), nn.Conv3d(8, 8, 3, padding=1)
    with bfloat16_autocast(CPU, True):
        result = layer(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(result, layer(image))


def test_nothing_changes_where_it_is_not_asked_for():
    image, layer = torch.randn(1, 2, 2, 2, 2), nn.Conv3d(2, 3, 3, padding=1)
    with bfloat16_autocast(CPU, False):
        assert torch.equal(layer(image), layer(image))
        assert layer(image).dtype == torch.float32
