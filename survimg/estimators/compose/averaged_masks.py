"""Tumour masks of an ensemble: the mean of its members' probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort
from survimg.estimators.base import joined

__all__ = ["AveragedMasks"]


def _members_predict_masks(ensemble: Any) -> bool:
    members = getattr(ensemble, "members_", [ensemble.estimator])
    return all(hasattr(member, "predict_mask_proba") for member in members)


class AveragedMasks:
    """Mixin of ensembles with ``members_``, for members that segment."""

    members_: list[Any]

    @available_if(_members_predict_masks)
    def predict_mask_proba(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict the mean of the members' tumour probabilities.

        Parameters
        ----------
        X, masks, clinical
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, z, y, x), float32
        """
        check_is_fitted(self, "members_")
        X = joined(X, masks, clinical)
        total = self.members_[0].predict_mask_proba(X)
        for member in self.members_[1:]:
            total = total + member.predict_mask_proba(X)
        averaged: np.ndarray = (total / len(self.members_)).astype(np.float32)
        return averaged

    @available_if(_members_predict_masks)
    def predict_mask(
        self,
        X: Cohort | npt.ArrayLike,
        threshold: float = 0.5,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict the tumour mask: voxels whose averaged probability exceeds `threshold`.

        Parameters
        ----------
        X, masks, clinical
            As in `predict`.
        threshold : float, default=0.5

        Returns
        -------
        ndarray of shape (n, z, y, x), uint8
        """
        proba = self.predict_mask_proba(X, masks=masks, clinical=clinical)
        return (proba > threshold).astype(np.uint8)
