"""The compiled layers against torch's, in value, gradient, statistics and gradient of gradient."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

from survimg import jit
from survimg.nets import DeepMTSNet, channels_last, initialise, use_fast_layers
from survimg.nets.channels_last import takes_kernels
from survimg.nets.dropout import Dropout
from survimg.nets.layers import conv3d, conv_unit
from survimg.nets.normalise import BatchNorm3d
from survimg.nets.upsampling import DoubledNearest, convolve_joined

LAYOUT = torch.channels_last_3d


def noise(*shape, seed=0, mean=0.0):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + mean
    return values.contiguous(memory_format=LAYOUT)


@pytest.fixture(autouse=True)
def own_dropout_stream(global_generator_untouched):
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        yield


def norm_of(n_channels, **options):
    norm = BatchNorm3d(n_channels, **options)
    nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
    nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    return norm


def values_and_gradients(norm, features, added, weights):
    features = features.detach().requires_grad_()
    inputs = [features, *norm.parameters()]
    if added is not None:
        inputs.append(added.detach().requires_grad_())
    out = norm(features, inputs[3] if added is not None else None)
    return out.detach(), torch.autograd.grad((out * weights).sum(), inputs)


# 288 channels do not fit into a tile, 11 do not divide one.
@pytest.mark.parametrize("n_channels", [8, 11, 288])
@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("adds", [True, False])
def test_batch_norm_is_that_of_float64(n_channels, rectify, adds):
    shape = (3, n_channels, 17, 16, 18)
    features, weights = noise(*shape, mean=2.0), noise(*shape, seed=3)
    added = noise(*shape, seed=4) if adds else None
    norm = norm_of(n_channels, rectify=rectify)
    exact = copy.deepcopy(norm).double()
    assert takes_kernels(features)
    out, gradients = values_and_gradients(norm, features, added, weights)
    out64, gradients64 = values_and_gradients(
        exact, features.double(), added.double() if adds else None, weights.double()
    )
    torch.testing.assert_close(out.double(), out64, rtol=1e-5, atol=1e-5)
    assert out.is_contiguous(memory_format=LAYOUT)
    # Where the ReLU bends, rounding decides whether a gradient passes.
    near = (copy.deepcopy(norm)(features) < 1e-5) & torch.tensor(rectify)
    for ours, theirs in zip(gradients, gradients64, strict=True):
        difference = (ours.double() - theirs).abs()
        if difference.shape == near.shape:
            difference = difference.masked_fill(near, 0)
        assert difference.max() <= 1e-4 * theirs.abs().max()
    for name, buffer in norm.named_buffers():
        torch.testing.assert_close(buffer, exact.get_buffer(name).to(buffer), rtol=1e-6, atol=1e-6)


def test_statistics_hold_far_from_zero_and_with_an_outlier_first():
    features = noise(2, 8, 16, 16, 16, mean=1000.0)
    features[0, :, 0, 0, 0] = -1e4
    norm = norm_of(8, momentum=1.0)
    norm(features)
    voxels = features.double().movedim(1, 0).flatten(1)
    torch.testing.assert_close(norm.running_mean.double(), voxels.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(norm.running_var.double(), voxels.var(1), rtol=1e-5, atol=0)


def test_bfloat16_is_computed_in_float32_and_rounded_once():
    shape = (2, 16, 16, 16, 16)
    features, added = noise(*shape).bfloat16(), noise(*shape, seed=1).bfloat16()
    norm = norm_of(16, rectify=True)
    expected = copy.deepcopy(norm)(features.float(), added.float()).bfloat16()
    out = norm(features, added)
    assert out.dtype == torch.bfloat16
    # One unit in the last place, where fused operations round the other way.
    torch.testing.assert_close(out.float(), expected.float(), rtol=2**-7, atol=1e-6)
    assert (out != expected).float().mean() < 0.001


def test_not_a_number_stays_one():
    features = noise(2, 8, 16, 16, 16)
    features[1, 3, 5, 5, 5] = torch.nan
    out = norm_of(8, rectify=True)(features)
    assert out[:, 3].isnan().all()
    assert not out[:, 4].isnan().any()


@pytest.mark.parametrize(
    "change",
    [
        lambda norm, x: (norm.eval(), x),
        lambda norm, x: (norm.double(), x.double()),
        lambda norm, x: (norm, x.contiguous()),
        lambda norm, x: (norm, x[..., :2, :2]),
    ],
    ids=["evaluation", "float64", "plain layout", "small"],
)
def test_everything_else_is_torchs(change):
    norm, features = change(norm_of(8, rectify=True), noise(2, 8, 16, 16, 16))
    stock = nn.BatchNorm3d(8).to(norm.weight).train(norm.training)
    stock.load_state_dict(norm.state_dict())
    assert torch.equal(norm(features), functional.relu(stock(features)))


def test_one_value_per_channel_is_refused():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_of(40_000)(noise(1, 40_000, 1, 1, 1))


@pytest.mark.parametrize(
    "layer", [norm_of(8, rectify=True), Dropout(0.25)], ids=["norm", "dropout"]
)
def test_the_gradient_has_a_gradient(layer):
    features, direction = noise(1, 8, 16, 16, 16, mean=0.3), noise(1, 8, 16, 16, 16, seed=1)

    def penalty(layer, x, d):
        torch.random.default_generator.manual_seed(5)
        x = x.detach().requires_grad_()
        (first,) = torch.autograd.grad((layer(x).square() * d).sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    ours = penalty(layer, features, direction)
    if isinstance(layer, Dropout):
        torch.random.default_generator.manual_seed(5)
        kept = layer(torch.ones_like(features))
        expected = 8 * direction.square() * features * kept**4
    else:
        exact = copy.deepcopy(layer).double()
        expected = penalty(exact, features.double(), direction.double())
    assert (ours.double() - expected).norm() < 1e-3 * expected.norm()


def test_the_gradient_of_a_layer_applied_twice_counts_each_path_once():
    layer = norm_of(8)
    features, direction = noise(1, 8, 16, 16, 16), noise(1, 8, 16, 16, 16, seed=1)
    first = [
        torch.autograd.grad(
            (twice(twice(x)) * d).sum(), list(twice.parameters()), create_graph=create
        )
        for twice, x, d, create in (
            (layer, features, direction, True),
            (copy.deepcopy(layer).double(), features.double(), direction.double(), False),
        )
    ]
    for ours, expected in zip(*first, strict=True):
        torch.testing.assert_close(ours.double(), expected, rtol=1e-3, atol=1e-2)


def test_the_gradient_has_a_gradient_whatever_the_strides_of_one_case():
    features = noise(1, 8, 16, 16, 16)
    odd, direction = features.view_as(features), noise(1, 8, 16, 16, 16, seed=1).contiguous()
    assert odd.stride(0) == 8  # nobody steps from the only case to another
    layer = norm_of(8)
    shift = torch.autograd.grad(layer(odd), layer.bias, direction, create_graph=True)[0]
    torch.testing.assert_close(shift, direction.sum((0, 2, 3, 4)), rtol=1e-4, atol=1e-3)


def test_dropout_drops_as_often_as_it_says_and_scales_the_rest():
    features = torch.ones(2, 16, 24, 24, 24).contiguous(memory_format=LAYOUT).requires_grad_()
    dropout = Dropout(0.2)
    out = dropout(features)
    share = (out == 0).double().mean().item()
    assert abs(share - 0.2) < 5 * (0.2 * 0.8 / out.numel()) ** 0.5
    assert set(out.unique().tolist()) == {0.0, 1.25}
    (gradient,) = torch.autograd.grad(out.sum(), features)
    assert torch.equal(gradient, out)  # the same values are dropped
    assert torch.equal(dropout.eval()(features), features)


def test_masks_of_dropout_are_independent_along_axes_and_between_calls():
    ones = torch.ones(4, 8, 32, 32, 32).contiguous(memory_format=LAYOUT)
    dropout = Dropout(0.5)
    first, second = (dropout(ones).movedim(1, -1).flatten() - 1 for _ in range(2))
    bound = 5 / len(first) ** 0.5
    assert abs((first * second).mean()) < bound
    for lag in (1, 8, 256, 8 * 32 * 32):
        assert abs((first[lag:] * first[:-lag]).mean()) < bound
        assert abs((first[lag:] * second[:-lag]).mean()) < bound
    # Two masks are no permutations of each other: not even their counts agree.
    assert first.sum() != second.sum()


def test_dropout_follows_torchs_stream():
    ones = torch.ones(1, 8, 16, 16, 16).contiguous(memory_format=LAYOUT)
    state = torch.get_rng_state()
    first, second = Dropout(0.5)(ones), Dropout(0.5)(ones)
    torch.set_rng_state(state)
    assert torch.equal(Dropout(0.5)(ones), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_joined_convolution_is_that_of_the_concatenation(kernel):
    generator = torch.Generator().manual_seed(0)
    convolution = conv3d(5, 7, kernel, padding=kernel // 2).double()
    initialise(convolution, generator)
    coarse = noise(2, 3, 4, 3, 5).double().requires_grad_()
    skip = noise(2, 2, 8, 6, 10, seed=1).double().requires_grad_()
    bias = torch.randn(7, dtype=torch.double, generator=generator, requires_grad=True)
    inputs = [coarse, skip, convolution.weight, bias]
    joined = torch.cat([DoubledNearest.apply(coarse), skip], dim=1)
    expected = functional.conv3d(joined, convolution.weight, bias, padding=kernel // 2)
    ours = convolve_joined(convolution, coarse, skip, bias)
    torch.testing.assert_close(ours, expected)
    weights = torch.randn(ours.shape, dtype=torch.double, generator=generator)
    for one, other in zip(
        torch.autograd.grad((ours * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("processor", ["AVX2", "AVX512"])
@pytest.mark.parametrize("backbone", ["residual", "unet"])
def test_a_whole_networks_gradient_is_that_of_float64(backbone, processor, monkeypatch):
    if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)

    def run(dtype):
        net = DeepMTSNet(
            2, 0, backbone=backbone, cascade=False, dropout=0.0,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        net = net.train().to(dtype).to(memory_format=LAYOUT)
        output = net(noise(2, 2, 32, 32, 16).to(dtype))
        loss = (output.segmentation * torch.linspace(0, 1, 16)).mean() + output.risk[0]
        loss.backward()
        return torch.cat([p.grad.double().flatten() for p in net.parameters()]), net

    exact, _ = run(torch.float64)
    ours, net = run(torch.float32)
    assert (ours - exact).norm() < 0.05 * exact.norm()
    cancelled = net.encoder.stages[0].units[0][0].bias.grad
    assert torch.equal(cancelled, torch.zeros(8))


def test_a_bias_counts_in_front_of_frozen_statistics():
    unit = conv_unit(2, 8, 3)
    initialise(unit, torch.Generator().manual_seed(0))
    unit[1].eval()
    unit(noise(2, 2, 16, 16, 16)).sum().backward()
    assert (unit[0].bias.grad != 0).any()


def test_hooks_of_a_convolution_see_its_bias():
    unit = conv_unit(2, 8, 3)
    initialise(unit, torch.Generator().manual_seed(0))
    nn.init.constant_(unit[0].bias, 3.0)
    outputs = []
    unit[0].register_forward_hook(lambda module, inputs, output: outputs.append(output.detach()))
    features = noise(2, 2, 16, 16, 16)
    unit(features)
    torch.testing.assert_close(outputs[0], unit[0].eval()(features).detach())


def test_results_do_not_depend_on_threads_or_on_who_computes_beside(monkeypatch):
    monkeypatch.setattr(channels_last, "FEWEST_PER_THREAD", 1)

    def run():
        norm, features = norm_of(8, rectify=True), noise(2, 8, 32, 32, 32).requires_grad_()
        out = norm(features)
        out.square().sum().backward()
        return out.detach(), features.grad, norm.weight.grad

    before = torch.get_num_threads()
    results = [run()]
    try:
        torch.set_num_threads(3)
        results.append(run())
        beside = [threading.Thread(target=lambda: results.append(run())) for _ in range(3)]
        for thread in beside:
            thread.start()
        for thread in beside:
            thread.join()
    finally:
        torch.set_num_threads(before)
    assert len(results) == 5
    for result in results[1:]:
        for one, other in zip(result, results[0], strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(("n_values", "threads"), [(10**5, 1), (10**6, 1), (2**20, 2), (10**8, 8)])
def test_short_passes_wake_no_other_thread(monkeypatch, n_values, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert channels_last.threads_for(n_values) == threads


def test_small_maps_wake_no_other_thread(monkeypatch):
    def woken():
        raise AssertionError("another thread was woken")

    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(jit, "_threads", woken)
    features = noise(2, 8, 16, 16, 16).requires_grad_()
    convolution = conv3d(8, 8, 3, padding=1)
    initialise(convolution, torch.Generator().manual_seed(0))
    out = Dropout(0.5)(norm_of(8, rectify=True)(convolution(features)))
    DoubledNearest.apply(out).sum().backward()
    assert features.grad is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_computes_too():
    script = """
import os, torch
from survimg.nets import channels_last
from survimg.nets.normalise import BatchNorm3d
channels_last.FEWEST_PER_THREAD = 1
torch.set_num_threads(2)
x = torch.zeros(1, 8, 32, 32, 32).contiguous(memory_format=torch.channels_last_3d)
BatchNorm3d(8)(x)
child = os.fork()
BatchNorm3d(8)(x)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=120)


class Theirs(nn.Module):
    """A network as others write them."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv3d(2, 8, 3, padding=1, bias=False), nn.BatchNorm3d(8), nn.ReLU(), nn.Dropout(0.0)
        )
        self.norm = nn.BatchNorm3d(8)

    def forward(self, x):
        return functional.relu(self.norm(self.block(x)))


def test_networks_of_others_keep_weights_names_and_results():
    torch.random.default_generator.manual_seed(0)
    stock = Theirs()
    ours = use_fast_layers(copy.deepcopy(stock))
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert [type(layer) for layer in ours.modules()][3:6] == [BatchNorm3d, nn.Identity, Dropout]
    features = noise(2, 2, 24, 24, 24)
    for mode in (True, False):
        outputs = [net.train(mode)(features) for net in (stock, ours)]
        torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
        theirs, found = (
            torch.cat([g.flatten() for g in torch.autograd.grad(o.pow(3).sum(), net.parameters())])
            for o, net in zip(outputs, (stock, ours), strict=True)
        )
        assert (found - theirs).norm() < 1e-3 * theirs.norm()
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, stock.get_buffer(name))
    assert use_fast_layers(ours).block[1].rectify  # a second time changes nothing
