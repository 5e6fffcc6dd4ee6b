"""DICOM RTSTRUCT: closed planar contours to a mask."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from survimg.io.dicom.contours import filled
from survimg.io.dicom.objects import DicomError, damage_refused, read_dataset
from survimg.io.images.image import Image

__all__ = ["read_rtstruct"]

#: Part of a voxel by which the points of one contour may leave their slice.
_FLATNESS = 0.1
#: Part of its volume by which a region may change on the voxels of its image.
_MAX_VOLUME_CHANGE = 0.5
#: mm; no scanner's slices are further apart.
_MAX_DISTANCE = 10.5
#: Bytes of the coordinates of one contour, some 20,000 points, and of a region.
_MAX_CONTOUR, _MAX_REGION = 1 << 19, 1 << 25
_CLOSED, _EXCLUSIVE = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"


def read_rtstruct(
    path: str | os.PathLike[str], like: Image, roi: str | Sequence[str] | None = None
) -> np.ndarray:
    """Rasterise regions of an RTSTRUCT on the grid of an image.

    Parameters
    ----------
    path : path
    like : Image
        Its slices must be parallel to the contours.
    roi : str or sequence of str, optional
        Name of the region, or of several, which are merged; may be left out where the file has only
        one.

    Returns
    -------
    ndarray of shape (z, y, x), uint8
        1 where the centre of the voxel lies inside. A contour inside another one is a hole; one
        that is stored twice counts once; contours of the type CLOSEDPLANAR_XOR are combined by
        exclusive or. A slice takes the nearest plane of contours within half the distance between
        planes, so that the grid may be finer or coarser than the planes.

    Warns
    -----
    UserWarning
        Contours that cross, which are united; lone points, which enclose nothing; slices without a
        contour between others, which stay empty.

    Raises
    ------
    ImportError
        pydicom is not installed.
    ValueError
        Not an RTSTRUCT, no or several regions of that name, a region without contours, contours
        that are not closed or not parallel to the slices, a region that reaches out of the image,
        or whose volume changes by more than half on the image's voxels.
    """
    path = Path(path)
    dataset = read_dataset(path, "read an RTSTRUCT")
    with damage_refused(path):
        modality = dataset.get("Modality")
    if modality != "RTSTRUCT":
        raise ValueError(f"{path} is not an RTSTRUCT; its modality is {modality!r}.")
    names: Sequence[str | None] = [roi] if roi is None or isinstance(roi, str) else list(roi)
    mask = np.zeros(like.shape, dtype=bool)
    for name in names:
        mask |= _region(dataset, name, like, path)
    return mask.astype(np.uint8)


def _region(dataset: Any, roi: str | None, like: Image, path: Path) -> np.ndarray:
    name, exclusive, points = _contours(dataset, roi, path)
    contours = [like.index(values) for values in points]
    where = f"The region {name!r} in {path}"
    _check_inside_image(contours, like.shape, where)
    planes = _planes(contours, path)
    heights = np.array(sorted(planes))
    gap = _distance(heights, like.spacing[0], where)
    nearest = heights[np.abs(heights[:, None] - np.arange(like.shape[0])).argmin(axis=0)]
    mask = np.zeros(like.shape, dtype=bool)
    crossing, area = 0, 0.0
    for height in heights:
        try:
            part = filled([contour[:, 1:] for contour in planes[height]], like.shape[1:], exclusive)
        except ValueError as error:
            raise ValueError(f"{where} {error}; it is damaged.") from None
        crossing, area = crossing + part.crossing, area + part.area
        near = np.abs(height - np.arange(like.shape[0])) <= 0.5 * gap + 1e-3
        mask[near & (nearest == height)] = part.mask
    if crossing:
        warnings.warn(
            f"{where} has contours that cross, or run along each other, in {crossing} plane(s); "
            "what they enclose is united. Look at the mask: if one was meant to cut a hole, draw "
            "it inside.",
            UserWarning,
            stacklevel=4,
        )
    _warn_of_skipped(mask, where)
    if not mask.any():
        raise ValueError(
            f"{where} contains no voxel of its image: it lies between their centres."
        )
    before, after = gap * area, float(mask.sum())
    if not crossing and abs(after - before) > _MAX_VOLUME_CHANGE * before:
        voxel = float(np.prod(like.spacing)) / 1000
        raise ValueError(
            f"{where} has {before * voxel:.3g} ml, and {after * voxel:.3g} ml on the voxels of its "
            "image: it is hardly larger than one of them. If it was drawn on a finer modality, "
            "name that column first (modalities=..., or --modalities)."
        )
    return mask


def _contours(dataset: Any, roi: str | None, path: Path) -> tuple[str, bool, list[np.ndarray]]:
    """Return a region's name, whether its contours are to be combined by exclusive or, and them."""
    with damage_refused(path):
        names = [
            (int(item.ROINumber), str(item.ROIName)) for item in dataset.StructureSetROISequence
        ]
    if len({number for number, _ in names}) < len(names):
        raise ValueError(
            f"{path} is damaged: it has two regions of one ROINumber among "
            f"{sorted(name for _, name in names)}."
        )
    numbers = [number for number, name in names if roi is None or name == roi]
    if len(numbers) != 1:
        what = "Say which region" if roi is None else f"There is not exactly one region {roi!r}"
        raise ValueError(f"{what}; {path} holds {sorted(name for _, name in names)}.")
    name = dict(names)[numbers[0]]
    contours = _stored(dataset, numbers[0], f"the region {name!r}", path)
    if not contours:
        raise ValueError(f"The region {name!r} in {path} has no contours.")
    for kind, values in contours:
        if values.ndim != 1 or values.size % 3 or not np.isfinite(values).all():
            raise ValueError(f"{path} has a contour with {values.size} coordinates.")
        if kind not in (_CLOSED, _EXCLUSIVE, "POINT"):
            raise ValueError(
                f"The region {name!r} in {path} has a contour of type {kind}; only CLOSED_PLANAR "
                "and CLOSEDPLANAR_XOR enclose a volume."
            )
    closed = [(kind, values) for kind, values in contours if kind != "POINT" and values.size >= 9]
    if not closed:
        raise ValueError(
            f"The region {name!r} in {path} has only points; only CLOSED_PLANAR encloses a volume."
        )
    kinds = {kind for kind, _ in closed}
    if len(kinds) > 1:
        raise ValueError(
            f"The region {name!r} in {path} mixes contours of the types {sorted(kinds)}; how they "
            "are to be combined is not known."
        )
    if lone := len(contours) - len(closed):
        warnings.warn(
            f"The region {name!r} in {path} has {lone} contour(s) of one or two points, which "
            "enclose nothing and are left out.",
            UserWarning,
            stacklevel=5,
        )
    return name, _EXCLUSIVE in kinds, [values.reshape(-1, 3) for _, values in closed]


def _stored(
    dataset: Any, number: int, region: str, path: Path
) -> list[tuple[str, np.ndarray]]:
    """Return the types of a region's contours, and their coordinates in a row."""
    with damage_refused(path):
        items = [
            contour
            for item in dataset.get("ROIContourSequence") or []
            if int(item.ReferencedROINumber) == number
            for contour in item.get("ContourSequence") or []
        ]
        texts = [_coordinates(contour) for contour in items]
        sizes = [len(text) for text in texts]
        if max(sizes, default=0) > _MAX_CONTOUR or sum(sizes) > _MAX_REGION:
            raise DicomError(
                f"{path} is damaged: {region} has {sum(sizes)} bytes of coordinates, and "
                f"{_MAX_REGION} at most, {_MAX_CONTOUR} in one contour, are read."
            )
        return [
            (str(contour.ContourGeometricType), _points(contour, text, path))
            for contour, text in zip(items, texts, strict=True)
        ]


def _coordinates(contour: Any) -> bytes:
    """Return the coordinates as they are stored: pydicom makes 200 bytes of each number."""
    element = contour.get_item("ContourData")
    if element.VR not in ("DS", "UN", None):  # none where it is implicit
        raise ValueError("no decimal numbers")
    return bytes(element.value or b"").rstrip(b" \0")  # some writers pad with a zero


def _points(contour: Any, text: bytes, path: Path) -> np.ndarray:
    if any(float(step) for step in contour.get("ContourOffsetVector") or ()):
        raise DicomError(
            f"{path} has a ContourOffsetVector, which the standard has retired: where its contours "
            "lie is not known. Add it to their points and remove it."
        )
    values = np.array([float(part) for part in text.split(b"\\")] if text else [])
    number = contour.get("NumberOfContourPoints")
    if number is not None and 3 * int(number) != values.size:
        raise DicomError(
            f"{path} is damaged: a contour has {values.size} coordinates, and {number} points by "
            "NumberOfContourPoints."
        )
    return values


def _distance(heights: np.ndarray, spacing: float, where: str) -> float:
    """Return the distance between planes, in slices: the smallest, for a region may have gaps."""
    if heights.size < 2:
        return 1.0
    gaps = np.diff(heights)
    gap = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    if gap > 1.5 and gap * spacing > _MAX_DISTANCE:
        raise ValueError(
            f"{where} has contours in planes that are {gap * spacing:.3g} mm apart, and nothing "
            "between them; how thick it is there is not known. Draw it on every slice, or write it "
            "as a mask."
        )
    return gap


def _warn_of_skipped(mask: np.ndarray, where: str) -> None:
    """Say where a region is interrupted by slices without contours, though it goes on behind."""
    marked = np.flatnonzero(mask.any(axis=(1, 2)))
    skipped = sum(
        int(above - below - 1)
        for below, above in itertools.pairwise(marked)
        if above - below > 1 and (mask[below] & mask[above]).any()
    )
    if skipped:
        warnings.warn(
            f"{where} has no contour on {skipped} slice(s) between others that lie above each "
            "other; they are left empty. Look at the mask: slices may have been skipped in "
            "drawing.",
            UserWarning,
            stacklevel=5,
        )


def _check_inside_image(
    contours: Sequence[np.ndarray], shape: tuple[int, int, int], where: str
) -> None:
    """Refuse contours that could hold the centre of a voxel beyond the image."""
    low, high = np.array([-0.5, -1.0, -1.0]), np.array(shape) - [0.5, 0.0, 0.0]
    outside = [
        bool((contour < low - 1e-3).any() or (contour > high + 1e-3).any()) for contour in contours
    ]
    if any(outside):
        raise ValueError(
            f"{where} lies outside its image in whole or in part: {sum(outside)} of "
            f"{len(outside)} contours reach out of it. Check that both come from the same patient; "
            "if it was drawn on another modality, name that column first (modalities=..., or "
            "--modalities)."
        )


def _planes(contours: list[np.ndarray], path: Path) -> dict[float, list[np.ndarray]]:
    planes: dict[float, list[np.ndarray]] = {}
    plane = -np.inf
    for contour in sorted(contours, key=lambda contour: float(contour[:, 0].mean())):
        heights = contour[:, 0]
        if np.ptp(heights) > 2 * _FLATNESS:
            raise ValueError(
                f"{path} has a contour that crosses {np.ptp(heights):.1f} slices of the image; "
                "contours must be parallel to the slices."
            )
        height = float(heights.mean())
        if height - plane > _FLATNESS:
            plane = height
        planes.setdefault(plane, []).append(contour)
    return planes
