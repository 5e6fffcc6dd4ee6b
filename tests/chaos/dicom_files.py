"""Small DICOM objects, written by pydicom so that they can be damaged one attribute at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
    generate_uid,
)

__all__ = ["ORIGIN", "SPACING", "as_pet", "rtstruct", "save_series", "segmentation", "slices_of"]

SPACING = (3.0, 2.0, 1.5)
ORIGIN = (-10.0, -20.0, 50.0)
#: Attributes that identify a person. No file and no message that survimg writes may hold a value.
PERSON = {
    "PatientName": "Sentinel^Jane",
    "PatientID": "SENTINEL-4711",
    "PatientBirthDate": "19411207",
    "PatientAddress": "Sentinel Street 9",
    "OtherPatientIDs": "SENTINEL-0815",
    "AccessionNumber": "SENTINEL-ACC",
    "InstitutionName": "Sentinel Hospital",
    "ReferringPhysicianName": "Sentinel^Doctor",
}


def _new(storage: str) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = storage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = "1.2.3"
    for name, value in PERSON.items():
        setattr(dataset, name, value)
    return dataset


def slices_of(volume: np.ndarray, modality: str = "CT") -> list[pydicom.Dataset]:
    """Return one dataset per plane of a volume, in one series; each has its own rescale slope."""
    uid = generate_uid()
    found = []
    for i, plane in enumerate(volume):
        storage = PositronEmissionTomographyImageStorage if modality == "PT" else CTImageStorage
        dataset = _new(storage)
        dataset.SeriesInstanceUID, dataset.Modality = uid, modality
        dataset.Rows, dataset.Columns = plane.shape
        dataset.PixelSpacing = [SPACING[1], SPACING[2]]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + i * SPACING[0]]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 1
        slope = max(float(np.abs(plane).max()), 1e-3) / 30000
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.10g}", "0"
        dataset.PixelData = np.round(plane / slope).astype("<i2").tobytes()
        found.append(dataset)
    return found


def as_pet(slices: Sequence[pydicom.Dataset]) -> None:
    """Add what the conversion to SUV needs: 350 MBq of F-18 an hour before, 70 kg."""
    item = pydicom.Dataset()
    item.RadionuclideTotalDose, item.RadionuclideHalfLife = "350000000", "6588"
    item.RadiopharmaceuticalStartTime = "110000"
    for dataset in slices:
        dataset.Units, dataset.DecayCorrection = "BQML", "START"
        dataset.CorrectedImage = ["ATTN", "DECY"]
        dataset.PatientWeight = "70"
        dataset.SeriesDate = dataset.AcquisitionDate = "20200101"
        dataset.SeriesTime = dataset.AcquisitionTime = "120000"
        dataset.RadiopharmaceuticalInformationSequence = [copy.deepcopy(item)]


def save_series(
    folder: Path,
    volume: np.ndarray,
    change: Callable[[list[pydicom.Dataset]], list[pydicom.Dataset] | None] | None = None,
    modality: str = "CT",
) -> Path:
    """Write a series whose file names say nothing about the order; `change` may damage it."""
    folder.mkdir(parents=True, exist_ok=True)
    slices = slices_of(volume, modality)
    if modality == "PT":
        as_pet(slices)
    if change is not None:
        slices = change(slices) or slices
    tail = slices[0].SeriesInstanceUID[-5:]
    for k, dataset in enumerate(slices):
        path = folder / f"{(k * 7919) % 1000:03d}_{tail}.dcm"
        dataset.save_as(path, enforce_file_format=True)
    return folder


def rtstruct(
    path: Path,
    regions: dict[str, Sequence[np.ndarray | Sequence[tuple[float, float, float]]]],
    change: Callable[[pydicom.Dataset], None] | None = None,
    kind: str = "CLOSED_PLANAR",
) -> Path:
    """Write an RTSTRUCT with named regions, each a list of contours in world coordinates."""
    dataset = _new(RTStructureSetStorage)
    dataset.Modality = "RTSTRUCT"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(regions.items(), start=1):
        roi, entry = pydicom.Dataset(), pydicom.Dataset()
        roi.ROINumber, roi.ROIName, entry.ReferencedROINumber = number, name, number
        entry.ContourSequence = []
        for points in contours:
            contour = pydicom.Dataset()
            contour.ContourGeometricType = kind
            contour.ContourData = [f"{value:g}" for value in np.ravel(points)]
            entry.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(entry)
    if change is not None:
        change(dataset)
    dataset.save_as(path, enforce_file_format=True)
    return path


def segmentation(
    path: Path,
    masks: dict[str, np.ndarray],
    change: Callable[[pydicom.Dataset], None] | None = None,
    kind: str = "BINARY",
) -> Path:
    """Write a segmentation object on the grid of `slices_of`, without its empty frames."""
    dataset = _new(SegmentationStorage)
    dataset.Modality, dataset.SegmentationType = "SEG", kind
    any_mask = next(iter(masks.values()))
    dataset.Rows, dataset.Columns = any_mask.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 1 if kind == "BINARY" else 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.SegmentSequence, dataset.PerFrameFunctionalGroupsSequence = [], []
    frames = []
    for number, (label, mask) in enumerate(masks.items(), start=1):
        segment = pydicom.Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, label
        dataset.SegmentSequence.append(segment)
        for z in np.flatnonzero(mask.any(axis=(1, 2))):
            dataset.PerFrameFunctionalGroupsSequence.append(_frame(int(z), number))
            frames.append(mask[z])
    dataset.NumberOfFrames = len(frames)
    dataset.SharedFunctionalGroupsSequence = [_shared()]
    values = np.array(frames, dtype=np.uint8)
    if kind == "BINARY":
        dataset.PixelData = np.packbits(values.ravel(), bitorder="little").tobytes()
    else:
        dataset.SegmentationFractionalType, dataset.MaximumFractionalValue = "PROBABILITY", 255
        dataset.PixelData = (values * 255).tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\x00"
    if change is not None:
        change(dataset)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _frame(z: int, number: int) -> pydicom.Dataset:
    frame, plane, reference = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    plane.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + z * SPACING[0]]
    reference.ReferencedSegmentNumber = number
    frame.PlanePositionSequence = [plane]
    frame.SegmentIdentificationSequence = [reference]
    return frame


def _shared() -> pydicom.Dataset:
    shared, plane, measures = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [SPACING[1], SPACING[2]], SPACING[0]
    measures.SpacingBetweenSlices = SPACING[0]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    return shared
