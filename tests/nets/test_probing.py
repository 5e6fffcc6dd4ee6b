"""Networks as users bring them: taken as they are, or refused in words that say what to do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from survimg.datasets import make_phantom_cohort
from survimg.estimators import ImageSurvival
from survimg.nets import EncoderWithHead
from survimg.nets.probing import takes_channels_last
from survimg.training import Net
from survimg.training.net import build_net

SHAPE = (2, 8, 8, 8)


@pytest.fixture(autouse=True)
def seeded():
    """Layers of torch draw from the global stream, as users' do."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Own(nn.Module):
    """A convolution, and what `use` makes of its map."""

    def __init__(self, use, *layers):
        super().__init__()
        self.conv = nn.Conv3d(2, 3, 3)
        self.layers = nn.ModuleList(layers)
        self.use = use

    def forward(self, volumes):
        return self.use(self, self.conv(volumes))


class WithClinical(nn.Module):
    def forward(self, volumes, clinical):
        return torch.cat([volumes.mean(dim=(2, 3, 4)), clinical], dim=1)


class InAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Conv3d(2, 3, 3)]

    def forward(self, volumes):
        return self.layers[0](volumes)


class Flat(nn.Module):
    """Features of the whole map, by ``view``, which only one memory layout allows."""

    def __init__(self, in_channels):
        super().__init__()
        self.conv = nn.Conv3d(in_channels, 3, 5, stride=5)
        self.norm = nn.BatchNorm1d(81)

    def forward(self, volumes):
        features = self.conv(volumes)
        return self.norm(features.view(features.size(0), -1))


class Scaled(nn.Module):
    """A tensor that is neither parameter nor buffer."""

    def __init__(self):
        super().__init__()
        self.scale = torch.randn(2, 1, 1, 1)

    def forward(self, volumes):
        return volumes * self.scale


def build(encoder, shape=SHAPE):
    return EncoderWithHead(encoder, shape, 0, None)


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        (Own(lambda _, x: {"map": x}), r"it returns a dict with \['map'\]"),
        (Own(lambda _, x: None), "it returns NoneType"),
        (Own(lambda _, x: []), "it returns list"),
        (Own(lambda _, x: x.mean()), r"a tensor of shape \(\)"),
        (Own(lambda _, x: x.detach().numpy()), "it returns ndarray"),
        (Own(lambda _, x: x.argmax(dim=1)), "torch.int64.* as floating-point numbers"),
        (Own(lambda _, x: torch.fft.fftn(x)), "torch.complex64"),
        (Own(lambda _, x: x.detach()), "without a gradient.* there is FrozenEncoderFeatures"),
        (Own(lambda _, x: x / 0), "not finite"),
        (Own(lambda _, x: functional.dropout(x, 0.5)), "needs training=self.training"),
        (Own(lambda _, x: x, nn.LazyLinear(3)), r"layers\.0\.weight.* does not call these lazy"),
        (WithClinical(), r"takes volumes, clinical; .*\(clinical_path\).*Adding a network"),
        (InAList(), "neither be trained nor saved.* nn.ModuleList"),
        (nn.Conv2d(2, 3, 3), r"cannot take volumes.* two-dimensional.* gives it slices"),
        (nn.Conv3d(1, 3, 3), r"cannot take volumes of 2 channel\(s\) and 8 x 8 x 8 voxels"),
        (nn.Conv3d(2, 3, 9), "Kernel size can't be greater"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_words(encoder, words):
    with pytest.raises(ValueError, match=words):
        build(encoder)


def test_one_row_for_each_volume():
    net = build(Own(lambda _, x: x.mean(dim=0, keepdim=True)))
    with pytest.raises(ValueError, match=r"features of 1 case\(s\) for a batch of 3"):
        net(torch.randn(3, *SHAPE))


@pytest.mark.parametrize(
    ("encoder", "n_features"),
    [
        (nn.Identity(), 2),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(5)), 5),
        (Own(lambda net, x: functional.dropout(x, 0.5, net.training)), 3),
        (Own(lambda _, x: (x, [x, x.mean(dim=(2, 3, 4))])), 3),
        (Own(lambda _, x: x.double()), 3),
        (nn.DataParallel(nn.Conv3d(2, 4, 3)), 4),
        (nn.utils.parametrizations.spectral_norm(nn.Conv3d(2, 4, 3)), 4),
        (nn.Conv3d(2, 4, 3).requires_grad_(False), 4),
    ],
)
def test_what_can_be_trained_is_taken(encoder, n_features):
    net = build(encoder)
    assert net.n_features == n_features
    assert net.training
    assert net(torch.randn(3, *SHAPE)).risk.shape == (3,)


def test_the_probe_changes_no_statistics():
    norm = nn.BatchNorm3d(2)
    build(norm)
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_mean, torch.zeros(2))


def test_a_network_that_flattens_by_view_is_trained_in_the_other_layout():
    cohort = make_phantom_cohort(n=10, shape=(16, 16, 16), random_state=0).cohort
    assert not takes_channels_last(Flat(2), (2, 16, 16, 16))
    assert takes_channels_last(nn.Conv3d(2, 4, 3), SHAPE)
    quick = {"n_iterations": 2, "batch_size": 4, "precision": "float32", "random_state": 0}
    model = ImageSurvival(net=Net(Flat), **quick).fit(cohort, cohort.outcome)
    assert model.transform(cohort).shape == (10, 81)


def test_a_compiled_module_is_trained_as_what_it_was_made_of():
    module = nn.Conv3d(2, 3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own modules
        compiled = torch.compile(module)
    net = build_net(compiled, SHAPE, torch.Generator())
    assert type(net) is nn.Conv3d
    assert torch.equal(net.weight, module.weight)


def test_tensors_that_a_model_file_would_not_hold_are_named():
    with pytest.warns(UserWarning, match=r"scale .*register_buffer"):
        build(Scaled())


def test_one_instance_serves_several_fits():
    cohort = make_phantom_cohort(n=10, shape=(16, 16, 16), random_state=0).cohort
    module = Flat(2).double()
    quick = {"n_iterations": 2, "batch_size": 4, "precision": "float32", "random_state": 0}
    before = {name: value.clone() for name, value in module.state_dict().items()}
    risks = [
        ImageSurvival(net=module, **quick).fit(cohort, cohort.outcome).predict(cohort)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*risks)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_modules_that_cannot_be_copied_are_refused_in_words():
    cohort = make_phantom_cohort(n=10, shape=(16, 16, 16), random_state=0).cohort
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(ValueError, match=r"Give Net\(Sequential, \*\*parameters\), or pass"):
        ImageSurvival(net=lazy).fit(cohort, cohort.outcome)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        compiled = torch.jit.script(nn.Conv3d(2, 3, 3))
    with pytest.raises(ValueError, match="compiled by TorchScript"):
        ImageSurvival(net=compiled).fit(cohort, cohort.outcome)


def test_what_the_cohort_does_not_tell_is_asked_for():
    with pytest.raises(ValueError, match=r"Conv3d needs out_channels, kernel_size, .*Net\(Conv3d"):
        Net(nn.Conv3d).build(SHAPE, torch.Generator())


def needs_a_package(in_channels):
    raise ImportError("No module named 'einops'")


def test_a_missing_package_is_named():
    with pytest.raises(ImportError, match="einops"):
        Net(needs_a_package).build(SHAPE, torch.Generator())
