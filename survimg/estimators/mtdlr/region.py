"""What a multi-task network says of a patient: risk, and radiomics of the mask it predicts."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort
from survimg.estimators.base import mean_and_scale
from survimg.radiomics.regions import measurable
from survimg.survival import risk_of

__all__ = ["NetworkScoreAndRadiomics", "RegionSource"]

_THRESHOLD = 0.5
# In one piece; below it textures have hardly a pair of voxels to count.
_FEWEST_VOXELS = 8


class RegionSource(IntEnum):
    """Where the region of a patient's radiomics comes from."""

    PREDICTED = 0
    MOST_PROBABLE = 1
    NONE = 2


class NetworkScoreAndRadiomics(TransformerMixin, BaseEstimator):
    """A multi-task network as a table: risk, and radiomic features of the predicted mask.

    Where the predicted mask is empty or too small to be measured (no 8 voxels in one piece, or all
    on one line), the threshold is lowered until one connected piece holds as many voxels as the
    smallest tumour mask of the training patients, and at least 8; the region is that piece. If it
    is larger than their largest mask by then, the map tells no tumour from the rest; then, and for
    a training set without masks, there is no region: the features are NaN, for an imputer that
    follows.

    Parameters
    ----------
    estimator : estimator
        With ``predict`` (risk) and ``predict_mask_proba``.
    extractor : transformer
        With a parameter ``mask_from``, as `survimg.radiomics.RadiomicsFeatures`.

    Attributes
    ----------
    estimator_ : estimator
    mask_sizes_ : tuple of int or None
        Voxels of the smallest and of the largest tumour mask in training.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict", "predict_mask_proba"])],
        "extractor": [HasMethods(["fit", "transform", "set_params"])],
    }

    def __init__(self, estimator: Any, extractor: Any) -> None:
        self.estimator = estimator
        self.extractor = extractor

    def fit(self, X: Cohort, y: np.ndarray) -> NetworkScoreAndRadiomics:
        """Train the network.

        Parameters
        ----------
        X : Cohort
        y : structured array of shape (n,)
        """
        self._validate_params()
        self.estimator_ = clone(self.estimator).fit(X, y)
        mean, scale = mean_and_scale(risk_of(self.estimator_, X))
        self._unit = mean, scale or np.inf
        sizes = [int(np.count_nonzero(X.mask(i))) for i in np.flatnonzero(X.has_masks).tolist()]
        self.mask_sizes_ = (min(sizes), max(sizes)) if sizes else None
        return self

    def transform(self, X: Cohort) -> pd.DataFrame:
        """Measure patients.

        Parameters
        ----------
        X : Cohort

        Returns
        -------
        DataFrame of shape (n, 2 + n_features)
            ``risk``, in standard deviations from the mean of the training patients; ``source``, a
            `RegionSource`; and the features.
        """
        check_is_fitted(self)
        risk = (risk_of(self.estimator_, X) - self._unit[0]) / self._unit[1]
        regions = [self.region(X, i) for i in range(len(X))]
        masks = {str(name): mask for name, (mask, _) in zip(X.ids, regions, strict=True)}
        extractor = clone(self.extractor).set_params(mask_from=_GivenMasks(masks))
        features = extractor.fit(X).transform(X)
        sources = np.array([float(source) for _, source in regions])
        first = pd.DataFrame({"risk": risk, "source": sources})
        return pd.concat([first, features.reset_index(drop=True)], axis=1)

    def region(self, X: Cohort, i: int) -> tuple[np.ndarray, RegionSource]:
        """Predict the region of patient `i`.

        Returns
        -------
        mask : ndarray of shape (z, y, x), uint8
        source : RegionSource
        """
        probability = np.asarray(self.estimator_.predict_mask_proba(X[[i]]))[0]
        mask = probability > _THRESHOLD
        if _large_enough(mask):
            return mask.astype(np.uint8), RegionSource.PREDICTED
        if self.mask_sizes_ is not None:
            smallest = max(int(self.mask_sizes_[0]), _FEWEST_VOXELS)
            largest = max(int(self.mask_sizes_[1]), _FEWEST_VOXELS)
            mask = _most_probable_piece(probability, min(smallest, probability.size))
            if _large_enough(mask) and np.count_nonzero(mask) <= largest:
                return mask.astype(np.uint8), RegionSource.MOST_PROBABLE
        return np.zeros(probability.shape, dtype=np.uint8), RegionSource.NONE


def _large_enough(mask: np.ndarray) -> bool:
    return measurable(mask) and int(np.count_nonzero(_largest_piece(mask))) >= _FEWEST_VOXELS


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    """Keep the largest set of voxels that are connected by faces."""
    labels, n = ndimage.label(mask)
    if n == 0:
        return mask
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def _most_probable_piece(probability: np.ndarray, n: int) -> np.ndarray:
    """Lower the threshold until one connected piece has `n` voxels; return that piece."""
    thresholds = np.unique(probability)
    low, high = 0, thresholds.size - 1
    while low < high:
        middle = (low + high + 1) // 2
        piece = _largest_piece(probability >= thresholds[middle])
        low, high = (middle, high) if np.count_nonzero(piece) >= n else (low, middle - 1)
    return _largest_piece(probability >= thresholds[low])


class _GivenMasks(BaseEstimator):
    """Masks that are known already, handed to an extractor as if predicted."""

    def __init__(self, masks: dict[str, np.ndarray]) -> None:
        self.masks = masks

    def fit(self, X: Cohort, y: Any = None) -> _GivenMasks:  # noqa: ARG002
        return self

    def predict_mask(self, X: Cohort) -> np.ndarray:
        return np.stack([self.masks[str(name)] for name in X.ids])

    def __sklearn_is_fitted__(self) -> bool:
        return True
