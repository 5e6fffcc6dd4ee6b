"""From PyRadiomics' settings to those of the native engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from survimg.radiomics.names import ExtractionSettings
from survimg.radiomics.parameters import Parameters
from survimg.radiomics.texture import TextureDefinition

__all__ = ["extraction_settings", "refuse_not_finite"]


def extraction_settings(parameters: Parameters, settings: Mapping[str, Any]) -> ExtractionSettings:
    """Return what the native engine is told for one image type.

    Parameters
    ----------
    parameters : Parameters
    settings : dict
        All settings that apply to the image type, by PyRadiomics' names.
    """
    count = settings["binCount"]
    return ExtractionSettings(
        features=tuple(
            (name, features)
            for name, features in parameters.features.items()
            if not name.startswith("shape")
        ),
        image_types=(),
        log_sigma=(),
        bin_width=settings["binWidth"] if count is None else None,
        bin_count=count,
        texture=TextureDefinition(
            distances=tuple(sorted(set(settings["distances"]))),
            flat_axis=settings["force2Ddimension"] if settings["force2D"] else None,
            weighting=settings["weightingNorm"],
            symmetrical=settings["symmetricalGLCM"],
            dependence_tolerance=settings["gldm_a"],
            array_shift=settings["voxelArrayShift"],
        ),
    )


def refuse_not_finite(values: np.ndarray, image: str) -> None:
    """Check the values of a region.

    Raises
    ------
    ValueError
        Some are not finite; the message names the image.
    """
    wrong = np.count_nonzero(~np.isfinite(values))
    if wrong:
        raise ValueError(
            f"Image {image!r}: {wrong} of {values.size} voxels of the region are not finite, so "
            "that its features are undefined. Repair the image."
        )
