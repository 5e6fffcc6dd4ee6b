"""DLPM: a shallow 3D DenseNet with a discrete-time output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal, get_args

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from survimg.augmentation import Recipe, apply_one_of_ten, draw_one_of_ten
from survimg.estimators.deep.volume_survival_estimator import DiscreteTimeEstimator
from survimg.nets.dlpm import DLPMNet
from survimg.training.batches import Augment
from survimg.training.published import DEEPMTS_TRAINING, PublishedRecipe

__all__ = ["DLPM"]


@dataclass(kw_only=True, eq=False, repr=False)
class DLPM(PublishedRecipe, DiscreteTimeEstimator):
    """Deep learning prediction model of Kim et al.: 3D DenseNet, discrete time.

    The network predicts the conditional survival of each interval; the loss is the discrete-time
    likelihood plus an L2 term on its stem, transitions and last normalisation.

    Parameters
    ----------
    dropout : float, default=0.2
        Element-wise dropout in the transitions.
    l2 : float, default=1e-4
        Weight of the L2 penalty. As in the published code it covers kernels of the stem and
        the transitions, and scales and shifts of the normalisation in the transitions and at the
        end.
    augmentation : {"nearest", "uniform", "fixed", "one-of-ten"}, callable, None, default="nearest"
        ``"one-of-ten"``, as in the original study: one of quarter turns, flips, contrast, blur,
        sharpening, noise or nothing (`survimg.augmentation.apply_one_of_ten`; volumes must have
        equal sizes along y and x). The others shift, rotate and flip left-right, as
        `survimg.augmentation.draw_transforms` says. A callable takes and returns a dictionary with
        ``image`` and ``mask``, as MONAI's transforms do.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained `survimg.nets.dlpm.DLPMNet` is ``net_.module_``.
    history_ : DataFrame
    time_cuts_, risk_horizon_, unique_times_
        See `DiscreteTimeEstimator`.

    Notes
    -----
    As in the comparison of the DeepMTS paper: both modalities, its intervals, clinical columns
    appended to the pooled features.

    *Published recipe.* ``DLPM.published()`` is that of the comparison in the DeepMTS paper:
    `DEEPMTS_TRAINING <survimg.training.DEEPMTS_TRAINING>` (15,000 steps, 1e-4 in its steps). The
    original study trains on a 50-voxel CT box with Nadam at 0.002 and batches of 40, without
    balancing, with ``augmentation="one-of-ten"``, for up to 50 epochs of 240 steps. The first dense
    block works at full resolution: train large volumes with `micro_batch_size`.

    References
    ----------
    Kim H, Goo JM, Lee KH, Kim YT, Park CM. Preoperative CT-based deep learning model for
    predicting disease-free survival in patients with lung adenocarcinomas. Radiology 296:216-224,
    2020.
    """

    dropout: float = 0.2
    l2: float = 1e-4
    augmentation: Recipe | Literal["one-of-ten"] | Callable[[Any], Any] | None = "nearest"  # type: ignore[assignment]

    _net = DLPMNet
    _published: ClassVar[Mapping[str, Any]] = {**DEEPMTS_TRAINING}

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "l2": [Interval(Real, 0, None, closed="left")],
        "augmentation": [StrOptions({*get_args(Recipe), "one-of-ten"}), callable, None],
    }

    def _make_augment(self, generator: torch.Generator) -> Augment | None:
        if self.augmentation != "one-of-ten":
            return super()._make_augment(generator)

        def augment(images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor | None]:
            return apply_one_of_ten(images, masks, draw_one_of_ten(len(images), generator))

        return augment
