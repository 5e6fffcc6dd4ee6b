"""Diagnostics of an extraction, by the names that PyRadiomics gives them."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pywt
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses
from scipy import ndimage

from survimg.radiomics.parameters import Parameters

__all__ = ["Stages", "diagnostics_of"]

#: Images as ``image-<step>`` and masks as ``mask-<step>``, in the order of the steps; a mask has
#: beside it the image that it lies on, once it is known to lie on its grid.
Stages = dict[str, tuple[sitk.Image, sitk.Image | None]]


def diagnostics_of(
    parameters: Parameters, settings: Mapping[str, Any], stages: Stages
) -> dict[str, Any]:
    """Return versions, settings, and what image and mask were at each stage.

    Parameters
    ----------
    parameters : Parameters
    settings : dict
        Those of the extraction.
    stages : Stages

    Returns
    -------
    dict
        ``diagnostics_...`` -> value.
    """
    # An import of the face would load every estimator.
    version = sys.modules["survimg"].__version__
    values: dict[str, Any] = {
        "Versions_PyRadiomics": f"3.0.1 as computed by survimg {version}",
        "Versions_Numpy": np.__version__,
        "Versions_SimpleITK": sitk.Version().VersionString(),
        "Versions_PyWavelet": pywt.__version__,
        "Versions_Python": platform.python_version(),
        "Configuration_Settings": dict(settings),
        "Configuration_EnabledImageTypes": {
            name: dict(overrides) for name, overrides in parameters.image_types.items()
        },
    }
    for stage, (content, image) in stages.items():
        kind, step = stage.split("-")
        facts = (
            _of_image(content, step)
            if kind == "image"
            else _of_mask(content, int(settings["label"]), image)
        )
        prefix = f"{kind.capitalize()}-{step}_"
        values |= {f"{prefix}{name}": value for name, value in facts.items()}
    return {f"diagnostics_{name}": value for name, value in values.items()}


def _of_image(image: sitk.Image, step: str) -> dict[str, Any]:
    voxels = sitk.GetArrayFromImage(image).astype(np.float64)
    facts: dict[str, Any] = {}
    if step == "original":
        facts = {"Hash": sitk.Hash(image), "Dimensionality": f"{image.GetDimension()}D"}
    return facts | {
        "Spacing": image.GetSpacing(),
        "Size": image.GetSize(),
        "Mean": voxels.mean(),
        "Minimum": voxels.min(),
        "Maximum": voxels.max(),
    }


def _of_mask(mask: sitk.Image, label: int, image: sitk.Image | None) -> dict[str, Any]:
    region = sitk.GetArrayFromImage(mask) == label
    positions = np.argwhere(region)
    first, last = positions.min(axis=0)[::-1], positions.max(axis=0)[::-1]
    centre = tuple(positions.mean(axis=0)[::-1].tolist())
    facts: dict[str, Any] = {}
    if image is None:
        facts["Hash"] = sitk.Hash(sitk.Cast(mask, sitk.sitkUInt32))  # in PyRadiomics' type
    facts |= {
        "Spacing": mask.GetSpacing(),
        "Size": mask.GetSize(),
        "BoundingBox": (*first.tolist(), *(last - first + 1).tolist()),
        "VoxelNum": len(positions),
        "VolumeNum": ndimage.label(region, np.ones((3, 3, 3)))[1],
        "CenterOfMassIndex": centre,
        "CenterOfMass": mask.TransformContinuousIndexToPhysicalPoint(centre),
    }
    if image is None:
        return facts
    values = sitk.GetArrayFromImage(image)[region].astype(np.float64)
    return facts | {"Mean": values.mean(), "Minimum": values.min(), "Maximum": values.max()}
