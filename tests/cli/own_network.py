"""A user's own network, as far as the command line can tell: it has steps and a device."""

from __future__ import annotations

from contestants import StageCox
from sklearn.pipeline import make_pipeline

from survimg.estimators import ImageSurvival
from survimg.training import Net
from tests.estimators.deep.networks_of_users import SmallNet


class OwnNetwork(StageCox):
    """Cox model on the clinical column that would train in steps."""

    def __init__(self, n_iterations=3, device="auto", alpha=0.1):
        super().__init__(alpha)
        self.n_iterations = n_iterations
        self.device = device


def image_survival():
    return ImageSurvival(net=Net(SmallNet), n_iterations=3, batch_size=4, precision="float32")


def inside_a_pipeline():
    return make_pipeline("passthrough", OwnNetwork())
