"""Single-task 3D DenseNet with a Cox loss, the comparator of the MTDLR study."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor

from survimg.cohort import Cohort
from survimg.estimators.deep.volume_survival_estimator import CoxVolumeEstimator
from survimg.losses import cox_loss
from survimg.nets.densenet_survival import DenseNetSurvivalNet
from survimg.nets.outputs import RiskOutput
from survimg.training.batches import Targets
from survimg.training.engine import LossTerms

__all__ = ["SingleTaskSurvival"]


@dataclass(frozen=True)
class _PenalisedCox:
    ties: str
    l2: float

    def __call__(self, net: Any, output: RiskOutput, targets: Targets) -> dict[str, Tensor]:
        loss = cox_loss(output.risk, targets.time, targets.event, ties=self.ties)  # type: ignore[arg-type]
        return {"cox": loss, "l2": self.l2 * net.l2_penalty()}


@dataclass(kw_only=True, eq=False, repr=False)
class SingleTaskSurvival(CoxVolumeEstimator):
    """3D DenseNet on the images alone with a Cox loss.

    Parameters
    ----------
    l2 : float, default=0.1
        Weight of the sum of squares of the fully connected kernels.
    dropout : float, default=0.5
        Dropout on the inputs of the fully connected layers, clinical columns included.
    dense_dropout : float, default=0.05
        Element-wise dropout after the convolutions.
    ties, clinical_columns
        See `CoxVolumeEstimator` and `VolumeSurvivalEstimator`. Clinical columns enter the last
        layer.
    n_iterations, batch_size, learning_rate, ..., random_state, verbose
        How the network is trained: see `TrainingParameters`, which describes them all.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained `survimg.nets.densenet_survival.DenseNetSurvivalNet` is ``net_.module_``.
    history_ : DataFrame
    baseline_ : BreslowBaseline
        Baseline hazard on the training set.

    Notes
    -----
    The layers and the training of the study that the comparator follows are not published. Here
    both are DeepMTS's, without the tumour map, so that a comparison isolates multi-task learning.

    References
    ----------
    Gu B, Meng M, Xu M, et al. Multi-task deep learning-based radiomic nomogram for prognostic
    prediction in locoregionally advanced nasopharyngeal carcinoma. Eur J Nucl Med Mol Imaging,
    2023. Qiang M, Li C, Sun Y, et al. J Natl Cancer Inst 113(5):606-615, 2021.
    """

    l2: float = 0.1
    dropout: float = 0.5
    dense_dropout: float = 0.05

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CoxVolumeEstimator._parameter_constraints,
        "l2": [Interval(Real, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "dense_dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def _make_module(
        self, n_channels: int, n_clinical: int, generator: torch.Generator
    ) -> DenseNetSurvivalNet:
        return DenseNetSurvivalNet(
            n_channels,
            n_clinical,
            dropout=self.dropout,
            dense_dropout=self.dense_dropout,
            generator=generator,
        )

    def _make_loss(self, cohort: Cohort) -> tuple[LossTerms, tuple[str, ...]]:  # noqa: ARG002
        return _PenalisedCox(self.ties, self.l2), ("cox", "l2")
