"""The CPU's faster layers for networks of others."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from survimg.nets.dropout import Dropout
from survimg.nets.narrow import NarrowConv3d, is_narrow
from survimg.nets.normalise import BatchNorm3d

__all__ = ["use_fast_layers"]


def use_fast_layers(net: nn.Module) -> nn.Module:
    """Replace batch normalisation, the ReLU behind it, dropout and narrow convolutions.

    Made for training on the CPU; in evaluation and on a GPU the new layers compute what torch's do.
    survimg's own networks have them from the start. Weights, names in the state dict and results
    stay the same, but for rounding and for which values dropout drops. In training, `torch.func`
    (vmap, grad) cannot look into them.

    Parameters
    ----------
    net : torch.nn.Module
        Any network, changed in place. Replaced are layers of exactly the types
        `torch.nn.BatchNorm3d`, `torch.nn.Dropout`, and `torch.nn.Conv3d` if its kernel is 3x3x3
        with padding 1, to 8 or 16 channels from a multiple of eight; a `torch.nn.ReLU` that follows
        a batch normalisation in a `torch.nn.Sequential` becomes part of it.

    Returns
    -------
    torch.nn.Module
        `net`.

    Examples
    --------
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv3d(2, 8, 3), nn.BatchNorm3d(8), nn.ReLU(), nn.Dropout(0.1))
    >>> use_fast_layers(net)[1].rectify
    True
    >>> net[2]
    Identity()
    """
    for parent in list(net.modules()):
        children = list(parent.named_children())
        for name, layer in children:
            if type(layer) is nn.BatchNorm3d:
                setattr(parent, name, _batch_norm(layer))
            elif type(layer) is nn.Dropout:
                setattr(parent, name, Dropout(layer.p, layer.inplace).train(layer.training))
            elif type(layer) is nn.Conv3d and is_narrow(layer):
                layer.__class__ = NarrowConv3d
        if isinstance(parent, nn.Sequential):
            _join_relus(parent)
    return net


def _batch_norm(layer: nn.BatchNorm3d) -> BatchNorm3d:
    """Return our layer around the same parameters, statistics and hooks."""
    exchanged = BatchNorm3d(layer.num_features, eps=layer.eps)
    exchanged.__dict__.update(layer.__dict__)
    return exchanged


def _join_relus(parent: nn.Sequential) -> None:
    names = [name for name, _ in parent.named_children()]
    for name, following in pairwise(names):
        norm, relu = parent.get_submodule(name), parent.get_submodule(following)
        if isinstance(norm, BatchNorm3d) and type(relu) is nn.ReLU:
            norm.rectify = True
            setattr(parent, following, nn.Identity())
