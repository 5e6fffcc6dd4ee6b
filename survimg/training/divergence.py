"""Trainings that diverge: back to the last state that was still good."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

if TYPE_CHECKING:
    from survimg.training.holdout import HoldOut

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

    def take_back(
        self, net: NeuralNet, hold_out: HoldOut | None, error: FloatingPointError
    ) -> None:
        """Put a diverged network into its last good state, and say so.

        Parameters
        ----------
        net : NeuralNet
            Its history then ends with the epoch of that state.
        hold_out : HoldOut or None
            With held-out patients, the weights are those of the best epoch so far, as they would
            be at the end of any training. An epoch that was scored is good: its state is finite.
        error : FloatingPointError
            Says when the training diverged.

        Raises
        ------
        FloatingPointError
            `error`, if no state was ever good.

        Warns
        -----
        ConvergenceWarning
        """
        kept = self.epoch if hold_out is None else hold_out.best_epoch
        if kept == 0:
            raise error
        del net.history[max(self.epoch, kept) :]
        if hold_out is not None:
            hold_out.on_train_end(net)
        else:
            net.module_.load_state_dict(self._good)
        warnings.warn(
            f"{error} The training ended there, and the network of epoch {kept} is kept.",
            ConvergenceWarning,
            stacklevel=2,
        )


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
