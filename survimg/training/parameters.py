"""Constructor parameters that all estimators over volumes share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from survimg.augmentation import Recipe
from survimg.compute.devices import MAX_THREADS, Precision
from survimg.training.inherited_docs import document_inherited_parameters

__all__ = ["TrainingParameters", "epoch_length"]


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingParameters:
    """How a network is trained.

    A dataclass: the constructors of all estimators are generated from its fields and only assign,
    as scikit-learn requires. These parameters are also added to the docstrings of subclasses.

    Parameters
    ----------
    n_iterations : int, default=400
        Optimiser steps. The learning-rate schedule is scaled to this length. 400 steps take
        minutes on a CPU with volumes of 32 voxels along each axis (see ``benchmarks/README.md``);
        the DeepMTS paper uses 15,000.
    batch_size : int, default=8
        Patients of one step. The risk sets of a Cox loss are formed within these patients.
    learning_rate : float, default=3e-3
        Initial learning rate of the optimiser. The default is for a few hundred steps; thousands
        of steps need a smaller one (the DeepMTS paper: 1e-4).
    optimizer : type, optional
        Class of an optimiser such as ``torch.optim.AdamW``; None is Adam with Keras' epsilon of
        1e-7, which the published networks were trained with.
    optimizer_params : dict, optional
        Its parameters other than the learning rate, such as ``{"weight_decay": 1e-2}``.
    schedule : {"step", "cosine", "constant"} or callable, default="cosine"
        ``"cosine"`` decreases to 0 over the training. ``"step"``, as in the DeepMTS paper, has
        factors 1, 0.5, 0.1 and 0.01, starting at 0, 1/6, 1/3 and 2/3 of the training. A callable
        is a class of ``torch.optim.lr_scheduler``, or a ``functools.partial`` of one, which takes a
        step with each of the training; or a function from the share of the training that is done,
        from 0 to 1, to a factor.
    callbacks : sequence of skorch callbacks, optional
        They see the epoch's row as ``net.history[-1]`` and the estimator, whose ``history_`` holds
        the epochs so far, as ``net.estimator_``. One that raises at the end of an epoch ends the
        fit (Optuna's pruning); skorch's ``EarlyStopping`` ends the training, and the fit goes on
        with what has been learned. scikit-learn's callbacks are given by ``set_callbacks``, and see
        ``estimator.history_``. They do not change what is trained, and are not part of model files.
    balanced : bool or "weighted", default=True
        True fills each batch with equal numbers of patients with and without the event. Risk sets
        then hold too few, or too many, censored patients: what drives censoring alone, such as
        an era with longer follow-up, is learned as if it drove the event, and log-hazard ratios are
        too small or too large (``benchmarks/README.md`` has a table). ``"weighted"``
        draws the same batches and weights the patients in the likelihood by their share in
        the cohort over that in the batches, which removes most of the bias. False draws patients
        without regard to the event.
    augmentation : {"nearest", "uniform", "fixed"}, callable or None, default="nearest"
        Shifts, rotations and left-right flips. ``"uniform"``: shifts uniform in
        +-`max_translation`, as in the DeepMTS paper, and linear interpolation, as in its code.
        ``"nearest"``: the same, but each voxel takes the value of the nearest one. Linear
        interpolation smooths noise and thin structures in training and not in prediction
        (``docs/decisions/0011`` has figures). ``"fixed"``: as ``"uniform"``, with shifts by exactly
        `max_translation` along every axis, as in that code. A callable is given a dictionary with
        ``image`` (channels, z, y, x) and ``mask`` (1, z, y, x) of one patient, and returns the
        like: dictionary transforms of MONAI, transforms of TorchIO, a function of your own. The fit
        seeds it (`survimg.training.augment.TransformedCases`).
    max_translation : float, default=10 / 128
        Largest shift as a fraction of each axis; the paper shifts volumes of 128 x 128 x 112 voxels
        by up to 10.
    max_rotation : float, default=5
        Degrees, in each of the three planes.
    gradient_clip : float, optional
        Largest norm of the gradient; None does not clip, as in the paper.
    ema_decay : float, optional
        Train as usual, and validate and predict with an exponential moving average of the weights:
        after each step d times the average plus (1 - d) times the weights, with d = `ema_decay`
        (smaller in the first steps, at most (1 + n) / (10 + n) at step n). About the last
        1 / (1 - d) steps count. None takes the weights of the last step.
    micro_batch_size : int, optional
        Patients that pass through the network at once. The loss, including the Cox risk set,
        remains that of the whole batch. Each step computes the network twice but needs only the
        memory of `micro_batch_size` patients. Batch normalisation then averages over that many
        patients, not over the batch. On the CPU freed memory is returned to the system at once,
        which takes time.
    validation_fraction : float, optional
        Share of the training patients (stratified by event) that is held out. They are scored
        after every epoch, and the weights of the best epoch are used. None trains on all patients
        to the end.
    patience : int, optional
        Stop after this many epochs without a better validation score; None never stops early.
        Needs `validation_fraction`.
    batch_norm_batches : int, default=50
        Training batches over which the statistics of batch normalisation are averaged after
        training (and before each validation); at most the number of iterations.
        The published code uses running averages instead, which need several hundred iterations
        until their initial values no longer matter.
    iterations_per_epoch : int, optional
        Length of an epoch in `history_`, validation, checkpoints and the progress bar. None divides
        the training into 20 epochs.
    initial_weights : path-like, optional
        File with pretrained weights: written by ``torch.save``, of which tensors are read and code
        is not, or safetensors. Weights inside a dictionary (``state_dict``, ``model``) and behind a
        prefix (``module.``, ``model.``) are found. Tensors with the same name and shape replace
        random initial weights; `load_report_` lists them, and a warning says when few of them
        fitted.
    adapt_channels : {"mean", "copy"}, optional
        What to do with a first convolution in `initial_weights` for another number of image
        channels: each channel gets the mean of its kernels, or copies of them in turn; both are
        scaled so that the response to equal channels stays what it was. None leaves it out, with
        a warning.
    frozen : sequence of str, optional
        Parts of the network that keep their initial weights, e.g. ``["encoder"]``; names as in
        ``net_.module_.named_modules()``.
    warm_start : bool, default=False
        Fitting again starts from the weights of the previous fit, with a new optimiser and
        schedule. Channels, columns and the network's parameters must be the same.
    checkpoint_folder : path-like, optional
        Folder for the state of unfinished fits. If a fit was interrupted, the same fit (same class,
        parameters, initial weights and data) continues from its last checkpoint, with the result of
        an uninterrupted fit. The file is removed when the fit has ended; different fits may share a
        folder.
    checkpoint_every : int, default=1
        Epochs between checkpoints.
    device : str, default="auto"
        A torch device; ``"auto"`` uses a GPU if there is one.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of the convolutions in training. ``"auto"`` is bfloat16 on GPUs that compute it
        natively, otherwise float32. Predictions are always computed in float32.
    test_time_flip : bool, default=False
        Average what the network says of a volume and of its left-right mirror image, which takes
        twice the time. Training with flips makes both alike, but not equal.
    prediction_batch_size : int, default=1
        Patients that pass through the network at once in predictions. More are faster, above all
        on a GPU, and change the last digits of a risk by who else is predicted.
    n_threads : int, optional
        Threads of torch during fit and predict, 1024 at most; None keeps torch's setting. The
        number of threads changes the order of rounding, and workers have fewer threads than the
        main process: set a number to get identical results for any `n_jobs` (on the CPU).
    random_state : int, RandomState instance or None, default=None
        Fixes weights, batches, augmentation, dropout and the held-out patients; torch's global
        random state is not changed.
    verbose : int, default=0
        1 shows a progress bar over epochs.
    """

    n_iterations: int = 400
    batch_size: int = 8
    learning_rate: float = 3e-3
    optimizer: type | None = None
    optimizer_params: Mapping[str, Any] | None = None
    schedule: Literal["step", "cosine", "constant"] | Callable[[Any], Any] = "cosine"
    callbacks: Sequence[Any] | None = None
    balanced: bool | Literal["weighted"] = True
    augmentation: Recipe | Callable[[Any], Any] | None = "nearest"
    max_translation: float = 10 / 128
    max_rotation: float = 5
    gradient_clip: float | None = None
    ema_decay: float | None = None
    micro_batch_size: int | None = None
    validation_fraction: float | None = None
    patience: int | None = None
    batch_norm_batches: int = 50
    iterations_per_epoch: int | None = None
    initial_weights: str | os.PathLike[str] | None = None
    adapt_channels: Literal["mean", "copy"] | None = None
    frozen: Sequence[str] | None = None
    warm_start: bool = False
    checkpoint_folder: str | os.PathLike[str] | None = None
    checkpoint_every: int = 1
    device: str = "auto"
    precision: Precision = "auto"
    test_time_flip: bool = False
    prediction_batch_size: int = 1
    n_threads: int | None = None
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_iterations": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "optimizer": [callable, None],
        "optimizer_params": [Mapping, None],
        "schedule": [StrOptions({"step", "cosine", "constant"}), callable],
        "callbacks": [list, tuple, None],
        "balanced": ["boolean", StrOptions({"weighted"})],
        "augmentation": [StrOptions(set(get_args(Recipe))), callable, None],
        "max_translation": [Interval(Real, 0, 1, closed="both")],
        "max_rotation": [Interval(Real, 0, 180, closed="both")],
        "ema_decay": [Interval(Real, 0, 1, closed="neither"), None],
        "gradient_clip": [Interval(Real, 0, None, closed="neither"), None],
        "micro_batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "batch_norm_batches": [Interval(Integral, 1, None, closed="left")],
        "iterations_per_epoch": [Interval(Integral, 1, None, closed="left"), None],
        "initial_weights": [str, os.PathLike, None],
        "adapt_channels": [StrOptions({"mean", "copy"}), None],
        "frozen": ["array-like", None],
        "warm_start": ["boolean"],
        "checkpoint_folder": [str, os.PathLike, None],
        "checkpoint_every": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "test_time_flip": ["boolean"],
        "prediction_batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_threads": [Interval(Integral, 1, MAX_THREADS, closed="both"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        declared = [vars(base).get("_parameter_constraints", {}) for base in reversed(cls.__mro__)]
        cls._parameter_constraints = {name: c for each in declared for name, c in each.items()}
        document_inherited_parameters(cls)


def epoch_length(parameters: TrainingParameters) -> int:
    """Return the optimiser steps of an epoch, by default a twentieth of the training.

    Parameters
    ----------
    parameters : TrainingParameters
    """
    return parameters.iterations_per_epoch or max(1, parameters.n_iterations // 20)
