"""A training in two stages: one term of the loss first, then the others, with it or without it."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import Callback

__all__ = ["TwoStages"]


class TwoStages(Callback):
    """Choose the terms of the loss that are minimised, from the number of steps done.

    All terms are computed and recorded in both stages. Epochs of the first stage do not compete for
    the best score of the held-out patients: what is scored is not trained yet.

    Parameters
    ----------
    first, second : collection of str
        Names of terms.
    n_first : int
        Steps of the first stage.
    """

    def __init__(self, first: Collection[str], second: Collection[str], n_first: int) -> None:
        self.first = frozenset(first)
        self.second = frozenset(second)
        self.n_first = n_first

    def on_batch_begin(self, net: NeuralNet, training: bool = False, **_: Any) -> None:
        """Set the terms, before a step of the training."""
        if training:
            net.minimised_ = self.first if net.iteration_ < self.n_first else self.second

    def on_train_end(self, net: NeuralNet, **_: Any) -> None:
        """Warn of a training that a callback has ended in its first stage."""
        if net.iteration_ <= self.n_first:
            warnings.warn(
                f"The training ended after {net.iteration_} steps, in its first stage of "
                f"{self.n_first}: only {', '.join(sorted(self.first))} was minimised, and the risk "
                "is that of random weights.",
                ConvergenceWarning,
                stacklevel=2,
            )
