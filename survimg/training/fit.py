"""One fit of a network: its plan and its training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback
from torch import nn

from survimg.compute.device_slots import DeviceSlot
from survimg.compute.devices import RandomStreams
from survimg.training.batches import Augment, BatchSampler, PatientBatches, Patients
from survimg.training.checkpoints import Checkpoint, CheckpointWriter
from survimg.training.divergence import LastGoodState, check_finite_state
from survimg.training.engine import (
    TrainingNet,
    history_frame,
    make_training_net,
    recalibrate_batch_norm,
)
from survimg.training.holdout import HoldOut
from survimg.training.memory import MemoryRecord
from survimg.training.objective import Objective
from survimg.training.parameters import TrainingParameters, epoch_length
from survimg.training.resident import resident_if_they_fit
from survimg.training.single_voxel import check_normalised_sizes
from survimg.training.stages import TwoStages
from survimg.training.user_callbacks import HistorySoFar

__all__ = ["Plan", "Training"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of a fit, before its device is taken.

    Parameters
    ----------
    patients, held_out : Patients
        Patients who train the network, and those who validate it (possibly none).
    objective : Objective
    device : torch.device
        As asked for; ``cuda`` without an index stands for any GPU.
    seed : int
    streams : RandomStreams
        From the seed.
    checkpoint : Checkpoint or None
        Of the same fit, if it was interrupted.
    """

    patients: Patients
    held_out: Patients
    objective: Objective
    device: torch.device
    seed: int
    streams: RandomStreams
    checkpoint: Checkpoint | None


class Training:
    """A network on its device, with batches and callbacks.

    Parameters
    ----------
    plan : Plan
    module : torch.nn.Module
        With its initial weights.
    parameters : TrainingParameters
    device : torch.device
    slot : DeviceSlot
        Which the fit holds.
    augment : callable or None
    validation : (str, callable, callback) or None
        Name and function of the score of the held-out patients, and the callback that keeps their
        losses.
    callbacks : sequence of (name, callback)
        Called after each epoch, before the checkpoint is written.
    stages : TwoStages or None
        Which terms of the loss are minimised when; None for all, always.
    estimator : VolumeEstimator
        Whose fit it is; its ``history_`` is kept up to date for the callbacks.

    Attributes
    ----------
    net : TrainingNet
    hold_out : HoldOut or None
    """

    def __init__(
        self,
        plan: Plan,
        module: nn.Module,
        parameters: TrainingParameters,
        device: torch.device,
        slot: DeviceSlot,
        *,
        augment: Augment | None,
        validation: tuple[str, Callable[[nn.Module], float], Callback] | None,
        callbacks: Sequence[tuple[str, Callback]],
        stages: TwoStages | None,
        estimator: Any,
    ) -> None:
        self._parameters = parameters
        self._last_good = LastGoodState()
        self.hold_out = None
        if validation is not None:
            name, score, losses = validation
            n_before = 0 if stages is None else stages.n_first
            self.hold_out = HoldOut(name, score, self._recalibrate, parameters.patience, n_before)
        self._batches = PatientBatches(
            resident_if_they_fit(plan.patients, device),
            device,
            BatchSampler(
                plan.patients.event,
                parameters.batch_size,
                parameters.balanced,
                plan.streams.batches,
            ),
            parameters.n_iterations,
            epoch_length(parameters),
            augment,
        )
        watching: list[tuple[str, Callback]] = [
            ("memory", MemoryRecord(slot, parameters.batch_size)),
            ("last_good", self._last_good),
            ("history_so_far", HistorySoFar(estimator, self.history)),
            *([] if stages is None else [("stages", stages)]),
            *callbacks,
        ]
        if self.hold_out is not None:
            watching[:0] = [("hold_out", self.hold_out), ("held_out_losses", losses)]
        if plan.checkpoint is not None:
            writer = CheckpointWriter(
                plan.checkpoint,
                plan.streams,
                plan.seed,
                self.hold_out,
                parameters.checkpoint_every,
            )
            watching.append(("checkpoint", writer))
        self.net = make_training_net(module, plan.objective, parameters, device, watching)
        self.net.make_room_ = slot.take_whole_device
        self.net.estimator_ = estimator
        patients = plan.patients
        self.net.single_patients_ = check_normalised_sizes(
            module, patients.view(patients.cohort, 0).shape, patients.clinical.shape[1]
        )
        if plan.checkpoint is not None:
            plan.checkpoint.restore(self.net, plan.streams, self.hold_out)
            self._batches.n_done = self.net.iteration_

    def history(self, net: TrainingNet) -> pd.DataFrame:
        """Return one row per epoch that has ended."""
        return history_frame(net, self.hold_out.name if self.hold_out else None)

    def run(self) -> None:
        """Train to the end, or to the last good epoch of a training that diverges.

        Raises
        ------
        FloatingPointError
            The training diverged before the first good epoch.
        """
        try:
            self.net.train(self._batches)
            self._finish()
        except FloatingPointError as error:
            self._take_back(error)
            self._finish()

    def _finish(self) -> None:
        if self.hold_out is None:
            self._recalibrate(self.net)
        check_finite_state(self.net.module_)

    def _recalibrate(self, net: TrainingNet) -> None:
        n_batches = min(self._parameters.batch_norm_batches, self._parameters.n_iterations)
        recalibrate_batch_norm(net, self._batches, n_batches)

    def _take_back(self, error: FloatingPointError) -> None:
        """Return to the last good state, and say so.

        With held-out patients that is the best epoch so far, as at the end of any training. An
        epoch that was scored is good: its state is finite.
        """
        epoch = self._last_good.epoch if self.hold_out is None else self.hold_out.best_epoch
        if epoch == 0:
            raise error
        del self.net.history[max(self._last_good.epoch, epoch) :]
        (self._last_good if self.hold_out is None else self.hold_out).restore(self.net)
        warnings.warn(
            f"{error} The training ended there, and the network of epoch {epoch} is used.",
            ConvergenceWarning,
            stacklevel=2,
        )
