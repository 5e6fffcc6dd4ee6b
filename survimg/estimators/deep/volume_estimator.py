"""The part of fit and predict that all estimators over volumes share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from skorch.callbacks import Callback
from torch import Tensor, nn

from survimg.cohort import Cohort
from survimg.compute.devices import (
    OneDNNForSingleCases,
    RandomStreams,
    choose_device,
    isolated_torch,
    slot_on,
)
from survimg.nets.transfer import freeze, load_weights
from survimg.preprocessing.agreement import check_preparation, preparation_of
from survimg.training.augment import TransformedCases, rigid
from survimg.training.batches import Augment, Patients
from survimg.training.checkpoints import Checkpoint, fit_key
from survimg.training.engine import TrainingNet, prediction_net
from survimg.training.epoch_tasks import CallbackSupportMixin, epoch_tasks, with_callbacks
from survimg.training.fit import Plan, Training
from survimg.training.held_out_losses import HeldOutLosses
from survimg.training.holdout import split_by_event
from survimg.training.objective import Objective
from survimg.training.parameters import TrainingParameters
from survimg.training.stages import TwoStages
from survimg.training.user_callbacks import user_callbacks
from survimg.training.views import View, whole_volume

__all__ = ["VolumeEstimator"]


@dataclass(kw_only=True, eq=False, repr=False)
class VolumeEstimator(TrainingParameters, CallbackSupportMixin, BaseEstimator):
    """Base of the estimators that train a network on volumes.

    A subclass names its network (`_net`), or builds it (`_make_module`), and its objective, and
    says how validation is scored; random state, devices, batches, augmentation, validation and
    checkpoints are here.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained network is ``net_.module_``.
    history_ : DataFrame
        One row per epoch: losses, seconds and the validation score; ``micro_batch_size`` (patients
        that passed through the network at once, halved when memory was short) and
        ``seconds_waited`` (for a slot of the device, `survimg.compute.device_slots`).
    best_epoch_ : int
        Epoch whose weights were kept; only with `validation_fraction`.
    load_report_ : survimg.nets.transfer.LoadReport
        What was taken from `initial_weights`; only if given.
    precision_ : {"float32", "bfloat16"}
        Type in which the convolutions were trained: what ``precision="auto"`` came to.
    channel_names_in_ : tuple of str
    n_channels_in_ : int
    volume_shape_in_ : tuple of int
        Size of the training volumes; other sizes can be predicted too.
    preparation_in_ : dict or None
        How the training cohort was prepared (spacing, crop, normalisation, ...); None where it does
        not say. A cohort that was prepared otherwise is refused.
    """

    #: Class of the network; those of its arguments that are parameters here are handed on.
    _net: ClassVar[Any]

    def _make_module(
        self, n_channels: int, n_clinical: int, generator: torch.Generator
    ) -> nn.Module:
        """Build the network with initial weights drawn from `generator`."""
        options = self._net_options()
        module: nn.Module = self._net(n_channels, n_clinical, **options, generator=generator)
        return module

    def _net_options(self) -> dict[str, Any]:
        """Return arguments of the network; a subclass adds those that are no parameters of it."""
        names = signature(self._net).parameters.keys()
        options = {name: getattr(self, name) for name in names & self.get_params(deep=False).keys()}
        if "n_outputs" in names:
            options["n_outputs"] = self._n_outputs
        elif self._n_outputs is not None:
            raise ValueError(
                f"{self._net.__name__} gives one number for a patient, and {self._n_outputs} are "
                "needed. Give its constructor an argument n_outputs, or choose another objective."
            )
        return options

    def _checked_objective(self, objective: Any) -> Any:
        """Return a copy of an objective, with the estimator's `l2` where it gives none."""
        objective = clone(objective)
        objective._validate_params()
        if objective.l2 is None:
            objective.set_params(l2=getattr(self, "l2", None))
        return objective

    def _learn_objective(
        self, cohort: Cohort, event: np.ndarray, time: np.ndarray, train: np.ndarray
    ) -> None:
        """Choose what the objective needs to know of the outcome, from the patients `train`."""

    @abstractmethod
    def _make_objective(self, cohort: Cohort) -> Objective:
        """Return what is minimised; `cohort` holds those who train."""

    @abstractmethod
    def _validation(self, patients: Patients) -> tuple[str, Callable[[list[Any]], float]]:
        """Return the name of the score of held-out patients, and its function of their outputs."""

    def _encode_training(
        self,
        cohort: Cohort,
        event: np.ndarray,  # noqa: ARG002
        time: np.ndarray,  # noqa: ARG002
        train: np.ndarray,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> np.ndarray:
        """Encode the columns that accompany the volumes of all patients of the fit, float32 (n, k).

        What is learned for it is learned from the patients `train`: the others are held out for
        validation.
        """
        return np.zeros((len(cohort), 0), dtype=np.float32)

    @property
    def _n_outputs(self) -> int | None:
        """Outputs of the network for a patient; None for one number."""
        return None

    def _stages(self, objective: Objective) -> TwoStages | None:  # noqa: ARG002
        """Return which terms of the loss are minimised when; None for all, always."""
        return None

    def _view(self) -> View:
        """Return what the network sees of a patient."""
        return whole_volume

    @with_callbacks
    def _train(self, cohort: Cohort, event: np.ndarray, time: np.ndarray) -> Patients:
        """Train the network on a cohort; return the patients held out for validation."""
        plan = self._plan(cohort, event, time)
        with self._open(plan) as training:
            training.run()
        self._keep(training)
        if plan.checkpoint is not None:
            plan.checkpoint.remove()
        return plan.held_out

    def _plan(self, cohort: Cohort, event: np.ndarray, time: np.ndarray) -> Plan:
        """Decide who trains, on what, towards which objective; refuse what cannot be trained on."""
        self._begin_fit(cohort)
        device = choose_device(self.device)
        checkpoint = None
        if self.checkpoint_folder is not None:
            name = f"{fit_key(self, cohort, event, time)}.pt"
            checkpoint = Checkpoint(Path(self.checkpoint_folder) / name)
        seed = self._seed(checkpoint)
        streams = RandomStreams.from_seed(seed)
        self.n_channels_in_ = cohort.shape[1]
        self.channel_names_in_ = cohort.channel_names
        self.preparation_in_ = preparation_of(cohort)
        self.volume_shape_in_ = cohort.shape[2:]
        train = self._training_part(event, streams)
        self._learn_objective(cohort, event, time, train)
        encoded = self._encode_training(cohort, event, time, train, streams.validation_seed)
        objective = self._make_objective(cohort[train])
        with_masks = objective.needs_masks or callable(self.augmentation)
        patients = Patients(cohort, encoded, time, event, self._view(), with_masks)
        return Plan(
            patients=patients.take(train),
            held_out=patients.take(np.setdiff1d(np.arange(len(patients)), train)),
            objective=objective,
            device=device,
            seed=seed,
            streams=streams,
            checkpoint=checkpoint,
        )

    @contextmanager
    def _open(self, plan: Plan) -> Iterator[Training]:
        """Take the device for the length of a block, and make the training ready on it."""
        streams = plan.streams
        with (
            slot_on(plan.device) as (device, slot),
            isolated_torch(
                device, self.n_threads, streams.dropout_seed,
                keep_heap=self.micro_batch_size is None,  # who sets it asks for less memory
            ),
        ):  # fmt: skip
            yield Training(
                plan,
                self._initial_module(plan.patients, streams.weights),
                self,
                device,
                slot,
                augment=self._make_augment(streams.augmentation),
                validation=self._held_out(plan),
                callbacks=[*epoch_tasks(self), *user_callbacks(self.callbacks)],
                stages=self._stages(plan.objective),
                estimator=self,
            )

    def _held_out(
        self, plan: Plan
    ) -> tuple[str, Callable[[nn.Module], float], Callback] | None:
        """Return the score of the held-out patients, and the callback that keeps their losses."""
        if not len(plan.held_out):
            return None
        name, score_of = self._validation(plan.held_out)
        losses = HeldOutLosses(
            plan.held_out, plan.objective, self.batch_size, self.balanced,
            plan.streams.validation_seed, name,
        )  # fmt: skip

        def score(module: nn.Module) -> float:
            outputs = list(self._forward(module, plan.held_out))
            losses.measure(module, outputs)
            return score_of(outputs)

        return name, score, losses

    def _begin_fit(self, cohort: Cohort) -> None:
        """Refuse what cannot be trained on; drop attributes that this fit may not set."""
        check_prepared(cohort)
        if self._goes_on:
            self._check_channels(cohort)
        if self.patience is not None and self.validation_fraction is None:
            raise ValueError(
                f"patience={self.patience} needs held-out patients to watch; set "
                "validation_fraction, e.g. to 0.2."
            )
        for name in ("best_epoch_", "load_report_"):
            self.__dict__.pop(name, None)

    def _seed(self, checkpoint: Checkpoint | None) -> int:
        seed: int = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        if checkpoint is not None and checkpoint.seed is not None:
            return checkpoint.seed
        return seed

    def _training_part(self, event: np.ndarray, streams: RandomStreams) -> np.ndarray:
        """Return the positions of the patients that are not held out."""
        if self.validation_fraction is None:
            return np.arange(len(event))
        return split_by_event(event, self.validation_fraction, streams.validation_seed)[0]

    def _initial_module(self, patients: Patients, generator: torch.Generator) -> nn.Module:
        """Build the network; take weights from a file or the previous fit; freeze parts."""
        module = self._make_module(self.n_channels_in_, patients.clinical.shape[1], generator)
        if not self._goes_on:
            self._begin_weights(module, patients)
        if self.initial_weights is not None:
            self.load_report_ = load_weights(
                self._pretrained_part(module),
                self.initial_weights,
                strict=False,
                adapt_channels=self.adapt_channels,
            )
            self.load_report_.warn_if_little()
        if self._goes_on:
            report = load_weights(module, self.net_.module_, strict=False)
            if report.missing or report.unexpected or report.mismatched:
                raise ValueError(
                    "warm_start=True, but the weights of the previous fit do not fit the network "
                    "of this one: other parameters, or other columns. Change them back, or fit "
                    f"with warm_start=False.\n{report}"
                )
        self._freeze(module)
        return module

    def _begin_weights(self, module: nn.Module, patients: Patients) -> None:
        """Set initial weights that depend on the patients who train."""

    def _pretrained_part(self, module: nn.Module) -> nn.Module:
        """Return the part of the network that `initial_weights` are of."""
        return module

    @property
    def _goes_on(self) -> bool:
        """Whether a fit starts from the weights of the one before."""
        return self.warm_start and hasattr(self, "net_")

    def _freeze(self, module: nn.Module) -> None:
        if self.frozen is not None and len(self.frozen) > 0:
            freeze(module, *self.frozen)

    @property
    def _n_encoded(self) -> int:
        """Number of columns that accompany the volumes, known after the fit."""
        return 0

    def _build_network(self) -> None:
        """Make `net_` as it is after the fit but for its weights, which a model file brings."""
        module = self._make_module(self.n_channels_in_, self._n_encoded, torch.Generator())
        # torch computes frozen layers with other kernels, which round otherwise.
        self._freeze(module)
        self._keep_network(prediction_net(module, choose_device(self.device)))

    def _keep(self, training: Training) -> None:
        """Keep what a fitted model needs."""
        hold_out = training.hold_out
        self.history_ = training.history(training.net)
        if hold_out is not None:
            self.best_epoch_ = hold_out.best_epoch
        self.precision_ = training.net.precision
        self._keep_network(training.net)

    def _keep_network(self, net: TrainingNet) -> None:
        # A fitted model is for predicting: the optimiser's state and skorch's second copy of the
        # network would make its pickle four times as large.
        net.trim_for_prediction()
        net.make_room_ = net.estimator_ = net.average_ = net.minimised_ = None
        if ":" not in self.device:
            # Not the one of several GPUs that was free: who unpickles the net may have only one.
            net.device = torch.device(net.device).type
        net.module = type(net.module_)
        self.net_ = net

    def _make_augment(self, generator: torch.Generator) -> Augment | None:
        if self.augmentation is None:
            return None
        if callable(self.augmentation):
            return TransformedCases(self.augmentation, generator)
        shifts = [self.max_translation * length for length in self.volume_shape_in_]
        return rigid(self.augmentation, generator, shifts, [self.max_rotation] * 3)

    def _forward(self, module: nn.Module, patients: Patients) -> Iterator[Any]:
        """Yield the network's output for one patient after the other.

        By default one passes at a time, so that a patient's prediction does not depend on who else
        is in `X`: convolutions round differently for different batch sizes.
        """
        module.eval()
        device = next(module.parameters()).device
        with_onednn = device.type == "cpu" and torch.backends.mkldnn.is_available()
        size = self.prediction_batch_size
        for start in range(0, len(patients), size):
            positions = np.arange(start, min(start + size, len(patients)))
            inputs = patients.inputs(positions, device)
            with torch.inference_mode():
                with OneDNNForSingleCases() if with_onednn else nullcontext():
                    flipped = inputs["volumes"].flip(-1) if self.test_time_flip else None
                    output = module(inputs["volumes"], inputs["clinical"])
                    if flipped is not None:
                        output = mean_of_mirrored(output, module(flipped, inputs["clinical"]))
                yield from [output] if size == 1 else by_patient(output, len(positions))

    def _outputs(self, patients: Patients) -> Iterator[Any]:
        """Yield the fitted network's output for one patient after the other."""
        module = self.net_.module_
        with isolated_torch(next(module.parameters()).device, self.n_threads):
            yield from self._forward(module, patients)

    def _maps(self, patients: Patients, threshold: float | None = None) -> np.ndarray:
        """Return the tumour maps, (n, z, y, x); with a threshold, the masks that exceed it.

        Filled patient by patient: masks of a large cohort fit where its maps would not.
        """
        kind = np.float32 if threshold is None else np.uint8
        maps = np.empty((len(patients), *patients.cohort.shape[2:]), dtype=kind)
        for i, output in enumerate(self._outputs(patients)):
            probability = output.segmentation[0].cpu().numpy()
            maps[i] = probability if threshold is None else probability > threshold
        return maps

    def _check_channels(self, cohort: Cohort) -> None:
        if len(cohort) == 0:
            raise ValueError("X holds no patient.")
        check_like_training(self, cohort)


def to_float64(values: list[Tensor]) -> np.ndarray:
    """Join per-patient tensors into a fresh float64 array."""
    return torch.cat(values).cpu().numpy().astype(np.float64)


def by_patient(output: Any, n: int) -> Iterator[Any]:
    """Yield the outputs of each of the `n` patients of a batch, as if it had passed alone."""
    for i in range(n):
        yield type(output)(*(None if part is None else part[i : i + 1] for part in output))


def mean_of_mirrored(output: Any, mirrored: Any) -> Any:
    """Return the mean of two outputs; maps of the mirrored one are turned back.

    Parameters
    ----------
    output, mirrored : named tuple of tensors and None
    """
    turned = (b if b is None or b.ndim < 4 else b.flip(-1) for b in mirrored)
    pairs = zip(output, turned, strict=True)
    return type(output)(*(None if a is None else (a + b) / 2 for a, b in pairs))


def refuse_empty_masks(cohort: Cohort) -> None:
    """Refuse masks without a single voxel, from which no segmentation can be learned.

    Raises
    ------
    ValueError
        The message names the patients.
    """
    masked = np.flatnonzero(cohort.has_masks).tolist()
    empty = [str(cohort.ids[i]) for i in masked if not cohort.mask(i).any()]
    if empty:
        raise ValueError(
            f"The tumour masks of these patients are empty: {', '.join(empty[:5])} ({len(empty)} "
            "in all). Repair them, or give Cohort(has_mask=...) to train without these masks."
        )


def check_like_training(estimator: Any, cohort: Cohort) -> None:
    """Refuse a cohort with other channels than in the fit, or prepared otherwise.

    Raises
    ------
    ValueError
    """
    check_prepared(cohort)
    name = type(estimator).__name__
    if cohort.channel_names != estimator.channel_names_in_:
        raise ValueError(
            f"X has the channels {list(cohort.channel_names)}; this {name} was fitted on "
            f"{list(estimator.channel_names_in_)}."
        )
    check_preparation(cohort, estimator.preparation_in_, name)


def check_prepared(cohort: Cohort) -> None:
    """Refuse a cohort whose volumes differ in size; of image files, all are read once to know.

    Raises
    ------
    ValueError
    """
    if not cohort.read_sizes():
        raise ValueError(
            "This cohort is raw (volumes of different sizes); networks need one size. Prepare it "
            "with survimg.preprocessing.prepare or `survimg prepare`."
        )
