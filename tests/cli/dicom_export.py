"""NIfTI images as an archive exports them: DICOM, one folder per patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    generate_uid,
)

from survimg.io import Image, read_image, read_mask
from survimg.io.dicom.seg_writing import write_segmentation

STORAGE = {
    "CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage,
}  # fmt: skip


def export_patient(
    folder: Path, ct: Path, mask: Path | None = None, *, image_type="AXIAL", study=None
) -> str:
    """Write a CT, and its mask as a segmentation object; return the study's UID."""
    study = study or generate_uid()
    series = folder / "scan 1"
    export_series(series, ct, study=study, image_type=image_type)
    if mask is not None:
        export_mask(folder / "mask.dcm", mask, series)
    return study


def export_series(
    folder: Path, path: Path, *, modality="CT", study="1.2", image_type="AXIAL", patient="secret",
    description="",
) -> None:
    """Write the slices of a CT, or of a PET in Bq/ml (70 kg, 370 MBq, one hour before)."""
    image = read_image(path)
    folder.mkdir(parents=True, exist_ok=True)
    uid, frame = generate_uid(), generate_uid()
    for i, plane in enumerate(image.array):
        slice_ = _slice(plane, image, i, modality)
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, uid
        slice_.FrameOfReferenceUID, slice_.ImageType = frame, ["ORIGINAL", "PRIMARY", image_type]
        slice_.PatientID, slice_.SeriesDescription = patient, description
        if modality == "PT":
            _add_tracer(slice_)
        slice_.save_as(folder / f"{uid[-6:]}_{i}.dcm", enforce_file_format=True)


def export_mask(path: Path, mask: Path, series: Path) -> None:
    """Write a segmentation object of the segment "Tumour"."""
    like = read_image(series)
    write_segmentation(path, read_mask(mask, like), like, series, algorithm="hand")


def export_contours(path: Path, series: Path, *, patient="secret") -> None:
    """Write an RTSTRUCT of the region "Tumour", a square in the middle three slices."""
    image = read_image(series)
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = RTStructureSetStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PatientID = "RTSTRUCT", patient
    region, outlines = pydicom.Dataset(), pydicom.Dataset()
    region.ROIName, region.ROINumber, outlines.ReferencedROINumber = "Tumour", 1, 1
    outlines.ContourSequence = []
    middle = np.array(image.array.shape) // 2
    for z in (-1, 0, 1):
        contour = pydicom.Dataset()
        corners = [(-2.5, -2.5), (2.5, -2.5), (2.5, 2.5), (-2.5, 2.5)]
        points = [image.world([middle[0] + z, middle[1] + y, middle[2] + x]) for x, y in corners]
        contour.ContourGeometricType = "CLOSED_PLANAR"
        contour.ContourData = [f"{value:g}" for value in np.ravel(points)]
        outlines.ContourSequence.append(contour)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [region], [outlines]
    dataset.save_as(path, enforce_file_format=True)


def _slice(plane: np.ndarray, image: Image, i: int, modality: str) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = STORAGE[modality]
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.Modality = "Doe^Jane", modality
    dataset.Rows, dataset.Columns = plane.shape
    dataset.PixelSpacing = [image.spacing[1], image.spacing[2]]
    dataset.SliceThickness, dataset.InstanceNumber = image.spacing[0], i + 1
    dataset.ImageOrientationPatient = list(image.direction[0::3]) + list(image.direction[1::3])
    dataset.ImagePositionPatient = image.world([i, 0, 0]).tolist()
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    slope = max(float(np.abs(plane).max()), 1e-3) / 30000
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.10g}", "0"
    dataset.PixelData = np.round(plane / slope).astype("<i2").tobytes()
    return dataset


def _add_tracer(dataset: pydicom.Dataset) -> None:
    dataset.Units, dataset.DecayCorrection = "BQML", "START"
    dataset.CorrectedImage = ["ATTN", "DECY"]
    dataset.PatientWeight = "70"
    dataset.SeriesDate = dataset.AcquisitionDate = "20200102"
    dataset.SeriesTime = dataset.AcquisitionTime = "110000"
    tracer = pydicom.Dataset()
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = "370000000", "6586.2"
    tracer.RadiopharmaceuticalStartTime = "100000"
    dataset.RadiopharmaceuticalInformationSequence = [tracer]
