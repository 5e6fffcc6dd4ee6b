"""`FusionSurvival`: tumour and peritumoral fusion with a Cox output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from survimg.cohort import Cohort
from survimg.estimators.deep.fusion_body import FusionBody
from survimg.estimators.deep.volume_survival_estimator import CoxVolumeEstimator

__all__ = ["FusionSurvival"]


@dataclass(kw_only=True, eq=False, repr=False)
class FusionSurvival(FusionBody, CoxVolumeEstimator):
    """The fusion network of Tang et al. 2025 with a Cox head; **risk higher = earlier event**.

    Parameters
    ----------
    batch_norm_batches : int, default=50
        Changes nothing: the network has no batch normalisation.

    Attributes
    ----------
    net_, history_, baseline_, channel_names_in_, n_channels_in_, volume_shape_in_
        See `VolumeSurvivalEstimator`.
    table_names_in_ : tuple of str
        What enters the network beside the images: selected radiomic features, clinical columns.

    Notes
    -----
    The paper states no training, so that there is no published recipe; the defaults are survimg's.

    The paper predicts distant metastasis as a label (`FusionClassifier`); the Cox head is
    survimg's. The forest selects radiomic features by martingale residuals.

    A patient without a tumour mask has image features of zero and the training medians for
    radiomic features (a warning names the patient); an absent modality is zero in the image, the
    training median in its radiomic features; a missing clinical value is imputed and flagged in a
    column of its own. All is learned on the training patients, without the held-out ones.
    """

    def _columns_to_encode(
        self, cohort: Cohort, event: np.ndarray, time: np.ndarray, train: np.ndarray
    ) -> Any:
        return CoxVolumeEstimator._columns_to_encode(self, cohort, event, time, train)
