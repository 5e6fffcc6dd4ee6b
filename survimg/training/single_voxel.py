"""Volumes so small that a stage of the network would normalise a single voxel per channel."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from survimg.nets.transfer import train_unfrozen

__all__ = ["SingleVoxelWarning", "check_normalised_sizes"]

# The edge needed by a network: cross-validations fit the same one again and again.
_EDGES: dict[str, int | None] = {}


class SingleVoxelWarning(UserWarning):
    """A stage of the network keeps one voxel per channel of volumes as small as these."""


def check_normalised_sizes(module: nn.Module, shape: Sequence[int], n_clinical: int) -> bool:
    """Look for normalisations that have a single value per channel of a patient.

    The network is run in evaluation mode on zeros, which draws no random number and changes no
    statistics. Frozen parts, which keep their statistics in training, do not count.

    Parameters
    ----------
    module : torch.nn.Module
        Left in training mode, as `train_unfrozen` puts it.
    shape : sequence of int
        Shape of the network's input for a patient: channels, then voxels along each axis.
    n_clinical : int

    Returns
    -------
    bool
        Whether a single patient can pass through the network in training. Not where batch
        normalisation has one value per channel of each, within the image or behind the pooling.

    Raises
    ------
    ValueError
        Instance normalisation has a single voxel, of which it leaves nothing.

    Warns
    -----
    SingleVoxelWarning
        Batch normalisation has a single voxel. It can then compare a patient with the others of the
        batch only; the message says from which size on it has more.
    """
    train_unfrozen(module)
    layers = {name: layer for name, layer in module.named_modules() if _normalises(layer)}
    if not layers:
        return True
    sizes = _run(module, layers, shape, n_clinical)
    single = [name for name, size in sizes.items() if size and math.prod(size) == 1]
    if single:
        edge = _edge_needed(module, layers, shape, n_clinical)
        text = (
            f"Of volumes of {' x '.join(map(str, shape[1:]))} voxels, the stage {single[0]!r}"
            f"{f' and {len(single) - 1} others' if len(single) > 1 else ''} of "
            f"{type(module).__name__} would normalise a single voxel per channel. Prepare "
            f"{'larger volumes' if edge is None else f'at least {edge} voxels along each axis'}."
        )
        if any(isinstance(layers[name], _InstanceNorm) for name in single):
            raise ValueError(f"{text} Instance normalisation leaves nothing of one voxel.")
        warnings.warn(text, SingleVoxelWarning, stacklevel=2)
    return all(
        math.prod(size) > 1 for name, size in sizes.items() if isinstance(layers[name], _BatchNorm)
    )


def _normalises(layer: nn.Module) -> bool:
    return isinstance(layer, _BatchNorm | _InstanceNorm) and layer.training


class _OneVoxelError(Exception):
    """Ends a run before torch refuses to compute instance normalisation of one voxel."""


def _run(
    module: nn.Module, layers: dict[str, nn.Module], shape: Sequence[int], n_clinical: int
) -> dict[str, tuple[int, ...]]:
    """Return the voxels of each axis that the layers are given of one patient; () behind them."""
    sizes: dict[str, tuple[int, ...]] = {}

    def note(name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        sizes[name] = tuple(inputs[0].shape[2:])
        if isinstance(layer, _InstanceNorm) and math.prod(sizes[name]) == 1:
            raise _OneVoxelError

    hooks = [
        layer.register_forward_pre_hook(partial(note, name)) for name, layer in layers.items()
    ]
    device = next(module.parameters()).device
    try:
        with torch.no_grad():
            volumes = torch.zeros(1, *shape, device=device)
            module.eval()(volumes, torch.zeros(1, n_clinical, device=device))
    except _OneVoxelError:
        pass  # the last size says so
    finally:
        for hook in hooks:
            hook.remove()
        train_unfrozen(module)
    return sizes


def _edge_needed(
    module: nn.Module, layers: dict[str, nn.Module], shape: Sequence[int], n_clinical: int
) -> int | None:
    """Return the smallest edge of cubes of which no stage sees a single voxel; None if unknown.

    A cube has two voxels left as soon as one of its axes has. So one axis is made longer at a time,
    which costs less.
    """
    plain = [
        [value for value in vars(part).values() if isinstance(value, int | float | str | tuple)]
        for part in module.modules()
    ]
    key = f"{module} {plain} {tuple(shape)}"
    if key not in _EDGES:

        def suffices(axis: int, length: int) -> bool:
            longer = [*shape[: axis + 1], length, *shape[axis + 2 :]]
            sizes = _run(module, layers, longer, n_clinical).values()
            return not any(size and math.prod(size) == 1 for size in sizes)

        try:
            _EDGES[key] = _smallest(suffices, shape[1:])
        except (RuntimeError, ValueError):  # it may be made for volumes of the given size alone
            _EDGES[key] = None
    return _EDGES[key]


def _smallest(suffices: Callable[[int, int], bool], lengths_given: Sequence[int]) -> int | None:
    edge: int | None = None
    for axis, length in enumerate(lengths_given):
        lengths = range(length, edge or 8 * length)
        position = bisect_left(lengths, True, key=partial(suffices, axis))
        if position < len(lengths):
            edge = lengths[position]
    return edge
