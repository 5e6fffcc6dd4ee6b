"""Single-task 3D DenseNet with a Cox loss, the comparator of the MTDLR study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval

from survimg.estimators.deep.volume_survival_estimator import CoxVolumeEstimator
from survimg.nets.densenet_survival import DenseNetSurvivalNet
from survimg.training.published import DEEPMTS_TRAINING, PublishedRecipe

__all__ = ["SingleTaskSurvival"]


@dataclass(kw_only=True, eq=False, repr=False)
class SingleTaskSurvival(PublishedRecipe, CoxVolumeEstimator):
    """3D DenseNet on the images with a Cox loss; clinical columns enter the last layer.

    Parameters
    ----------
    l2 : float, default=0.01
        Weight of the sum of squares of the fully connected kernels.
    dropout : float, default=0.0
        Dropout on the inputs of the fully connected layers, clinical columns included; as in
        `DeepMTS`.
    dense_dropout : float, default=0.05
        Element-wise dropout after the convolutions.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained `survimg.nets.densenet_survival.DenseNetSurvivalNet` is ``net_.module_``.
    history_ : DataFrame
    baseline_ : BreslowBaseline
        Baseline hazard on the training set.

    Notes
    -----
    The study of this comparator does not publish its layers and training. Here both are those of
    DeepMTS without the tumour map, so that a comparison isolates multi-task learning.
    On 240 phantoms of 32 voxels along each axis 400 steps with ``augmentation="uniform",
    dropout=0.2`` reached C 0.70 (``benchmarks/README.md``).

    *Published recipe.* ``SingleTaskSurvival.published()`` trains as the DeepMTS paper:
    `DEEPMTS_TRAINING <survimg.training.DEEPMTS_TRAINING>` (15,000 steps, 1e-4 in its steps),
    ``augmentation="uniform"``, ``l2=0.1``, ``dropout=0.5``.

    References
    ----------
    Gu B, Meng M, Xu M, et al. Multi-task deep learning-based radiomic nomogram for prognostic
    prediction in locoregionally advanced nasopharyngeal carcinoma. Eur J Nucl Med Mol Imaging,
    2023. Qiang M, Li C, Sun Y, et al. J Natl Cancer Inst 113(5):606-615, 2021.
    """

    l2: float = 0.01
    dropout: float = 0.0
    dense_dropout: float = 0.05

    _net = DenseNetSurvivalNet
    _published: ClassVar[Mapping[str, Any]] = {**DEEPMTS_TRAINING, "l2": 0.1, "dropout": 0.5}

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "l2": [Interval(Real, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "dense_dropout": [Interval(Real, 0, 1, closed="left")],
    }
