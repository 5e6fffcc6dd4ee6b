"""Image and mask of one case, from files or SimpleITK images to what features are measured on.

Steps, their order and their quirks are those of PyRadiomics 3.0.1, done with the same filters of
SimpleITK in the image's own type of number, so that the results are the same in every digit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

from survimg.radiomics.case import UnmeasurableRegionError
from survimg.radiomics.extractor.diagnostics import Stages
from survimg.radiomics.native.geometry import bounding_box

__all__ = ["CaseImages", "load_case", "resegmented"]

# What SimpleITK itself allows between image and mask, relative to the voxel size.
_TOLERANCE = 1e-6
_TYPES_OF_LABELS = (sitk.sitkUInt8, sitk.sitkUInt16, sitk.sitkUInt32)


@dataclass(frozen=True)
class CaseImages:
    """Image, region and geometry of one case.

    Parameters
    ----------
    image : SimpleITK.Image
        Of three dimensions.
    mask : SimpleITK.Image
        Labels on the grid of the image.
    region : ndarray of shape (z, y, x), bool
        Where the mask has the label.
    """

    image: sitk.Image
    mask: sitk.Image
    region: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size in mm, (z, y, x)."""
        return np.array(self.image.GetSpacing()[::-1])


def read_image(source: str | os.PathLike[str] | sitk.Image, what: str) -> sitk.Image:
    """Return an image of three dimensions.

    Raises
    ------
    TypeError
        `source` is neither a path nor a SimpleITK image.
    ValueError
        The file is no image, or it has other than three dimensions.
    """
    if isinstance(source, str | os.PathLike):
        try:
            image = sitk.ReadImage(os.fspath(source))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].removeprefix("sitk::ERROR: ")
            raise ValueError(
                f"{what} cannot be read: {reason}. Give a file of a format that SimpleITK reads, "
                "such as NIfTI or NRRD."
            ) from error
    elif isinstance(source, sitk.Image):
        image = source
    else:
        raise TypeError(
            f"{what} must be a path or a SimpleITK image; got {type(source).__name__}. An array "
            "becomes an image by SimpleITK.GetImageFromArray and SetSpacing."
        )
    if image.GetDimension() != 3:
        raise ValueError(
            f"{what} has {image.GetDimension()} dimensions; three are needed. A slice becomes a "
            "volume of one slice by SimpleITK.JoinSeries, and force2D measures it in its plane."
        )
    return image


def labels_of(
    mask: sitk.Image, settings: Mapping[str, Any], *, present: bool = True
) -> sitk.Image:
    """Return one channel of a mask as labels.

    Parameters
    ----------
    mask : SimpleITK.Image
    settings : dict
        With `label` and `label_channel`.
    present : bool, default=True
        Whether the label must be there.

    Raises
    ------
    ValueError
        The mask has no such channel, or the channel no such label.
    """
    label, channel = settings["label"], settings["label_channel"]
    n_channels = mask.GetNumberOfComponentsPerPixel()
    if n_channels > 1 or "vector" in mask.GetPixelIDTypeAsString():
        if channel >= n_channels:
            raise ValueError(
                f"label_channel is {channel}, but the mask has {n_channels} channels (from 0)."
            )
        mask = sitk.VectorIndexSelectionCast(mask, channel)
    if mask.GetPixelID() not in _TYPES_OF_LABELS:
        mask = sitk.Cast(mask, sitk.sitkUInt32)
    voxels = sitk.GetArrayViewFromImage(mask)
    if present and not (voxels == label).any():
        levels = [int(level) for level in np.unique(voxels) if level != 0]
        raise ValueError(
            f"The mask has no voxel with label {label}; it has {levels or 'no label at all'}. "
            "Give the label of the region by 'label'."
        )
    return mask


def load_case(
    image: str | os.PathLike[str] | sitk.Image,
    mask: str | os.PathLike[str] | sitk.Image,
    settings: Mapping[str, Any],
) -> tuple[CaseImages, Stages]:
    """Read, normalise, resample or crop a case, and check its region.

    Parameters
    ----------
    image, mask : path-like or SimpleITK.Image
    settings : dict
        All settings by PyRadiomics' names.

    Returns
    -------
    case : CaseImages
    stages : Stages
        The steps ``original``, ``interpolated`` and ``corrected``, where they took place.

    Raises
    ------
    ValueError
        The region is missing, too small or outside the image, or image and mask differ in place.
    """
    volume = read_image(image, "The image")
    labels = labels_of(read_image(mask, "The mask"), settings)
    if volume.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(
            f"The image has {volume.GetNumberOfComponentsPerPixel()} channels; one is needed "
            "(SimpleITK.VectorIndexSelectionCast takes one)."
        )
    stages: Stages = {"image-original": (volume, None), "mask-original": (labels, None)}
    if settings["normalize"]:
        volume = _normalised(volume, settings)
    if settings["resampledPixelSpacing"] is not None and settings["interpolator"] is not None:
        volume, labels = _resampled(volume, labels, settings)
        stages["image-interpolated"] = (volume, None)
        stages["mask-interpolated"] = (labels, volume)
    elif settings["preCrop"]:
        labels = _on_the_grid(volume, labels, settings)
        box = _checked_box(_region(labels, settings), settings)
        volume, labels = _cropped(volume, labels, box, settings["padDistance"])
    aligned = _on_the_grid(volume, labels, settings)
    if aligned is not labels:
        labels = aligned
        stages["mask-corrected"] = (labels, volume)
    case = CaseImages(volume, labels, _region(labels, settings))
    _checked_box(case.region, settings)
    return case, stages


def resegmented(case: CaseImages, settings: Mapping[str, Any]) -> CaseImages:
    """Return the case with the region restricted to a range of values.

    Raises
    ------
    ValueError
        Too few voxels are left.
    """
    values = sitk.GetArrayViewFromImage(case.image)[case.region]
    limits = sorted(settings["resegmentRange"])
    if settings["resegmentMode"] == "relative":
        limits = [values.max() * limit for limit in limits]
    elif settings["resegmentMode"] == "sigma":
        mean, deviation = np.mean(values), np.std(values)
        limits = [mean + deviation * limit for limit in limits]
    within = values >= limits[0]
    if len(limits) == 2:
        within &= values <= limits[1]
    if within.sum() <= 1:
        raise UnmeasurableRegionError(
            f"resegmentRange leaves {within.sum()} of {within.size} voxels with label "
            f"{settings['label']} (limits {', '.join(f'{float(limit):g}' for limit in limits)}); "
            "at least two are needed. Widen the range."
        )
    region = case.region.copy()
    region[case.region] = within
    _checked_box(region, settings)
    mask = sitk.GetImageFromArray(region.astype(np.uint32) * settings["label"])
    mask.CopyInformation(case.mask)
    return replace(case, mask=mask, region=region)


def _region(labels: sitk.Image, settings: Mapping[str, Any]) -> np.ndarray:
    return np.asarray(sitk.GetArrayViewFromImage(labels) == settings["label"])


def _normalised(volume: sitk.Image, settings: Mapping[str, Any]) -> sitk.Image:
    volume = sitk.Normalize(volume)
    limit = settings["removeOutliers"]
    if limit is not None:
        clipped = sitk.GetImageFromArray(
            np.clip(sitk.GetArrayFromImage(volume), -limit, limit)
        )
        clipped.CopyInformation(volume)
        volume = clipped
    return volume * settings["normalizeScale"]


def _checked_box(region: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    # First and last index along (x, y, z); sizes and dimensions as the settings want them.
    label = settings["label"]
    if not region.any():
        raise UnmeasurableRegionError(f"No voxel with label {label} lies on the grid of the image.")
    window = bounding_box(region)
    box = np.array([(extent.start, extent.stop - 1) for extent in reversed(window)])
    n_dimensions = int(np.count_nonzero(box[:, 1] > box[:, 0]))
    if n_dimensions < max(settings["minimumROIDimensions"], 1):
        raise UnmeasurableRegionError(
            f"The region with label {label} extends along {n_dimensions} axes; "
            f"minimumROIDimensions asks for {settings['minimumROIDimensions']}, and a single "
            "voxel cannot be measured at all."
        )
    smallest, n_voxels = settings["minimumROISize"], np.count_nonzero(region[window])
    if smallest is not None and n_voxels <= smallest:
        raise UnmeasurableRegionError(
            f"The region with label {label} has {n_voxels} voxels; minimumROISize asks for more "
            f"than {smallest}."
        )
    return box


def _cropped(
    volume: sitk.Image, labels: sitk.Image, box: np.ndarray, padding: int
) -> tuple[sitk.Image, sitk.Image]:
    size = np.array(labels.GetSize())
    below = np.maximum(box[:, 0] - padding, 0).tolist()
    above = np.maximum(size - box[:, 1] - padding - 1, 0).tolist()
    return sitk.Crop(volume, below, above), sitk.Crop(labels, below, above)


def _on_the_grid(
    volume: sitk.Image, labels: sitk.Image, settings: Mapping[str, Any]
) -> sitk.Image:
    difference = _difference(volume, labels, settings["geometryTolerance"] or _TOLERANCE)
    if difference is None:
        return labels
    if not settings["correctMask"]:
        raise ValueError(
            f"Image and mask do not lie on one grid: their {difference} differ. Allow more by "
            "geometryTolerance, or let correctMask: true put the mask on the grid of the image."
        )
    _label_box(volume, labels, settings)
    return sitk.Resample(labels, volume, sitk.Transform(), sitk.sitkNearestNeighbor)


def _difference(volume: sitk.Image, labels: sitk.Image, tolerance: float) -> str | None:
    # The rule of ITK: lengths relative to the first voxel size, directions as they are.
    length = tolerance * abs(volume.GetSpacing()[0])
    if volume.GetSize() != labels.GetSize():
        return f"sizes {volume.GetSize()} and {labels.GetSize()}"
    for name, a, b, allowed in (
        ("origins", volume.GetOrigin(), labels.GetOrigin(), length),
        ("voxel sizes", volume.GetSpacing(), labels.GetSpacing(), length),
        ("directions", volume.GetDirection(), labels.GetDirection(), tolerance),
    ):
        if (np.abs(np.subtract(a, b)) > allowed).any():
            return f"{name} {a} and {b}"
    return None


def _label_box(
    volume: sitk.Image, labels: sitk.Image, settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    # First index and size of the region along (x, y, z); it must lie within the image.
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.ComputePerimeterOff()
    statistics.Execute(labels)
    box = np.array(statistics.GetBoundingBox(settings["label"]))
    first, size = box[:3], box[3:]
    corners = [
        volume.TransformPhysicalPointToContinuousIndex(
            labels.TransformContinuousIndexToPhysicalPoint((corner - 0.5).tolist())
        )
        for corner in (first, first + size)
    ]
    slack = 0.5 + 1e-3
    if (np.min(corners, axis=0) < -slack).any() or (
        np.max(corners, axis=0) > np.array(volume.GetSize()) - 1 + slack
    ).any():
        raise ValueError(
            f"The region with label {settings['label']} reaches beyond the image: from "
            f"{np.min(corners, axis=0).round(1).tolist()} to "
            f"{np.max(corners, axis=0).round(1).tolist()} in voxels (x, y, z) of the image, which "
            f"has {volume.GetSize()}."
        )
    return first, size


def _resampled(
    volume: sitk.Image, labels: sitk.Image, settings: Mapping[str, Any]
) -> tuple[sitk.Image, sitk.Image]:
    first, size = _label_box(volume, labels, settings)
    old = np.array(labels.GetSpacing())
    new = np.array(settings["resampledPixelSpacing"], dtype=np.float64)
    # 0 keeps the spacing, and so does an axis along which the region has one voxel.
    new = np.where((new == 0) | (size == 1), old, new)
    if np.allclose(volume.GetSpacing(), new):
        labels = sitk.Resample(labels, volume, sitk.Transform(), sitk.sitkNearestNeighbor)
        first, size = _label_box(volume, labels, settings)
        box = np.stack([first, first + size - 1], axis=1)
        return _cropped(volume, labels, box, settings["padDistance"])
    ratio, padding = old / new, settings["padDistance"]
    lowest = np.maximum(np.floor((first - 0.5) * ratio - padding), 0)
    last = np.ceil(np.array(labels.GetSize()) * ratio) - 1
    highest = np.minimum(np.ceil((first + size - 0.5) * ratio + padding), last)
    # The corners of the volumes are aligned, not the centres of their first voxels.
    origin = 0.5 * (new - old) / old + lowest / ratio
    grid = sitk.ResampleImageFilter()
    grid.SetOutputSpacing(new.tolist())
    grid.SetOutputDirection(labels.GetDirection())
    grid.SetSize((highest - lowest + 1).astype(int).tolist())
    grid.SetOutputOrigin(labels.TransformContinuousIndexToPhysicalPoint(origin.tolist()))
    grid.SetInterpolator(getattr(sitk, settings["interpolator"]))
    volume = grid.Execute(volume)
    grid.SetInterpolator(sitk.sitkNearestNeighbor)
    return volume, grid.Execute(labels)
