"""Agreement of segmentations: overlap, surface distance, volume."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from survimg.evaluation.predictions import as_array

__all__ = ["aggregated_dice", "dice", "hausdorff_distance_95", "volume_difference"]


def dice(mask: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    r"""Dice similarity coefficient of two binary masks.

    .. math:: DSC = 2 |A \cap B| / (|A| + |B|)

    Parameters
    ----------
    mask, reference : array-like of equal shape
        Binary (bool, or 0 and 1). Probabilities must be thresholded first.

    Returns
    -------
    float
        From 0 (disjoint) to 1 (equal).

    Raises
    ------
    ValueError
        Both masks are empty (0/0), shapes differ, or values are not binary.

    References
    ----------
    .. [1] Dice LR. Ecology 1945;26:297-302.
    """
    a, b = _masks(mask, reference)
    total = int(a.sum()) + int(b.sum())
    if total == 0:
        raise ValueError(
            "Dice is undefined for two empty masks (0/0); leave such patients out, or use "
            "aggregated_dice over the cohort."
        )
    return 2 * int((a & b).sum()) / total


def aggregated_dice(
    masks: Iterable[npt.ArrayLike], references: Iterable[npt.ArrayLike]
) -> float:
    r"""Dice coefficient aggregated over a cohort.

    .. math:: DSC_{agg} = \frac{2 \sum_i |A_i \cap B_i|}{\sum_i (|A_i| + |B_i|)}

    Defined for patients without a lesion too; large lesions weigh more than in the mean of Dice.

    Parameters
    ----------
    masks, references : iterable of array-like, each of shape (z, y, x)
        Masks of the patients, in the same order; iterated once, so generators work.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        Different numbers of patients, all masks empty, or as in `dice`.

    References
    ----------
    .. [1] Andrearczyk V et al. Overview of the HECKTOR challenge at MICCAI 2022. LNCS 13626, 2023.
    """
    overlap = total = 0
    for mask, reference in zip(masks, references, strict=True):
        a, b = _masks(mask, reference)
        overlap += int((a & b).sum())
        total += int(a.sum()) + int(b.sum())
    if total == 0:
        raise ValueError("Aggregated Dice is undefined: all masks of the cohort are empty.")
    return 2 * overlap / total


def hausdorff_distance_95(
    mask: npt.ArrayLike,
    reference: npt.ArrayLike,
    spacing: npt.ArrayLike,
    *,
    percentile: float = 95.0,
) -> float:
    """95th percentile of the symmetric surface distances (HD95), in mm.

    Distances run from each surface voxel of one mask to the nearest surface voxel of the other; a
    surface voxel is one with a face neighbour outside the mask. The result is the larger of the two
    directed percentiles; ``percentile=100`` gives the Hausdorff distance.

    Parameters
    ----------
    mask, reference : array-like of equal shape
        Binary, axes (z, y, x) or (y, x).
    spacing : array-like of shape (ndim,)
        Voxel size in mm along each axis of the masks.
    percentile : float, default=95.0

    Returns
    -------
    float

    Raises
    ------
    ValueError
        A mask is empty (there is no surface to measure from), or invalid shapes or spacing.
    """
    from scipy import ndimage  # loads for half a second

    a, b = _masks(mask, reference)
    size = _spacing(spacing, a.ndim)
    if not a.any() or not b.any():
        raise ValueError("Surface distances are undefined when a mask is empty.")
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile must lie in (0, 100]; got {percentile}.")
    a, b = _crop(a, b)
    surface_a, surface_b = _surface(a), _surface(b)
    from_a = ndimage.distance_transform_edt(~surface_b, sampling=size)[surface_a]
    from_b = ndimage.distance_transform_edt(~surface_a, sampling=size)[surface_b]
    return float(max(np.percentile(from_a, percentile), np.percentile(from_b, percentile)))


def volume_difference(
    mask: npt.ArrayLike, reference: npt.ArrayLike, spacing: npt.ArrayLike, *, relative: bool = False
) -> float:
    """Volume of the mask minus volume of the reference.

    Parameters
    ----------
    mask, reference : array-like of equal shape
    spacing : array-like of shape (ndim,)
        Voxel size in mm.
    relative : bool, default=False
        Divide by the reference volume.

    Returns
    -------
    float
        In ml, or as a fraction; positive when the mask is too large.

    Raises
    ------
    ValueError
        An empty reference with ``relative=True``; invalid masks or spacing.
    """
    a, b = _masks(mask, reference)
    size = _spacing(spacing, a.ndim)
    difference = int(a.sum()) - int(b.sum())
    if not relative:
        return difference * float(np.prod(size)) / 1000
    if not b.any():
        raise ValueError("The relative volume difference is undefined for an empty reference.")
    return difference / int(b.sum())


def _masks(mask: npt.ArrayLike, reference: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    pair = []
    for values, name in ((mask, "mask"), (reference, "reference")):
        array = as_array(values)
        if array.dtype != np.bool_:
            binary = array.astype(bool)
            if not np.array_equal(array, binary):
                raise ValueError(f"{name} must be binary (bool, or 0 and 1); threshold it first.")
            array = binary
        pair.append(array)
    a, b = pair
    if a.shape != b.shape:
        raise ValueError(f"mask and reference must have one shape; got {a.shape} and {b.shape}.")
    return a, b


def _spacing(spacing: npt.ArrayLike, ndim: int) -> np.ndarray:
    size = np.asarray(spacing, dtype=np.float64)
    if size.shape != (ndim,) or not np.all(np.isfinite(size)) or np.any(size <= 0):
        raise ValueError(f"spacing must hold {ndim} positive voxel sizes in mm; got {size}.")
    return size


def _crop(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy import ndimage

    box = ndimage.find_objects((a | b).astype(np.uint8))[0]
    return a[box], b[box]


def _surface(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return mask & ~ndimage.binary_erosion(mask, border_value=0)
