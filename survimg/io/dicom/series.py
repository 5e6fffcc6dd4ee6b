"""DICOM series: one folder, one volume, checked slice by slice before a voxel is read.

Each header is parsed once, by pydicom; pixels are read by `survimg.io.dicom.pixels`, each slice
with its own rescale slope. Geometry is taken from the slices' own positions, never from the order
of file names.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from survimg.io.containment import check_inside
from survimg.io.dicom.objects import DicomError, damage_refused, is_dicom
from survimg.io.dicom.pixels import PixelData, check_shrinkage, read_frames, read_with_pixels
from survimg.io.dicom.suv import suv_factor_of_slices
from survimg.io.images.image import Image, placed_image
from survimg.io.images.stream import MAX_VOXELS

__all__ = ["Series", "read_series"]

#: Part of the slice distance by which a gap may differ from the others: positions are rounded, and
#: whole-body PET joins beds whose overlap is not a whole number of slices (2.4 % in STS_001).
GAP_TOLERANCE = 0.05
#: Slope of the stack against the normal of its slices; 0.002 is a gantry tilt of 0.1 degrees.
TILT_TOLERANCE = 0.002
#: mm; some headers round positions to a tenth of one.
SHIFT_TOLERANCE = 0.1
#: Series of a folder that a message lists.
_MAX_LISTED = 10
#: Slices whose pixels are decoded at a time, and pixels in them.
_BATCH, _BATCH_PIXELS = 64, 1 << 25
#: What the slices of one volume share; read as text, so that one that lacks it differs as well.
_SHARED = (
    "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "Units", "RescaleType",
)
#: Those that a program may write slice by slice without thinking of the others.
_WRITTEN_APART = ("StudyInstanceUID", "FrameOfReferenceUID")

_CLASS = "1.2.840.10008.5.1.4.1.1."
#: CT, MR and PET; readers do not agree on where others lie.
_IMAGES = (_CLASS + "2", _CLASS + "4", _CLASS + "128")
#: Directories, presentation states, raw data, reports, encapsulated documents, radiotherapy.
_NOT_IMAGES = (
    "1.2.840.10008.1.3.10",
    *(_CLASS + part for part in ("9.", "11.", "66", "88.", "104.", "481.")),
)


@dataclass(frozen=True)
class Series:
    """A series, read.

    Attributes
    ----------
    image : Image
        float32; in the stored unit, or SUV.
    direction : tuple of 9 floats
        Row-major matrix whose columns are the world directions of the slices' rows, of their
        columns, and from slice to slice.
    files : tuple of Path
        The slices in that order.
    """

    image: Image
    direction: tuple[float, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Slice:
    path: Path
    series: str
    position: np.ndarray
    axes: np.ndarray  # (2, 3): direction of the rows' and of the columns' course
    pixel_spacing: tuple[float, float]  # between rows, between columns
    modality: str
    slope: float
    intercept: float
    pixels: PixelData
    dataset: Any

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.rows, self.pixels.columns


def read_series(folder: Path, root: Path | None, *, suv: bool) -> Series:
    """Read the one DICOM image series in a folder.

    Parameters
    ----------
    folder : Path
        Not searched recursively; files that are not DICOM images are ignored.
    root : Path or None
        Folder in which the slices must lie, their links followed; None for anywhere.
    suv : bool
        Convert PET to SUV.

    Returns
    -------
    Series

    Warns
    -----
    UserWarning
        PET of fewer slices than its NumberOfSlices.

    Raises
    ------
    ImportError
        pydicom is not installed.
    ValueError
        No series or several (they are listed), slices of different size, orientation or modality,
        missing, duplicate, unevenly spaced or shifted slices, slices of two patients, studies,
        frames of reference or acquisitions, a tilted gantry, CT without its rescaling, several
        frames or colours in one file, headers that do not fit the pixels, slices that cannot be
        decoded, PET that cannot be converted.
    """
    stack, spacing, normal = _sorted_stack(_the_only_series(folder, root), folder)
    first = stack[0]
    _warn_of_fewer_slices(stack, folder)
    factor = 1.0
    if suv and first.modality == "PT":
        factor = suv_factor_of_slices(folder, [(entry.path.name, entry.dataset) for entry in stack])
    rows, columns = first.size
    if len(stack) * rows * columns > MAX_VOXELS:
        raise ValueError(
            f"The series in {folder} claims {len(stack)} x {rows} x {columns} voxels; a volume has "
            f"{MAX_VOXELS} at most."
        )
    check_shrinkage([entry.pixels for entry in stack])
    volume = np.empty((len(stack), rows, columns), dtype=np.float32)
    n_slices = max(1, min(_BATCH, _BATCH_PIXELS // (rows * columns)))
    for start in range(0, len(stack), n_slices):
        batch = stack[start : start + n_slices]
        for i, frames in enumerate(read_frames([entry.pixels for entry in batch]), start):
            volume[i] = frames[0] * np.float64(stack[i].slope) + stack[i].intercept
    if factor != 1.0:
        volume *= np.float32(factor)
    steps = (first.pixel_spacing[1], first.pixel_spacing[0], spacing)
    axes = np.column_stack([first.axes[0], first.axes[1], normal])
    image = placed_image(volume, steps, first.position, axes, folder)
    files = tuple(entry.path for entry in stack)
    return Series(image, tuple(axes.ravel().tolist()), files)


def _the_only_series(folder: Path, root: Path | None) -> list[_Slice]:
    by_series: dict[str, list[_Slice]] = {}
    others = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            continue
        check_inside(path, root, folder)
        if not is_dicom(path):
            others.append(path)
        elif (entry := _read_slice(path)) is not None:
            by_series.setdefault(entry.series, []).append(entry)
    if not by_series:
        raise ValueError(f"The folder {folder} holds no DICOM image series.")
    if len(by_series) > 1:
        names = [f"{uid} ({s[0].modality}, {len(s)} slices)" for uid, s in by_series.items()]
        series = "; ".join([*names[:_MAX_LISTED], *(["..."] if len(names) > _MAX_LISTED else [])])
        raise ValueError(
            f"The folder {folder} holds {len(by_series)} DICOM series; put the one that is meant "
            f"into a folder of its own: {series}."
        )
    (slices,) = by_series.values()
    suffixes = {entry.path.suffix for entry in slices}
    for path in others:
        if path.suffix in suffixes:  # else a damaged slice at an end would just be missing
            raise ValueError(f"{path} is no DICOM file, though named like the slices beside it.")
    return slices


def _read_slice(path: Path) -> _Slice | None:
    """Read what is needed of a header; None where the object is not an image."""
    dataset, pixels = read_with_pixels(path, not_images=_NOT_IMAGES)
    if pixels is None:
        return None
    if pixels.n_frames != 1:
        raise ValueError(
            f"{path} has NumberOfFrames {pixels.n_frames}; a slice of a series has one frame. "
            "Convert it to NIfTI with dcm2niix, or to single slices with emf2sf of dcm4che."
        )
    with damage_refused(path):
        needed = (
            "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
            "Modality",
        )
        missing = [name for name in needed if not dataset.get(name)]
        if missing:
            raise DicomError(
                f"{path} lacks {', '.join(missing)}: its place in the patient is unknown."
            )
        if str(dataset.SOPClassUID) not in _IMAGES:
            raise DicomError(f"{path} is no CT, MR or PET image: its SOPClassUID is another one.")
        if dataset.get("ModalityLUTSequence"):
            raise DicomError(f"{path} has a table instead of a RescaleSlope; it is not supported.")
        series, modality = str(dataset.SeriesInstanceUID), str(dataset.Modality)
        with_slope = _is_rescaled(dataset, modality, path)
    row_spacing, column_spacing = _numbers(dataset, "PixelSpacing", 2, path)
    if min(row_spacing, column_spacing) <= 0:
        raise ValueError(
            f"{path}: PixelSpacing must be positive; found {row_spacing:g} and {column_spacing:g}."
        )
    slope, intercept = 1.0, 0.0
    if with_slope:
        slope = _numbers(dataset, "RescaleSlope", 1, path)[0]
        intercept = _numbers(dataset, "RescaleIntercept", 1, path)[0]
    if slope == 0:
        raise ValueError(f"{path}: RescaleSlope is 0.")
    return _Slice(
        path=path,
        series=series,
        position=np.array(_numbers(dataset, "ImagePositionPatient", 3, path)),
        axes=_axes(dataset, path),
        pixel_spacing=(row_spacing, column_spacing),
        modality=modality,
        slope=slope,
        intercept=intercept,
        pixels=pixels,
        dataset=dataset,
    )


def _is_rescaled(dataset: Any, modality: str, path: Path) -> bool:
    with_slope, with_intercept = (
        dataset.get(name) is not None for name in ("RescaleSlope", "RescaleIntercept")
    )
    if with_slope != with_intercept:
        raise DicomError(f"{path} has only one of RescaleSlope and RescaleIntercept.")
    if modality == "CT" and not with_slope:
        raise DicomError(
            f"{path} lacks RescaleSlope and RescaleIntercept: its numbers are in no unit that is "
            "known."
        )
    return with_slope


def _axes(dataset: Any, path: Path) -> np.ndarray:
    axes = np.array(_numbers(dataset, "ImageOrientationPatient", 6, path)).reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), rtol=0, atol=1e-3):
        raise ValueError(
            f"{path}: ImageOrientationPatient is not a pair of perpendicular directions of length "
            f"1; found {axes.tolist()}."
        )
    return axes


def _numbers(dataset: Any, name: str, count: int, path: Path) -> list[float]:
    values: Sequence[float] = []
    try:
        with damage_refused(path):
            value = dataset[name].value
            values = [float(part) for part in ([value] if count == 1 else value)]
    except ValueError:  # not numbers, or one for several
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"{path}: {name} must be {count} finite numbers; it is damaged.")
    return list(values)


def _sorted_stack(slices: list[_Slice], folder: Path) -> tuple[list[_Slice], float, np.ndarray]:
    first = slices[0]
    for other in slices[1:]:
        if other.size != first.size or not np.allclose(other.pixel_spacing, first.pixel_spacing):
            raise ValueError(
                f"The slices {first.path.name} and {other.path.name} in {folder} differ in size: "
                f"{first.size} at {first.pixel_spacing} mm and {other.size} at "
                f"{other.pixel_spacing} mm."
            )
        if other.modality != first.modality:
            raise ValueError(
                f"The slices {first.path.name} and {other.path.name} in {folder} differ in "
                f"Modality: {first.modality} and {other.modality}."
            )
        if not np.allclose(other.axes, first.axes, atol=1e-4):
            raise ValueError(
                f"The slices {first.path.name} and {other.path.name} in {folder} have different "
                "orientations (a localiser among the slices?)."
            )
    _check_shared(slices, folder)
    if len(slices) < 2:
        raise ValueError(f"The DICOM series in {folder} has one slice; a volume needs two or more.")
    normal = np.cross(first.axes[0], first.axes[1])
    heights = np.array([float(entry.position @ normal) for entry in slices])
    order = np.argsort(heights, kind="stable")
    stack = [slices[i] for i in order]
    spacing = _check_gaps(stack, heights[order], folder)
    _check_acquisitions(stack, folder)
    run = stack[-1].position - stack[0].position
    drift = float(np.linalg.norm(run - (run @ normal) * normal))
    if drift > TILT_TOLERANCE * float(run @ normal):
        raise ValueError(
            f"The slices in {folder} are sheared against each other by {drift:.2f} mm over the "
            "series (tilted gantry); straighten the series before reading it."
        )
    _check_straight(stack, run, folder)
    return stack, spacing, normal


def _check_shared(slices: list[_Slice], folder: Path) -> None:
    with damage_refused(folder):
        for name in _SHARED:
            values = [str(entry.dataset.get(name) or "").strip() for entry in slices]
            other = next((i for i, value in enumerate(values) if value != values[0]), 0)
            if other:
                split = (
                    " If a program gave each slice its own, as SimpleITK does unless told, write "
                    "them again with one." if name in _WRITTEN_APART else ""
                )
                raise DicomError(
                    f"The slices {slices[0].path.name} and {slices[other].path.name} in {folder} "
                    f"differ in {name}: they are not of one volume. Put those that are meant into "
                    f"a folder of their own.{split}"
                )
        scaled = [entry.dataset.get("RescaleSlope") is not None for entry in slices]
    if any(scaled) and not all(scaled):
        raise ValueError(
            f"{slices[scaled.index(False)].path} lacks RescaleSlope, which other slices have."
        )


def _check_acquisitions(stack: list[_Slice], folder: Path) -> None:
    """Refuse two scans whose slices alternate; MR alone acquires one volume that way."""
    if stack[0].modality not in ("CT", "PT"):
        return
    with damage_refused(folder):
        numbers = [str(entry.dataset.get("AcquisitionNumber") or "") for entry in stack]
    runs = [number for i, number in enumerate(numbers) if i == 0 or number != numbers[i - 1]]
    if len(runs) != len(set(runs)):
        raise ValueError(
            f"The slices in {folder} are of {len(set(runs))} acquisitions that alternate "
            "(AcquisitionNumber); put the one that is meant into a folder of its own."
        )


def _warn_of_fewer_slices(stack: list[_Slice], folder: Path) -> None:
    """Compare with what PET says of its number: a slice that lacks at an end leaves no gap."""
    if stack[0].modality != "PT":
        return
    with damage_refused(folder):
        number = int(stack[0].dataset.get("NumberOfSlices") or 0)
    if number > len(stack):
        warnings.warn(
            f"The PET series in {folder} has {len(stack)} slices, and {number} by NumberOfSlices. "
            "Unless it was cut on purpose, some at its ends are missing: copy them again.",
            UserWarning,
            stacklevel=5,
        )


def _check_straight(stack: list[_Slice], run: np.ndarray, folder: Path) -> None:
    way = np.array([entry.position - stack[0].position for entry in stack])
    length = float(np.linalg.norm(run))
    aside = np.linalg.norm(way - np.outer(way @ run, run) / length**2, axis=1)
    if aside.max() > max(GAP_TOLERANCE * min(stack[0].pixel_spacing), SHIFT_TOLERANCE):
        raise ValueError(
            f"The slice {stack[int(aside.argmax())].path.name} in {folder} is shifted sideways by "
            f"{aside.max():.2f} mm against the others; its position is damaged."
        )


def _check_gaps(stack: list[_Slice], heights: np.ndarray, folder: Path) -> float:
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    same = np.flatnonzero(gaps < 1e-3)
    if same.size:
        first, second = stack[same[0]].path.name, stack[same[0] + 1].path.name
        raise ValueError(
            f"The slices {first} and {second} in {folder} lie at the same position ({same.size} "
            "such pair(s)): duplicates, or several time frames in one series."
        )
    uneven = np.flatnonzero(np.abs(gaps - usual) > GAP_TOLERANCE * usual)
    if uneven.size:
        i = int(uneven[0])
        raise ValueError(
            f"The slices in {folder} are not evenly spaced: {gaps[i]:.3f} mm between "
            f"{stack[i].path.name} and {stack[i + 1].path.name}, {usual:.3f} mm elsewhere "
            f"({uneven.size} uneven gap(s)). Slices are missing, or their positions are damaged."
        )
    spacing = float(gaps.mean())
    drift = np.abs(heights - heights[0] - spacing * np.arange(heights.size)).max()
    if drift > GAP_TOLERANCE * spacing:
        raise ValueError(
            f"The slices in {folder} drift by up to {drift:.3f} mm from an even distance of "
            f"{spacing:.3f} mm; their positions are damaged."
        )
    return spacing
