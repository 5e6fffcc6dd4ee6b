"""Transfer between networks: load weights by name and shape, freeze parts, read any stage."""

from __future__ import annotations

import pickle
import warnings
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
        n_own, n_given = shared + len(self.missing), shared + len(self.unexpected)
        if 2 * len(self.loaded) < min(n_own, n_given):
            warnings.warn(
                f"Of {n_given} tensors given, {len(self.loaded)} were loaded into the network, "
                f"which has {n_own}; the others start at random.\n{self}",
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
        prefix of all names, such as ``module.``, is taken off.
    strict : bool, default=True
        Demand that all names and shapes agree. False copies what agrees, e.g. the encoder of a
        segmentation network into a DeepMTS; read the report.
    adapt_channels : {"mean", "copy"}, optional
        What to do with a first convolution for another number of image channels: each channel gets
        the mean of its kernels, or copies of them in turn; both are scaled so that the response to
        equal channels stays what it was. None leaves it as a mismatch.

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
    own = net.state_dict()
    state = _adapted(_without_prefix(_state_of(source), own), own, adapt_channels)
    shared = own.keys() & state.keys()
    agrees = {name for name in shared if own[name].shape == state[name].shape}
    report = LoadReport(
        loaded=tuple(name for name in own if name in agrees),
        missing=tuple(name for name in own if name not in state),
        unexpected=tuple(name for name in state if name not in own),
        mismatched=tuple(name for name in own if name in shared - agrees),
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


def _without_prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Take off the first part of all names while none of them is one of the network's."""
    while state and not own.keys() & state.keys():
        first = {name.partition(".")[0] for name in state}
        if len(first) > 1 or not all("." in name for name in state):
            break
        state = {name.partition(".")[2]: value for name, value in state.items()}
    return state


def _adapted(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], how: Literal["mean", "copy"] | None
) -> Mapping[str, Tensor]:
    """Fit the first convolution to the number of channels of the network's."""
    first = next((name for name, value in own.items() if value.ndim >= 4), None)
    if how is None or first is None or first not in state:
        return state
    weight, shape = state[first], own[first].shape
    if weight.ndim != len(shape) or weight.shape[0] != shape[0] or weight.shape[2:] != shape[2:]:
        return state
    n_before, n_now = weight.shape[1], shape[1]
    if how == "mean":
        spread = weight.mean(dim=1, keepdim=True).expand(shape)
    else:
        spread = weight[:, torch.arange(n_now) % n_before]
    return {**state, first: spread * (n_before / n_now)} if n_before != n_now else state


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
            f"saved by torch.save(net.state_dict(), path); got {type(state).__name__}."
        )
    return state


def _read(path: str | PathLike[str]) -> Any:
    try:
        if str(path).endswith(".safetensors"):
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (
        EOFError, LookupError, RuntimeError, ValueError, pickle.UnpicklingError, SafetensorError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"{path} is damaged or no file written by torch.save(net.state_dict(), path) or "
            f"safetensors ({type(error).__name__})."
        ) from error
