"""DICOM RTSTRUCT: closed planar contours to a mask."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from survimg.io.dicom.objects import damage_refused, read_dataset
from survimg.io.images.image import Image

__all__ = ["read_rtstruct"]

#: Part of a voxel by which the points of one contour may leave their slice.
_FLATNESS = 0.1


def read_rtstruct(
    path: str | os.PathLike[str], like: Image, roi: str | None = None
) -> np.ndarray:
    """Rasterise one region of an RTSTRUCT on the grid of an image.

    Parameters
    ----------
    path : path
    like : Image
        Its slices must be parallel to the contours.
    roi : str, optional
        Name of the region; may be left out where the file has only one.

    Returns
    -------
    ndarray of shape (z, y, x), uint8
        1 where the centre of the voxel lies inside an odd number of the contours of its slice: a
        contour inside another one is a hole. A slice takes the nearest plane of contours within
        half the distance between planes, so that the grid may be finer or coarser than the planes.

    Raises
    ------
    ImportError
        pydicom is not installed.
    ValueError
        Not an RTSTRUCT, no or several regions of that name, a region without contours, contours
        that are not closed or not parallel to the slices, or a region outside the image.
    """
    path = Path(path)
    dataset = read_dataset(path, "read an RTSTRUCT")
    with damage_refused(path):
        modality = dataset.get("Modality")
    if modality != "RTSTRUCT":
        raise ValueError(f"{path} is not an RTSTRUCT; its modality is {modality!r}.")
    contours = [like.index(points) for points in _contours(dataset, roi, path)]
    planes = _planes(contours, path)
    heights = np.array(sorted(planes))
    reach = 0.5 * (float(np.median(np.diff(heights))) if heights.size > 1 else 1.0)
    mask = np.zeros(like.shape, dtype=np.uint8)
    for z in range(like.shape[0]):
        nearest = float(heights[np.argmin(np.abs(heights - z))])
        if abs(nearest - z) <= reach + 1e-3:
            for contour in planes[nearest]:
                mask[z] ^= _inside(contour[:, 1:], (like.shape[1], like.shape[2]))
    if not mask.any():
        raise ValueError(f"The region in {path} contains no voxel of its image.")
    return mask


def _contours(dataset: Any, roi: str | None, path: Path) -> list[np.ndarray]:
    with damage_refused(path):
        names = [
            (int(item.ROINumber), str(item.ROIName)) for item in dataset.StructureSetROISequence
        ]
    wanted = [number for number, name in names if roi is None or name == roi]
    if len(wanted) != 1:
        what = "Say which region" if roi is None else f"There is not exactly one region {roi!r}"
        raise ValueError(f"{what}; {path} holds {sorted(name for _, name in names)}.")
    name = dict(names)[wanted[0]]
    with damage_refused(path):
        found = [
            (str(contour.ContourGeometricType), np.array(contour.ContourData, dtype=np.float64))
            for item in dataset.get("ROIContourSequence") or []
            if int(item.ReferencedROINumber) == wanted[0]
            for contour in item.get("ContourSequence") or []
        ]
    for kind, values in found:
        if kind != "CLOSED_PLANAR":
            raise ValueError(
                f"The region {name!r} in {path} has a contour of type {kind}; only CLOSED_PLANAR "
                "encloses a volume."
            )
        if values.size < 9 or values.size % 3 or not np.isfinite(values).all():
            raise ValueError(f"{path} has a contour with {values.size} coordinates.")
    if not found:
        raise ValueError(f"The region {name!r} in {path} has no contours.")
    return [values.reshape(-1, 3) for _, values in found]


def _planes(contours: list[np.ndarray], path: Path) -> dict[float, list[np.ndarray]]:
    planes: dict[float, list[np.ndarray]] = {}
    for contour in contours:
        heights = contour[:, 0]
        if np.ptp(heights) > 2 * _FLATNESS:
            raise ValueError(
                f"{path} has a contour that crosses {np.ptp(heights):.1f} slices of the image; "
                "contours must be parallel to the slices."
            )
        height = float(heights.mean())
        known = next((plane for plane in planes if abs(plane - height) <= _FLATNESS), height)
        planes.setdefault(known, []).append(contour)
    return planes


def _inside(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre a polygon encloses by the even-odd rule; polygon as (y, x) in pixels."""
    following = np.roll(polygon, -1, axis=0)
    crossings = np.zeros((shape[0], shape[1] + 1), dtype=np.int64)
    for (y0, x0), (y1, x1) in zip(polygon, following, strict=True):
        low, high = min(y0, y1), max(y0, y1)
        # rows low <= y < high: a vertex on a row is counted once, not by both its edges
        rows = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), shape[0]))
        if rows.size:
            x = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            first = np.clip(np.ceil(x), 0, shape[1]).astype(np.int64)
            np.add.at(crossings, (rows, first), 1)
    return (np.cumsum(crossings[:, :-1], axis=1) % 2).astype(np.uint8)
