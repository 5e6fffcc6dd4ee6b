"""Masks to DICOM segmentation objects (PS3.3 A.51) that belong to the series they were made from.

highdicom writes the object; here the mask is laid on the slices of the series.
"""

from __future__ import annotations

import io
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

from survimg.files import write_atomically
from survimg.io.dicom.objects import DicomError, damage_refused, read_dataset
from survimg.io.dicom.series import Series, read_series
from survimg.io.images.image import Image, same_grid, to_sitk

__all__ = ["import_highdicom", "write_segmentation"]

#: What an object inherits from its images and may be empty ("type 2"): an anonymised header may
#: lack it altogether.
_MAY_BE_EMPTY = (
    "AccessionNumber", "PatientBirthDate", "PatientID", "PatientName", "PatientSex", "StudyDate",
    "StudyID", "StudyTime",
)  # fmt: skip
_SERIES_NUMBER = 9000  # far from those that a scanner gives


def write_segmentation(
    path: str | os.PathLike[str],
    mask: npt.ArrayLike,
    like: Image,
    series: str | os.PathLike[str],
    *,
    algorithm: str,
    label: str = "Tumour",
) -> None:
    """Write a mask as a DICOM segmentation object with one segment, in the study of a series.

    Parameters
    ----------
    path : path
        The file; ``.dcm`` by custom.
    mask : array-like of shape (z, y, x)
        0 and 1, on the grid of `like`.
    like : Image
        The series as `read_image` gives it; only its grid is used.
    series : path
        Folder of the DICOM series that the mask was made from. The object refers to its slices and
        takes patient and study from their headers.
    algorithm : str
        What made the mask, such as ``"DeepMTS"``.
    label : str, default="Tumour"
        Label of the segment.

    Raises
    ------
    ImportError
        highdicom is not installed.
    ValueError
        `mask` holds something else than 0 and 1, or has another shape than `like`; nothing is
        marked; `like` does not lie on the slices of the series; a slice lacks what the object must
        say (the message names it).

    Notes
    -----
    One BINARY segment, coded as a neoplasm (SNOMED CT 108369006), made automatically. Slices
    without tumour are left out, as the standard allows.
    """
    highdicom = import_highdicom()
    values = np.asarray(mask)
    if values.shape != like.shape or not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"mask must hold 0 and 1 on the grid of `like`, {like.shape}; got an array of shape "
            f"{values.shape}."
        )
    if not values.any():
        raise ValueError("The mask marks nothing, and a segmentation object needs a segment.")
    folder = Path(series)
    stack = read_series(folder, None, suv=False)
    frames = _on_slices(values, like, stack, folder)
    headers = [_header(file) for file in stack.files]
    with damage_refused(folder):
        written = _object(highdicom, headers, frames, algorithm, label)
        content = io.BytesIO()
        written.save_as(content, enforce_file_format=True)
    write_atomically(Path(path), content.getbuffer())


def import_highdicom() -> Any:
    """Import highdicom, or say how to get it."""
    try:
        import highdicom
    except ImportError:
        raise ImportError(
            "highdicom is needed to write DICOM segmentation objects: pip install highdicom."
        ) from None
    return highdicom


def _on_slices(mask: np.ndarray, like: Image, series: Series, folder: Path) -> np.ndarray:
    """Return the mask on the slices, in the order and with the axes of their pixels."""
    if not same_grid(like, series.image):
        raise ValueError(f"The mask does not lie on the voxels of the series in {folder}.")
    marked = to_sitk(Image(mask.astype(np.uint8), like.spacing, like.origin, like.direction))
    axes = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(series.direction)
    return sitk.GetArrayFromImage(sitk.DICOMOrient(marked, axes))


def _header(file: Path) -> Any:
    header = read_dataset(file, "write a DICOM segmentation object", stop_before_pixels=True)
    with damage_refused(file):
        for name in _MAY_BE_EMPTY:
            if name not in header:
                setattr(header, name, "")
        if not header.get("FrameOfReferenceUID"):
            raise DicomError(
                f"{file} lacks FrameOfReferenceUID, without which a segmentation object has no "
                "place in the patient; write masks as NIfTI."
            )
    return header


def _object(
    highdicom: Any, headers: list[Any], frames: np.ndarray, algorithm: str, label: str
) -> Any:
    from pydicom.sr.codedict import codes

    release = version("survimg")
    made_by = highdicom.AlgorithmIdentificationSequence(
        name=algorithm, family=codes.DCM.ArtificialIntelligence, version=release
    )
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=made_by,
    )
    return highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=frames,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=highdicom.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="survimg",
        manufacturer_model_name=algorithm,
        software_versions=release,
        device_serial_number="none",
        content_label="SEGMENTATION",
        content_description=f"{label}, predicted",
        series_description=f"{label}, predicted by {algorithm}",
    )
