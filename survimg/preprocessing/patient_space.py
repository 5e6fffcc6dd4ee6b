"""From the prepared grid back to the patient's own image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from survimg.cohort import Cohort
from survimg.io.images.image import Image, resample_like
from survimg.preprocessing.alignment import WorldMap

__all__ = ["to_patient_space", "volume_factors"]


def to_patient_space(
    cohort: Cohort,
    i: int,
    array: npt.ArrayLike,
    *,
    like: Image | None = None,
    interpolation: str = "linear",
    outside: float = 0.0,
) -> Image:
    """Carry a map over a prepared volume back into the patient's own image.

    Undoes crop, change of spacing and registration (by the inverse of its map) in one
    interpolation.

    Parameters
    ----------
    cohort : Cohort
        Made by `prepare` or ``survimg prepare``, or a part of it.
    i : int
        Position of the patient in `cohort`.
    array : array-like of shape (z, y, x)
        On the prepared grid: a predicted mask, a probability, a saliency map.
    like : Image, optional
        Image of the patient (`survimg.io.read_image`) whose grid is wanted. By default that of the
        first modality the patient has.
    interpolation : {"linear", "nearest"}, default="linear"
        ``"nearest"`` for masks.
    outside : float, default=0
        Value outside the prepared block.

    Returns
    -------
    Image
        float32, with shape, spacing, origin and direction of the patient's image in the axes of
        `survimg.io.Image`. `survimg.io.write_image` writes it. Of a cohort prepared from
        arrays the origin is that of the array, which a raw cohort has instead of a place
        in the world: write it with the file's header, ``write_image(path, result.array, like)``.

    Raises
    ------
    ValueError
        `array` has another shape than the prepared volumes; the cohort does not record where its
        volumes lie.
    """
    values, shape = np.asarray(array, dtype=np.float32), tuple(cohort.shape[2:])
    if values.shape != shape:
        raise ValueError(f"array has shape {values.shape}; the prepared volumes have {shape}.")
    if cohort.geometry is None or cohort.spacing is None:
        raise ValueError(
            "The cohort does not record where its volumes lie in the patients, so that maps and "
            "masks cannot be carried back. Prepare it from images (survimg prepare, or in Python "
            "survimg.preprocessing.prepare), which records that."
        )
    place = cohort.geometry[i]
    z, y, x = cohort.spacing[i].tolist()
    prepared = Image(values, (z, y, x), tuple(place["origin"]), tuple(place["direction"]))
    if like is None:
        like = _own_grid(place, str(cohort.ids[i]))
    return resample_like(prepared, like, interpolation=interpolation, padding=outside)


def volume_factors(cohort: Cohort) -> np.ndarray:
    """Return the volume in each patient of 1 ml of the cohort's grid.

    Parameters
    ----------
    cohort : Cohort

    Returns
    -------
    ndarray of shape (n,)
        1 without a registration, up to rounding after a rigid one, and `WorldMap.volume_factor`
        after an affine one.
    """
    factors = np.ones(len(cohort))
    for i, place in enumerate(cohort.geometry or []):
        if "registration" in place:
            factors[i] = WorldMap.from_dict(place["registration"]).volume_factor
    return factors


def _own_grid(place: dict, patient: str) -> Image:
    if "image" not in place:
        raise ValueError(
            f"Patient {patient!r}: the store was written before survimg kept the grid of the "
            "patient's own image; give that image (like=read_image(...))."
        )
    grid = place["image"]
    empty = np.broadcast_to(np.float32(0), tuple(grid["shape"]))
    return Image(empty, tuple(grid["spacing"]), tuple(grid["origin"]), tuple(grid["direction"]))
