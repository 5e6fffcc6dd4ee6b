"""Held-out part of the training set: score after every epoch, early stopping, best weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

from survimg.training.divergence import check_finite_state

__all__ = ["HoldOut", "split_by_event"]


def split_by_event(event: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split patients at random, with the same share of events, or of each class, in both parts.

    Parameters
    ----------
    event : ndarray of shape (n,), bool or int
        Of a classifier of more than two classes: numbers of the classes.
    fraction : float
        Share of the patients in the second part.
    seed : int

    Returns
    -------
    train, held_out : ndarray of shape (n_train,) and (n_held_out,), int
        Positions, increasing.

    Raises
    ------
    ValueError
        So few patients or events that a part would be left without any.
    """
    kinds = np.unique(event)
    stratify = event if len(kinds) > 1 else None
    try:
        train, held_out = train_test_split(
            np.arange(len(event)), test_size=fraction, stratify=stratify, random_state=seed
        )
    except ValueError as error:
        raise ValueError(
            f"validation_fraction={fraction} cannot be held out of {len(event)} patients with "
            f"{np.count_nonzero(event)} events: {error} Choose another fraction, or None."
        ) from error
    for kind in kinds[kinds != 0]:
        n_train, n_held_out = (int((event[part] == kind).sum()) for part in (train, held_out))
        if not (n_train and n_held_out):
            what = "events" if event.dtype == bool else f"patients of class {kind}"
            raise ValueError(
                f"validation_fraction={fraction} leaves {n_train} {what} to train on and "
                f"{n_held_out} to validate on, of {len(event)} patients. Choose another fraction, "
                "or None."
            )
    return np.sort(train), np.sort(held_out)


class HoldOut(Callback):
    """Score the held-out patients after each epoch; keep the best weights; stop when it is time.

    skorch's own `EarlyStopping` forgets its state when training is interrupted, and stops by
    raising KeyboardInterrupt, which cannot be told from a user's.

    Parameters
    ----------
    name : str
        Column of the history.
    score : callable
        From the network in evaluation mode to a number; greater is better.
    prepare : callable
        Called with the skorch net before scoring: recalibrates batch normalisation.
    patience : int or None
        Stop after so many epochs without a better score; None never stops.
    n_before : int, default=0
        Steps after which epochs compete for the best score (`survimg.training.stages`).
    """

    def __init__(
        self,
        name: str,
        score: Callable[[nn.Module], float],
        prepare: Callable[[Any], None],
        patience: int | None,
        n_before: int = 0,
    ) -> None:
        self.n_before = n_before
        self.name = name
        self.score = score
        self.prepare = prepare
        self.patience = patience
        self.best_score = -np.inf
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}

    def on_epoch_end(self, net: NeuralNet, **_: Any) -> None:
        """Score the network as it would be returned now.

        Raises
        ------
        FloatingPointError
            Its state is not finite: the last step of the epoch has spoilt it.
        """
        self.prepare(net)
        check_finite_state(net.module_, f"at the end of epoch {len(net.history)}")
        score = float(self.score(net.module_.eval()))
        net.history.record(self.name, score)
        if net.iteration_ <= self.n_before:
            return
        epoch = len(net.history)
        if score > self.best_score:
            self.best_score, self.best_epoch = score, epoch
            state = net.module_.state_dict()
            self.best_weights = {key: value.detach().cpu().clone() for key, value in state.items()}
        elif self.patience is not None and epoch - self.best_epoch >= self.patience:
            net.stop_ = True

    def on_train_end(self, net: NeuralNet, **_: Any) -> None:
        """Return to the epoch with the best score, if one has competed for it."""
        if self.best_epoch:
            self.restore(net)

    def restore(self, net: NeuralNet) -> None:
        """Give the network the weights of the best epoch."""
        net.module_.load_state_dict(self.best_weights)
