"""The training loop of the deep estimators: skorch net, precision, history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, GradientNormClipping
from skorch.callbacks import PassthroughScoring as BatchMean
from torch import Tensor, nn
from tqdm.auto import tqdm

from survimg.compute.autocast import bfloat16_autocast
from survimg.compute.devices import choose_precision
from survimg.nets.transfer import train_unfrozen
from survimg.training.accumulation import backward_in_parts, parts_of
from survimg.training.batches import PatientBatches, Targets
from survimg.training.memory import within_memory
from survimg.training.objective import Objective
from survimg.training.optimizers import optimizer_settings
from survimg.training.parameters import TrainingParameters, epoch_length
from survimg.training.schedules import learning_rate_callback
from survimg.training.weight_average import WeightAverage

__all__ = [
    "TrainingNet",
    "history_frame",
    "make_training_net",
    "prediction_net",
    "recalibrate_batch_norm",
]


class TrainingNet(NeuralNet):
    """skorch net that takes its batches from `PatientBatches` and its loss from an estimator.

    Parameters
    ----------
    module : torch.nn.Module
        Network whose ``forward`` takes ``volumes`` and ``clinical``.
    criterion : type
        Unused by this net (skorch requires one); the loss is `objective`.
    objective : Objective or None
        What is minimised; None for a net that only predicts.
    precision : {"float32", "bfloat16"}
        Type that autocast computes convolutions in; weights and losses stay float32.
    micro_batch_size : int or None
        Cases that pass through the network at once; see `backward_in_parts`.
    progress_name : str or None
        Title of the progress bar over epochs; None for no bar.
    **settings
        Arguments of `skorch.NeuralNet`.

    Attributes
    ----------
    iteration_ : int
        Optimiser steps done.
    stop_ : bool
        A callback sets it to end the training after the epoch.
    estimator_ : VolumeEstimator or None
        Whose fit it is, while it trains: for callbacks.
    minimised_ : collection of str or None
        Terms of the loss that are minimised now (`TwoStages`); None for all.
    average_ : WeightAverage or None
        Of the weights, while it trains.
    make_room_ : callable or None
        Called when a step ran out of memory; True if there is more of it now.
    single_patients_ : bool
        Whether one patient alone can pass through the network (`check_normalised_sizes`).
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        objective: Objective | None,
        precision: str,
        micro_batch_size: int | None = None,
        progress_name: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(module, criterion=nn.Identity, **settings)
        self.objective = objective
        self.precision = precision
        self.micro_batch_size = micro_batch_size
        self.progress_name = progress_name
        self.iteration_ = 0
        self.stop_ = False
        self.estimator_: Any = None
        self.minimised_: Collection[str] | None = None
        self.average_: WeightAverage | None = None
        self.make_room_: Callable[[], bool] | None = None
        self.single_patients_ = True

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return []  # skorch's own print to the terminal; make_training_net names what is needed

    def train(self, batches: PatientBatches) -> None:
        """Train for the epochs that are left.

        Unlike skorch's ``fit`` and ``partial_fit`` this lets a KeyboardInterrupt through: a fit
        that was interrupted has not ended.
        """
        self.notify("on_train_begin", X=batches, y=None)
        with tqdm(
            total=self.max_epochs,
            initial=len(self.history),
            desc=self.progress_name,
            unit="epoch",
            leave=False,
            disable=self.progress_name is None,
        ) as bar:
            while len(self.history) < self.max_epochs and not self.stop_:
                self.fit_loop(batches, epochs=1)
                bar.set_postfix(loss=f"{self.history[-1, 'train_loss']:.3f}")
                bar.update()
        self.notify("on_train_end", X=batches, y=None)

    def get_iterator(
        self,
        dataset: PatientBatches,
        training: bool = False,  # noqa: ARG002
    ) -> PatientBatches:
        """Return the batches themselves: no DataLoader, whose workers cannot start inside loky."""
        return dataset

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:  # noqa: ARG002
        """Compute the gradients of one batch; frozen parts stay in evaluation mode."""
        inputs, targets = batch
        train_unfrozen(self.module_)
        gradients = partial(self._add_gradients, inputs, targets)
        loss, output = within_memory(self, len(targets.time), gradients)
        self.iteration_ += 1
        return {"loss": loss, "y_pred": output}

    def _add_gradients(
        self, inputs: Mapping[str, Tensor], targets: Targets, size: int
    ) -> tuple[Tensor, Any]:
        if size < len(targets.time):
            return backward_in_parts(
                self.infer, lambda out: self.get_loss(out, targets), inputs, size
            )
        output = self.infer(inputs)
        loss = self.get_loss(output, targets)
        loss.backward()
        return loss, output

    def infer(self, x: Mapping[str, Tensor], **fit_params: Any) -> Any:
        """Run the network under autocast.

        Raises
        ------
        ValueError
            In training, of one patient there would be a single value per channel to normalise.
        """
        volumes = x["volumes"]
        if len(volumes) == 1 and not self.single_patients_:
            raise ValueError(
                f"Of 1 patient(s) of {' x '.join(map(str, volumes.shape[2:]))} voxels a deep layer "
                "keeps one value per channel, which batch normalisation cannot average. Let more "
                "patients pass at once (micro_batch_size, batch_size), or prepare larger volumes."
            )
        with bfloat16_autocast(volumes.device, self.precision == "bfloat16"):
            if volumes.ndim == 5 and getattr(self.module_, "channels_last", True):
                volumes = volumes.contiguous(memory_format=torch.channels_last_3d)
            return self.module_(volumes, x["clinical"], **fit_params)

    def get_loss(
        self,
        y_pred: Any,
        y_true: Targets,
        X: Any = None,  # noqa: ARG002
        training: bool = False,  # noqa: ARG002
    ) -> Tensor:
        """Sum the loss terms that are minimised, and record all.

        Raises
        ------
        FloatingPointError
            The loss is not finite: training diverged.
        """
        assert self.objective is not None
        terms = self.objective(self.module_, y_pred, y_true)
        names = terms.keys() if self.minimised_ is None else terms.keys() & self.minimised_
        total = torch.stack([term for name, term in terms.items() if name in names]).sum()
        if not torch.isfinite(total):
            values = {name: float(term.detach()) for name, term in terms.items()}
            raise FloatingPointError(
                f"Training diverged in epoch {len(self.history)}: loss terms {values}. Lower "
                "learning_rate, or set gradient_clip."
            )
        for name, term in terms.items():
            self.history.record_batch(name, term.item())
        return total


def make_training_net(
    module: nn.Module,
    objective: Objective,
    parameters: TrainingParameters,
    device: torch.device,
    callbacks: Sequence[tuple[str, Callback]] = (),
) -> TrainingNet:
    """Assemble the skorch net of one fit: optimiser, schedule, clipping, history, progress.

    Parameters
    ----------
    module : torch.nn.Module
    objective : Objective
    parameters : TrainingParameters
        The estimator, whose name is the title of the progress bar.
    device : torch.device
    callbacks : sequence of (name, callback), optional
        Called after all others: validation, checkpoints.

    Returns
    -------
    TrainingNet
        Initialised; train it with ``train(PatientBatches)``.

    Raises
    ------
    ValueError
        Every parameter is frozen, or the optimiser does not have one of its parameters.
    """
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ValueError(
            "Every part of the network is frozen: nothing is left to train. Name fewer parts in "
            "frozen."
        )
    n_iterations, lr = parameters.n_iterations, parameters.learning_rate
    watching: list[tuple[str, Callback]] = [("epoch_timer", EpochTimer())]
    names = ("train_loss", *objective.term_names)
    watching += [(name, BatchMean(name, on_train=True)) for name in names]
    if (schedule := learning_rate_callback(parameters.schedule, lr, n_iterations)) is not None:
        watching.append(("learning_rate", schedule))
    if parameters.gradient_clip is not None:
        watching.append(("gradient_clip", GradientNormClipping(parameters.gradient_clip)))
    average = None
    _placed(module, device)  # before it is copied for the average, which then has the same layout
    if parameters.ema_decay is not None:
        average = WeightAverage(module, parameters.ema_decay)
        watching.append(("average", average))  # before those that look at the end of an epoch
    net = TrainingNet(
        module,
        objective=objective,
        precision=choose_precision(parameters.precision, device),
        micro_batch_size=parameters.micro_batch_size,
        progress_name=type(parameters).__name__ if parameters.verbose else None,
        **optimizer_settings(parameters),
        lr=lr,
        max_epochs=-(-n_iterations // epoch_length(parameters)),
        train_split=None,
        callbacks=[*watching, *callbacks],
        device=_name(device),
        verbose=0,
    )
    net.average_ = average
    return net.initialize()


def prediction_net(module: nn.Module, device: torch.device) -> TrainingNet:
    """Wrap a network that is not trained here: its weights come from a model file.

    Parameters
    ----------
    module : torch.nn.Module
    device : torch.device
    """
    net = TrainingNet(
        _placed(module, device),
        objective=None,
        precision="float32",  # predictions always are
        device=_name(device),
        verbose=0,
    )
    return net.initialize()


def _placed(module: nn.Module, device: torch.device) -> nn.Module:
    module.to(device)
    has_convolutions = any(isinstance(layer, nn.Conv3d) for layer in module.modules())
    if has_convolutions and getattr(module, "channels_last", True):
        module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return module


def _name(device: torch.device) -> str:
    return device.type if device.index is None else str(device)


def recalibrate_batch_norm(net: TrainingNet, batches: PatientBatches, n_batches: int) -> None:
    """Replace the running statistics of batch normalisation by averages under the final weights.

    Running averages with Keras' momentum of 0.99 still hold 22 % of their initial values after 150
    iterations, and the weights have moved meanwhile; predictions of short trainings would be
    wrong by orders of magnitude. (Wu & Johnson, Rethinking "Batch" in BatchNorm,
    arXiv:2105.07576, section 3, "precise batch norm".)

    Parameters
    ----------
    net : TrainingNet
        Trained; its weights stay as they are, and so do the statistics of frozen parts.
    batches : PatientBatches
        Drawn and augmented as in training (docs/decisions/0002 tells why augmented).
    n_batches : int
        Batches to average over.
    """
    train_unfrozen(net.module_)
    norms = [
        layer
        for layer in net.module_.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch then averages over all batches with equal weights
    with torch.no_grad():
        for _ in range(n_batches):
            inputs, targets = batches.draw()
            n_cases = len(targets.time)
            for part in parts_of(n_cases, net.micro_batch_size or n_cases):
                net.infer({name: values[part] for name, values in inputs.items()})
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def history_frame(net: TrainingNet, validation: str | None = None) -> pd.DataFrame:
    """Turn skorch's history into a table with one row per epoch.

    Parameters
    ----------
    net : TrainingNet
    validation : str, optional
        Name of the validation score.

    Returns
    -------
    DataFrame
        Columns ``epoch``, ``iteration`` (done by the end of the epoch), ``loss``, one per loss term
        (means over the epoch's batches), ``seconds``, the terms of the loss on held-out
        patients and their score if there are any, and what `MemoryRecord` keeps.
    """
    assert net.objective is not None
    names = net.objective.term_names
    rows = net.history[:, ("train_loss", *names, "dur", "train_batch_count")]
    frame = pd.DataFrame(rows, columns=["loss", *names, "seconds", "iteration"])
    frame["iteration"] = frame["iteration"].cumsum()
    frame.insert(0, "epoch", np.arange(1, len(frame) + 1))
    measured = [key for key in net.history[0] if key.startswith("validation_")]
    for name in dict.fromkeys((*measured, validation, "micro_batch_size", "seconds_waited")):
        if name is not None:
            frame[name] = net.history[:, name]
    return frame
