"""Transfer: loading by name and shape, freezing, features of any stage."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from survimg.nets import (
    DeepMTSNet,
    DeepSurvNet,
    DLPMNet,
    freeze,
    initialise,
    load_weights,
    stage_features,
    train_unfrozen,
    unfreeze,
)
from survimg.nets.layers import conv3d, linear


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def copy_of_state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("kind", ["network", "state", "file"])
def test_everything_fits(kind, tmp_path):
    source, target = DeepSurvNet(4, generator=seeded(1)), DeepSurvNet(4, generator=seeded(2))
    sources = {"network": source, "state": source.state_dict(), "file": tmp_path / "net.pt"}
    torch.save(source.state_dict(), tmp_path / "net.pt")
    report = load_weights(target, sources[kind])
    assert set(report.loaded) == set(source.state_dict())
    assert report.missing == report.unexpected == report.mismatched == ()
    for name, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[name])


def test_strict_refuses_and_leaves_the_network_alone():
    target = DeepSurvNet(4, (8, 8), generator=seeded(1))
    before = copy_of_state(target)
    with pytest.raises(ValueError, match=r"(?s)nothing was loaded.*mismatched: hidden.0.weight"):
        load_weights(target, DeepSurvNet(5, (8, 8), generator=seeded(2)))
    with pytest.raises(ValueError, match="missing: hidden.3.weight"):
        load_weights(target, DeepSurvNet(4, (8,), generator=seeded(2)))
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_a_segmentation_networks_backbone_goes_into_a_full_model():
    source = DeepMTSNet(hard_sharing=False, cascade=False, generator=seeded(1))
    target = DeepMTSNet(n_clinical=3, generator=seeded(2))
    before = copy_of_state(target)
    report = load_weights(target, source, strict=False)
    assert set(report.loaded) == set(source.state_dict())
    assert report.unexpected == ()
    assert {name.split(".")[0] for name in report.missing} == {"heads", "cascade", "fc", "fc_risk"}
    state = target.state_dict()
    assert all(torch.equal(state[name], source.state_dict()[name]) for name in report.loaded)
    assert all(torch.equal(state[name], before[name]) for name in report.missing)


def test_shapes_that_differ_are_reported_and_skipped():
    source, target = DLPMNet(1, generator=seeded(1)), DLPMNet(2, generator=seeded(2))
    with pytest.warns(UserWarning, match=r"\(stem\.weight\) takes 1 image chan.*adapt_channels"):
        report = load_weights(target, source, strict=False)
    assert "stem.weight" in report.mismatched
    assert "block1.0.conv.weight" in report.loaded
    assert "mismatched: norm_in.weight" in str(report)


def test_sources_without_anything_to_load_are_refused(tmp_path):
    net = DeepSurvNet(4, generator=seeded(1))
    with pytest.raises(ValueError, match="No tensor of the source fits"):
        load_weights(net, {"other": torch.zeros(2)}, strict=False)
    torch.save({"epoch": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="must be a network, a state dict"):
        load_weights(net, tmp_path / "checkpoint.pt")
    with pytest.raises(FileNotFoundError):
        load_weights(net, tmp_path / "absent.pt")


@pytest.mark.parametrize("damage", ["text", "empty", "pickle", "cut", "module"])
def test_files_that_hold_no_weights_are_refused(damage, tmp_path):
    net, path = DeepSurvNet(4, generator=seeded(1)), tmp_path / "weights.pt"
    torch.save(net.state_dict(), path)
    whole = path.read_bytes()
    if damage == "module":
        torch.save(net, path)
    else:
        pickled = pickle.dumps({"a": 1}, protocol=2)
        found = {"text": b"epoch,loss\n", "empty": b"", "pickle": pickled, "cut": whole[:900]}
        path.write_bytes(found[damage])
    with pytest.raises(ValueError, match=r"weights\.pt is damaged|a state dict|other objects"):
        load_weights(net, path)


def small_step(net, volumes):
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    nn.init.normal_(net.output.weight, generator=seeded(3))
    train_unfrozen(net)
    with torch.random.fork_rng(devices=[]):  # dropout draws from torch's generator
        net(volumes, torch.ones(len(volumes), 1)).logits.square().mean().backward()
    optimiser.step()


def test_frozen_parts_keep_weights_and_running_statistics(images):
    net = DLPMNet(generator=seeded(1))
    freeze(net, "norm_in", "stem", "block1")
    before = copy_of_state(net)
    small_step(net, images(2, 2, 12, 12, 12))
    changed = {
        name.split(".")[0]
        for name, value in net.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed.isdisjoint({"norm_in", "stem", "block1"})
    assert changed >= {"block2", "transition1", "output"}
    assert not net.block1.training
    assert net.block2.training

    unfreeze(net, "block1")
    before = copy_of_state(net)
    small_step(net, images(2, 2, 12, 12, 12))
    assert not torch.equal(net.state_dict()["block1.0.conv.weight"], before["block1.0.conv.weight"])
    assert not torch.equal(
        net.state_dict()["block1.0.norm.running_mean"], before["block1.0.norm.running_mean"]
    )
    assert torch.equal(net.state_dict()["stem.weight"], before["stem.weight"])


def test_the_whole_network_can_be_frozen_and_unfrozen():
    net = DLPMNet(generator=seeded(1))
    freeze(net)
    train_unfrozen(net)
    assert not any(p.requires_grad for p in net.parameters())
    assert not net.training
    unfreeze(net)
    train_unfrozen(net)
    assert all(p.requires_grad for p in net.parameters())
    assert all(module.training for module in net.modules())


def test_features_of_any_stage(images):
    net = DeepMTSNet(generator=seeded(1)).eval()
    inputs = (images(2, 2, 16, 16, 16), torch.zeros(2, 1))
    last = stage_features(net, "encoder.stages.4", *inputs, pool=False)
    assert last.shape == (2, 128, 1, 1, 1)
    assert not last.requires_grad
    assert torch.equal(stage_features(net, "encoder.stages.4", *inputs), last.mean((2, 3, 4)))
    cascade = stage_features(net, "cascade", *inputs)
    with torch.no_grad():
        assert torch.equal(cascade, net(*inputs).features[:, 124:])
    assert stage_features(net, "cascade.stages.1", *inputs).shape == (2, 32)
    assert not net.cascade._forward_hooks


def test_unknown_parts_are_named():
    net = DLPMNet(generator=seeded(1))
    with pytest.raises(ValueError, match=r"no part 'encoder'.*block1"):
        freeze(net, "encoder")
    deepmts = DeepMTSNet(generator=seeded(1)).eval()
    with pytest.raises(ValueError, match="not called in its forward pass"):
        stage_features(
            deepmts, "encoder.stages", torch.zeros(1, 2, 16, 16, 16), torch.zeros(1, 1)
        )


@pytest.mark.parametrize("wrap", ["state_dict", "model", "both", "prefix"])
def test_weights_are_found_inside_what_training_scripts_write(wrap, tmp_path):
    source, target = DeepSurvNet(4, generator=seeded(1)), DeepSurvNet(4, generator=seeded(2))
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    content = {
        "state_dict": {"epoch": 3, "state_dict": state},
        "model": {"model": state, "optimizer": {"lr": 0.1}},
        "both": {"state_dict": {f"net.{name}": value for name, value in state.items()}},
        "prefix": state,
    }
    torch.save(content[wrap], tmp_path / "net.pth")
    report = load_weights(target, tmp_path / "net.pth")
    assert set(report.loaded) == set(source.state_dict())
    for name, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[name])


@pytest.mark.parametrize("prefix", ["model.", "model.net.", "module.", "encoder."])
def test_names_beside_the_networks_do_not_hide_its_prefix(prefix, tmp_path):
    """A Lightning module's loss, an averaged model's count, the head behind an encoder."""
    source, target = DeepSurvNet(4, generator=seeded(1)), DeepSurvNet(4, generator=seeded(2))
    state = {f"{prefix}{name}": value for name, value in source.state_dict().items()}
    content = {"state_dict": {**state, "loss.weight": torch.ones(2), "n_averaged": torch.ones(())}}
    torch.save(content, tmp_path / "net.ckpt")
    report = load_weights(target, tmp_path / "net.ckpt", strict=False)
    assert set(report.loaded) == set(source.state_dict())
    assert report.unexpected == ("loss.weight", "n_averaged")
    assert torch.equal(next(source.parameters()), next(target.parameters()))


def test_two_copies_of_the_network_are_not_chosen_between():
    net = DeepSurvNet(4, generator=seeded(1))
    state = net.state_dict().items()
    twice = {f"{copy}.{name}": value for copy in ("student", "teacher") for name, value in state}
    with pytest.raises(ValueError, match=r"behind 'student\.' and as many behind 'teacher\.'"):
        load_weights(net, twice, strict=False)


def test_files_with_other_objects_and_unknown_dictionaries_are_refused_in_words(tmp_path):
    net = DeepSurvNet(4, generator=seeded(1))
    content = {"state_dict": net.state_dict(), "hyper_parameters": Path("x")}
    torch.save(content, tmp_path / "net.ckpt")
    with pytest.raises(ValueError, match=r"other objects than tensors.*\['state_dict'\]"):
        load_weights(net, tmp_path / "net.ckpt")
    with pytest.raises(ValueError, match=r"dict with \['model_ema', 'epoch'\].*found under state"):
        load_weights(net, {"model_ema": net.state_dict(), "epoch": 3})


def test_safetensors(tmp_path):
    source, target = DeepSurvNet(4, generator=seeded(1)), DeepSurvNet(4, generator=seeded(2))
    save_file(source.state_dict(), tmp_path / "net.safetensors")
    load_weights(target, tmp_path / "net.safetensors")
    assert torch.equal(next(source.parameters()), next(target.parameters()))
    (tmp_path / "net.safetensors").write_bytes(b"not one")
    with pytest.raises(ValueError, match="is damaged or no file"):
        load_weights(target, tmp_path / "net.safetensors")


@pytest.mark.parametrize("how", ["mean", "copy"])
@pytest.mark.parametrize(("n_before", "n_now"), [(1, 3), (3, 2), (2, 5)])
def test_a_first_convolution_is_adapted(how, n_before, n_now):
    source, target = (
        nn.Sequential(conv3d(n, 4, 3), conv3d(4, 2, 1)) for n in (n_before, n_now)
    )
    for net in (source, target):
        initialise(net, seeded(n_now))
    report = load_weights(target, source, adapt_channels=how)
    assert len(report.loaded) == 4
    # Channels that are all alike give what they gave before.
    volume = torch.randn(1, 1, 5, 5, 5, generator=seeded(0))
    expected = source(volume.expand(-1, n_before, -1, -1, -1))
    if how == "mean" or n_now % n_before == 0:
        torch.testing.assert_close(target(volume.expand(-1, n_now, -1, -1, -1)), expected)
    kernels = target[0].weight
    if how == "mean":
        assert torch.equal(kernels[:, 0], kernels[:, -1])
    else:
        torch.testing.assert_close(kernels[:, 0] * n_now, source[0].weight[:, 0] * n_before)
    with pytest.raises(ValueError, match=r"mismatched: 0\.weight"):
        load_weights(target, source)


def test_a_warning_says_when_little_was_loaded():
    net = nn.Sequential(linear(2, 2), linear(2, 2))
    half = {"0.weight": torch.zeros(2, 2), "0.bias": torch.zeros(2)}
    load_weights(net, half, strict=False).warn_if_little()
    load_weights(net, {"0.bias": torch.zeros(2)}, strict=False).warn_if_little()  # all of it
    others = {f"other.{k}": torch.zeros(2) for k in range(2)}
    with pytest.warns(UserWarning, match="Of 3 tensors given, 1 were loaded .* which has 4"):
        load_weights(net, {"0.bias": torch.zeros(2), **others}, strict=False).warn_if_little()
