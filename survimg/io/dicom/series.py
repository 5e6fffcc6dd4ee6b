"""DICOM series: one folder, one volume, checked slice by slice before a voxel is read.

Pixels are decoded by SimpleITK (GDCM), which applies each slice's own rescale slope; geometry is
taken from the slices' own positions, never from the order of file names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

__all__ = ["Series", "is_dicom", "read_series"]

#: Part of the slice distance by which a gap may differ from the others: positions are rounded, and
#: whole-body PET joins beds whose overlap is not a whole number of slices (2.4 % in STS_001).
GAP_TOLERANCE = 0.05
#: Slope of the stack against the normal of its slices; 0.002 is a gantry tilt of 0.1 degrees.
TILT_TOLERANCE = 0.002
#: mm; some headers round positions to a tenth of one.
SHIFT_TOLERANCE = 0.1
#: No detector or reconstruction has so many pixels; a damaged header would ask for their memory.
_MAX_PIXELS = 2**26

_CLASS = b"1.2.840.10008.5.1.4.1.1."
_DEFLATED = b"1.2.840.10008.1.2.1.99"
#: The tag (7FE0,0010) in either byte order.
_PIXEL_DATA: tuple[tuple[Literal["big", "little"], bytes], ...] = (
    ("big", b"\x7f\xe0\x00\x10"),
    ("little", b"\xe0\x7f\x10\x00"),
)
#: Directories, presentation states, raw data, reports, encapsulated documents, radiotherapy.
_NOT_IMAGES = (
    b"1.2.840.10008.1.3.10",
    *(_CLASS + part for part in (b"9.", b"11.", b"66", b"88.", b"104.", b"481.")),
)


@dataclass(frozen=True)
class Series:
    """A series, read.

    Attributes
    ----------
    image : SimpleITK.Image
        float32, in the stored unit.
    modality : str
        DICOM's code: ``"PT"``, ``"CT"``, ``"MR"``, ...
    files : tuple of Path
        The slices in the order of the volume.
    """

    image: sitk.Image
    modality: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Slice:
    path: Path
    position: np.ndarray
    axes: np.ndarray  # (2, 3): direction of the rows' and of the columns' course
    pixel_spacing: tuple[float, float]  # between rows, between columns
    size: tuple[int, int]
    bytes_per_pixel: int
    modality: str


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM: the letters DICM after the preamble, or the suffix .dcm."""
    with open(path, "rb") as file:
        start = file.read(132)
    return start[128:132] == b"DICM" or path.suffix.lower() == ".dcm"


def read_series(folder: Path) -> Series:
    """Read the one DICOM image series in a folder.

    Parameters
    ----------
    folder : Path
        Not searched recursively; files that are not DICOM images are ignored.

    Returns
    -------
    Series

    Raises
    ------
    ValueError
        No series or several (they are listed), slices of different size, orientation or modality,
        missing, duplicate, unevenly spaced or shifted slices, a tilted gantry, several frames or
        colours in one file, headers that do not fit the pixels, slices that cannot be decoded.
    """
    slices = _the_only_series(folder)
    stack, spacing, normal = _sorted_stack(slices, folder)
    image = sitk.GetImageFromArray(np.stack([_pixels(entry) for entry in stack]))
    first = stack[0]
    image.SetSpacing((first.pixel_spacing[1], first.pixel_spacing[0], spacing))
    image.SetOrigin(first.position.tolist())
    image.SetDirection(np.column_stack([first.axes[0], first.axes[1], normal]).ravel().tolist())
    return Series(image, first.modality, tuple(entry.path for entry in stack))


def _the_only_series(folder: Path) -> list[_Slice]:
    found: dict[str, list[_Slice]] = {}
    try:
        uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        names = {u: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), u) for u in uids}
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"A slice in the folder {folder} is damaged: {reason}") from None
    for uid in uids:
        found[uid] = [_read_slice(Path(name)) for name in names[uid]]
    listed = {entry.path.name for slices in found.values() for entry in slices}
    for path in sorted(folder.iterdir()):
        # GDCM leaves out what it cannot parse: a truncated last slice would just be missing
        if path.is_file() and path.name not in listed and is_dicom(path) and not _is_other(path):
            raise ValueError(f"{path} is not a readable DICOM slice; it may be truncated.")
    if not found:
        raise ValueError(f"The folder {folder} holds no DICOM image series.")
    if len(found) > 1:
        series = "; ".join(
            f"{uid} ({slices[0].modality}, {len(slices)} slices)" for uid, slices in found.items()
        )
        raise ValueError(
            f"The folder {folder} holds {len(found)} DICOM series; put the one that is meant into "
            f"a folder of its own: {series}."
        )
    return next(iter(found.values()))


def _is_other(path: Path) -> bool:
    with open(path, "rb") as file:
        kind = re.search(rb"1\.2\.840\.10008\.[0-9.]+", file.read(2048)[132:])
    return kind is not None and kind.group().startswith(_NOT_IMAGES)


def _read_slice(path: Path) -> _Slice:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path} is not a readable DICOM slice: {reason}") from None
    tags = {
        name: reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else ""
        for name, tag in {
            "ImagePositionPatient": "0020|0032",
            "ImageOrientationPatient": "0020|0037",
            "PixelSpacing": "0028|0030",
            "Modality": "0008|0060",
            "BitsAllocated": "0028|0100",
        }.items()
    }
    missing = [name for name, value in tags.items() if not value]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: its place in the patient is unknown.")
    for name, tag in {"SamplesPerPixel": "0028|0002", "NumberOfFrames": "0028|0008"}.items():
        count = reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else "1"
        if count not in ("", "1"):
            raise ValueError(
                f"{path} has {name} {count}; a slice of a series has one frame and one grey value "
                "per pixel."
            )
    width, height = reader.GetSize()[:2]
    if width * height > _MAX_PIXELS:
        raise ValueError(f"{path} claims {height} x {width} pixels; its header is damaged.")
    row_spacing, column_spacing = _numbers(tags["PixelSpacing"], 2, path)
    if min(row_spacing, column_spacing) <= 0:
        raise ValueError(f"{path}: PixelSpacing must be positive; found {tags['PixelSpacing']!r}.")
    return _Slice(
        path=path,
        position=np.array(_numbers(tags["ImagePositionPatient"], 3, path)),
        axes=_axes(tags["ImageOrientationPatient"], path),
        pixel_spacing=(row_spacing, column_spacing),
        size=(height, width),
        bytes_per_pixel=int(tags["BitsAllocated"]) // 8,
        modality=tags["Modality"],
    )


def _axes(text: str, path: Path) -> np.ndarray:
    axes = np.array(_numbers(text, 6, path)).reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        raise ValueError(
            f"{path}: ImageOrientationPatient is not a pair of perpendicular directions of length "
            f"1; found {text!r}."
        )
    return axes


def _pixels(entry: _Slice) -> np.ndarray:
    # slice by slice: ITK's series reader takes the first slice's pixel type for all, so that the
    # fractional rescale slopes of later slices could be rounded away
    _check_complete(entry)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(entry.path))
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        pixels = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{entry.path} cannot be decoded: {reason}") from None
    if pixels.size != entry.size[0] * entry.size[1]:
        raise ValueError(f"{entry.path} holds several frames or components; one is expected.")
    return pixels.reshape(entry.size)


def _check_complete(entry: _Slice) -> None:
    # GDCM reads what is missing at the end of uncompressed pixels as if it were there, and where
    # the header claims more pixels than there are, whatever lies behind them in memory
    content = entry.path.read_bytes()
    if _DEFLATED in content[:1024]:
        return  # the tags are compressed as well; zlib knows its end
    row = entry.size[1] * entry.bytes_per_pixel
    expected = entry.size[0] * row
    for order, tag in _PIXEL_DATA:
        for head in (tag + b"OW\x00\x00", tag + b"OB\x00\x00", tag):  # explicit, implicit
            # an icon in the header has pixels of its own
            for found in re.finditer(re.escape(head), content):
                at = found.end() + 4
                length = int.from_bytes(content[at - 4 : at], order)
                if length == 0xFFFFFFFF and b"\xfe\xff\x00\xe0" in content[at : at + 4]:
                    return  # compressed: the decoder finds what is missing
                # a few bytes more are padding, a row more is another image
                if 0 <= length - expected < row and len(content) - at >= expected:
                    return
    raise ValueError(
        f"{entry.path} is truncated, or its header does not fit its pixels: there are no "
        f"{expected} bytes for {entry.size[0]} x {entry.size[1]} pixels."
    )


def _numbers(text: str, count: int, path: Path) -> list[float]:
    try:
        values = [float(part) for part in text.split("\\")]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"{path}: expected {count} numbers in the header, found {text!r}.")
    return values


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
    if len(slices) < 2:
        raise ValueError(f"The DICOM series in {folder} has one slice; a volume needs two or more.")
    normal = np.cross(first.axes[0], first.axes[1])
    heights = np.array([float(entry.position @ normal) for entry in slices])
    order = np.argsort(heights, kind="stable")
    stack = [slices[i] for i in order]
    spacing = _check_gaps(stack, heights[order], folder)
    run = stack[-1].position - stack[0].position
    drift = float(np.linalg.norm(run - (run @ normal) * normal))
    if drift > TILT_TOLERANCE * float(run @ normal):
        raise ValueError(
            f"The slices in {folder} are sheared against each other by {drift:.2f} mm over the "
            "series (tilted gantry); straighten the series before reading it."
        )
    _check_straight(stack, run, folder)
    return stack, spacing, normal


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
