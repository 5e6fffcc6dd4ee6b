"""Exponential moving average of the weights over the steps of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__ = ["WeightAverage"]


class WeightAverage(Callback):
    """Give the network its average weights at the end of an epoch; take them back for the next.

    Validation, other callbacks and the fitted estimator thus have the average, and the optimiser
    goes on from the weights of the last step.

    Parameters
    ----------
    module : torch.nn.Module
        On its device, in its memory layout.
    decay : float
        At step n (from 0) the average becomes d average + (1 - d) weights, where d is the smaller
        of `decay` and (1 + n) / (10 + n): the initial weights are soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        def update(averages: Any, weights: Any, n: Any) -> None:
            warm = (1 + int(n)) / (10 + int(n))
            get_ema_multi_avg_fn(min(decay, warm))(averages, weights, n)

        self._module = module
        self._other = AveragedModel(module, multi_avg_fn=update)
        self._is_exchanged = False

    def on_batch_end(self, net: NeuralNet, training: bool = False, **_: Any) -> None:
        """Take the weights of a step into the average."""
        if training:
            self._other.update_parameters(net.module_)

    def on_epoch_end(self, net: NeuralNet, **_: Any) -> None:  # noqa: ARG002
        """Give the network the average."""
        self._exchange()

    def on_epoch_begin(self, net: NeuralNet, **_: Any) -> None:  # noqa: ARG002
        """Give the network the weights of the last step."""
        if self._is_exchanged:
            self._exchange()

    def _exchange(self) -> None:
        pairs = zip(self._other.module.parameters(), self._module.parameters(), strict=True)
        for one, other in pairs:
            one.data, other.data = other.data, one.data
        self._is_exchanged = not self._is_exchanged

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights of the last step, at the end of an epoch, for a checkpoint."""
        state: dict[str, Tensor] = self._other.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of the last step from a checkpoint, whose network has the average."""
        self._other.load_state_dict(state)
        self._is_exchanged = True
