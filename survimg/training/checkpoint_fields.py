"""Is a checkpoint one of this training? Each field by its meaning, before any of it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from torch import Tensor

__all__ = ["check_seed", "check_tensors", "check_values"]

_NAMES = {
    "seed", "iteration", "stop", "micro_batch_size", "history", "batches", "best_score",
    "best_epoch",
}  # fmt: skip
#: What torch's optimisers keep of each weight.
_LIKE_PARAMETER = {
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "acc_delta",
    "grad_avg", "sum",
}  # fmt: skip
_TENSORS = {"module", "optimizer", "best_weights", "last_step", "augmentation", "cpu", "cuda"}


def check_seed(values: Any) -> int:
    """Return the seed of the interrupted fit.

    Raises
    ------
    ValueError
        A field is missing, is one too many, or is no seed; the message names it.
    """
    if not isinstance(values, dict) or set(values) != _NAMES:
        raise ValueError("its fields are not those of a checkpoint")
    return _integer(values, "seed", 0, 2**63 - 1)


def check_values(values: Mapping[str, Any], net: NeuralNet, held_out: bool) -> None:
    """Check the numbers and the history.

    Parameters
    ----------
    values : mapping
        Of `check_seed`.
    net : NeuralNet
        That is to go on, initialised.
    held_out : bool
        Whether the training holds patients out.

    Raises
    ------
    ValueError
        A field is not what a training writes; the message names it.
    """
    _integer(values, "iteration", 0, 2**53)
    if not isinstance(values["stop"], bool):
        raise ValueError("stop is neither true nor false")
    size = values["micro_batch_size"]
    if size is not None:
        now = net.micro_batch_size
        _integer(values, "micro_batch_size", 1, 2**31 if now is None else now)
    history = values["history"]
    if not isinstance(history, list) or not history:
        raise ValueError("history is no list of epochs")
    for k, row in enumerate(history, start=1):
        if not isinstance(row, dict) or row.get("epoch") != k:
            raise ValueError(f"history, row {k}, is not of epoch {k}")
    if held_out:
        _integer(values, "best_epoch", 0, len(history))
        if not isinstance(values["best_score"], int | float) or math.isnan(values["best_score"]):
            raise ValueError("best_score is no number")
    elif values["best_score"] is not None or values["best_epoch"] is not None:
        raise ValueError("best_score is of a training that holds patients out")
    _check_batches(values["batches"])


def check_tensors(
    tensors: Mapping[str, Any], net: NeuralNet, held_out: bool, augmentation: torch.Generator
) -> None:
    """Check weights, the optimiser's state and random states; as `check_values`."""
    if set(tensors) != _TENSORS:
        raise ValueError("its tensors are not those of a checkpoint")
    weights = net.module_.state_dict()
    _check_like(tensors["module"], weights, "module")
    if held_out and tensors["best_weights"]:
        _check_like(tensors["best_weights"], weights, "best_weights")
    elif tensors["best_weights"] != {}:
        raise ValueError("best_weights is not empty")
    average = getattr(net, "average_", None)
    _check_like(tensors["last_step"], {} if average is None else average.state_dict(), "last_step")
    _check_optimizer(tensors["optimizer"], net)
    _check_random(tensors["augmentation"], augmentation.get_state(), "augmentation")
    _check_random(tensors["cpu"], torch.get_rng_state(), "cpu")
    cuda = tensors["cuda"]
    if not isinstance(cuda, list) or not all(isinstance(state, Tensor) for state in cuda):
        raise ValueError("cuda is no list of random states")


def _integer(values: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = values[name]
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}; it must be a whole number from {least} to {most}")
    return value


def _check_batches(state: Any) -> None:
    """NumPy checks neither the words of a state nor what is missing from it."""
    model = np.random.default_rng(0).bit_generator.state
    if not isinstance(state, dict) or set(state) != set(model):
        raise ValueError("batches is no state of a random number generator")
    words = state["state"]
    good = (
        state["bit_generator"] == model["bit_generator"]
        and isinstance(words, dict) and set(words) == set(model["state"])
        and all(type(word) is int and 0 <= word < 2**128 for word in words.values())
        and type(state["has_uint32"]) is int and state["has_uint32"] in (0, 1)
        and type(state["uinteger"]) is int and 0 <= state["uinteger"] < 2**32
    )  # fmt: skip
    if not good:
        raise ValueError("batches is no state of a random number generator")


def _check_like(found: Any, expected: Mapping[str, Tensor], where: str) -> None:
    if not isinstance(found, Mapping) or set(found) != set(expected):
        raise ValueError(f"{where} is of another network")
    for name, tensor in expected.items():
        value = found[name]
        if (
            not isinstance(value, Tensor) or value.shape != tensor.shape
            or value.dtype != tensor.dtype or value.layout != tensor.layout
        ):  # fmt: skip
            raise ValueError(f"{where}, {name}, is of another network")
        if not torch.isfinite(value).all():
            raise ValueError(f"{where}, {name}, holds values that are not finite")


def _check_optimizer(state: Any, net: NeuralNet) -> None:
    expected = net.optimizer_.state_dict()
    if not isinstance(state, dict) or set(state) != set(expected):
        raise ValueError("optimizer is no state of an optimiser")
    groups, own_groups = state["param_groups"], expected["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(own_groups):
        raise ValueError("optimizer, param_groups, is of another optimiser")
    for group, mine in zip(groups, own_groups, strict=True):
        if not isinstance(group, dict) or set(mine) - set(group):
            raise ValueError("optimizer, param_groups, is of another optimiser")
        for name, value in mine.items():
            _check_setting(name, group[name], value)
    parameters = [p for group in net.optimizer_.param_groups for p in group["params"]]
    states = state["state"]
    if not isinstance(states, dict) or not set(states) <= set(range(len(parameters))):
        raise ValueError("optimizer, state, is of another network")
    for k, values in states.items():
        if not isinstance(values, dict):
            raise ValueError(f"optimizer, state {k}, is no state of a parameter")
        for name, value in values.items():
            _check_moment(f"optimizer, {name} of parameter {k},", name, value, parameters[k])


def _check_setting(name: str, found: Any, expected: Any) -> None:
    """Schedules change numbers; nothing else changes in a training."""
    numbers = isinstance(expected, int | float) and not isinstance(expected, bool)
    if numbers and not isinstance(expected, Tensor):
        good = isinstance(found, int | float) and math.isfinite(found)
    else:
        good = type(found) is type(expected)
    if not good or (name == "params" and found != expected):
        raise ValueError(f"optimizer, {name}, is {found!r}")


def _check_moment(where: str, name: str, value: Any, parameter: Tensor) -> None:
    if isinstance(value, Tensor):
        if name in _LIKE_PARAMETER and value.shape != parameter.shape:
            raise ValueError(f"{where} has the shape {tuple(value.shape)}")
        if not torch.isfinite(value).all():
            raise ValueError(f"{where} holds values that are not finite")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is not finite")


def _check_random(state: Any, model: Tensor, where: str) -> None:
    if not isinstance(state, Tensor) or state.dtype != model.dtype or state.shape != model.shape:
        raise ValueError(f"{where} is no state of a random number generator")
