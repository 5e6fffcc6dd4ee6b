"""scikit-learn's own estimator checks, through an adapter that makes volumes of table rows.

The checks feed float matrices and float targets. The adapter spreads a row's values over the voxels
of a small volume, ranks the targets as times, and validates as scikit-learn's estimators do; all
else is the estimator's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from survimg.estimators import (
    DLPM,
    MDSN,
    CNNSurvival,
    DeepMTS,
    ImageClassifier,
    ImageSurvival,
    SingleTaskSurvival,
)
from survimg.estimators.deep import CoxVolumeEstimator
from survimg.nets import RiskOutput
from survimg.target import make_outcome
from survimg.training import MTLR, Net


class TinyNet(nn.Module):
    n_features = 2

    def __init__(self, n_channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.conv = nn.Conv3d(n_channels, 2, 1)
        self.output = nn.Linear(2, 1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)

    def forward(self, volumes, clinical):
        features = self.conv(volumes).tanh().mean(dim=(2, 3, 4))
        return RiskOutput(self.output(features)[:, 0], features)


@dataclass(kw_only=True, eq=False, repr=False)
class TinyCox(CoxVolumeEstimator):
    """The smallest Cox network on the engine: what a user would write for his own."""

    def _make_module(self, n_channels, n_clinical, generator):
        return TinyNet(n_channels, generator)


class Rows:
    """Adapter: takes tables, gives the estimator volumes of `volume_shape`."""

    volume_shape: tuple[int, int, int]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags

    def _checked(self, X):
        check_is_fitted(self, "net_")
        return self._volumes(validate_data(self, X, reset=False))

    def _volumes(self, X):
        n_voxels = int(np.prod(self.volume_shape))
        columns = np.arange(n_voxels) % X.shape[1]
        flat = X[:, columns].astype(np.float32)
        return flat.reshape(len(X), 1, *self.volume_shape)


class Flat(Rows):
    """Gives the estimator outcomes too."""

    def fit(self, X, y):
        X, y = validate_data(self, X, y, ensure_min_samples=2, y_numeric=True)
        rank = rankdata(y, method="ordinal")
        return super().fit(self._volumes(X), make_outcome(rank % 3 != 0, rank.astype(float)))

    def predict(self, X):
        return super().predict(self._checked(X))

    def transform(self, X):
        return super().transform(self._checked(X))

    def score(self, X, y):
        X, y = validate_data(self, X, y, reset=False, y_numeric=True)
        rank = rankdata(y, method="ordinal")
        # predict takes tables: it is X that goes on.
        return super().score(X, make_outcome(rank % 3 != 0, rank.astype(float)))


class FlatCNNSurvival(Flat, CNNSurvival):
    volume_shape = (1, 18, 18)


class FlatDLPM(Flat, DLPM):
    volume_shape = (6, 6, 6)


class FlatTinyCox(Flat, TinyCox):
    volume_shape = (2, 2, 2)


class FlatImageSurvival(Flat, ImageSurvival):
    volume_shape = (2, 2, 2)


class FlatImageClassifier(Rows, ImageClassifier):
    volume_shape = (2, 2, 2)

    def fit(self, X, y):
        X, y = validate_data(self, X, y, ensure_min_samples=2)
        return super().fit(self._volumes(X), y)

    def decision_function(self, X, **beside):
        # predict and predict_proba call it, with the tables that they are given.
        return super().decision_function(self._checked(X), **beside)

    def transform(self, X):
        return super().transform(self._checked(X))


class FlatMONAI(Flat, ImageSurvival):
    volume_shape = (32, 32, 32)


class FlatDeepMTS(Flat, DeepMTS):
    volume_shape = (16, 16, 16)


class FlatMDSN(Flat, MDSN):
    volume_shape = (16, 16, 16)


class FlatSingleTask(Flat, SingleTaskSurvival):
    volume_shape = (16, 16, 16)


QUICK: dict = {
    "n_iterations": 1, "batch_size": 4, "batch_norm_batches": 1, "n_threads": 1, "random_state": 0,
    "augmentation": None, "precision": "float32",
}  # fmt: skip

SMALL = [
    FlatCNNSurvival(**QUICK, slice_choice="central", masked_input=False, width=2, hidden=4),
    FlatDLPM(**QUICK),
    FlatTinyCox(**QUICK),
    FlatImageSurvival(**QUICK, net=Net(nn.Conv3d, out_channels=2, kernel_size=1)),
    FlatImageSurvival(
        **QUICK, net=Net(nn.Conv3d, out_channels=2, kernel_size=1), objective=MTLR(), pool="mean-sd"
    ),
]
CLASSIFIER = FlatImageClassifier(**{
    **QUICK, "n_iterations": 30, "batch_size": 8, "learning_rate": 0.05,
    "net": Net(nn.Conv3d, out_channels=4, kernel_size=2),
})  # fmt: skip
LARGE = [
    FlatDeepMTS(**QUICK, segmentation_weight=0.0),
    FlatMDSN(**QUICK),
    FlatSingleTask(**QUICK),
]


@parametrize_with_checks([*SMALL, CLASSIFIER], expected_failed_checks=lambda _: {})
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(LARGE, expected_failed_checks=lambda _: {})
def test_scikit_learns_checks_of_the_large_networks(estimator, check):
    check(estimator)
