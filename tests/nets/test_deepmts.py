"""DeepMTSNet: published geometry and counts, any size, ablations, gradients, randomness."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from survimg.nets import DeepMTSNet
from survimg.nets.upsampling import DoubledNearest

ABLATIONS = {
    "deepmts": {},
    "seg-backbone": {"hard_sharing": False, "cascade": False},
    "sur-hs": {"segmentation": False, "cascade": False},
    "sur-casnet": {"segmentation": False, "hard_sharing": False},
    "mt-hs": {"cascade": False},
    "mt-hs-baseline": {"cascade": False, "head_convolutions": False},
    "mt-casnet": {"hard_sharing": False},
}


def n_trainable(net):
    return sum(parameter.numel() for parameter in net.parameters())


def n_running(net):
    return sum(b.numel() for name, b in net.named_buffers() if "running" in name)


@pytest.mark.parametrize(
    ("name", "backbone", "expected", "n_features"),
    [
        ("deepmts", "residual", 3_709_672, 236),
        ("seg-backbone", "residual", 2_664_066, 0),
        ("sur-hs", "residual", 1_939_950, 124),
        ("sur-casnet", "residual", 1_025_610, 112),
        ("mt-hs", "residual", 2_683_416, 124),
        ("mt-hs-baseline", "residual", 2_680_068, 248),
        ("mt-casnet", "residual", 3_690_324, 112),
        ("deepmts", "unet", 2_515_444, 360),
        ("seg-backbone", "unet", 1_473_186, 0),
        ("sur-hs", "unet", 900_930, 248),
        ("mt-hs", "unet", 1_489_188, 248),
        ("mt-casnet", "unet", 2_499_444, 112),
    ],
)
def test_parameter_counts_of_the_fact_sheet(name, backbone, expected, n_features, generator):
    net = DeepMTSNet(backbone=backbone, **ABLATIONS[name], generator=generator)
    assert n_trainable(net) == expected
    assert len(net.feature_names) == len(set(net.feature_names)) == n_features


def test_parts_and_running_statistics_of_the_fact_sheet(generator):
    net = DeepMTSNet(generator=generator)
    assert [n_trainable(stage) for stage in net.encoder.stages] == [
        2_248, 10_640, 70_016, 279_296, 1_558_400,
    ]  # fmt: skip
    assert n_trainable(net.decoder) == 743_466
    assert n_trainable(net.heads) == 11_284
    assert n_trainable(net.cascade) == 1_018_960
    assert n_running(net) == 14_600
    assert n_running(DeepMTSNet(backbone="unet", generator=generator)) == 12_720


def test_published_geometry(generator, images):
    """Shapes of the paper's 128 x 128 x 112, followed through one channel-reduced pass."""
    net = DeepMTSNet(generator=generator).eval()
    sizes = {}

    def note(name):
        def hook(module, inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            sizes[name] = tuple(output.shape[1:])

        return hook

    for number, stage in enumerate(net.encoder.stages, 1):
        stage.register_forward_hook(note(f"encoder{number}"))
    net.cascade.stem.register_forward_hook(note("stem"))
    for number, stage in enumerate(net.cascade.stages, 1):
        stage.block.register_forward_hook(note(f"dense{number}"))
    with torch.inference_mode():
        output = net(images(1, 2, 64, 64, 48), torch.zeros(1, 1))
    assert sizes == {
        "encoder1": (8, 64, 64, 48),
        "encoder2": (16, 32, 32, 24),
        "encoder3": (32, 16, 16, 12),
        "encoder4": (64, 8, 8, 6),
        "encoder5": (128, 4, 4, 3),
        "stem": (24, 31, 31, 23),  # valid, not "same" (32)
        "dense1": (88, 15, 15, 11),
        "dense2": (144, 7, 7, 5),
        "dense3": (288, 3, 3, 2),
    }
    assert output.segmentation.shape == (1, 64, 64, 48)


@pytest.mark.parametrize("size", [(16, 16, 16), (17, 31, 24), (19, 40, 33), (32, 32, 48)])
@pytest.mark.parametrize("backbone", ["residual", "unet"])
def test_any_size_from_16_up(size, backbone, generator, images):
    net = DeepMTSNet(backbone=backbone, generator=generator).train()
    output = net(images(2, 2, *size), torch.zeros(2, 1))
    assert output.segmentation.shape == (2, *size)
    assert output.risk.shape == (2,)
    assert output.features.shape == (2, len(net.feature_names))
    assert output.segmentation.min() >= 0
    assert output.segmentation.max() <= 1
    (output.risk.sum() + output.segmentation.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.fixture(autouse=True)
def own_dropout_stream(global_generator_untouched):
    """Dropout draws from torch's generator; the training engine forks it, and so do these tests."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        yield


def test_padding_does_not_change_sizes_that_need_none(generator, images):
    """The network on a 32-voxel cube equals its own layers, applied without any padding."""
    net = DeepMTSNet(generator=generator).eval()
    volumes = images(2, 2, 32, 32, 32)
    with torch.inference_mode():
        output = net(volumes, torch.ones(2, 1))
        encoded = net.encoder(volumes)
        segmentation = net.decoder(encoded)
        heads = [h(e).mean((2, 3, 4)) for h, e in zip(net.heads, encoded, strict=True)]
        pooled = net.cascade(torch.cat([volumes, segmentation[:, None]], dim=1))
        features = torch.cat([*heads, pooled], dim=1)
    assert torch.equal(output.segmentation, segmentation)
    assert torch.allclose(output.features, features, atol=1e-6)


def test_padding_does_not_enter_the_averages(generator, images):
    """With identity features, a constant image keeps its mean whatever the padding."""
    net = DeepMTSNet(
        1, 0, segmentation=False, cascade=False, head_convolutions=False, generator=generator
    ).eval()
    net.encoder.stages = nn.ModuleList(nn.Identity() for _ in range(5))
    features = net.encoder(functional.pad(torch.ones(1, 1, 17, 21, 30), (0, 2, 0, 11, 0, 15)))
    assert features[0].mean() < 0.6
    net.fc["shared"] = nn.Linear(5, 64)
    with torch.inference_mode():
        output = net(torch.ones(1, 1, 17, 21, 30))
    assert torch.equal(output.features, torch.ones(1, 5))


def test_features_of_the_cascade_ignore_the_backbones_padding(generator, images):
    """Sur-CasNet reads 24 voxels as they are: more zeros around them would change its features."""
    net = DeepMTSNet(segmentation=False, hard_sharing=False, generator=generator).eval()
    volumes = images(1, 2, 24, 24, 24)
    with torch.inference_mode():
        features = net(volumes, torch.zeros(1, 1)).features
        padded = net(functional.pad(volumes, (0, 8) * 3), torch.zeros(1, 1)).features
        alone = net.cascade(volumes)
    assert torch.equal(features, alone)
    assert not torch.allclose(features, padded, atol=1e-3)


def test_the_survival_loss_reaches_the_decoder_through_the_soft_map(generator, images):
    net = DeepMTSNet(hard_sharing=False, generator=generator)
    net(images(2, 2, 16, 16, 16), torch.zeros(2, 1)).risk.sum().backward()
    assert net.decoder.output.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_upsampling_and_its_gradient_are_torchs(layout, generator):
    coarse = torch.randn(2, 3, 2, 4, 3, generator=generator, dtype=torch.float64)
    coarse = coarse.contiguous(memory_format=layout).requires_grad_()
    stock = functional.interpolate(coarse, scale_factor=2, mode="nearest")
    ours = DoubledNearest.apply(coarse)
    assert torch.equal(ours, stock)
    weights = torch.randn(stock.shape, generator=generator, dtype=torch.float64)
    weights = weights.contiguous(memory_format=layout)
    (expected,) = torch.autograd.grad((stock * weights).sum(), coarse)
    (found,) = torch.autograd.grad((ours * weights).sum(), coarse)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=layout)


def test_the_tumour_is_channel_zero(generator, images):
    net = DeepMTSNet(generator=generator).eval()
    with torch.no_grad():
        net.decoder.output.weight.zero_()
        net.decoder.output.bias.copy_(torch.tensor([20.0, -20.0]))
        output = net(images(1, 2, 16, 16, 16), torch.zeros(1, 1))
    assert output.segmentation.min() > 0.99


def test_clinical_values_enter_the_last_layer_and_are_dropped_in_training(generator, images):
    net = DeepMTSNet(n_clinical=2, generator=generator).double().eval()
    volumes = images(2, 2, 16, 16, 16).double()
    clinical = torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    with torch.no_grad():
        difference = net(volumes, clinical).risk - net(volumes, torch.zeros(2, 2)).risk
        assert torch.allclose(difference, clinical @ net.fc_risk.weight[0, -2:])

    net.fc_risk.weight.data[0, :-2] = 0
    net.fc_risk.weight.data[0, -2:] = 1
    net.train()
    with torch.no_grad():
        seen = {round(net(volumes, torch.ones(2, 2)).risk[0].item(), 4) for _ in range(12)}
    assert seen == {0.0, 2.0, 4.0}  # each dropped with probability 1/2, kept ones doubled


def test_without_clinical_variables(generator, images):
    net = DeepMTSNet(n_clinical=0, generator=generator).eval()
    volumes = images(2, 2, 16, 16, 16)
    with torch.inference_mode():
        assert torch.equal(net(volumes).risk, net(volumes, torch.zeros(2, 0)).risk)


@pytest.mark.parametrize("name", ["seg-backbone", "sur-hs", "sur-casnet"])
def test_outputs_that_an_ablation_lacks_are_none(name, generator, images):
    net = DeepMTSNet(**ABLATIONS[name], generator=generator).eval()
    with torch.inference_mode():
        output = net(images(1, 2, 16, 16, 16), torch.zeros(1, 1))
    assert (output.segmentation is None) == (name != "seg-backbone")
    assert (output.risk is None) == (output.features is None) == (name == "seg-backbone")


def test_l2_penalty_is_the_fully_connected_kernels(generator):
    net = DeepMTSNet(generator=generator)
    kernels = [net.fc["shared"].weight, net.fc["cascade"].weight, net.fc_risk.weight]
    expected = sum(float(kernel.detach().double().square().sum()) for kernel in kernels)
    assert net.l2_penalty().item() == pytest.approx(expected, rel=1e-5)
    # The fact sheet's value at Glorot initialisation.
    assert expected == pytest.approx(84.4 + 81.5 + 2.0, rel=0.05)
    net.l2_penalty().backward()
    assert torch.allclose(net.fc_risk.weight.grad, 2 * net.fc_risk.weight)
    assert net.fc_risk.bias.grad is None
    ablation = DeepMTSNet(hard_sharing=False, cascade=False, generator=generator)
    assert ablation.l2_penalty().item() == 0


def test_keras_conventions(generator):
    net = DeepMTSNet(generator=generator)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert (module.eps, module.momentum) == (1e-3, 0.01)
        if isinstance(module, nn.Conv3d):
            fan_in = module.weight[0].numel()
            bound = (6 / fan_in) ** 0.5
            assert module.weight.abs().max() <= bound
            assert module.weight.numel() < 100 or module.weight.abs().max() > 0.9 * bound
            assert (module.bias == 0).all()
        if isinstance(module, nn.Linear):
            bound = (6 / sum(module.weight.shape)) ** 0.5
            assert module.weight.abs().max() <= bound
            assert module.weight.numel() < 100 or module.weight.abs().max() > 0.9 * bound
            assert (module.bias == 0).all()


def test_initial_weights_depend_on_the_generator_alone():
    def weights(seed):
        net = DeepMTSNet(generator=torch.Generator().manual_seed(seed))
        return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_risk_stays_float32_under_autocast(generator, images):
    net = DeepMTSNet(generator=generator).eval()
    volumes, clinical = images(2, 2, 16, 16, 16), torch.ones(2, 1)
    with torch.inference_mode():
        exact = net(volumes, clinical)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = net(volumes, clinical)
    assert low.risk.dtype == low.features.dtype == low.segmentation.dtype == torch.float32
    assert torch.allclose(low.segmentation, exact.segmentation, atol=0.05)


def test_double_precision_is_kept(generator, images):
    net = DeepMTSNet(generator=generator).double().eval()
    with torch.inference_mode():
        output = net(images(1, 2, 16, 16, 16).double(), torch.ones(1, 1))
    assert output.risk.dtype == output.segmentation.dtype == torch.float64


@pytest.mark.parametrize(
    ("shape", "clinical", "message"),
    [
        ((2, 1, 16, 16, 16), (2, 1), r"shape \(b, 2, d0, d1, d2\)"),
        ((2, 16, 16, 16), (2, 1), r"shape \(b, 2, d0, d1, d2\)"),
        ((2, 2, 16, 15, 16), (2, 1), "at least 16 voxels"),
        ((2, 2, 16, 16, 16), (2, 3), r"shape \(2, 1\); got \(2, 3\)"),
        ((2, 2, 16, 16, 16), (1, 1), r"shape \(2, 1\); got \(1, 1\)"),
        ((2, 2, 16, 16, 16), None, "n_clinical=1.*got none"),
    ],
)
def test_wrong_input_is_refused(shape, clinical, message, generator):
    net = DeepMTSNet(generator=generator).eval()
    values = None if clinical is None else torch.zeros(clinical)
    with pytest.raises(ValueError, match=message):
        net(torch.zeros(shape), values)


def test_impossible_options_are_refused(generator):
    with pytest.raises(ValueError, match="at least one of"):
        DeepMTSNet(segmentation=False, hard_sharing=False, cascade=False, generator=generator)
    with pytest.raises(ValueError, match="'residual' or 'unet'"):
        DeepMTSNet(backbone="resnet", generator=generator)
