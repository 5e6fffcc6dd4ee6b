"""Saliency maps as image files in the patients' own geometry."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from survimg.cohort import Cohort
from survimg.files import file_name
from survimg.io.images.image import Image, write_image
from survimg.preprocessing.patient_space import to_patient_space

__all__ = ["write_saliency"]


def write_saliency(
    cohort: Cohort,
    maps: npt.ArrayLike,
    folder: str | os.PathLike[str],
    *,
    name: str = "saliency",
    like: list[Image] | None = None,
) -> list[Path]:
    """Write one NIfTI file per map, on the grid of the patient's own image.

    Undoes crop, spacing and registration of the preparation in one linear interpolation
    (`survimg.preprocessing.to_patient_space`), so that a viewer lays the map over the original PET
    or CT. Outside the prepared block a map is zero.

    Parameters
    ----------
    cohort : Cohort
        Prepared by ``survimg prepare`` or `prepare`; the patients of `maps`.
    maps : array-like of shape (n, z, y, x) or (n, channels, z, y, x)
        From `saliency`.
    folder : path-like
        Made if needed; files of the same names are replaced.
    name : str, default="saliency"
        Files are ``<id>_<name>.nii.gz``, with one map per channel ``<id>_<channel>_<name>.nii.gz``.
    like : list of Image, optional
        Images whose grids are wanted, one per patient. By default that of the first modality
        each patient has.

    Returns
    -------
    list of Path
        In the order of patients, then channels.

    Raises
    ------
    ValueError
        Maps of another shape than the cohort; a cohort that does not record where its volumes lie;
        two maps that would be the same file.

    Notes
    -----
    Interpolation keeps values (contribution per voxel of the prepared grid), not sums: on a finer
    grid a map sums to more.
    """
    values = np.asarray(maps, dtype=np.float32)
    n, n_channels, *size = cohort.shape
    if values.shape not in ((n, *size), (n, n_channels, *size)):
        raise ValueError(
            f"maps have shape {values.shape}; the cohort's volumes have {cohort.shape}. Give one "
            "map per patient, or one per patient and channel."
        )
    if like is not None and len(like) != n:
        raise ValueError(f"like holds {len(like)} images for {n} patients.")
    by_channel = values.ndim == 5
    stems = [
        f"{patient}_{channel}_{name}" if by_channel else f"{patient}_{name}"
        for patient in cohort.ids
        for channel in (cohort.channel_names if by_channel else ("",))
    ]
    target = Path(folder)
    paths = [target / f"{file_name(stem)}.nii.gz" for stem in stems]
    if len(set(paths)) < len(paths):
        raise ValueError("Patient ids or channel names become the same file names; rename them.")
    target.mkdir(parents=True, exist_ok=True)
    for k, (path, array) in enumerate(zip(paths, values.reshape(-1, *size), strict=True)):
        i = k // n_channels if by_channel else k
        image = to_patient_space(cohort, i, array, like=None if like is None else like[i])
        write_image(path, image.array, image)
    return paths
