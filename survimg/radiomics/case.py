"""One case as an engine sees it, and what an engine returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["CaseFeatures", "RadiomicsCase", "UnmeasurableRegionError"]


class UnmeasurableRegionError(ValueError):
    """The region has voxels, and still no feature of its shape is defined."""


@dataclass(frozen=True)
class RadiomicsCase:
    """Voxels, region and geometry of one patient.

    Parameters
    ----------
    patient : str
        Identifier, for messages.
    volume : ndarray of shape (channels, z, y, x)
    region : ndarray of shape (z, y, x), bool
        Voxels to be measured; at least two, spread over at least two axes.
    spacing : ndarray of shape (3,)
        Voxel size in mm, in the order (z, y, x).
    channel_names : tuple of str
    present : ndarray of shape (channels,), bool
        Which channels the patient has; features of the others are NaN.
    """

    patient: str
    volume: np.ndarray
    region: np.ndarray
    spacing: np.ndarray
    channel_names: tuple[str, ...]
    present: np.ndarray


@dataclass(frozen=True)
class CaseFeatures:
    """Values of one case and the grey levels they rest on.

    Parameters
    ----------
    values : ndarray of shape (n_features,), float64
        In the order of `ExtractionSettings.iter_columns`.
    n_levels : ndarray of shape (channels, image types), int
        Number of grey levels after discretisation (the largest level of the region); 0 where an
        image was not computed. Too few of them make texture features degenerate.
    """

    values: np.ndarray
    n_levels: np.ndarray
