"""Refusal of voxels that are not finite, where features depend on them."""

from __future__ import annotations

import numpy as np

from survimg.radiomics.case import RadiomicsCase
from survimg.radiomics.names import ExtractionSettings

__all__ = ["check_filter_reach", "check_region_values", "name_image"]

_REACH = {
    "wavelet": "2 voxels before and 3 after the bounding box",
    "log": "the whole volume",
}


def name_image(case: RadiomicsCase, c: int, image_type: str) -> str:
    """Return patient, channel and image as the beginning of a message."""
    return f"Patient {case.patient!r}, channel {case.channel_names[c]!r}, image {image_type!r}"


def check_region_values(
    values: np.ndarray, case: RadiomicsCase, c: int, settings: ExtractionSettings
) -> None:
    """Check the voxels of the region.

    Raises
    ------
    ValueError
        One is not finite; the message names patient, channel and feature classes.
    """
    wrong = np.count_nonzero(~np.isfinite(values))
    if wrong:
        classes = "/".join(name for name, _ in settings.image_features)
        raise ValueError(
            f"{name_image(case, c, 'original')}: {wrong} voxel(s) of the region are not finite, so "
            f"that {classes} features are undefined."
        )


def check_filter_reach(voxels: np.ndarray, case: RadiomicsCase, c: int, image_type: str) -> None:
    """Check all voxels that a filter reads for the region.

    Raises
    ------
    ValueError
        One is not finite; the message names patient, channel and filter.
    """
    wrong = np.count_nonzero(~np.isfinite(voxels))
    if wrong:
        raise ValueError(
            f"{name_image(case, c, image_type)}: {wrong} voxel(s) within the reach of the filter "
            f"({_REACH[image_type]}) are not finite. Repair the volume, or leave {image_type!r} "
            "out of image_types."
        )
