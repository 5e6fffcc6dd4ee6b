"""The compiled convolution to few channels against torch's in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from survimg.compute.autocast import bfloat16_autocast
from survimg.compute.devices import OneDNNForSingleCases, has_bfloat16
from survimg.nets import channels_last, initialise, narrow, use_fast_layers
from survimg.nets.layers import conv3d
from survimg.nets.narrow import NarrowConv3d, convolve, is_narrow
from survimg.nets.narrow_ways import Way

LAYOUT = torch.channels_last_3d
#: The way of each kind of processor.
WAY = {"AVX2": "SUMS", "AVX512": "PAIRS", "AVX512 in two turns": "LOOPS"}


@pytest.fixture(params=list(WAY))
def processor(request, monkeypatch):
    """What torch says that it computes with; all ways are computed by this machine."""
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("this processor is left to torch")
    capability, *in_two_turns = request.param.split(" ", 1)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(narrow, "_halves_vectors", lambda: bool(in_two_turns))
    return request.param


@pytest.fixture
def calls(monkeypatch, processor):
    """The parts of the ways, once for each time that they were called."""
    called = []

    def recorded(name, part, function):
        return lambda *a: called.append((name, part)) or function(*a)

    for name in WAY.values():
        way = getattr(narrow, name)
        parts = [recorded(name, part, getattr(way, part)) for part in Way._fields]
        monkeypatch.setattr(narrow, name, Way(*parts))
    return called


def noise(*shape, seed=0):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.contiguous(memory_format=LAYOUT)


def inputs(n_in, shape, n_out=8):
    features, weight = noise(2, n_in, *shape), noise(n_out, n_in, 3, 3, 3, seed=1)
    bias = torch.randn(n_out, generator=torch.Generator().manual_seed(2))
    return [tensor.requires_grad_() for tensor in (features, weight, bias)]


def torchs(features, weight, bias):
    return functional.conv3d(features, weight, bias, padding=1)


# Rows of one block, of several, of blocks that overlap; planes of one line; one plane alone.
@pytest.mark.parametrize(
    "shape", [(17, 16, 8), (9, 13, 21), (12, 12, 16), (40, 1, 50), (1, 45, 45)]
)
@pytest.mark.parametrize(("n_in", "n_out"), [(8, 8), (16, 8), (24, 16)])
def test_values_and_gradients_are_those_of_float64(n_in, n_out, shape, processor, calls):
    single = inputs(n_in, shape, n_out)
    double = [tensor.detach().double().requires_grad_() for tensor in single]
    out, expected = convolve(*single), torchs(*double)
    gradient = noise(*out.shape, seed=3)
    ours = torch.autograd.grad(out, single, gradient)
    theirs = torch.autograd.grad(expected, double, gradient.double())
    in_pairs = shape[2] % 2 == 0 and min(shape[:2]) >= 3
    way = "LOOPS" if WAY[processor] == "PAIRS" and not in_pairs else WAY[processor]
    taken = processor == "AVX2" or n_out == 8
    assert calls == [(way, part) for part in Way._fields if taken]
    assert out.is_contiguous(memory_format=LAYOUT)
    if not calls:  # all of it is torch's
        return
    for one, other in zip((out, *ours), (expected, *theirs), strict=True):
        assert (one.double() - other).abs().max() <= 2e-6 * other.abs().max()


@pytest.mark.usefixtures("processor")
def test_a_backward_pass_inside_autocast_is_that_of_the_forward_pass():
    single = inputs(8, (12, 14, 16))
    double = [tensor.detach().double().requires_grad_() for tensor in single]
    out, expected = convolve(*single), torchs(*double)
    gradient = noise(*out.shape, seed=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = torch.autograd.grad(out, single, gradient)
    theirs = torch.autograd.grad(expected, double, gradient.double())
    for one, other in zip(ours, theirs, strict=True):
        assert (one.double() - other).abs().max() <= 2e-6 * other.abs().max()


@pytest.mark.skipif(not has_bfloat16(torch.device("cpu")), reason="no bfloat16 instructions")
@pytest.mark.parametrize("n_in", [8, 24])
def test_bfloat16_rounds_what_float32_computes(n_in, processor, calls):
    single = inputs(n_in, (12, 14, 16))
    lowered = [tensor.detach().bfloat16().float().requires_grad_() for tensor in single]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = convolve(*single)
    assert out.dtype == torch.bfloat16
    expected = torchs(*lowered)
    gradient = noise(*out.shape, seed=3).bfloat16()
    ours = torch.autograd.grad(out, single, gradient)
    theirs = torch.autograd.grad(expected, lowered, gradient.float())
    assert calls == [("PAIRS", part) for part in Way._fields if processor != "AVX2"]
    for one, other in zip((out, *ours), (expected, *theirs), strict=True):
        assert (one - other).abs().max() <= 2**-7 * other.abs().max()


def test_thin_maps_in_bfloat16_are_those_of_the_plain_layer(calls):
    layer = conv3d(8, 8, 3, padding=1).train()
    initialise(layer, torch.Generator().manual_seed(0))
    features = noise(4, 8, 2, 40, 40)
    with bfloat16_autocast(torch.device("cpu"), True):
        out = layer(features)
        expected = torchs(features, layer.weight, layer.bias)
    assert not calls
    assert torch.equal(out, expected)


@pytest.mark.usefixtures("processor")
def test_its_output_may_be_added_to_in_place():
    single = inputs(8, (16, 16, 16))
    seconds = []
    for function in (convolve, torchs):
        added = torch.ones(8, 16, 16, 16, requires_grad=True)
        out = function(*single).add_(added)
        seconds.append(torch.autograd.grad(out.square().sum(), [*single, added]))
    for one, other in zip(*seconds, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_what_needs_no_gradient_has_none(calls):
    features, weight, _ = inputs(8, (16, 16, 16))
    out = convolve(features.detach(), weight, None)
    (only,) = torch.autograd.grad(out.sum(), [weight])
    assert [part for _, part in calls] == ["convolve", "weight_gradient"]
    (expected,) = torch.autograd.grad(torchs(features.detach(), weight, None).sum(), [weight])
    torch.testing.assert_close(only, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.usefixtures("processor")
def test_the_gradient_has_a_gradient():
    single = inputs(8, (16, 16, 16))
    features, *parameters = single
    seconds = []
    for function in (convolve, torchs):
        out = function(function(features, *parameters), *parameters)  # one layer, applied twice
        first = torch.autograd.grad(out.square().sum(), single, create_graph=True)
        penalty = sum(part.square().mean() for part in first)
        seconds.append(torch.autograd.grad(penalty, single))
    for one, other in zip(*seconds, strict=True):
        assert (one - other).abs().max() <= 1e-4 * other.abs().max()


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch, calls):
    single = inputs(8, (16, 16, 19))  # odd rows: not in pairs, which are oneDNN's
    monkeypatch.setattr(channels_last, "FEWEST_PER_THREAD", 1)
    results = []
    for n_threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_threads: n)
        out = convolve(*single)
        results.append([out, *torch.autograd.grad(out.square().sum(), single[:2])])
    assert [part for _, part in calls].count("weight_gradient") == 2
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda x, w, b: (x.double(), w.double(), b.double()),
        lambda x, w, b: (x.contiguous(), w, b),
        lambda x, w, b: (x[..., :4, :4], w, b),
        lambda x, w, b: (x.repeat(1, 1, 4, 4, 1)[..., :4].contiguous(memory_format=LAYOUT), w, b),
        lambda x, w, b: (x.contiguous()[:, :, 1:-1], w, b),
        lambda x, w, b: (x[0], w, b),
        lambda x, w, b: (x, w.repeat(3, 1, 1, 1, 1), b.repeat(3)),
    ],
    ids=[
        "float64", "plain layout", "small", "short rows", "sliced", "unbatched", "24 channels",
    ],
)
def test_everything_else_is_torchs(change, calls):
    changed = change(*(tensor.detach() for tensor in inputs(8, (16, 16, 16))))
    changed[1].requires_grad_()
    out = convolve(*changed)
    assert torch.equal(out, torchs(*changed))
    out.sum().backward()
    assert not calls


def test_a_single_case_is_one_dnns_where_the_loops_do_not_convolve(processor, calls):
    single = inputs(8, (16, 16, 32))
    single[0] = noise(1, 8, 16, 16, 32).requires_grad_()
    double = [tensor.detach().double().requires_grad_() for tensor in single]
    with OneDNNForSingleCases():
        out = convolve(*single)
    assert ("mkldnn" in out.grad_fn.name().lower()) == (processor == "AVX2")
    ours = torch.autograd.grad(out.sum(), single)
    theirs = torch.autograd.grad(torchs(*double).sum(), double)
    assert calls == [("LOOPS", part) for part in Way._fields if processor != "AVX2"]
    for one, other in zip(ours, theirs, strict=True):
        assert (one.double() - other).abs().max() <= 1e-5 * other.abs().max()


def test_other_processors_and_compilers_are_torchs(monkeypatch, calls):
    single = inputs(8, (16, 16, 16))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    convolve(*single).sum().backward()

    def not_traceable():
        raise AssertionError("a compiler cannot look into this")

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", not_traceable)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    convolve(*single).sum().backward()
    assert not calls


def test_weights_that_are_views_are_read_as_such(processor, calls):
    features, _, bias = (tensor.detach() for tensor in inputs(8, (16, 16, 16)))
    repeated = torch.tensor(0.1).expand(8, 8, 3, 3, 3)
    sliced = noise(16, 16, 3, 3, 3)[::2, 8:]
    for weight in (repeated, sliced):
        expected = torchs(features, weight, bias)
        torch.testing.assert_close(convolve(features, weight, bias), expected, atol=1e-4, rtol=0)
    assert {way for way, _ in calls} == {WAY[processor]}


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("n_channels", [4, 16])
def test_a_map_of_other_channels_is_refused_by_torch(n_channels):
    layer = conv3d(8, 8, 3, padding=1).train()
    with pytest.raises(RuntimeError, match=rf"to have 8 channels, but got {n_channels} channels"):
        layer(noise(2, n_channels, 20, 20, 20))


def test_evaluation_is_torchs(calls):
    layer = conv3d(8, 8, 3, padding=1)
    initialise(layer, torch.Generator().manual_seed(0))
    features = noise(2, 8, 16, 16, 16)
    out = layer.eval()(features)
    assert torch.equal(out, torchs(features, layer.weight, layer.bias))
    out.sum().backward()
    assert not calls
    layer.train()(features).sum().backward()
    assert calls


@pytest.mark.parametrize(
    ("change", "narrow"),
    [
        ({}, True),
        ({"padding": "same"}, True),
        ({"out_channels": 16}, True),
        ({"out_channels": 24}, False),
        ({"in_channels": 4}, False),
        ({"stride": 2}, False),
        ({"padding": 0}, False),
        ({"dilation": 2}, False),
        ({"groups": 8}, False),
        ({"padding_mode": "circular"}, False),
        ({"kernel_size": 1, "padding": 0}, False),
    ],
    ids=str,
)
def test_which_layers_are_narrow(change, narrow):
    sizes = {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "padding": 1} | change
    with torch.random.fork_rng(devices=[]):
        layer = nn.Conv3d(**sizes)
    assert is_narrow(layer) == narrow
    assert type(use_fast_layers(nn.Sequential(layer))[0]) is (NarrowConv3d if narrow else nn.Conv3d)


def test_networks_of_others_keep_their_weights(calls):
    with torch.random.fork_rng(devices=[]):
        stock = nn.Sequential(nn.Conv3d(8, 8, 3, padding=1), nn.Conv3d(8, 3, 1))
    ours = use_fast_layers(copy.deepcopy(stock))
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in stock.state_dict().items()
    }
    features = noise(2, 8, 16, 16, 16)
    outputs = [net(features) for net in (ours, stock)]
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    outputs[0].sum().backward()
    assert calls
