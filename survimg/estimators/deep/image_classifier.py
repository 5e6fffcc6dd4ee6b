"""`ImageClassifier`: any network of torch or MONAI as a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from survimg.cohort import Cohort
from survimg.estimators.deep.image_encoder import ImageEncoder, refuse_offset
from survimg.estimators.deep.volume_classifier import VolumeClassifier

__all__ = ["ImageClassifier"]


@dataclass(kw_only=True, eq=False, repr=False)
class ImageClassifier(ImageEncoder, VolumeClassifier):
    """Labels from volumes by a network of your own, or of MONAI.

    One fully connected layer makes the log-odds of the second class, or one logit for each of more
    than two, from the network's features and the clinical columns.

    Parameters
    ----------
    clinical_path : {"joined", "undropped"}, default="joined"
        Clinical columns enter with the features, behind the same dropout or without any.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        ``net_.module_.encoder`` is the trained network, ``net_.module_.head`` the layer behind it.
    classes_, prevalence_
        See `VolumeClassifier`, which also tells how the prevalence enters the probabilities.
    history_, clinical_encoder_, channel_names_in_, volume_shape_in_
        See `VolumeEstimator`.

    Examples
    --------
    >>> from torch import nn
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import ImageClassifier
    >>> from survimg.training import Net
    >>> X = make_phantom_cohort(n=12, shape=(16, 16, 16), random_state=0).cohort
    >>> net = Net(nn.Conv3d, out_channels=4, kernel_size=3)
    >>> model = ImageClassifier(net=net, n_iterations=2, random_state=0)
    >>> model.fit(X, X.outcome["event"]).predict_proba(X).shape
    (12, 2)
    """

    def _encode_training(
        self, cohort: Cohort, event: np.ndarray, time: np.ndarray, train: np.ndarray, seed: int
    ) -> np.ndarray:
        refuse_offset(self.clinical_path, "a classifier has no log-hazard ratios")
        return super()._encode_training(cohort, event, time, train, seed)
