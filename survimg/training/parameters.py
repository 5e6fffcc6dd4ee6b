"""Constructor parameters that all estimators over volumes share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from survimg.augmentation import Recipe
from survimg.compute.runtime import Precision
from survimg.training.inherited_docs import document_inherited_parameters

__all__ = ["TrainingParameters", "epoch_length"]


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingParameters:
    """How a network is trained.

    A dataclass, so that the signature of every estimator lists these parameters without each
    class writing them out again: the constructor is generated from the fields, and does what
    scikit-learn asks of one: it assigns. Docstrings of subclasses are completed likewise.

    Parameters
    ----------
    n_iterations : int, default=400
        Optimiser steps. The learning-rate schedule is stretched to this length. 400 steps take
        minutes on a CPU with volumes of 32 voxels along each axis (figures are in
        ``benchmarks/README.md``); the DeepMTS paper takes 15,000.
    batch_size : int, default=8
        Patients whose losses, and for a Cox loss whose risk set, make one step.
    learning_rate : float, default=3e-3
        Initial learning rate of Adam. Of a few hundred steps; thousands need a smaller one (the
        DeepMTS paper: 1e-4).
    schedule : {"step", "cosine", "constant"}, default="cosine"
        ``"cosine"`` falls to 0 over the training. ``"step"`` is the DeepMTS paper's: factors 1,
        0.5, 0.1 and 0.01 from 0, 1/6, 1/3 and 2/3 of the training on.
    balanced : bool, default=True
        Fill each batch with equal numbers of patients with and without the event.
    augmentation : {"uniform", "fixed"} or None, default="uniform"
        ``"uniform"``: translation uniform in +-`max_translation`, as the DeepMTS paper says;
        ``"fixed"``: exactly that far along every axis, as its published code does. Both rotate and
        flip left-right.
    max_translation : float, default=10 / 128
        Largest shift as a fraction of each axis; the paper shifts volumes of 128 x 128 x 112 voxels
        by up to 10.
    max_rotation : float, default=5
        Degrees, in each of the three planes.
    gradient_clip : float, optional
        Largest norm of the gradient; the paper does not clip.
    micro_batch_size : int, optional
        Patients that pass through the network at once. The loss is still that of the whole batch,
        Cox risk set included; each step computes the network twice and needs the memory of
        `micro_batch_size` patients only. Batch normalisation then averages over that many
        patients, not over the batch. On the CPU memory also goes back to the system as soon as it
        is free, which takes time.
    validation_fraction : float, optional
        Share of the training patients, with its share of the events, that is held out of the
        training. They are scored after every epoch, and the weights of the best epoch are
        returned. None trains on all patients to the end.
    patience : int, optional
        Stop after so many epochs without a better validation score; None never stops early. Needs
        `validation_fraction`.
    batch_norm_batches : int, default=50
        Training batches over which the statistics of batch normalisation are averaged once
        training is over (and before each validation); at most as many as there were iterations.
        The published code keeps running averages instead, which need several hundred iterations to
        forget their initial values.
    iterations_per_epoch : int, optional
        Length of what `history_`, validation, checkpoints and the progress bar call an epoch. None
        makes 20 epochs of the training.
    initial_weights : path-like, optional
        File written by ``torch.save(net.state_dict(), path)``. Tensors that agree in name and shape
        replace random initial weights; `load_report_` lists them.
    frozen : sequence of str, optional
        Parts of the network that keep their initial weights, e.g. ``["encoder"]``; names as in
        ``net_.module_.named_modules()``.
    warm_start : bool, default=False
        Fitting again starts from the weights of the previous fit; optimiser and schedule start
        anew. Channels, columns and the network's own parameters must be those of that fit.
    checkpoint_folder : path-like, optional
        Folder for the state of unfinished fits. The same fit (same class, parameters, initial
        weights and data) that was interrupted continues where its last checkpoint was written,
        with the results of an uninterrupted one. The file is removed when the fit has ended;
        different fits may share a folder.
    checkpoint_every : int, default=1
        Epochs between checkpoints.
    device : str, default="auto"
        ``"auto"`` takes a GPU if there is one; else as torch names devices.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of the convolutions in training. ``"auto"`` is bfloat16 where the hardware computes it
        natively. Predictions are always computed in float32.
    n_threads : int, optional
        Threads of torch during fit and predict; None leaves torch's setting alone. Workers of
        ``n_jobs=2`` get fewer threads than the main process, and sums are rounded in another order
        then: give a number to get bit-equal results whatever `n_jobs` is (on the CPU).
    random_state : int, RandomState instance or None, default=None
        Fixes weights, batches, augmentation, dropout and the held-out patients; torch's global
        stream is left untouched.
    verbose : int, default=0
        1 shows a progress bar over epochs.
    """

    n_iterations: int = 400
    batch_size: int = 8
    learning_rate: float = 3e-3
    schedule: Literal["step", "cosine", "constant"] = "cosine"
    balanced: bool = True
    augmentation: Recipe | None = "uniform"
    max_translation: float = 10 / 128
    max_rotation: float = 5
    gradient_clip: float | None = None
    micro_batch_size: int | None = None
    validation_fraction: float | None = None
    patience: int | None = None
    batch_norm_batches: int = 50
    iterations_per_epoch: int | None = None
    initial_weights: str | os.PathLike[str] | None = None
    frozen: Sequence[str] | None = None
    warm_start: bool = False
    checkpoint_folder: str | os.PathLike[str] | None = None
    checkpoint_every: int = 1
    device: str = "auto"
    precision: Precision = "auto"
    n_threads: int | None = None
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_iterations": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions({"step", "cosine", "constant"})],
        "balanced": ["boolean"],
        "augmentation": [StrOptions({"uniform", "fixed"}), None],
        "max_translation": [Interval(Real, 0, 1, closed="both")],
        "max_rotation": [Interval(Real, 0, 180, closed="both")],
        "gradient_clip": [Interval(Real, 0, None, closed="neither"), None],
        "micro_batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "batch_norm_batches": [Interval(Integral, 1, None, closed="left")],
        "iterations_per_epoch": [Interval(Integral, 1, None, closed="left"), None],
        "initial_weights": [str, os.PathLike, None],
        "frozen": ["array-like", None],
        "warm_start": ["boolean"],
        "checkpoint_folder": [str, os.PathLike, None],
        "checkpoint_every": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        document_inherited_parameters(cls)


def epoch_length(parameters: TrainingParameters) -> int:
    """Return the optimiser steps of an epoch: those asked for, or a twentieth of the training.

    Parameters
    ----------
    parameters : TrainingParameters
    """
    return parameters.iterations_per_epoch or max(1, parameters.n_iterations // 20)
