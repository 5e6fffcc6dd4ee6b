"""Convolutions 1x1x1 against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from survimg.nets.layers import conv3d
from survimg.nets.pointwise import PointwiseConv3d, _Product, multiply

LAST = torch.channels_last_3d


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
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
    if layout == LAST:  # else the next layer would copy it
        assert ours.is_contiguous(memory_format=LAST)


@pytest.fixture
def calls(monkeypatch):
    """How many voxels made a row, of each product with several."""
    seen = []
    forward = _Product.forward

    def spy(ctx, voxels, weight, bias, together):
        seen.append(together)
        return forward(ctx, voxels, weight, bias, together)

    monkeypatch.setattr(_Product, "forward", staticmethod(spy))
    return seen


def _inputs(n_in, n_out, shape=(16, 32, 32), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, n_in, *shape, generator=generator).to(dtype, memory_format=LAST)
    weight = torch.randn(n_out, n_in, generator=generator).to(dtype)
    bias = torch.randn(n_out, generator=generator).to(dtype)
    return [tensor.requires_grad_() for tensor in (features, weight, bias)]


def _against_float64(n_in, n_out, dtype, tolerance, bias=True):
    inputs = _inputs(n_in, n_out, dtype=dtype)[: 3 if bias else 2]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    ours = multiply(*inputs) if bias else multiply(*inputs, None)
    theirs = functional.linear(exact[0].movedim(1, -1).flatten(0, -2), *exact[1:])
    factor = torch.rand(ours.shape, generator=torch.Generator().manual_seed(1))
    pairs = [(ours, theirs)]
    pairs += zip(
        torch.autograd.grad(ours, inputs, factor.to(dtype)),
        torch.autograd.grad(theirs, exact, factor.to(dtype).double()),
        strict=True,
    )
    for first, second in pairs:
        assert first.dtype == dtype
        error = (first.double() - second).abs().max() / second.abs().max()
        assert error < tolerance


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("n_in", "n_out", "together"),
    [(8, 8, 2), (8, 4, 2), (8, 16, 2), (2, 8, 8), (3, 8, 4), (4, 3, 4), (6, 1, 2), (1, 8, 8)],
)
def test_values_and_gradients_are_those_of_float64(n_in, n_out, together, bias, calls):
    _against_float64(n_in, n_out, torch.float32, 1e-5, bias)
    assert calls == [together]


@pytest.mark.parametrize("n_in", [9, 16, 24])
def test_wider_maps_are_torchs(n_in, calls):
    _against_float64(n_in, 8, torch.float32, 1e-5)
    assert not calls


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_of_few_channels_is_torchs_convolution(bias, calls):
    layer = conv3d(8, 8, 1, bias=bias)
    image, *parameters = _inputs(8, 8)
    with torch.no_grad():
        layer.weight.copy_(parameters[0].view_as(layer.weight))
        if bias:
            layer.bias.copy_(parameters[1])
    inputs = [image, *layer.parameters()]
    ours, theirs = layer(image), functional.conv3d(image, layer.weight, layer.bias)
    assert calls == [2]
    assert ours.is_contiguous(memory_format=LAST)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    factor = torch.rand(ours.shape, generator=torch.Generator().manual_seed(1))
    for first, second in zip(
        torch.autograd.grad(ours, inputs, factor),
        torch.autograd.grad(theirs, inputs, factor),
        strict=True,
    ):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-2)


def test_a_batch_of_nobody_passes():
    layer = conv3d(8, 4, 1)
    assert layer(torch.empty(0, 8, 3, 4, 5)).shape == (0, 4, 3, 4, 5)


@pytest.mark.parametrize("n_in", [8, 2])
def test_bfloat16_rounds_what_float64_computes(n_in, calls):
    _against_float64(n_in, 8, torch.bfloat16, 1e-2)
    assert calls


def test_voxels_that_make_no_whole_rows_are_torchs(calls):
    features, weight, bias = _inputs(8, 8, shape=(15, 17, 19))
    features = features[:1]
    expected = functional.linear(features.movedim(1, -1).flatten(0, -2), weight, bias)
    assert torch.equal(multiply(features, weight, bias), expected)
    assert not calls


def test_channels_of_a_wider_map_are_taken_out(calls):
    wide, weight, bias = _inputs(24, 8)
    part = wide[:, 16:]
    expected = functional.linear(part.movedim(1, -1).flatten(0, -2), weight[:, 16:], bias)
    torch.testing.assert_close(multiply(part, weight[:, 16:], bias), expected)
    assert calls == [2]


def test_autocast_lowers_them_as_it_does_a_matrix_product(calls):
    inputs = _inputs(8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        ours = multiply(*inputs)
        theirs = functional.linear(inputs[0].movedim(1, -1).flatten(0, -2), *inputs[1:])
    assert calls
    assert ours.dtype == theirs.dtype == torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)
    for first, second in zip(
        torch.autograd.grad(ours.float().mean(), inputs),
        torch.autograd.grad(theirs.float().mean(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(first, second, rtol=2e-2, atol=1e-5)


def test_only_what_needs_a_gradient_is_computed(monkeypatch, calls):
    features, weight, _ = _inputs(8, 8)
    result = multiply(features.detach(), weight, None).square().sum()
    products = []
    product = torch.mm
    monkeypatch.setattr(torch, "mm", lambda *args, **rest: products.append(1) or product(*args))
    result.backward()
    assert len(products) == 1
    assert weight.grad is not None
    assert calls


def test_the_gradient_has_a_gradient(calls):
    features, weight, bias = _inputs(8, 8)
    voxels = features.movedim(1, -1).flatten(0, -2)
    seconds = []
    for result in (multiply(features, weight, bias), functional.linear(voxels, weight, bias)):
        first = torch.autograd.grad(
            result.pow(3).mean(), (features, weight, bias), create_graph=True
        )
        seconds.append(torch.autograd.grad(sum(g.square().sum() for g in first), weight)[0])
    torch.testing.assert_close(*seconds, rtol=1e-4, atol=1e-6)
    assert calls


def test_its_output_may_be_added_to_in_place(calls):
    features, weight, bias = _inputs(8, 8)
    result = multiply(features, weight, bias)
    assert calls
    assert not result._is_view()
    result.add_(1).sum().backward()
    assert features.grad is not None


def test_evaluation_and_float64_are_torchs(calls):
    layer = conv3d(8, 8, 1)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    layer.eval()(_inputs(8, 8)[0])
    layer.double().train()(_inputs(8, 8, dtype=torch.double)[0])
    assert not calls


def test_other_convolutions_stay_torchs():
    assert type(conv3d(2, 3, 3, padding=1)) is nn.Conv3d
    assert type(conv3d(2, 3, 1, stride=2)) is nn.Conv3d
