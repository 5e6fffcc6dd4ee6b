"""
Your own network in the training engine
=======================================

You write a ``torch.nn.Module``; the training engine adds the Cox loss on balanced batches,
augmentation, early stopping, checkpoints, devices, seeds and scikit-learn's interface.
"""

# %%
# The network takes ``volumes`` (b, channels, z, y, x) and ``clinical`` (b, k), and returns a risk
# (b,), higher = earlier event, with the features from which it was computed. Weights are drawn from
# the given generator, which makes a fit reproducible.
import tempfile
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.model_selection import cross_val_score
from torch import Tensor, nn

import survimg
from survimg.datasets import make_phantom_cohort
from survimg.estimators.deep import CoxVolumeEstimator
from survimg.model_selection import EventStratifiedKFold
from survimg.nets import RiskOutput, global_average, initialise
from survimg.testing import check_survival_estimator


class SmallNet(nn.Module):
    def __init__(self, n_channels: int, n_clinical: int, width: int, generator: torch.Generator):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv3d(n_channels, width, 3), nn.BatchNorm3d(width), nn.ReLU(), nn.MaxPool3d(2),
            nn.Conv3d(width, 2 * width, 3), nn.BatchNorm3d(2 * width), nn.ReLU(),
        )  # fmt: skip
        self.n_features = 2 * width
        self.risk = nn.Linear(2 * width + n_clinical, 1)
        initialise(self, generator)

    def forward(self, volumes: Tensor, clinical: Tensor) -> RiskOutput:
        features = global_average(self.convolutions(volumes))
        return RiskOutput(self.risk(torch.cat([features, clinical], dim=1))[:, 0], features)


# %%
# The estimator is a dataclass: its fields are its parameters, in addition to those of the engine.
@dataclass(kw_only=True, eq=False, repr=False)
class SmallSurvival(CoxVolumeEstimator):
    """Two convolutions and a Cox loss."""

    width: int = 8

    def _make_module(self, n_channels: int, n_clinical: int, generator: torch.Generator) -> Any:
        return SmallNet(n_channels, n_clinical, self.width, generator)


# %%
# A dozen checks test whether it behaves as other tools expect: same seed, same result; no patient's
# risk depends on the others; the risk has the sign of the curves.
X = make_phantom_cohort(n=60, shape=(16, 16, 16), random_state=0).cohort
quick = SmallSurvival(n_iterations=2, batch_norm_batches=1, n_threads=1, random_state=0)
check_survival_estimator(quick, X[:12], X.outcome[:12])

# %%
# Cross-validation, and early stopping on held-out patients.
model = SmallSurvival(
    n_iterations=80, learning_rate=1e-2, validation_fraction=0.2,
    iterations_per_epoch=20, batch_norm_batches=5, n_threads=1, random_state=0,
)  # fmt: skip
print(cross_val_score(model, X, X.outcome, cv=EventStratifiedKFold(3)).round(2))
history = model.fit(X, X.outcome).history_
history.plot(x="epoch", y=["loss", "validation_c_index"], subplots=True, xticks=history["epoch"])

# %%
# A model file contains no code, so name your class when you save and when you load.
with tempfile.TemporaryDirectory() as folder:
    survimg.save(model, f"{folder}/model", trusted=[SmallSurvival])
    again = survimg.load(f"{folder}/model", trusted=[SmallSurvival])
print("same predictions:", (again.predict(X) == model.predict(X)).all())
