"""The optimiser of a fit."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from survimg.training.parameters import TrainingParameters

__all__ = ["optimizer_settings"]

# Keras' epsilon, which the published networks were trained with. One kernel for all tensors: plain
# Adam takes 6 % of a DeepMTS step on one core.
_ADAM = {"eps": 1e-7, "fused": True}


def optimizer_settings(parameters: TrainingParameters) -> dict[str, Any]:
    """Return the optimiser as skorch takes it: its class, and its parameters by prefixed name.

    Parameters
    ----------
    parameters : TrainingParameters

    Raises
    ------
    ValueError
        The optimiser does not have one of `optimizer_params`.
    """
    settings = dict(parameters.optimizer_params or {})
    cls = torch.optim.Adam if parameters.optimizer is None else parameters.optimizer
    names = set(inspect.signature(cls).parameters) - {"params", "lr"}
    if unknown := sorted(set(settings) - names):
        raise ValueError(
            f"optimizer_params={settings}: {cls.__name__} has no {', '.join(unknown)}. It has "
            f"{sorted(names)}; the learning rate is learning_rate."
        )
    if parameters.optimizer is None:
        settings = {**_ADAM, **settings}
    return {"optimizer": cls, **{f"optimizer__{name}": value for name, value in settings.items()}}
