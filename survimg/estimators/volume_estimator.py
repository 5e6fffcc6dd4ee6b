"""The part of fit and predict that all deep estimators over volumes share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from survimg.clinical import ClinicalFeatures
from survimg.cohort import Cohort, as_cohort
from survimg.estimators.batches import Augment, BatchSampler, PatientBatches, Patients
from survimg.estimators.engine import (
    LossTerms,
    RandomStreams,
    choose_device,
    choose_precision,
    history_frame,
    isolated_torch,
    make_training_net,
    recalibrate_batch_norm,
)

__all__ = ["VolumeSurvivalEstimator"]


class VolumeSurvivalEstimator(BaseEstimator):
    """Base of the estimators that train a network on volumes.

    A subclass declares its constructor parameters (among them those named below) and builds the
    network, its loss and its augmentation; fitting, random state, devices and batching are here.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained network is ``net_.module_``.
    history_ : DataFrame
        One row per epoch: losses and seconds.
    clinical_encoder_ : ClinicalFeatures or None
        Encoding of the clinical columns, learned on the training set.
    clinical_names_in_ : tuple of str
        Encoded clinical columns, in the order in which the network takes them.
    channel_names_in_ : tuple of str
    n_channels_in_ : int
    volume_shape_in_ : tuple of int
        Size of the training volumes; other sizes can be predicted too.
    """

    # Without metadata routing these change nothing; with it, they save users set_fit_request.
    __metadata_request__fit = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__predict = {"clinical": True}  # noqa: RUF012
    __metadata_request__transform = {"clinical": True}  # noqa: RUF012

    # declared by every subclass's __init__
    n_iterations: int
    iterations_per_epoch: int
    batch_size: int
    learning_rate: float
    schedule: str
    balanced: bool
    gradient_clip: float | None
    batch_norm_batches: int
    clinical_columns: Any
    device: str
    precision: Any
    n_threads: int | None
    random_state: Any
    verbose: int

    @abstractmethod
    def _make_module(
        self, n_channels: int, n_clinical: int, generator: torch.Generator
    ) -> nn.Module:
        """Build the network with initial weights drawn from `generator`."""

    @abstractmethod
    def _make_loss(self, cohort: Cohort) -> tuple[LossTerms, tuple[str, ...]]:
        """Return the loss and the names of its terms."""

    @abstractmethod
    def _make_augment(self, generator: torch.Generator) -> Augment | None:
        """Return the augmentation, or None."""

    def _train(self, cohort: Cohort, event: np.ndarray, time: np.ndarray) -> None:
        """Train the network on a cohort."""
        _check_prepared(cohort)
        device = choose_device(self.device)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        streams = RandomStreams.from_seed(seed)
        encoded = self._fit_clinical(cohort)
        patients = Patients(cohort, encoded, time, event)
        loss_terms, term_names = self._make_loss(cohort)
        n_iterations = self.n_iterations
        per_epoch = min(self.iterations_per_epoch, n_iterations)
        with isolated_torch(device, self.n_threads, streams.dropout_seed):
            net = make_training_net(
                self._make_module(cohort.shape[1], encoded.shape[1], streams.weights),
                loss_terms,
                term_names,
                learning_rate=self.learning_rate,
                schedule=self.schedule,
                n_iterations=n_iterations,
                iterations_per_epoch=per_epoch,
                gradient_clip=self.gradient_clip,
                device=device,
                precision=choose_precision(self.precision, device),
                progress_name=type(self).__name__ if self.verbose else None,
            )
            sampler = BatchSampler(event, self.batch_size, self.balanced, streams.batches)
            augment = self._make_augment(streams.augmentation)
            batches = PatientBatches(patients, device, sampler, n_iterations, per_epoch, augment)
            net.partial_fit(batches)
            recalibrate_batch_norm(net, batches, min(self.batch_norm_batches, n_iterations))
        self.history_ = history_frame(net, term_names)
        # A fitted model is for predicting: the optimiser's state and skorch's second copy of the
        # network would make its pickle four times as large.
        net.trim_for_prediction()
        net.module = type(net.module_)
        self.net_ = net

    def _fit_clinical(self, cohort: Cohort) -> np.ndarray:
        self.n_channels_in_ = cohort.shape[1]
        self.channel_names_in_ = cohort.channel_names
        self.volume_shape_in_ = cohort.shape[2:]
        chosen = self.clinical_columns
        if cohort.clinical is None or (chosen is not None and len(chosen) == 0):
            if chosen is not None and len(chosen) > 0:
                raise ValueError(
                    f"clinical_columns={list(chosen)} were asked for, but the cohort has no "
                    "clinical columns; give Cohort(clinical=...), or clinical_columns=[]."
                )
            self.clinical_encoder_ = None
            self.clinical_names_in_: tuple[str, ...] = ()
            return np.zeros((len(cohort), 0), dtype=np.float32)
        self.clinical_encoder_ = ClinicalFeatures(columns=chosen).fit(cohort)
        encoded = self.clinical_encoder_.transform(cohort)
        self.clinical_names_in_ = tuple(encoded.columns)
        self._clinical_mean = encoded.mean(axis=0)
        # A column that is constant in the training set carries nothing; 1 keeps it finite.
        self._clinical_scale = encoded.std(axis=0, ddof=0).replace(0.0, 1.0)
        return self._standardise(encoded)

    def _standardise(self, encoded: pd.DataFrame) -> np.ndarray:
        return ((encoded - self._clinical_mean) / self._clinical_scale).to_numpy(np.float32)

    def _outputs(
        self, X: Cohort | npt.ArrayLike, clinical: pd.DataFrame | npt.ArrayLike | None
    ) -> Iterator[Any]:
        """Yield the network's output for one patient after the other.

        One at a time, so that a patient's prediction does not depend on who else is in `X`:
        convolutions round differently for different batch sizes.
        """
        check_is_fitted(self, "net_")
        patients = self._patients_to_predict(X, clinical)
        module = self.net_.module_.eval()
        device = next(module.parameters()).device
        with isolated_torch(device, self.n_threads):
            for i in range(len(patients)):
                inputs = patients.inputs(np.array([i]), device)
                with torch.inference_mode():
                    yield module(**inputs)

    def _patients_to_predict(
        self, X: Cohort | npt.ArrayLike, clinical: pd.DataFrame | npt.ArrayLike | None
    ) -> Patients:
        cohort = as_cohort(X, clinical=clinical)
        _check_prepared(cohort)
        if cohort.channel_names != self.channel_names_in_:
            raise ValueError(
                f"X has the channels {list(cohort.channel_names)}; this {type(self).__name__} was "
                f"fitted on {list(self.channel_names_in_)}."
            )
        if self.clinical_encoder_ is None:
            encoded = np.zeros((len(cohort), 0), dtype=np.float32)
        elif cohort.clinical is None:
            raise ValueError(
                f"This {type(self).__name__} was fitted with the clinical columns "
                f"{list(self.clinical_encoder_.columns_)}; X has none. Give a Cohort with "
                "clinical=..., or predict(X, clinical=...)."
            )
        else:
            encoded = self._standardise(self.clinical_encoder_.transform(cohort))
        n = len(cohort)
        return Patients(cohort, encoded, np.zeros(n), np.zeros(n, dtype=bool))


def to_float64(values: list[Tensor]) -> np.ndarray:
    """Join per-patient tensors into a fresh float64 array."""
    return torch.cat(values).cpu().numpy().astype(np.float64)


def _check_prepared(cohort: Cohort) -> None:
    if None in cohort.shape:
        raise ValueError(
            "This cohort is raw (volumes of different sizes); networks need one size. Prepare it "
            "with survimg.preprocessing.prepare_cohort or `survimg prepare`."
        )
