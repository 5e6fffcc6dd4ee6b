"""The single-task networks: published counts and geometry, inputs, penalties, randomness."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from survimg.nets import CNNSurvivalNet, DeepSurvNet, DenseNetSurvivalNet, DLPMNet, MDSNNet

NETS_3D = [MDSNNet, DLPMNet, DenseNetSurvivalNet]


@pytest.fixture(autouse=True)
def own_dropout_stream(global_generator_untouched):
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        yield


def n_trainable(net):
    return sum(parameter.numel() for parameter in net.parameters())


def n_running(net):
    return sum(b.numel() for name, b in net.named_buffers() if "running" in name)


def n_convolutions(net):
    return sum(isinstance(layer, nn.Conv2d | nn.Conv3d) for layer in net.modules())


@pytest.mark.parametrize(
    ("net_class", "options", "expected", "convolutions"),
    [
        (CNNSurvivalNet, {}, 148_044, 6),
        (CNNSurvivalNet, {"hidden": 0}, 56_652, 6),
        (MDSNNet, {}, 875_866, 53),
        (MDSNNet, {"stem": "isotropic"}, 873_562, 53),
        (MDSNNet, {"in_channels": 1, "n_clinical": 0}, 874_065, 53),
        (DLPMNet, {}, 248_496, 8),
        (DLPMNet, {"in_channels": 1, "n_clinical": 0}, 247_624, 8),
        (DenseNetSurvivalNet, {}, 1_025_610, 60),
    ],
)
def test_counts_of_the_fact_sheet(net_class, options, expected, convolutions, generator):
    net = net_class(**options, generator=generator)
    assert n_trainable(net) == expected
    assert n_convolutions(net) == convolutions


def test_running_statistics_of_the_fact_sheet(generator):
    assert n_running(MDSNNet(generator=generator)) == 9_376
    assert n_running(DLPMNet(generator=generator)) == 1_124
    assert n_running(DLPMNet(1, 0, generator=generator)) == 1_122


def sizes_of(net, modules, *inputs):
    sizes = []
    handles = [
        module.register_forward_hook(lambda m, i, output: sizes.append(tuple(output.shape[1:])))
        for module in modules
    ]
    with torch.inference_mode():
        net(*inputs)
    for handle in handles:
        handle.remove()
    return sizes


def test_published_geometry_of_mdsn(generator, images):
    """The 112 and 128 voxels of the fact sheet: 55, 27, 13, 6 and 42, 20, 10, 5; one axis cut."""
    net = MDSNNet(generator=generator).eval()
    sizes = sizes_of(
        net, [net.stem, *net.blocks], images(1, 2, 112, 35, 128), torch.zeros(1, 1)
    )
    assert sizes == [(24, 55, 11, 42), (72, 27, 5, 20), (112, 13, 2, 10), (272, 6, 1, 5)]


def test_published_geometry_of_dlpm(generator, images):
    """The original 50-voxel box, two axes shortened: 50, 48, 24, 12."""
    net = DLPMNet(1, 0, generator=generator).eval()
    stages = [net.stem, net.block1, net.transition1, net.block2, net.transition2, net.block3]
    sizes = sizes_of(net, stages, images(1, 1, 50, 14, 14))
    assert [size[1] for size in sizes] == [48, 48, 24, 24, 12, 12]
    assert [size[0] for size in sizes] == [32, 96, 48, 112, 48, 80]


@pytest.mark.parametrize("net_class", NETS_3D)
@pytest.mark.parametrize("size", [(16, 16, 16), (19, 33, 21), (40, 31, 24)])
@pytest.mark.parametrize("n_clinical", [0, 2])
def test_any_size_from_16_up(net_class, size, n_clinical, generator, images):
    net = net_class(n_clinical=n_clinical, generator=generator).train()
    clinical = torch.ones(2, n_clinical) if n_clinical else None
    output = net(images(2, 2, *size), clinical)
    assert output[0].shape == ((2, 6) if net_class is DLPMNet else (2,))
    assert output.features.shape == (2, net.n_features)
    output[0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("size", [(128, 128), (32, 32), (18, 40)])
@pytest.mark.parametrize("hidden", [64, 0])
def test_slices_of_any_stated_size(size, hidden, generator, images):
    net = CNNSurvivalNet(image_size=size, hidden=hidden, generator=generator).train()
    output = net(images(2, 2, *size), torch.ones(2, 1))
    assert output.logits.shape == (2, 6)
    output.logits.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    with pytest.raises(ValueError, match="built for slices of"):
        net(images(2, 2, size[0] + 1, size[1]), torch.ones(2, 1))


@pytest.mark.parametrize("net_class", [*NETS_3D, CNNSurvivalNet])
def test_clinical_values_change_the_prediction(net_class, generator, images):
    size = {"image_size": (20, 20)} if net_class is CNNSurvivalNet else {}
    net = net_class(**size, generator=generator).eval()
    nn.init.normal_(net.output.weight, generator=generator)
    pixels = images(1, 2, 20, 20) if net_class is CNNSurvivalNet else images(1, 2, 20, 20, 20)
    with torch.inference_mode():
        without, with_one = net(pixels, torch.zeros(1, 1))[0], net(pixels, torch.ones(1, 1))[0]
    assert torch.allclose(
        with_one - without, net.output.weight[:, -1].view_as(without), rtol=1e-3, atol=1e-3
    )


def test_dlpm_starts_at_a_survival_of_one_half(generator, images):
    net = DLPMNet(generator=generator)
    with torch.no_grad():
        logits = net(images(2, 2, 16, 16, 16), torch.ones(2, 1)).logits
    assert torch.equal(logits.sigmoid(), torch.full((2, 6), 0.5))


def test_l2_penalties(generator):
    dlpm = DLPMNet(generator=generator)
    dlpm.l2_penalty().backward()
    penalised = {name for name, p in dlpm.named_parameters() if p.grad is not None}
    assert penalised == {
        "stem.weight", "norm_out.weight", "norm_out.bias",
        "transition1.conv.weight", "transition1.norm.weight", "transition1.norm.bias",
        "transition2.conv.weight", "transition2.norm.weight", "transition2.norm.bias",
    }  # fmt: skip
    deepsurv = DeepSurvNet(5, generator=generator)
    deepsurv.l2_penalty().backward()
    assert {n for n, p in deepsurv.named_parameters() if p.grad is not None} == {"output.weight"}
    densenet = DenseNetSurvivalNet(generator=generator)
    expected = densenet.fc.weight.square().sum() + densenet.output.weight.square().sum()
    assert torch.isclose(densenet.l2_penalty(), expected)


@pytest.mark.parametrize("activation", ["selu", "relu"])
def test_deepsurv_is_the_perceptron_it_says(activation, generator):
    net = DeepSurvNet(3, (4, 5), activation=activation, generator=generator).double().eval()
    table = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    function = getattr(torch.nn.functional, activation)
    first, second = (layer for layer in net.hidden if isinstance(layer, nn.Linear))
    hidden = function(function(table @ first.weight.T + first.bias) @ second.weight.T + second.bias)
    output = net(table)
    assert torch.allclose(output.features, hidden)
    assert torch.allclose(output.risk, hidden @ net.output.weight[0] + net.output.bias)
    assert sum(isinstance(layer, nn.Dropout) for layer in net.hidden) == 2
    assert DeepSurvNet(3, (), generator=generator)(table.float()).features.shape == (6, 3)


@pytest.mark.parametrize("net_class", [*NETS_3D, CNNSurvivalNet, DeepSurvNet])
def test_initial_weights_depend_on_the_generator_alone(net_class):
    def weights(seed):
        arguments = (3,) if net_class is DeepSurvNet else ()
        net = net_class(*arguments, generator=torch.Generator().manual_seed(seed))
        return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("net_class", "options"),
    [
        (MDSNNet, {"dropout": 0.5}),
        (DLPMNet, {"dropout": 0.9}),
        (DenseNetSurvivalNet, {"dropout": 0.9}),
        (DenseNetSurvivalNet, {"dense_dropout": 0.5}),
        (DeepSurvNet, {"dropout": 0.5}),
    ],
)
def test_dropout_options_act_in_training_only(net_class, options, images):
    def predict(train, **changed):
        generator = torch.Generator().manual_seed(0)
        table = net_class is DeepSurvNet
        net = net_class(*((8,) if table else ()), **changed, generator=generator).train(train)
        nn.init.normal_(net.output.weight, generator=generator)
        with torch.no_grad():
            torch.random.default_generator.manual_seed(0)
            inputs = (images(4, 8),) if table else (images(2, 2, 20, 20, 20), torch.ones(2, 1))
            return net(*inputs)[0]

    assert torch.equal(predict(False), predict(False, **options))
    assert not torch.allclose(predict(True), predict(True, **options), rtol=1e-3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g: CNNSurvivalNet(image_size=(16, 40), generator=g), "at least 18"),
        (lambda g: MDSNNet(stem="cubic", generator=g), "stem must be"),
        (lambda g: DeepSurvNet(4, activation="tanh", generator=g), "activation must be"),
        (lambda g: DeepSurvNet(4, (8, 0), generator=g), "at least one unit"),
        (lambda g: DeepSurvNet(4, generator=g)(torch.zeros(2, 3)), r"shape \(b, 4\)"),
        (lambda g: DLPMNet(generator=g)(torch.zeros(1, 1, 8, 8, 8)), r"shape \(b, 2, d0"),
        (lambda g: DLPMNet(generator=g)(torch.zeros(1, 2, 8, 8, 5)), "at least 6 voxels"),
        (lambda g: MDSNNet(generator=g)(torch.zeros(1, 2, 16, 16, 15)), "at least 16 voxels"),
        (lambda g: MDSNNet(generator=g)(torch.zeros(1, 2, 16, 16, 16)), "n_clinical=1"),
    ],
)
def test_wrong_input_is_refused(build, message, generator):
    with pytest.raises(ValueError, match=message):
        build(generator)
