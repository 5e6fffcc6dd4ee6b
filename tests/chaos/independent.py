"""What independent readers say of a file: SimpleITK, nibabel, pydicom, matplotlib's polygons."""

from __future__ import annotations

import io
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from survimg.io import Image

__all__ = ["compare", "compare_regions", "compare_segments"]

Verdict = tuple[str, str]


def compare(path: Path, image: Image, how: str) -> Verdict:
    try:
        other = _apart(_series, path) if path.is_dir() else sitk.ReadImage(str(path))
    except RuntimeError as error:
        if path.is_dir():
            return _compare_pydicom(path, image, how)
        return _compare_nibabel(path, image, f"{how}: {str(error)[-200:]}")
    if other.GetDimension() == 4:
        other = other[:, :, :, 0]
    other = sitk.DICOMOrient(other, "LPS")
    with np.errstate(all="ignore"):
        array = sitk.GetArrayFromImage(other).astype(np.float32)
    same = array.shape == image.array.shape and np.allclose(
        array, image.array, rtol=1e-5, atol=1e-3 if path.is_dir() else 1e-20
    )
    place = np.allclose(other.GetSpacing(), image.spacing[::-1], rtol=1e-3) and np.allclose(
        other.GetOrigin(), image.origin, rtol=1e-4, atol=2e-2
    ) and np.allclose(other.GetDirection(), image.direction, atol=2e-3)
    return "equal" if same and place else "WRONG", how


def _compare_nibabel(path: Path, image: Image, how: str) -> Verdict:
    import nibabel

    try:
        nifti = nibabel.load(path)
        voxels = np.asarray(nifti.dataobj, np.float64)
    except Exception as error:
        return "unchecked", f"{how}; {error}"
    voxels = voxels.reshape(voxels.shape[:3])
    index = np.argwhere(np.ones(voxels.shape))
    scale = {"mm": 1.0, "meter": 1e3, "micron": 1e-3}.get(nifti.header.get_xyzt_units()[0], 1.0)
    affine = nifti.affine
    if nifti.header["qform_code"] <= 0 and nifti.header["sform_code"] <= 0:
        # placed nowhere: nibabel centres it, survimg documents ITK's place
        affine = np.diag([*np.multiply(nifti.header.get_zooms()[:3], [-1, -1, 1]), 1])
    ras = index @ affine[:3, :3].T + affine[:3, 3]
    place = image.index(ras * scale * [-1, -1, 1])
    near = np.abs(place - np.rint(place)).max() < 0.5
    nearest = np.rint(place).astype(int)
    inside = (nearest >= 0).all() and (nearest < image.array.shape).all()
    same = near and inside and np.allclose(
        image.array[tuple(nearest.T)], voxels.ravel(), rtol=1e-5
    )
    return "equal" if same else "WRONG", how


def _compare_pydicom(folder: Path, image: Image, how: str) -> Verdict:
    """Compare the voxels of a series that GDCM does not read, such as the RLE of a few pixels."""
    import pydicom

    slices = sorted(
        (pydicom.dcmread(io.BytesIO(path.read_bytes())) for path in folder.iterdir()),
        key=lambda dataset: float(dataset.ImagePositionPatient[2]),
    )
    try:
        voxels = np.stack([
            dataset.pixel_array * float(dataset.get("RescaleSlope", 1))
            + float(dataset.get("RescaleIntercept", 0))
            for dataset in slices
        ])
    except Exception as error:
        return "unchecked", f"{how}; {error}"
    same = voxels.shape == image.array.shape and np.allclose(voxels, image.array, rtol=1e-5)
    return "equal" if same else "WRONG", how


def _series(folder: Path) -> sitk.Image:
    """Read a series slice by slice with GDCM; geometry from its own headers."""
    slices = []
    for path in sorted(folder.iterdir()):
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetOutputPixelType(sitk.sitkFloat32)
        pixels = reader.Execute()
        slices.append((pixels.GetOrigin()[2], pixels))
    slices.sort(key=lambda pair: pair[0])
    image = sitk.GetImageFromArray(
        np.concatenate([sitk.GetArrayFromImage(pixels) for _, pixels in slices])
    )
    first = slices[0][1]
    x, y, _ = first.GetSpacing()
    gap = (slices[-1][0] - slices[0][0]) / (len(slices) - 1)
    image.SetSpacing((x, y, gap))
    image.SetOrigin(first.GetOrigin())
    image.SetDirection(first.GetDirection())
    return image


def _apart(read: Any, path: Path) -> sitk.Image:
    """Read in a process of its own, whose native decoders may die of a damaged frame."""
    context = multiprocessing.get_context("fork")
    results, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(read, path, sender))
    process.start()
    sender.close()
    try:
        array, spacing, origin, direction = results.recv()
    except (EOFError, TypeError):
        raise RuntimeError("the independent reader refuses it, or died") from None
    finally:
        process.join()
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def _send(read: Any, path: Path, sender: Any) -> None:
    try:
        image = read(path)
    except Exception:
        sender.send(None)
    else:
        place = image.GetSpacing(), image.GetOrigin(), image.GetDirection()
        sender.send((sitk.GetArrayFromImage(image), *place))


def compare_regions(path: Path, mask: np.ndarray, like: Image, how: str) -> Verdict:
    """Fill the contours of an RTSTRUCT with matplotlib; where they cross, either way is right."""
    import pydicom
    from matplotlib.path import Path as Polygon

    dataset = pydicom.dcmread(io.BytesIO(path.read_bytes()))
    contours = [
        like.index(np.reshape([float(value) for value in contour.ContourData], (-1, 3)))
        for item in dataset.ROIContourSequence for contour in item.ContourSequence
        if len(contour.ContourData) >= 9
    ]
    heights = np.array([float(contour[:, 0].mean()) for contour in contours])
    gaps = np.diff(np.unique(heights.round(1)))
    gap = float(np.median(gaps)) if gaps.size else 1.0
    centres = np.argwhere(np.ones(like.shape[1:]))
    for z in range(like.shape[0]):
        distances = np.abs(heights - z)
        near = (distances <= 0.5 * gap + 0.1) & (distances <= distances.min() + 0.1)
        parts = [
            Polygon(contour[:, 1:]).contains_points(centres, radius=1e-9)
            for contour, belongs in zip(contours, near, strict=True) if belongs
        ]
        # of a contour that crosses itself, survimg unites the loops
        united = [
            _goes_round(contour[:, 1:], centres)
            for contour, belongs in zip(contours, near, strict=True) if belongs
        ]
        empty = np.zeros(like.shape[1:], bool)
        allowed = [
            combine.reduce([empty, *(part.reshape(empty.shape) for part in way)])
            for way in (parts, united) for combine in (np.logical_xor, np.logical_or)
        ]
        # whether a centre on the outline lies inside is nobody's error
        undecided = np.logical_or.reduce([empty, *(
            _on_outline(contour[:, 1:], centres).reshape(like.shape[1:])
            for contour, belongs in zip(contours, near, strict=True) if belongs
        )])
        if not any(((mask[z] == ways) | undecided).all() for ways in allowed):
            return "WRONG", how
    return "equal", how


def _goes_round(polygon: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Tell which points a polygon goes round, by the sum of the angles that they see."""
    sight = (polygon[:, None] - centres) @ [1, 1j]
    with np.errstate(invalid="ignore", divide="ignore"):
        angles = np.angle(np.roll(sight, -1, axis=0) / sight)
    return np.abs(np.nansum(angles, axis=0)) > np.pi


def _on_outline(polygon: np.ndarray, centres: np.ndarray) -> np.ndarray:
    on = np.zeros(len(centres), bool)
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        edge = end - start
        along = np.clip((centres - start) @ edge / max(edge @ edge, 1e-30), 0, 1)
        on |= np.linalg.norm(start + along[:, None] * edge - centres, axis=1) < 1e-6
    return on


def compare_segments(path: Path, mask: Image, how: str) -> Verdict:
    """Place the frames of a segmentation object one by one, as their positions say."""
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(path.read_bytes()))
    shared = dataset.SharedFunctionalGroupsSequence[0]
    steps = [float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing]
    turn = [float(v) for v in shared.PlaneOrientationSequence[0].ImageOrientationPatient]
    frames = np.reshape(dataset.pixel_array, (-1, dataset.Rows, dataset.Columns)) > 0
    marked = set()
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(frame)
        world = corner + np.outer(columns * steps[1], turn[:3]) + np.outer(
            rows * steps[0], turn[3:]
        )
        marked |= {tuple(index) for index in np.rint(mask.index(world)).astype(int).tolist()}
    same = marked == {tuple(index) for index in np.argwhere(mask.array).tolist()}
    return "equal" if same else "WRONG", how
