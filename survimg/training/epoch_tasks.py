"""The epochs of a training as scikit-learn's callbacks see them.

For users whose searches show scikit-learn's progress bar, or end fits by a callback of their own.
scikit-learn has callbacks since 1.9; with an earlier one, estimators have no ``set_callbacks``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """An estimator without callbacks."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "EpochTasks", "epoch_tasks", "with_callbacks"]


def epoch_tasks(estimator: Any) -> list[tuple[str, Callback]]:
    """Return the callback that reports to scikit-learn's callbacks, if there are any.

    Parameters
    ----------
    estimator : VolumeEstimator
    """
    return [("tasks", EpochTasks(estimator))] if hasattr(estimator, "set_callbacks") else []


class EpochTasks(Callback):
    """Tell scikit-learn's callbacks (``estimator.set_callbacks``) of a fit and of its epochs.

    A callback that returns True at the end of an epoch ends the training there. None is given a
    ``fitted_estimator``: batch normalisation would have to be recalibrated for it after every
    epoch, which draws from the random streams of the training and would change its result.

    Parameters
    ----------
    estimator : VolumeEstimator
        Whose fit it is; ``sklearn.callback.with_callbacks`` around the fit ends what begins here.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def on_train_begin(self, net: NeuralNet, **_: Any) -> None:
        """Begin the fit, of as many tasks as there are epochs left."""
        left = net.max_epochs - len(net.history)
        self.fit = self.estimator._init_callback_context(max_subtasks=left)
        self.fit.call_on_fit_task_begin(estimator=self.estimator)

    def on_epoch_begin(self, net: NeuralNet, **_: Any) -> None:  # noqa: ARG002
        """Begin an epoch."""
        self.epoch = self.fit.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(estimator=self.estimator)

    def on_epoch_end(self, net: NeuralNet, **_: Any) -> None:
        """End it, and the training if a callback wants it to end."""
        if self.epoch.call_on_fit_task_end(estimator=self.estimator):
            net.stop_ = True

    def on_train_end(self, net: NeuralNet, **_: Any) -> None:  # noqa: ARG002
        """End the fit."""
        self.fit.call_on_fit_task_end(estimator=self.estimator)
