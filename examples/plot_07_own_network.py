"""
Your own network
================

You write a ``torch.nn.Module`` that makes features of a volume, or take one of MONAI's.
`survimg.estimators.ImageSurvival` adds the rest: a head with the clinical columns, balanced
batches, augmentation, early stopping, checkpoints, devices, seeds and scikit-learn's interface.
"""

# %%
# The network returns features (b, n), or a map that is averaged over its voxels.
import tempfile

from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn

import survimg
from survimg.datasets import make_phantom_cohort
from survimg.estimators import ImageSurvival
from survimg.model_selection import EventStratifiedKFold
from survimg.testing import check_survival_estimator
from survimg.training import Cox, Net


class SmallNet(nn.Module):
    def __init__(self, in_channels, width=8):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv3d(in_channels, width, 3), nn.BatchNorm3d(width), nn.ReLU(), nn.MaxPool3d(2),
            nn.Conv3d(width, 2 * width, 3), nn.BatchNorm3d(2 * width), nn.ReLU(),
        )  # fmt: skip

    def forward(self, volumes):
        return self.convolutions(volumes)


# %%
# A dozen checks test whether it behaves as other tools expect: same seed, same result; no patient's
# risk depends on the others; the risk has the sign of the curves.
X = make_phantom_cohort(n=60, shape=(16, 16, 16), random_state=0).cohort
quick = ImageSurvival(
    net=Net(SmallNet), n_iterations=2, batch_norm_batches=1, n_threads=1, random_state=0
)
check_survival_estimator(quick, X[:12], X.outcome[:12])

# %%
# Cross-validation, and early stopping on held-out patients.
model = ImageSurvival(
    net=Net(SmallNet), objective=Cox(ties="efron"), n_iterations=80, learning_rate=1e-2,
    validation_fraction=0.2, iterations_per_epoch=20, batch_norm_batches=5, n_threads=1,
    random_state=0,
)  # fmt: skip
folds = EventStratifiedKFold(3)
print(cross_val_score(model, X, X.outcome, cv=folds).round(2))
history = model.fit(X, X.outcome).history_
history.plot(x="epoch", y=["loss", "validation_c_index"], subplots=True, xticks=history["epoch"])

# %%
# A search sets parameters of the network, and of what it is trained for.
search = GridSearchCV(model, {"net__width": [4, 8]}, cv=folds).fit(X, X.outcome)
print(search.best_params_)

# %%
# A model file contains no code, so name your class when you save and when you load.
with tempfile.TemporaryDirectory() as folder:
    survimg.save(model, f"{folder}/model", trusted=[SmallNet])
    again = survimg.load(f"{folder}/model", trusted=[SmallNet])
print("same predictions:", (again.predict(X) == model.predict(X)).all())
