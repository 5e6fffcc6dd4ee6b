"""Transfer between networks: load weights by name and shape, freeze parts, read any stage."""

from __future__ import annotations

import pickle
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from survimg.nets.layers import global_average

__all__ = [
    "LoadReport",
    "freeze",
    "load_weights",
    "stage_features",
    "train_unfrozen",
    "unfreeze",
]

# Under which name training scripts put a state dict beside other things.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class LoadReport:
    """Which tensors `load_weights` copied, by name."""

    loaded: tuple[str, ...]
    """Copied: present in both under the same name and with the same shape."""

    missing: tuple[str, ...]
    """In the network only; left as they were."""

    unexpected: tuple[str, ...]
    """In the source only; ignored."""

    mismatched: tuple[str, ...]
    """In both with different shapes; left as they were."""

    def __str__(self) -> str:
        """Return one line per category that is not empty."""
        lines = [f"loaded: {len(self.loaded)} tensors"]
        for category in ("missing", "unexpected", "mismatched"):
            names = getattr(self, category)
            if names:
                more = f" and {len(names) - 5} more" if len(names) > 5 else ""
                lines.append(f"{category}: {', '.join(names[:5])}{more}")
        return "\n".join(lines)

    def warn_if_little(self) -> None:
        """Warn if less than half of the tensors were loaded that could have been.

        That is of the network's or of the source's, whichever has fewer: a backbone that goes into
        a larger network as a whole is no mistake.

        Warns
        -----
        UserWarning
        """
        shared = len(self.loaded) + len(self.mismatched)
        n_net, n_source = shared + len(self.missing), shared + len(self.unexpected)
        if 2 * len(self.loaded) < min(n_net, n_source):
            warnings.warn(
                f"Of {n_source} tensors given, {len(self.loaded)} were loaded into the network, "
                f"which has {n_net}; the others start at random.\n{self}",
                UserWarning,
                stacklevel=2,
            )


def load_weights(
    net: nn.Module,
    source: nn.Module | Mapping[str, Any] | str | PathLike[str],
    *,
    strict: bool = True,
    adapt_channels: Literal["mean", "copy"] | None = None,
) -> LoadReport:
    """Copy pretrained weights and running statistics into a network, in place.

    Parameters
    ----------
    net : torch.nn.Module
        Any network. Stays untouched if an error is raised.
    source : torch.nn.Module, mapping or path-like
        A network, its ``state_dict()``, or a file with one written by ``torch.save`` (only
        tensors are unpickled, never code) or by safetensors (by its name ``.safetensors``). The
        state dict may lie in a dictionary as ``state_dict``, ``model`` or ``model_state_dict``; a
        prefix of the network's names, such as ``module.``, is taken off.
    strict : bool, default=True
        Demand that all names and shapes agree. False copies what agrees, e.g. the encoder of a
        segmentation network into a DeepMTS; read the report.
    adapt_channels : {"mean", "copy"}, optional
        What to do with a first convolution for another number of image channels: each channel gets
        the mean of its kernels, or copies of them in turn; both are scaled so that the response to
        equal channels stays what it was. None leaves it as a mismatch, with a warning.

    Returns
    -------
    LoadReport

    Raises
    ------
    ValueError
        Names or shapes that differ (strict), nothing to copy at all (not strict), or a file
        without a state dict.
    FileNotFoundError
        No such file.
    """
    expected = net.state_dict()
    state = _without_prefix(_state_of(source), expected)
    state = _adapted(state, expected, adapt_channels, warn=not strict)
    shared = expected.keys() & state.keys()
    agrees = {name for name in shared if expected[name].shape == state[name].shape}
    report = LoadReport(
        loaded=tuple(name for name in expected if name in agrees),
        missing=tuple(name for name in expected if name not in state),
        unexpected=tuple(name for name in state if name not in expected),
        mismatched=tuple(name for name in expected if name in shared - agrees),
    )
    if strict and (report.missing or report.unexpected or report.mismatched):
        raise ValueError(
            f"The weights do not fit this {type(net).__name__}; nothing was loaded.\n{report}\n"
            "Use strict=False to load what fits."
        )
    if not report.loaded:
        raise ValueError(
            f"No tensor of the source fits this {type(net).__name__} by name and shape.\n{report}"
        )
    net.load_state_dict({name: state[name] for name in report.loaded}, strict=False)
    return report


def _without_prefix(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Take the prefix off behind which most of the network's names are, if none stands alone.

    Names beside it stay as they are: of a head, a metric, the loss of a Lightning module.
    """
    if expected.keys() & state.keys():
        return state
    cuts = ((name, i + 1) for name in state for i, letter in enumerate(name) if letter == ".")
    counts = Counter(name[:cut] for name, cut in cuts if name[cut:] in expected)
    (prefix, count), *others = counts.most_common(2) or [("", 0)]
    if others and others[0][1] == count:
        raise ValueError(
            f"The source holds {count} of the network's {len(expected)} tensors behind {prefix!r} "
            f"and as many behind {others[0][0]!r}. Save those that you mean in a file of their own."
        )
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _adapted(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    how: Literal["mean", "copy"] | None,
    warn: bool,
) -> Mapping[str, Tensor]:
    """Fit the first convolution to the number of channels of the network's."""
    first = next((name for name, value in expected.items() if value.ndim >= 4), None)
    if first is None or first not in state:
        return state
    weight, shape = state[first], expected[first].shape
    if weight.ndim != len(shape) or weight.shape[0] != shape[0] or weight.shape[2:] != shape[2:]:
        return state
    n_before, n_now = weight.shape[1], shape[1]
    if n_before == n_now or (how is None and not warn):
        return state
    if how is None:
        warnings.warn(
            f"The first convolution of the source ({first}) takes {n_before} image channel(s), and "
            f"the network's {n_now}: it keeps its initial weights. adapt_channels='mean' or 'copy' "
            "fits it to the channels.",
            UserWarning,
            stacklevel=3,
        )
        return state
    if how == "mean":
        spread = weight.mean(dim=1, keepdim=True).expand(shape)
    else:
        spread = weight[:, torch.arange(n_now) % n_before]
    return {**state, first: spread * (n_before / n_now)}


def freeze(net: nn.Module, *parts: str) -> None:
    """Exclude parts of a network from training.

    Parameters
    ----------
    net : torch.nn.Module
    *parts : str
        Names of submodules as in ``net.named_modules()``, e.g. ``"encoder"`` or
        ``"encoder.stages.0"``; none for the whole network.

    Raises
    ------
    ValueError
        A name that is no submodule of `net`.

    Notes
    -----
    Parameters stop to receive gradients. Batch normalisation and dropout of a frozen part must
    also stay in evaluation mode, or its running statistics go on drifting: call `train_unfrozen`
    where you would call ``net.train()``.
    """
    for module in list(_parts(net, parts)):
        module.requires_grad_(False)


def unfreeze(net: nn.Module, *parts: str) -> None:
    """Undo `freeze` for some parts, or for the whole network."""
    for module in list(_parts(net, parts)):
        module.requires_grad_(True)


def train_unfrozen(net: nn.Module) -> None:
    """Put a network into training mode, except for the parts whose parameters are all frozen."""
    net.train()
    if all(parameter.requires_grad for parameter in net.parameters()):
        return  # before the search below, which takes milliseconds of every step
    for module in net.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def stage_features(net: nn.Module, stage: str, *inputs: Tensor, pool: bool = True) -> Tensor:
    """Output of any stage of a network for given inputs, without gradients.

    Parameters
    ----------
    net : torch.nn.Module
        Used in the mode in which it is; call ``net.eval()`` before extracting features.
    stage : str
        Name of a submodule as in ``net.named_modules()``, e.g. ``"encoder.stages.4"``.
    *inputs : Tensor of shape (n, ...)
        What the network's ``forward`` takes.
    pool : bool, default=True
        Average over the spatial axes.

    Returns
    -------
    Tensor of shape (b, channels) if pooled, else as the stage returns it
        The first tensor of stages that return several.

    Raises
    ------
    ValueError
        No such stage, or one that does not take part in the forward pass.
    """
    (module,) = _parts(net, (stage,))
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    handle = module.register_forward_hook(keep)
    try:
        with torch.no_grad():
            net(*inputs)
    finally:
        handle.remove()
    if not seen:
        raise ValueError(
            f"The submodule {stage!r} of {type(net).__name__} is not called in its forward pass; "
            "name one of its children."
        )
    features = seen[-1]
    return global_average(features) if pool and features.ndim > 2 else features


def _parts(net: nn.Module, names: tuple[str, ...]) -> Iterator[nn.Module]:
    modules = dict(net.named_modules())
    for name in names or ("",):
        if name not in modules:
            direct = sorted(child for child, _ in net.named_children())
            raise ValueError(
                f"{type(net).__name__} has no part {name!r}; its direct parts are {direct}, and "
                "net.named_modules() lists all."
            )
        yield modules[name]


def _state_of(
    source: nn.Module | Mapping[str, Any] | str | PathLike[str],
) -> Mapping[str, Tensor]:
    if isinstance(source, nn.Module):
        return source.state_dict()
    state: Any = source if isinstance(source, Mapping) else _read(source)
    for wrapped in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapped), Mapping):
            state = state[wrapped]
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ValueError(
            "The source must be a network, a state dict (names to tensors), or a file with one "
            f"saved by torch.save(net.state_dict(), path); got {type(state).__name__}"
            + (f" with {list(state)[:8]}" if isinstance(state, Mapping) else "")
            + f". A state dict inside a dictionary is found under {', '.join(_WRAPPERS)}."
        )
    return state


def _read(path: str | PathLike[str]) -> Any:
    try:
        if str(path).endswith(".safetensors"):
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds other objects than tensors, or is damaged: code in it is not run. Save "
            "its weights in a file of their own. Where you trust it: "
            "torch.save(torch.load(path, weights_only=False)['state_dict'], 'weights.pt'), or of a "
            "whole network its .state_dict()."
        ) from error
    except (EOFError, LookupError, RuntimeError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"{path} is damaged or no file written by torch.save(net.state_dict(), path) or "
            f"safetensors ({type(error).__name__})."
        ) from error
