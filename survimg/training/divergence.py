"""Trainings that diverge: back to the last state that was still good."""

from __future__ import annotations

from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

__all__ = ["LastGoodState", "check_finite_state"]


class LastGoodState(Callback):
    """Keep the network as it was at the end of the last epoch after which the loss was finite.

    The step that spoils the weights has a finite loss itself: only the loss of the next batch shows
    it. So the state at the end of an epoch counts as good once a batch of the next epoch is done.

    Attributes
    ----------
    epoch : int
        Whose state is kept; 0 for none yet.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._good: dict[str, Tensor] = {}
        self._new: tuple[int, dict[str, Tensor]] | None = None

    def on_train_begin(self, net: NeuralNet, **_: Any) -> None:
        """Take the state of a training that goes on from a checkpoint."""
        if len(net.history) > 0:
            self.on_epoch_end(net)

    def on_epoch_end(self, net: NeuralNet, **_: Any) -> None:
        """Copy the state."""
        state = net.module_.state_dict()
        copied = {name: value.detach().cpu().clone() for name, value in state.items()}
        self._new = (len(net.history), copied)

    def on_batch_end(self, net: NeuralNet, training: bool = False, **_: Any) -> None:  # noqa: ARG002
        """Count the copy as good: a loss after it was finite."""
        if training and self._new is not None:
            self.epoch, self._good = self._new
            self._new = None

    def restore(self, net: NeuralNet) -> None:
        """Put the network into that state."""
        net.module_.load_state_dict(self._good)


def check_finite_state(module: nn.Module, when: str = "in its last step") -> None:
    """Refuse a network whose weights or statistics are not finite.

    Parameters
    ----------
    module : torch.nn.Module
    when : str, default="in its last step"
        For the message.

    Raises
    ------
    FloatingPointError
        No loss has shown it: it happened in the step before.
    """
    if not all(torch.isfinite(state).all() for state in module.state_dict().values()):
        raise FloatingPointError(
            f"Training diverged {when}: weights or statistics of batch normalisation are not "
            "finite. Lower learning_rate, or set gradient_clip."
        )
