"""What a network of a user does with a volume: how many features, in which memory layout."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ["count_features", "takes_channels_last"]


def count_features(
    encoder: nn.Module, shape: Sequence[int], features_of: Callable[[Any], Tensor]
) -> int:
    """Pass one volume through a network in evaluation mode, and count its features.

    Parameters
    ----------
    encoder : torch.nn.Module
        Left in the mode that it is in. Lazy layers draw their weights.
    shape : sequence of int
        Of a case: channels, then voxels along each axis.
    features_of : callable
        From what the network returns to features, (b, n).

    Raises
    ------
    ValueError
        The network cannot take such a volume, returns something else than features, or cannot be
        trained or repeated: the message says why.
    ImportError
        It needs a package that is not installed.

    Warns
    -----
    UserWarning
        It has tensors that are neither parameters nor buffers.
    """
    name = type(encoder).__name__
    _check_arguments(encoder)
    _warn_of_plain_tensors(encoder)
    volume = _ramp(encoder, shape)
    training = encoder.training
    try:
        with torch.enable_grad():
            outputs = [encoder.eval()(volume.clone()) for _ in range(2)]
    except ImportError:
        raise
    except Exception as error:  # a user's own network may raise anything
        raise ValueError(
            f"{name} cannot take volumes of {shape[0]} channel(s) and "
            f"{' x '.join(map(str, shape[1:]))} voxels: {type(error).__name__}: {error}"
            f"{_hint(encoder)}"
        ) from error
    finally:
        encoder.train(training)
    features, again = map(features_of, outputs)
    if len(features) != 1 or not features.shape[1]:
        raise ValueError(f"{name} returns {tuple(features.shape)} features for one patient.")
    if not torch.isfinite(features).all():
        raise ValueError(f"{name} returns features that are not finite of a volume that is.")
    _check_weights(encoder, features)
    if not torch.allclose(features, again, rtol=1e-3, equal_nan=True):
        raise ValueError(
            f"{name} gives other features of the same volume each time, in evaluation mode too. "
            "Switch what is random off there: nn.Dropout does, functional.dropout needs "
            "training=self.training."
        )
    return features.shape[1]


def takes_channels_last(encoder: nn.Module, shape: Sequence[int]) -> bool:
    """Tell whether a network runs in the memory layout in which 3D convolutions are fastest.

    Not where its forward calls ``view`` on a map, say.

    Parameters
    ----------
    encoder : torch.nn.Module
        Its weights are in that layout afterwards if it does.
    shape : sequence of int
        Of a case.
    """
    if not any(isinstance(layer, nn.Conv3d) for layer in encoder.modules()):
        return True
    training = encoder.training
    volume = _ramp(encoder, shape).contiguous(memory_format=torch.channels_last_3d)
    try:
        with torch.no_grad():
            encoder.to(memory_format=torch.channels_last_3d).eval()(volume)  # type: ignore[call-overload]
    except RuntimeError:
        encoder.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return False
    finally:
        encoder.train(training)
    return True


def _ramp(encoder: nn.Module, shape: Sequence[int]) -> Tensor:
    """Return a volume that rises from -1 to 1: some layers leave nothing of a constant one."""
    weights = next((each for each in encoder.parameters() if not is_lazy(each)), torch.zeros(()))
    ramp = torch.linspace(-1, 1, int(torch.tensor(shape).prod()))
    return ramp.reshape(1, *shape).to(weights)


def _check_arguments(encoder: nn.Module) -> None:
    try:
        arguments = inspect.signature(encoder.forward).parameters.values()
    except (TypeError, ValueError):  # without a signature
        return
    open_kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    required = [a.name for a in arguments if a.default is a.empty and a.kind not in open_kinds]
    if len(required) > 1:
        raise ValueError(
            f"{type(encoder).__name__}.forward takes {', '.join(required)}; it is given volumes "
            "alone. Clinical columns enter the layer behind the network (clinical_path). A network "
            "that takes them itself is a subclass of survimg.estimators.deep.CoxVolumeEstimator: "
            'see "Adding a network" in CONTRIBUTING.md.'
        )


def _warn_of_plain_tensors(encoder: nn.Module) -> None:
    plain = [
        f"{key}.{attribute}".lstrip(".")
        for key, part in encoder.named_modules()
        if not part._forward_pre_hooks  # torch's old weight_norm makes such tensors anew each time
        for attribute, value in vars(part).items()
        if isinstance(value, Tensor) and value.numel()
    ]
    if plain:
        warnings.warn(
            f"{', '.join(plain[:5])} of {type(encoder).__name__} are neither parameters nor "
            "buffers: a model file does not hold them, and they stay on the CPU. Use "
            "register_buffer.",
            UserWarning,
            stacklevel=3,
        )


def _hint(encoder: nn.Module) -> str:
    if not any(isinstance(layer, nn.Conv2d) for layer in encoder.modules()):
        return ""
    return (
        ". Its layers are two-dimensional, and volumes have three axes: wrap it in a module whose "
        "forward gives it slices, such as volumes[:, :, volumes.shape[2] // 2]."
    )


def _check_weights(encoder: nn.Module, features: Tensor) -> None:
    """Refuse weights that no optimiser or model file would see, or that get no gradient."""
    name = type(encoder).__name__
    states = [*encoder.named_parameters(), *encoder.named_buffers()]
    if unused := [key for key, value in states if is_lazy(value)]:
        raise ValueError(
            f"{', '.join(unused[:5])} of {name} have no size after a volume has passed: forward "
            "does not call these lazy layers. Leave them out."
        )
    parameters = list(encoder.parameters())
    if any(each.requires_grad for each in parameters) and not features.requires_grad:
        raise ValueError(
            f"{name} returns features without a gradient, so that its weights cannot be trained "
            "(detach, no_grad, numpy?). For features of a network that is not trained, there is "
            "FrozenEncoderFeatures."
        )
    if not _leaves(features) <= set(map(id, parameters)):
        raise ValueError(
            f"{name} computes with weights that are not among its parameters: they would neither "
            "be trained nor saved. Keep layers in an nn.ModuleList, not in a list, and tensors in "
            "an nn.Parameter."
        )


def _leaves(features: Tensor) -> set[int]:
    """Return the ids of the tensors that a gradient of the features would reach."""
    leaves, nodes, waiting = set(), set(), [features.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in nodes:
            continue
        nodes.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            leaves.add(id(variable))
        waiting += [next_node for next_node, _ in node.next_functions]
    return leaves
