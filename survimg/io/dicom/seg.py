"""DICOM segmentation objects: frames of one segment to a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from survimg.io.dicom.objects import DicomError, damage_refused
from survimg.io.dicom.pixels import PixelData, read_frames, read_with_pixels
from survimg.io.images.image import Image, placed_image

__all__ = ["read_segmentation"]

#: Part of the distance between planes by which a frame may miss its plane.
_TOLERANCE = 0.05
#: Distance of two frames, in their thickness, from which on planes are missing between them.
_MAX_GAP = 1.5
#: No clinical volume has so many voxels; a damaged position would ask for as many.
_MAX_VOXELS = 2**30


@dataclass(frozen=True)
class _Frames:
    """What is needed of an object, as plain arrays."""

    kind: str
    full_value: int  # of a fractional segmentation: what stands for 1
    segments: list[tuple[int, str]]
    values: np.ndarray  # (frames, rows, columns)
    numbers: np.ndarray  # (frames,): segment that a frame belongs to; 0 in a label map
    positions: np.ndarray  # (frames, 3)
    axes: np.ndarray  # (frames, 2, 3)
    pixel_spacing: np.ndarray  # (frames, 2)
    slice_distance: float | None
    thickness: float | None


def read_segmentation(path: Path, labels: Sequence[int | str] | None = None) -> Image:
    """Read segments of a DICOM segmentation object (PS3.3 A.51) on its own grid.

    Parameters
    ----------
    path : Path
    labels : sequence of int or str, optional
        Numbers or labels of the segments, which are merged; may be left out where the object has
        only one.

    Returns
    -------
    Image
        uint8, 0 and 1. The grid runs from the first plane with a frame of the segments to the last;
        planes without a frame are empty, as the standard says.

    Raises
    ------
    ImportError
        pydicom is not installed.
    ValueError
        Not a segmentation object, damaged, no or several segments of that name, an empty one,
        frames of a segment that the header does not list, fractions other than 0 and 1, frames
        that are not parallel, evenly spaced planes.
    """
    frames = _read_frames(path)
    _check_segments(frames, path)
    names: list[int | str | None] = [None] if labels is None else list(labels)
    numbers = [_number(frames.segments, name, path) for name in names]
    marked = np.zeros(len(frames.values), dtype=bool)
    masks = np.zeros(frames.values.shape, dtype=bool)
    for number in numbers:
        indices = np.flatnonzero(np.isin(frames.numbers, (number, 0)))
        part = _binary(frames, indices, number, path)
        if not part.any():
            raise ValueError(f"The segment {number} in {path} is empty.")
        masks[indices] |= part
        marked[indices] = True
    normal = _check_parallel(frames, path)
    spacing = _plane_distance(frames, normal, path)
    positions = frames.positions[marked]
    planes = _planes(positions, frames.numbers[marked], normal, spacing, path)
    _, rows, columns = frames.values.shape
    if (int(planes.max()) + 1) * rows * columns > _MAX_VOXELS:
        raise ValueError(f"{path}: the positions of its frames lie {planes.max()} planes apart.")
    volume = np.zeros((int(planes.max()) + 1, rows, columns), dtype=np.uint8)
    for plane, part in zip(planes, masks[marked], strict=True):
        volume[plane] |= part
    axes = frames.axes[0]
    row_step, column_step = frames.pixel_spacing[0].tolist()
    return placed_image(
        volume, (column_step, row_step, spacing), positions[int(np.argmin(planes))],
        np.column_stack([axes[0], axes[1], normal]), path,
    )


def _read_frames(path: Path) -> _Frames:
    dataset, pixels = read_with_pixels(path)
    with damage_refused(path):
        if str(dataset.get("Modality")) != "SEG" or pixels is None:
            raise DicomError(f"{path} is no DICOM segmentation object.")
        return _frames_of(dataset, pixels, path)


def _frames_of(dataset: Any, pixels: PixelData, path: Path) -> _Frames:
    shared = dataset.SharedFunctionalGroupsSequence[0]
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    if len(groups) != pixels.n_frames:
        raise DicomError(
            f"{path}: PerFrameFunctionalGroupsSequence has {len(groups)} items, NumberOfFrames is "
            f"{pixels.n_frames}."
        )
    kind = str(dataset.SegmentationType)
    measures = [_group(frame, shared, "PixelMeasuresSequence", path) for frame in groups]
    between = measures[0].get("SpacingBetweenSlices")
    thickness = measures[0].get("SliceThickness")
    if between is None and len(groups) == 1:
        between = thickness
    planes = [_group(frame, shared, "PlanePositionSequence", path) for frame in groups]
    turns = [_group(frame, shared, "PlaneOrientationSequence", path) for frame in groups]
    return _Frames(
        kind=kind,
        full_value=int(dataset.MaximumFractionalValue) if kind == "FRACTIONAL" else 1,
        segments=[
            (int(item.SegmentNumber), str(item.SegmentLabel)) for item in dataset.SegmentSequence
        ],
        values=read_frames([pixels])[0],
        numbers=np.array(
            [0 if kind == "LABELMAP" else _segment(frame, shared, path) for frame in groups]
        ),
        positions=_floats([plane.ImagePositionPatient for plane in planes], (-1, 3)),
        axes=_floats([turn.ImageOrientationPatient for turn in turns], (-1, 2, 3)),
        pixel_spacing=_floats([item.PixelSpacing for item in measures], (-1, 2)),
        slice_distance=None if between is None else float(between),
        thickness=None if thickness is None else float(thickness),
    )


def _check_segments(frames: _Frames, path: Path) -> None:
    """Refuse frames that belong to no segment: the tumour would lack them."""
    there = frames.values if frames.kind == "LABELMAP" else frames.numbers
    listed = [number for number, _ in frames.segments]
    background = [0] if frames.kind == "LABELMAP" else []
    lost = sorted(set(np.unique(there).tolist()) - {*listed, *background})
    if lost:
        raise ValueError(
            f"{path} is damaged: it lists the segments {listed}, and its frames hold {lost[:5]}."
        )
    if len(set(listed)) != len(listed):
        raise ValueError(f"{path} is damaged: it lists a segment twice ({listed}).")


def _group(frame: Any, shared: Any, name: str, path: Path) -> Any:
    owner = frame if name in frame else shared
    if not owner.get(name):
        raise DicomError(f"{path} lacks {name}: position or content of its frames is not known.")
    return owner[name].value[0]


def _segment(frame: Any, shared: Any, path: Path) -> int:
    group = _group(frame, shared, "SegmentIdentificationSequence", path)
    return int(group.ReferencedSegmentNumber)


def _floats(values: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    return np.array([[float(part) for part in value] for value in values]).reshape(shape)


def _number(segments: list[tuple[int, str]], segment: int | str | None, path: Path) -> int:
    numbers = [
        number for number, label in segments
        if segment is None or segment == label or str(segment) == str(number)
    ]
    if len(numbers) != 1:
        what = (
            "Say which segment is the tumour (label=..., or --mask-label)" if segment is None
            else f"There is not exactly one segment {segment!r}"
        )
        listed = ", ".join(f"{number} ({label})" for number, label in segments)
        raise ValueError(f"{what}; {path} holds {listed}.")
    return numbers[0]


def _binary(frames: _Frames, indices: np.ndarray, number: int, path: Path) -> np.ndarray:
    values = frames.values[indices]
    if frames.kind == "LABELMAP":
        return values == number
    if not np.isin(values, (0, frames.full_value)).all():
        raise ValueError(
            f"{path} is a FRACTIONAL segmentation with values between 0 and 1; a mask is needed. "
            "Decide from which value on a voxel is tumour, and write that as a mask."
        )
    return values != 0


def _check_parallel(frames: _Frames, path: Path) -> np.ndarray:
    axes, spacing = frames.axes[0], frames.pixel_spacing[0]
    same = np.allclose(frames.axes, axes, atol=1e-4) and np.allclose(frames.pixel_spacing, spacing)
    upright = np.allclose(axes @ axes.T, np.eye(2), atol=1e-3)
    positive = bool((np.isfinite(spacing) & (spacing > 0)).all())
    if not (same and upright and positive and np.isfinite(frames.positions).all()):
        raise ValueError(
            f"The frames of {path} are not parallel planes of one pixel size: "
            "ImageOrientationPatient, PixelSpacing or ImagePositionPatient is damaged, or differs "
            "between frames."
        )
    normal = np.cross(axes[0], axes[1])
    return normal / np.linalg.norm(normal)


def _plane_distance(frames: _Frames, normal: np.ndarray, path: Path) -> float:
    """Return the distance between planes: the header's, else the smallest of any two frames.

    The smallest counts only if it is hardly more than their thickness.
    """
    gaps = np.diff(np.unique(np.round(frames.positions @ normal, 3)))
    distance = frames.slice_distance
    if distance is None and gaps.size:
        distance = float(gaps.min())
        if frames.thickness is None or distance > _MAX_GAP * frames.thickness:
            distance = None  # planes without a frame may lie between any two
    if distance is None or not np.isfinite(distance) or distance <= 0:
        raise ValueError(
            f"{path} does not tell the distance between its planes (SpacingBetweenSlices, or "
            "a SliceThickness that fits their positions)."
        )
    return distance


def _planes(
    positions: np.ndarray, numbers: np.ndarray, normal: np.ndarray, spacing: float, path: Path
) -> np.ndarray:
    """Return the plane of each frame, counted from the lowest."""
    first = positions[np.argmin(positions @ normal)]
    steps = (positions - first) @ normal / spacing
    planes = np.rint(steps).astype(np.int64)
    if np.abs(steps - planes).max() > _TOLERANCE:
        raise ValueError(
            f"The frames of {path} are not evenly spaced: the distance between planes is "
            f"{spacing:g} mm, and frames lie between them."
        )
    aside = np.linalg.norm(positions - first - np.outer((positions - first) @ normal, normal),
                           axis=1).max()
    if aside > _TOLERANCE * spacing:
        raise ValueError(f"The frames of {path} are shifted sideways by {aside:.2f} mm.")
    if len(set(zip(numbers.tolist(), planes.tolist(), strict=True))) != planes.size:
        raise ValueError(f"Two frames of one segment in {path} have the same position.")
    return planes
