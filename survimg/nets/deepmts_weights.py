"""Read the weights of the published DeepMTS code (Keras 2 HDF5) into `DeepMTSNet`."""

from __future__ import annotations

import re
from os import PathLike

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from survimg.nets.deepmts import DeepMTSNet

__all__ = ["load_official_weights"]

_BATCH_NORM_ROLES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_KERNEL_ROLES = {"kernel": "weight", "bias": "bias"}

KerasLayers = dict[str, dict[str, np.ndarray]]


def load_official_weights(net: DeepMTSNet, path: str | PathLike[str]) -> None:
    """Load a weight file of the published DeepMTS code, in place.

    Layers of one kind are matched in the order in which Keras created them, which is their number
    (``conv3d``, ``conv3d_1``, ... or ``conv3d_1``, ``conv3d_2``, ..., starting anywhere); the order
    in the file follows the graph's depth and is not used. Both files of ``save_weights`` and of
    ``save`` are read, as are models nested by Keras' multi-GPU wrapper.

    Parameters
    ----------
    net : DeepMTSNet
        The complete model (segmentation, hard sharing and cascade), of either backbone, with as
        many clinical variables as the file's. Stays untouched if anything is wrong.
    path : path-like
        HDF5 file.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Not a Keras HDF5 weight file; layers missing or left over; a weight of another shape or
        not finite; `net` is an ablation.
    """
    layers = _read_keras(path)
    modules_by_kind = _creation_order(net)
    new: dict[nn.Module, dict[str, Tensor]] = {}
    for kind, modules in modules_by_kind.items():
        names = _names_of_kind(layers, kind)
        if len(names) != len(modules):
            raise ValueError(
                f"{path} holds {len(names)} layers of kind {kind}, but this DeepMTSNet "
                f"(backbone={net.backbone!r}) has {len(modules)}. Is it a weight file of the full "
                "DeepMTS model, and is `backbone` right?"
            )
        for name, module in zip(names, modules, strict=True):
            new[module] = _convert(layers[name], module, name, net, path)
    with torch.no_grad():
        for module, tensors in new.items():
            for attribute, value in tensors.items():
                getattr(module, attribute).copy_(value)


def _read_keras(path: str | PathLike[str]) -> KerasLayers:
    """Weights by layer name and role, e.g. ``{"conv3d_1": {"kernel": ..., "bias": ...}}``."""
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise FileNotFoundError(f"No weight file at {path}.") from None
    except OSError as error:
        raise ValueError(f"{path} is not a readable HDF5 file: {error}.") from error
    with file:
        root = file.get("model_weights", file)
        layer_names = _names(root, "layer_names")
        if layer_names is None:
            raise ValueError(
                f"{path} is HDF5 but not a Keras 2 weight file: it has no 'layer_names' attribute. "
                "Expected a file of Model.save_weights or Model.save in HDF5 format."
            )
        layers: KerasLayers = {}
        for layer in layer_names:
            _read_layer(root, layer, layers, path)
    return layers


def _read_layer(
    root: h5py.Group, layer: str, layers: KerasLayers, path: str | PathLike[str]
) -> None:
    weights = _names(root[layer], "weight_names") if layer in root else None
    if weights is None:
        raise ValueError(f"{path} lists the layer {layer!r} but does not hold it; is it complete?")
    owners = {name.rpartition("/")[0] for name in weights}
    for name in weights:
        owner, _, role = name.rpartition("/")
        # A wrapped model is one layer with the weights of many; TensorFlow may rename the scope of
        # a single layer's weights, so there the layer's own name counts.
        owner = layer if len(owners) == 1 else owner.rpartition("/")[2]
        if name not in root[layer]:
            raise ValueError(f"{path} lists the weight {name!r} but does not hold it.")
        layers.setdefault(owner, {})[role.partition(":")[0]] = np.asarray(root[layer][name])


def _names(group: h5py.Group, attribute: str) -> list[str] | None:
    """Names listed in an attribute of a Keras file; None if it is absent."""
    parts = [group.attrs[attribute]] if attribute in group.attrs else []
    if not parts:
        # An HDF5 attribute holds 64 kB; Keras splits longer lists into attribute0, attribute1, ...
        while (chunk := f"{attribute}{len(parts)}") in group.attrs:
            parts.append(group.attrs[chunk])
    if not parts:
        return None
    return [n.decode() if isinstance(n, bytes) else str(n) for part in parts for n in part]


def _names_of_kind(layers: KerasLayers, kind: str) -> list[str]:
    pattern = re.compile(rf"{kind}(?:_(\d+))?")
    matches = [(match, name) for name in layers if (match := pattern.fullmatch(name))]
    return [name for _, name in sorted((int(match[1] or 0), name) for match, name in matches)]


def _creation_order(net: DeepMTSNet) -> dict[str, list[nn.Module]]:
    """Modules of `net` by Keras layer kind, in the order in which Keras created the layers.

    The network's modules are declared in that order, so `modules()` lists them in it.
    """
    parts = (net.encoder, net.decoder, net.heads, net.cascade)
    if None in parts or net.cascade is None or net.fc_risk is None:
        raise ValueError(
            "Official weights belong to the complete DeepMTS; this net lacks a branch. Build it "
            "with segmentation, hard_sharing and cascade left at True."
        )
    flat = [layer for part in parts if part is not None for layer in part.modules()]
    flat.remove(net.cascade.stem)
    return {
        "conv3d": [layer for layer in flat if isinstance(layer, nn.Conv3d)],
        "batch_normalization": [layer for layer in flat if isinstance(layer, nn.BatchNorm3d)],
        "initial_conv3D": [net.cascade.stem],
        "dense": list(net.fc.values()),
        "Survival": [net.fc_risk],
    }


def _convert(
    weights: dict[str, np.ndarray],
    module: nn.Module,
    name: str,
    net: DeepMTSNet,
    path: str | PathLike[str],
) -> dict[str, Tensor]:
    """Transpose one layer's weights from Keras' to torch's axes and check them."""
    roles = _BATCH_NORM_ROLES if isinstance(module, nn.BatchNorm3d) else _KERNEL_ROLES
    if set(weights) != set(roles):
        raise ValueError(
            f"Layer {name!r} of {path} holds the weights {sorted(weights)}; expected "
            f"{sorted(roles)}."
        )
    tensors = {}
    for role, attribute in roles.items():
        value = torch.from_numpy(weights[role].astype(np.float32))
        # Keras stores (*kernel, in, out), torch (out, in, *kernel).
        value = value.movedim(-1, 0).movedim(-1, 1) if value.ndim > 1 else value
        expected = getattr(module, attribute).shape
        if value.shape != expected:
            hint = ""
            if module is net.fc_risk:
                hint = (
                    f" The file's model has {value.shape[-1] - 128} clinical variable(s): build "
                    "the net with that n_clinical."
                )
            raise ValueError(
                f"{role} of layer {name!r} in {path} has shape {tuple(value.shape)} (torch order), "
                f"but this net needs {tuple(expected)}.{hint}"
            )
        if not torch.isfinite(value).all():
            raise ValueError(f"{role} of layer {name!r} in {path} is not finite everywhere.")
        tensors[attribute] = value
    return tensors
