"""Networks of estimators: their weights are kept, and their layers are built anew."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from survimg.model_files.errors import ModelFileError

__all__ = ["describe_network", "has_network", "restore_network"]

# What a constructor given nonsense from a file may raise.
_NONSENSE = (
    ArithmeticError, AttributeError, IndexError, KeyError, MemoryError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


def has_network(estimator: Any) -> bool:
    """Tell whether an estimator has a trained network and can build one like it.

    That is an estimator with a method ``_build_network()``, which makes ``net_`` from the
    parameters and the other fitted attributes.
    """
    return hasattr(type(estimator), "_build_network") and "net_" in vars(estimator)


def describe_network(estimator: Any, place: str) -> dict[str, Tensor]:
    """Return the weights and statistics of an estimator's network by name.

    Raises
    ------
    ModelFileError
        The estimator cannot build this network again: its parameters were changed after the fit.
    """
    module = _module(estimator)
    again = copy.copy(estimator)
    del again.net_
    try:
        again._build_network()
    except _NONSENSE as error:
        raise ModelFileError(_not_rebuilt(place, str(error))) from error
    if _structure(_module(again)) != _structure(module):
        raise ModelFileError(_not_rebuilt(place, "other layers"))
    return dict(module.state_dict())


def restore_network(estimator: Any, states: Mapping[str, Tensor], device: str | None) -> None:
    """Build an estimator's network and give it the weights of `describe_network`.

    Parameters
    ----------
    estimator : estimator
        With parameters and fitted attributes.
    states : mapping of str to Tensor
    device : str or None
        Where the network is to compute from now on; None leaves the parameter as it is.

    Raises
    ------
    ModelFileError
        The weights are of another network, or there is no such device.
    """
    name = type(estimator).__name__
    if hasattr(estimator, "device"):
        if device is not None:
            estimator.device = device
        if str(estimator.device).startswith("cuda") and not torch.cuda.is_available():
            raise ModelFileError(
                f"This {name} has device={estimator.device!r}, and torch sees no CUDA device here; "
                "use survimg.load(folder, device='cpu')."
            )
    try:
        estimator._validate_params()
        with _no_larger_than(states):
            estimator._build_network()
    except _NONSENSE as error:
        raise ModelFileError(
            f"The network of this {name} cannot be built ({error}); the file is damaged, or of "
            "another version of survimg."
        ) from error
    module = _module(estimator)
    if _shapes(module.state_dict()) != _shapes(states):
        raise ModelFileError(
            f"The weights are not those of this {name}: "
            f"{_difference(_shapes(module.state_dict()), _shapes(states))}. The file is damaged, "
            "or of another version of survimg."
        )
    module.load_state_dict(states)


@contextlib.contextmanager
def _no_larger_than(states: Mapping[str, Tensor]) -> Iterator[None]:
    """Stop the making of a network once its weights are many more than those of the file.

    A number of a few bytes would else ask for any memory and time. Weights are counted when a layer
    registers them, before they are drawn. A constructor may make some that it drops again.
    """
    left = 4 * sum(state.numel() for state in states.values()) + 2**20
    thread = threading.get_ident()

    def count(_module: nn.Module, _name: str, weight: nn.Parameter | None) -> None:
        nonlocal left
        if weight is not None and threading.get_ident() == thread:
            left -= weight.numel()
            if left < 0:
                raise ValueError("its parameters ask for more weights than the file holds")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _module(estimator: Any) -> nn.Module:
    """Network itself: inside skorch's, or as it is."""
    return getattr(estimator.net_, "module_", estimator.net_)


def _structure(module: nn.Module) -> tuple[Any, ...]:
    # The printed form holds what weights do not: activations, strides, dropout.
    frozen = [name for name, weight in module.named_parameters() if not weight.requires_grad]
    return _shapes(module.state_dict()), repr(module), frozen


def _shapes(states: Mapping[str, Tensor]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (tuple(state.shape), str(state.dtype)) for name, state in states.items()}


def _difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    names = [n for n in sorted({*expected, *found}) if expected.get(n) != found.get(n)]
    first = names[0]
    return f"{first} is {found.get(first)}, and not {expected.get(first)}"


def _not_rebuilt(place: str, found: str) -> str:
    return (
        f"The network of {place} cannot be built again from its parameters ({found}): they were "
        "changed after the fit. Set them back, or fit again, before saving."
    )
