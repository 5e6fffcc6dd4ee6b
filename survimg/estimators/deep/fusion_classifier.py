"""`FusionClassifier`: tumour and peritumoral fusion for distant metastasis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from survimg.estimators.deep.fusion_body import FusionBody
from survimg.estimators.deep.volume_classifier import VolumeClassifier

__all__ = ["FusionClassifier"]


@dataclass(kw_only=True, eq=False, repr=False)
class FusionClassifier(FusionBody, VolumeClassifier):
    """The fusion network of Tang et al. 2025: a classifier of labels over a cohort.

    Parameters
    ----------
    balanced : bool, default=True
        Fill each batch with equal numbers of patients of each class.
    batch_norm_batches : int, default=50
        Changes nothing: the network has no batch normalisation.

    Attributes
    ----------
    classes_, prevalence_
        See `VolumeClassifier`.
    net_, history_, channel_names_in_, n_channels_in_, volume_shape_in_
        See `VolumeEstimator`.

    Notes
    -----
    The paper's loss and training are not stated, so that there is no published recipe: here binary
    cross-entropy on balanced batches; see `VolumeClassifier`.

    Missing masks, modalities and clinical values are treated as in `FusionSurvival`.

    References
    ----------
    Tang et al. 2025, arXiv 2508.20469.
    """

    def _selection_target(self, event: np.ndarray, time: np.ndarray) -> np.ndarray:  # noqa: ARG002
        return event.astype(int)
