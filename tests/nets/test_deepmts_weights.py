"""Weight files of the published DeepMTS code: exact outputs, numbering, nesting, broken files."""

from __future__ import annotations

import re
import shutil

import h5py
import numpy as np
import pytest
import torch

from survimg.nets import DeepMTSNet, load_official_weights


@pytest.fixture(scope="module")
def official(shared_dir):
    folder = shared_dir / "reference" / "deepmts_official"
    if not folder.is_dir():
        pytest.skip(f"no official weights at {folder}")
    return folder


@pytest.fixture
def weight_file(official, tmp_path):
    copy = tmp_path / "weights.h5"
    shutil.copyfile(official / "weights.h5", copy)
    copy.chmod(0o644)
    return copy


def build(**options):
    return DeepMTSNet(generator=torch.Generator().manual_seed(5), **options).eval()


def outputs(net, official):
    stored = np.load(official / "io.npz")
    volumes = torch.from_numpy(np.stack([stored["pet"], stored["ct"]], axis=1))
    with torch.inference_mode():
        return net(volumes, torch.from_numpy(stored["clinical"])), stored


def rewrite(path, rename=lambda name: name, parent="", layer_order=sorted, edit=None):
    """Write the file again, with other layer names, another order or a parent group."""
    with h5py.File(path) as file:
        layers = {
            name: {
                weight.rpartition("/")[2]: file[name][weight][()]
                for weight in file[name].attrs["weight_names"]
            }
            for name in file.attrs["layer_names"]
        }
    if edit is not None:
        edit(layers)
    with h5py.File(path, "w") as file:
        root = file.create_group(parent) if parent else file
        names = [rename(name) for name in layer_order(layers)]
        root.attrs["layer_names"] = [name.encode() for name in names]
        for old, weights in layers.items():
            group = root.create_group(rename(old))
            full = [f"{rename(old)}/{weight}" for weight in weights]
            group.attrs["weight_names"] = [name.encode() for name in full]
            for name, value in zip(full, weights.values(), strict=True):
                group[name] = value


def numbered_from(first):
    """Keras names layers ``conv3d, conv3d_1, ...``, older ones ``conv3d_1, conv3d_2, ...``; a
    second model of one session goes on counting.
    """

    def rename(name):
        match = re.fullmatch(r"(conv3d|batch_normalization|dense)(?:_(\d+))?", name)
        return f"{match[1]}_{int(match[2] or 0) + first}" if match else name

    return rename


def test_reproduces_the_published_code(official):
    net = build()
    load_official_weights(net, official / "weights.h5")
    output, stored = outputs(net, official)
    for name in ("segmentation", "risk", "features"):
        assert np.abs(getattr(output, name).numpy() - stored[name]).max() < 1e-4


@pytest.mark.parametrize("first", [1, 99])
def test_layers_may_be_numbered_from_anywhere(first, weight_file, official):
    rewrite(weight_file, numbered_from(first))
    net = build()
    load_official_weights(net, weight_file)
    output, stored = outputs(net, official)
    assert np.abs(output.risk.numpy() - stored["risk"]).max() < 1e-4


def test_files_of_model_save_are_read(weight_file, official):
    rewrite(weight_file, parent="model_weights", layer_order=lambda layers: sorted(layers)[::-1])
    net = build()
    load_official_weights(net, weight_file)
    output, stored = outputs(net, official)
    assert np.abs(output.features.numpy() - stored["features"]).max() < 1e-4


def test_a_wrapped_multi_gpu_model_is_read(weight_file, official):
    with h5py.File(weight_file) as file:
        weights = {
            weight: file[layer][weight][()]
            for layer in file.attrs["layer_names"]
            for weight in file[layer].attrs["weight_names"]
        }
    with h5py.File(weight_file, "w") as file:
        file.attrs["layer_names"] = [b"input_1", b"model_1"]
        file.create_group("input_1").attrs["weight_names"] = []
        group = file.create_group("model_1")
        # One attribute cannot hold so many names; Keras splits it into chunks.
        names = [name.encode() for name in weights]
        half = len(names) // 2
        group.attrs["weight_names0"], group.attrs["weight_names1"] = names[:half], names[half:]
        for name, value in weights.items():
            group[name] = value
    net = build()
    load_official_weights(net, weight_file)
    output, stored = outputs(net, official)
    assert np.abs(output.risk.numpy() - stored["risk"]).max() < 1e-4


@pytest.mark.parametrize("n_clinical", [0, 4])
def test_any_number_of_clinical_variables(n_clinical, weight_file, official):
    kernel = np.random.default_rng(0).normal(size=(128 + n_clinical, 1)).astype(np.float32)
    rewrite(weight_file, edit=lambda layers: layers["Survival"].update({"kernel:0": kernel}))
    net = build(n_clinical=n_clinical)
    load_official_weights(net, weight_file)
    assert np.array_equal(net.fc_risk.weight.detach().numpy(), kernel.T)
    with pytest.raises(ValueError, match=rf"{n_clinical} clinical variable"):
        load_official_weights(build(n_clinical=1), weight_file)


def test_the_unet_backbone_reads_its_own_files(weight_file):
    """Round trip through a file laid out like the published U-net variant: no projections."""
    source, target = build(backbone="unet"), build(backbone="unet", n_clinical=1)
    kinds = dict.fromkeys(("Conv3d", "NarrowConv3d", "PointwiseConv3d"), "conv3d")
    kinds["BatchNorm3d"] = "batch_normalization"
    attributes = {
        "conv3d": {"weight": "kernel:0", "bias": "bias:0"},
        "batch_normalization": {
            "weight": "gamma:0", "bias": "beta:0",
            "running_mean": "moving_mean:0", "running_var": "moving_variance:0",
        },
    }  # fmt: skip
    generator = torch.Generator().manual_seed(9)
    counts = dict.fromkeys(kinds.values(), 0)

    def fill(layers):
        for name in [n for n in layers if n.startswith(tuple(counts))]:
            del layers[name]
        unets = [unit for s in (*source.encoder.stages, *source.decoder.stages) for unit in s.units]
        ordered = [layer for unit in unets for layer in unit] + [source.decoder.output]
        ordered += [m for stage in source.cascade.stages for m in stage.modules()]
        for module in ordered:
            kind = kinds.get(type(module).__name__)
            if kind is None:
                continue
            weights = {}
            for attribute, keras in attributes[kind].items():
                value = getattr(module, attribute).data
                value.copy_(torch.rand(value.shape, generator=generator))
                array = value.numpy()
                weights[keras] = np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array
            layers[f"{kind}_{counts[kind]}" if counts[kind] else kind] = weights
            counts[kind] += 1
        for name, module in zip(
            ("initial_conv3D", "dense", "dense_1", "Survival"),
            (source.cascade.stem, *source.fc.values(), source.fc_risk),
            strict=True,
        ):
            kernel = module.weight.detach().numpy()
            kernel = np.moveaxis(kernel, (0, 1), (-1, -2))
            layers[name] = {"kernel:0": kernel, "bias:0": module.bias.detach().numpy()}

    rewrite(weight_file, edit=fill)
    load_official_weights(target, weight_file)
    for name, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[name]), name


def drop(layer):
    def edit(layers):
        del layers[layer]

    return edit


def spoil(layer, weight, value):
    def edit(layers):
        layers[layer][weight] = value(layers[layer][weight])

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop("conv3d_97"), "97 layers of kind conv3d.*has 98"),
        (drop("Survival"), "0 layers of kind Survival"),
        (drop("batch_normalization_3"), "99 layers of kind batch_normalization"),
        (spoil("conv3d_40", "kernel:0", lambda k: k[:2]), "kernel of layer 'conv3d_40'.*shape"),
        (spoil("conv3d_9", "bias:0", lambda b: b * np.nan), "bias of layer 'conv3d_9'.*not finite"),
    ],
)
def test_broken_files_are_refused_and_leave_the_net_alone(edit, message, weight_file):
    rewrite(weight_file, edit=edit)
    net = build()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_official_weights(net, weight_file)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_files_that_are_no_weight_files(tmp_path):
    net = build()
    with pytest.raises(FileNotFoundError, match="No weight file"):
        load_official_weights(net, tmp_path / "absent.h5")
    text = tmp_path / "notes.h5"
    text.write_text("not HDF5")
    with pytest.raises(ValueError, match="not a readable HDF5 file"):
        load_official_weights(net, text)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["volume"] = np.zeros(3)
    with pytest.raises(ValueError, match="not a Keras 2 weight file"):
        load_official_weights(net, other)


def test_other_models_are_refused(official):
    with pytest.raises(ValueError, match=r"backbone='unet'\) has 78"):
        load_official_weights(build(backbone="unet"), official / "weights.h5")
    with pytest.raises(ValueError, match="lacks a branch"):
        load_official_weights(build(hard_sharing=False), official / "weights.h5")
