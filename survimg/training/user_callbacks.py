"""Callbacks that a user gives to a fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from traceback import extract_tb
from typing import Any

import skorch.history
from skorch import NeuralNet
from skorch.callbacks import Callback

__all__ = ["HistorySoFar", "UserCallback", "user_callbacks"]


class UserCallback(Callback):
    """A callback of skorch's kind, which may end the training after an epoch.

    skorch's ``EarlyStopping`` ends it by a KeyboardInterrupt. Only one that is raised at the end of
    an epoch, inside the callback, is taken as such: anywhere else it is the user's.

    Parameters
    ----------
    callback : skorch.callbacks.Callback
    """

    def __init__(self, callback: Any) -> None:
        self.callback = callback

    def initialize(self) -> UserCallback:
        """Set the callback back to its initial state."""
        self.callback.initialize()
        return self

    def on_epoch_end(self, net: NeuralNet, **known: Any) -> None:
        """Tell of the end of an epoch."""
        try:
            self.callback.on_epoch_end(net, **known)
        except KeyboardInterrupt:
            net.stop_ = True
        except KeyError as error:
            if extract_tb(error.__traceback__)[-1].filename != skorch.history.__file__:
                raise  # of something else than a row of the history
            raise ValueError(
                f"{type(self.callback).__name__} finds no {error} at the end of an epoch, whose "
                f"row has {sorted(set(net.history[-1]) - {'batches'})}. Held-out patients "
                "(validation_fraction) are scored as validation_c_index, of which more is better, "
                "or validation_auc."
            ) from error


def _forwarded(event: str) -> Callable[..., None]:
    def tell(self: UserCallback, net: NeuralNet, **known: Any) -> None:
        getattr(self.callback, event)(net, **known)

    return tell


for _event in ("on_train_begin", "on_train_end", "on_epoch_begin", "on_batch_begin",
               "on_batch_end", "on_grad_computed"):  # fmt: skip
    setattr(UserCallback, _event, _forwarded(_event))


class HistorySoFar(Callback):
    """Keep the estimator's ``history_`` up to date, for callbacks that look at it.

    Parameters
    ----------
    estimator : VolumeEstimator
    history : callable
        From the net to the table of the epochs so far.
    """

    def __init__(self, estimator: Any, history: Callable[[Any], Any]) -> None:
        self.estimator = estimator
        self.history = history

    def on_epoch_end(self, net: NeuralNet, **_: Any) -> None:
        """Set it."""
        self.estimator.history_ = self.history(net)


def user_callbacks(given: Sequence[Any] | None) -> list[tuple[str, Callback]]:
    """Return the callbacks of a fit by name.

    Parameters
    ----------
    given : sequence of skorch callbacks, or None

    Raises
    ------
    ValueError
        Something else.
    """
    for callback in given or ():
        if isinstance(callback, type) or not isinstance(callback, Callback):
            raise ValueError(
                f"callbacks takes instances of skorch.callbacks.Callback; got {callback!r}. "
                "Callbacks of scikit-learn are given by set_callbacks."
            )
    return [(f"user_{i}", UserCallback(callback)) for i, callback in enumerate(given or ())]
