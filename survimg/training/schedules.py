"""Learning rates over the steps of a training."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

__all__ = ["CosineSchedule", "LearningRate", "StepSchedule", "learning_rate_callback"]


class StepSchedule:
    """Learning-rate factor of the DeepMTS paper, stretched to the length of the training.

    The paper trains for 15,000 iterations at 1e-4, from iteration 2,500 at 5e-5, from 5,000 at
    1e-5 and from 10,000 at 1e-6: factors 1, 0.5, 0.1, 0.01 from 0, 1/6, 1/3 and 2/3 of the length.

    Parameters
    ----------
    n_iterations : int
    """

    def __init__(self, n_iterations: int) -> None:
        self.n_iterations = n_iterations

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0)."""
        if 6 * iteration < self.n_iterations:
            return 1.0
        if 3 * iteration < self.n_iterations:
            return 0.5
        return 0.1 if 3 * iteration < 2 * self.n_iterations else 0.01


class CosineSchedule:
    """Learning-rate factor that falls from 1 to 0 along half a cosine.

    Parameters
    ----------
    n_iterations : int
    """

    def __init__(self, n_iterations: int) -> None:
        self.n_iterations = n_iterations

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0)."""
        return 0.5 * (1 + float(np.cos(np.pi * min(iteration / self.n_iterations, 1.0))))


class LearningRate(Callback):
    """Set the learning rate of each step from the number of steps done.

    torch's schedulers count steps themselves, which a resumed training would have to repair.

    Parameters
    ----------
    learning_rate : float
        Before any factor.
    factor : callable
        From the number of steps done.
    """

    def __init__(self, learning_rate: float, factor: Callable[[int], float]) -> None:
        self.learning_rate = learning_rate
        self.factor = factor

    def on_batch_begin(self, net: NeuralNet, training: bool = False, **_: Any) -> None:
        """Set it, before a step of the training."""
        if training:
            for group in net.optimizer_.param_groups:
                group["lr"] = self.learning_rate * self.factor(net.iteration_)


class TorchSchedule(Callback):
    """A scheduler of torch, which takes one step after each of the training.

    Parameters
    ----------
    learning_rate : float
        Before any factor.
    make : callable
        From the optimiser to the scheduler: its class, or a ``functools.partial`` of it.
    """

    def __init__(self, learning_rate: float, make: Callable[[Any], LRScheduler]) -> None:
        self.learning_rate = learning_rate
        self.make = make

    def on_train_begin(self, net: NeuralNet, **_: Any) -> None:
        """Build the scheduler; of a resumed training, bring it to where the training is."""
        for group in net.optimizer_.param_groups:
            group["lr"] = self.learning_rate
            group.pop("initial_lr", None)
        try:
            self.scheduler = self.make(net.optimizer_)
        except TypeError as error:
            name = getattr(self.make, "__name__", repr(self.make))
            raise ValueError(
                f"schedule={name} cannot be built: {error}. Give its parameters by "
                f"functools.partial, such as partial(StepLR, step_size=100)."
            ) from error
        with warnings.catch_warnings():
            # torch warns of steps of a scheduler before those of its optimiser.
            warnings.simplefilter("ignore", UserWarning)
            for _step in range(net.iteration_):
                self.scheduler.step()

    def on_batch_end(self, net: NeuralNet, training: bool = False, **_: Any) -> None:  # noqa: ARG002
        """Take a step."""
        if training:
            self.scheduler.step()


def learning_rate_callback(
    schedule: Any, learning_rate: float, n_iterations: int
) -> Callback | None:
    """Return what sets the learning rate of each step; None where it is constant.

    Parameters
    ----------
    schedule : {"step", "cosine", "constant"} or callable
        A class of ``torch.optim.lr_scheduler``, or a ``functools.partial`` of one; any other
        callable is a factor: from the share of the training that is done, from 0 to 1.
    learning_rate : float
    n_iterations : int
    """
    if schedule == "constant":
        return None
    if schedule in ("step", "cosine"):
        kind = StepSchedule if schedule == "step" else CosineSchedule
        return LearningRate(learning_rate, kind(n_iterations))
    made = schedule.func if isinstance(schedule, partial) else schedule
    if made is ReduceLROnPlateau:
        raise ValueError(
            "ReduceLROnPlateau takes a score with each step, and schedules here go by the steps "
            "alone. Use 'cosine', another class of torch.optim.lr_scheduler, or "
            "validation_fraction with patience."
        )
    if isinstance(made, type) and issubclass(made, LRScheduler):
        return TorchSchedule(learning_rate, schedule)
    return LearningRate(learning_rate, lambda iteration: float(schedule(iteration / n_iterations)))
