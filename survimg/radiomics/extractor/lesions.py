"""Several regions in one mask: its labels, and the lesions of a label."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

from survimg.radiomics.case import UnmeasurableRegionError

__all__ = ["LESIONS", "labels_in", "lesion_masks"]

#: What is measured of a label with several lesions: all voxels at once, the largest lesion, a row
#: for each, or the sum of every feature over them.
LESIONS = ("union", "largest", "each", "sum")


def labels_in(mask: sitk.Image) -> list[int]:
    """Return the labels of a mask, ascending, without the background 0."""
    levels = np.unique(sitk.GetArrayViewFromImage(mask))
    return [int(level) for level in levels if level != 0]


def lesion_masks(mask: sitk.Image, label: int, lesions: str) -> Iterator[tuple[int, sitk.Image]]:
    """Yield the lesions of a label, the largest first, each as a mask with this label.

    Parameters
    ----------
    mask : SimpleITK.Image
        Labels.
    label : int
    lesions : {"union", "largest", "each", "sum"}

    Yields
    ------
    number : int
        From 1; 0 for the union.
    mask : SimpleITK.Image

    Raises
    ------
    UnmeasurableRegionError
        The mask has no voxel with the label.
    """
    if lesions == "union":
        yield 0, mask
        return
    # Voxels that touch at a corner belong to one lesion, as in PyRadiomics' count of volumes.
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(mask == label, True))
    n_lesions = int(sitk.GetArrayViewFromImage(parts).max())
    if n_lesions == 0:
        raise UnmeasurableRegionError(f"The mask has no voxel with label {label}.")
    for number in range(1, (1 if lesions == "largest" else n_lesions) + 1):
        yield number, sitk.Cast(parts == number, sitk.sitkUInt32) * label
