"""The voxels to measure: the tumour mask, a mask predicted by a network, or a shell around it."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, Protocol

import numpy as np
from scipy import ndimage
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort
from survimg.preprocessing.agreement import preparation_of

__all__ = [
    "CONTROLS",
    "SOFT_TISSUE_HU",
    "PredictsMasks",
    "check_margin",
    "check_mask_source",
    "check_measured_on",
    "check_shell_hu",
    "hides_hu",
    "measurable",
    "measured_voxels",
    "peritumoral",
    "predicted_mask",
    "shell",
    "shuffled",
]


class PredictsMasks(Protocol):
    """A fitted estimator that segments, such as `survimg.estimators.DeepMTS`."""

    def predict_mask(self, X: Cohort) -> np.ndarray:
        """Return tumour masks of shape (n, z, y, x)."""


def measured_voxels(
    cohort: Cohort, mask_from: PredictsMasks | None = None
) -> tuple[Cohort, str]:
    """Return the voxels that features are measured on, and their name.

    Parameters
    ----------
    cohort : Cohort
    mask_from : estimator, optional
        Predicts the masks, and so on the cohort's own grid.

    Returns
    -------
    voxels : Cohort
        `Cohort.finer` where there is one; the cohort itself otherwise.
    name : {"finer voxels", "cohort's voxels"}
    """
    if cohort.finer is None or mask_from is not None:
        return cohort, "cohort's voxels"
    return cohort.finer, "finer voxels"


def check_measured_on(now: str, before: str | None, estimator: str) -> None:
    """Refuse to measure on other voxels than in `fit`.

    Raises
    ------
    ValueError
        One cohort has finer voxels, and the other has none.
    """
    if before is not None and now != before:
        raise ValueError(
            f"{estimator} was fitted on the {before} and would now measure the {now}. Prepare both "
            "cohorts alike (features_spacing, --features-spacing)."
        )


#: HU between which tissue around a tumour lies: air, lung and cortical bone are outside, fat and
#: enhancing vessels inside, with room for noise.
SOFT_TISSUE_HU = (-200.0, 300.0)


def check_shell_hu(window: Any) -> None:
    """Demand two numbers that rise, or None.

    Raises
    ------
    ValueError
        It is something else.
    """
    if window is None:
        return
    numbers = len(window) == 2 and all(isinstance(each, Real) for each in window)
    if not numbers or not window[0] < window[1]:
        raise ValueError(f"shell_hu must be (low, high) in HU, or None; got {window!r}.")


def peritumoral(
    cohort: Cohort, i: int, shell_voxels: np.ndarray, window: tuple[float, float] | None
) -> np.ndarray:
    """Return the voxels of a shell that are soft tissue and no excluded organ.

    Parameters
    ----------
    cohort : Cohort
    i : int
    shell_voxels : ndarray of shape (z, y, x), bool
    window : (low, high) or None
        HU that the channel CT must have, where the patient has one in HU; None for any.
    """
    region = shell_voxels.copy()
    if window is not None and "CT" in cohort.channel_names and not hides_hu(cohort):
        c = cohort.channel_names.index("CT")
        if cohort.present[i, c]:
            ct = cohort.volume(i)[c]
            region &= (ct >= window[0]) & (ct <= window[1])
    organs = cohort.organs(i)
    return region if organs is None else region & (organs == 0)


def region_mask(
    cohort: Cohort, i: int, mask_from: PredictsMasks | None
) -> np.ndarray | None:
    """Return the tumour of patient `i`, bool, shape (z, y, x); None without a mask."""
    if mask_from is not None:
        return predicted_mask(mask_from, cohort, i)
    return np.asarray(cohort.mask(i)) > 0 if cohort.has_masks[i] else None


def removed_part(
    cohort: Cohort,
    i: int,
    mask: np.ndarray,
    spacing: np.ndarray,
    thickness: float,
    window: tuple[float, float] | None,
) -> float:
    """Return the part of a shell that `peritumoral` leaves out; NaN without a shell."""
    whole = shell(mask, spacing, thickness)
    if not whole.any():
        return np.nan
    return float(1 - peritumoral(cohort, i, whole, window).sum() / whole.sum())


def hides_hu(cohort: Cohort) -> bool:
    """Say whether a cohort has a channel CT that was normalised when it was prepared."""
    how = (preparation_of(cohort) or {}).get("normalise")
    how = how.get("CT") if isinstance(how, Mapping) else how
    return "CT" in cohort.channel_names and how not in (None, "none")


def shell(mask: np.ndarray, spacing: np.ndarray, thickness: float) -> np.ndarray:
    """Return the voxels outside the mask whose centre is within `thickness` mm of a mask voxel's.

    Parameters
    ----------
    mask : ndarray of shape (z, y, x), bool
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).
    thickness : float
        Thickness of the peritumoral shell in mm.

    Returns
    -------
    ndarray of shape (z, y, x), bool
        Empty for an empty mask, or where the thickness is below the voxel size.
    """
    region = np.zeros(mask.shape, dtype=bool)
    if not mask.any():
        return region
    reach = np.ceil(thickness / np.asarray(spacing)).astype(int)
    window = tuple(
        slice(max(int(positions.min()) - r, 0), int(positions.max()) + r + 1)
        for positions, r in zip(np.nonzero(mask), reach, strict=True)
    )
    distance = ndimage.distance_transform_edt(~mask[window], sampling=spacing)
    region[window] = (distance > 0) & (distance <= thickness)
    return region


def measurable(region: np.ndarray) -> bool:
    """Say whether features are defined: three voxels or more that extend along two axes or more.

    The second rule is PyRadiomics' (``minimumROIDimensions=2``): a single voxel has no neighbours
    and a line of voxels has one direction. Of two values none lies between their 10th and 90th
    percentile, where the robust mean absolute deviation is taken.
    """
    if np.count_nonzero(region) < 3:
        return False
    across = ((1, 2), (0, 2), (0, 1))
    extents = [np.ptp(np.flatnonzero(region.any(axis=others))) for others in across]
    return int(np.count_nonzero(extents)) >= 2


#: Which voxels a negative control shuffles: those of the region, all others, or all.
CONTROLS = ("shuffled-roi", "shuffled-non-roi", "shuffled-full")


def shuffled(volume: np.ndarray, region: np.ndarray, control: str, patient: str) -> np.ndarray:
    """Return a volume whose voxels change places: a negative control without spatial structure.

    Parameters
    ----------
    volume : ndarray of shape (channels, z, y, x)
        All channels are shuffled alike.
    region : ndarray of shape (z, y, x), bool
    control : {"shuffled-roi", "shuffled-non-roi", "shuffled-full"}
    patient : str
        Fixes the permutation.
    """
    places = {
        "shuffled-roi": region, "shuffled-non-roi": ~region, "shuffled-full": np.ones_like(region)
    }[control]
    rng = np.random.default_rng(list(f"{control} {patient}".encode()))
    result = np.array(volume)
    result[:, places] = rng.permutation(result[:, places], axis=1)
    return result


def check_margin(cohort: Cohort, measured_on: str, shell_mm: float | None) -> None:
    """Check that the finer voxels hold a shell.

    Raises
    ------
    ValueError
        They end before it.
    """
    margin = cohort.settings.get("features_margin", np.inf)
    if measured_on == "finer voxels" and (shell_mm or 0) > margin:
        raise ValueError(
            f"shell_mm={shell_mm:g} reaches beyond the finer voxels, which end {margin:g} mm from "
            "the tumour; prepare the cohort with a larger features_margin."
        )


def check_mask_source(mask_from: PredictsMasks) -> None:
    """Check that an estimator is fitted and segments.

    Raises
    ------
    TypeError
        It has no ``predict_mask``.
    sklearn.exceptions.NotFittedError
        It is not fitted; scikit-learn's ``clone`` discards fits inside cross-validation.
    """
    if not hasattr(mask_from, "predict_mask"):
        raise TypeError(
            f"mask_from must be a fitted estimator with predict_mask(X); got "
            f"{type(mask_from).__name__}, which has none."
        )
    try:
        check_is_fitted(mask_from)
    except NotFittedError:
        raise NotFittedError(
            f"mask_from={type(mask_from).__name__} is not fitted. Fit it first; and because "
            "cross-validation clones its estimators, which discards their fits, hand it over as "
            "sklearn.frozen.FrozenEstimator(fitted)."
        ) from None


def predicted_mask(mask_from: PredictsMasks, cohort: Cohort, i: int) -> np.ndarray:
    """Predict the mask of patient `i`.

    Parameters
    ----------
    mask_from : estimator with ``predict_mask``
    cohort : Cohort
    i : int

    Raises
    ------
    ValueError
        The prediction has another shape than the patient's volume.
    """
    masks = np.asarray(mask_from.predict_mask(cohort[[i]]))
    expected = (1, *cohort.volume(i).shape[1:])
    if masks.shape != expected:
        raise ValueError(
            f"{type(mask_from).__name__}.predict_mask returned shape {masks.shape} for patient "
            f"{str(cohort.ids[i])!r}; expected {expected}."
        )
    return masks[0] > 0
