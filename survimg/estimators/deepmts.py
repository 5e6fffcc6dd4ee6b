"""DeepMTS: joint prediction of risk and tumour mask from volumes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from survimg.augmentation import Recipe, apply_transforms, draw_transforms
from survimg.cohort import Cohort
from survimg.estimators.base import ProportionalHazardsMixin, cohort_and_outcome
from survimg.estimators.batches import Augment, Targets
from survimg.estimators.engine import LossTerms, Precision
from survimg.estimators.volume_estimator import VolumeSurvivalEstimator, to_float64
from survimg.losses import cox_loss, dice_loss
from survimg.nets.deepmts import DeepMTSNet, DeepMTSOutput

__all__ = ["DeepMTS"]


@dataclass(frozen=True)
class _DeepMTSLoss:
    """L = L_sur + w * L_seg + lambda * L_reg (DeepMTS paper, eq. 1)."""

    segmentation_weight: float
    l2: float

    def __call__(
        self, net: Any, output: DeepMTSOutput, targets: Targets
    ) -> dict[str, Tensor]:
        terms = {
            "cox": cox_loss(cast(Tensor, output.risk), targets.time, targets.event),
            "l2": self.l2 * net.l2_penalty(),
        }
        if self.segmentation_weight > 0:
            segmentation = cast(Tensor, output.segmentation)
            dice = dice_loss(segmentation, targets.masks, has_mask=targets.has_mask)
            terms["dice"] = self.segmentation_weight * dice
        return terms


def _knows_masks(model: DeepMTS) -> bool:
    """Tell scikit-learn's `available_if` whether the tumour map means anything."""
    if not getattr(model, "trained_with_masks_", True):
        raise AttributeError(
            "This DeepMTS was trained without tumour masks (or with segmentation_weight=0), so its "
            "tumour map means nothing; fit it on a cohort with masks."
        )
    return True


def _refuse_empty_masks(cohort: Cohort) -> None:
    masked = np.flatnonzero(cohort.has_masks).tolist()
    empty = [str(cohort.ids[i]) for i in masked if not cohort.mask(i).any()]
    if empty:
        raise ValueError(
            f"The tumour masks of these patients are empty: {', '.join(empty[:5])} ({len(empty)} "
            "in all). Repair them, or give Cohort(has_mask=...) to train these patients for "
            "survival only."
        )


class DeepMTS(ProportionalHazardsMixin, TransformerMixin, VolumeSurvivalEstimator):
    """Deep multi-task survival model: one network predicts the risk and the tumour mask.

    A U-shaped backbone segments the tumour; a densely connected network reads the images together
    with the soft tumour map; features of both and the clinical columns give one log-hazard ratio.
    The loss is the negative Cox partial likelihood of each batch, plus the Dice loss, plus an L2
    term on the fully connected layers.

    Parameters
    ----------
    backbone : {"residual", "unet"}, default="residual"
        Backbone of the paper, or the plain 3D U-net it compares with (360 deep features, not 236).
    n_iterations : int, default=15000
        Optimiser steps, the paper's number; it takes hours on a CPU at the paper's volume size.
        The learning-rate schedule is stretched to this length.
    batch_size : int, default=8
    learning_rate : float, default=1e-4
        Initial learning rate of Adam.
    schedule : {"step", "cosine", "constant"}, default="step"
        ``"step"`` is the paper's: factors 1, 0.5, 0.1 and 0.01 from 0, 1/6, 1/3 and 2/3 on.
    balanced : bool, default=True
        Fill each batch with equal numbers of patients with and without the event.
    segmentation_weight : float, default=1.0
        Weight of the Dice loss; 0 trains for survival alone.
    l2 : float, default=0.1
        Weight of the sum of squares of the fully connected kernels (no factor 1/2).
    dropout : float, default=0.5
        Dropout on the inputs of the fully connected layers, clinical columns included.
    augmentation : {"paper", "code"} or None, default="paper"
        ``"paper"``: translation uniform in +-`max_translation`; ``"code"``: exactly that far along
        every axis, as the published code does. Both rotate and flip left-right.
    max_translation : float, default=10 / 128
        Largest shift as a fraction of each axis; the paper shifts volumes of 128 x 128 x 112 voxels
        by up to 10.
    max_rotation : float, default=5
        Degrees, in each of the three planes.
    clinical_columns : sequence of str, optional
        Clinical columns of the cohort that enter the last layer; None takes all, an empty list
        none. Encoded by `survimg.clinical.ClinicalFeatures` and standardised, on the training set.
    gradient_clip : float, optional
        Largest norm of the gradient; the paper does not clip.
    batch_norm_batches : int, default=50
        Batches over which the statistics of batch normalisation are averaged once training is
        over; at most as many as there were iterations. The published code keeps running averages
        instead, which need several hundred iterations to forget their initial values.
    iterations_per_epoch : int, default=50
        Length of what `history_` and the progress bar call an epoch.
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
        Fixes weights, batches, augmentation and dropout; torch's global stream is left untouched.
    verbose : int, default=0
        1 shows a progress bar over epochs.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained `survimg.nets.deepmts.DeepMTSNet` is ``net_.module_``.
    history_ : DataFrame
        One row per epoch: ``epoch``, ``iteration``, ``loss``, ``cox``, ``l2``, ``dice``,
        ``seconds``.
    baseline_ : BreslowBaseline
        Baseline hazard on the training set.
    clinical_encoder_, clinical_names_in_, channel_names_in_, n_channels_in_, volume_shape_in_
        See `VolumeSurvivalEstimator`.

    Notes
    -----
    Deviations from the paper and its code. Batch normalisation is recalibrated after training
    (`batch_norm_batches`). The Cox risk set holds tied times, as the paper's
    equation says (the code loses some). Translation, rotation and flip are composed into one
    resampling. The paper does not say how it encodes TNM stage.

    Patients without a mask contribute to the survival terms only. If no patient of the training
    set has one, a warning is given and the segmentation loss is off: the tumour map is then an
    unsupervised attention map, and `predict_mask` refuses.

    References
    ----------
    Meng M, Gu B, Bi L, Song S, Feng DD, Kim J. DeepMTS: Deep multi-task learning for survival
    prediction in patients with advanced nasopharyngeal carcinoma using pretreatment PET/CT. IEEE J
    Biomed Health Inform 26(9):4497-4507, 2022. arXiv:2109.07711.

    Examples
    --------
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import DeepMTS
    >>> X = make_phantom_cohort(n=12, shape=(16, 16, 16), random_state=0).cohort
    >>> model = DeepMTS(n_iterations=2, batch_size=4, random_state=0).fit(X, X.outcome)
    >>> model.predict(X).shape
    (12,)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": [StrOptions({"residual", "unet"})],
        "n_iterations": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions({"step", "cosine", "constant"})],
        "balanced": ["boolean"],
        "segmentation_weight": [Interval(Real, 0, None, closed="left")],
        "l2": [Interval(Real, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "augmentation": [StrOptions({"paper", "code"}), None],
        "max_translation": [Interval(Real, 0, 1, closed="both")],
        "max_rotation": [Interval(Real, 0, 180, closed="both")],
        "clinical_columns": ["array-like", None],
        "gradient_clip": [Interval(Real, 0, None, closed="neither"), None],
        "batch_norm_batches": [Interval(Integral, 1, None, closed="left")],
        "iterations_per_epoch": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        backbone: Literal["residual", "unet"] = "residual",
        n_iterations: int = 15_000,
        batch_size: int = 8,
        learning_rate: float = 1e-4,
        schedule: Literal["step", "cosine", "constant"] = "step",
        balanced: bool = True,
        segmentation_weight: float = 1.0,
        l2: float = 0.1,
        dropout: float = 0.5,
        augmentation: Recipe | None = "paper",
        max_translation: float = 10 / 128,
        max_rotation: float = 5,
        clinical_columns: Any = None,
        gradient_clip: float | None = None,
        batch_norm_batches: int = 50,
        iterations_per_epoch: int = 50,
        device: str = "auto",
        precision: Precision = "auto",
        n_threads: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.n_iterations = n_iterations
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.balanced = balanced
        self.segmentation_weight = segmentation_weight
        self.l2 = l2
        self.dropout = dropout
        self.augmentation = augmentation
        self.max_translation = max_translation
        self.max_rotation = max_rotation
        self.clinical_columns = clinical_columns
        self.gradient_clip = gradient_clip
        self.batch_norm_batches = batch_norm_batches
        self.iterations_per_epoch = iterations_per_epoch
        self.device = device
        self.precision = precision
        self.n_threads = n_threads
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Cohort | npt.ArrayLike,
        y: npt.ArrayLike,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> DeepMTS:
        """Train the network.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
            Prepared volumes, at least 16 voxels along each axis.
        y : structured array of shape (n,)
            (event, time).
        masks : array-like of shape (n, z, y, x), optional
        clinical : DataFrame or array-like of shape (n, k), optional
            Both for plain arrays only; a cohort brings its own.

        Returns
        -------
        DeepMTS
            The fitted estimator.

        Raises
        ------
        ValueError
            Invalid parameters or outcome, no event, a raw cohort; NaN voxels or an empty mask (the
            message names the patient).
        FloatingPointError
            Training diverged.
        """
        self._validate_params()
        cohort, event, time = cohort_and_outcome(X, y, masks, clinical)
        self._train(cohort, event, time)
        self._fit_baseline(self._risk(cohort), event, time)
        return self

    def predict(
        self,
        X: Cohort | npt.ArrayLike,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict the risk, a log-hazard ratio up to a constant; **higher = earlier event**.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
        clinical : DataFrame or array-like of shape (n, k), optional
            For plain arrays, when clinical columns were given to `fit`.

        Returns
        -------
        ndarray of shape (n,), float64
        """
        return self._risk(X, clinical)

    @available_if(_knows_masks)
    def predict_mask_proba(
        self,
        X: Cohort | npt.ArrayLike,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict the probability of each voxel to belong to the tumour.

        Parameters
        ----------
        X, clinical
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, z, y, x), float32

        Raises
        ------
        AttributeError
            The model was trained without any mask (``hasattr`` is False then).
        """
        maps = [output.segmentation for output in self._outputs(X, clinical)]
        return torch.cat(maps).cpu().numpy()

    @available_if(_knows_masks)
    def predict_mask(
        self,
        X: Cohort | npt.ArrayLike,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
        threshold: float = 0.5,
    ) -> np.ndarray:
        """Predict the tumour mask: voxels whose probability exceeds `threshold`.

        Parameters
        ----------
        X, clinical
            As in `predict`.
        threshold : float, default=0.5

        Returns
        -------
        ndarray of shape (n, z, y, x), uint8
        """
        return (self.predict_mask_proba(X, clinical) > threshold).astype(np.uint8)

    def transform(
        self,
        X: Cohort | npt.ArrayLike,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Return the deep features: 124 of the backbone, then 112 of the cascaded network.

        They are averages over the volume of what the network sees, before any fully connected
        layer. Features of patients the network was trained on look better than those of others;
        train a second model on out-of-fold features (`survimg.estimators.OutOfFold`).

        Parameters
        ----------
        X, clinical
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, 236), float64 (a DataFrame with ``set_output(transform="pandas")``)
        """
        return to_float64([output.features for output in self._outputs(X, clinical)])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:  # noqa: ARG002
        """Names of the deep features, e.g. ``deepmts_encoder3_07``.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's interface.
        """
        check_is_fitted(self, "net_")
        names = self.net_.module_.feature_names
        return np.array([f"deepmts_{name}" for name in names], dtype=object)

    def _risk(
        self, X: Cohort | npt.ArrayLike, clinical: pd.DataFrame | npt.ArrayLike | None = None
    ) -> np.ndarray:
        return to_float64([output.risk for output in self._outputs(X, clinical)])

    def _make_module(
        self, n_channels: int, n_clinical: int, generator: torch.Generator
    ) -> DeepMTSNet:
        return DeepMTSNet(
            n_channels,
            n_clinical,
            backbone=self.backbone,
            dropout=self.dropout,
            generator=generator,
        )

    def _make_loss(self, cohort: Cohort) -> tuple[LossTerms, tuple[str, ...]]:
        names: tuple[str, ...] = ("cox", "l2", "dice")
        weight = self.segmentation_weight
        if weight > 0 and not cohort.has_masks.any():
            warnings.warn(
                "No patient of the training set has a tumour mask: DeepMTS trains for survival "
                "only and cannot predict masks.",
                UserWarning,
                stacklevel=4,
            )
            weight = 0.0
        if weight > 0:
            _refuse_empty_masks(cohort)
        self.trained_with_masks_ = weight > 0
        return _DeepMTSLoss(weight, self.l2), names if weight > 0 else names[:2]

    def _make_augment(self, generator: torch.Generator) -> Augment | None:
        recipe = self.augmentation
        if recipe is None:
            return None
        shifts = [self.max_translation * length for length in self.volume_shape_in_]

        def augment(volumes: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
            transforms = draw_transforms(
                len(volumes),
                generator,
                translation=shifts,
                rotation=self.max_rotation,
                recipe=recipe,
            )
            return cast(tuple[Tensor, Tensor], apply_transforms(volumes, masks, transforms))

        return augment
