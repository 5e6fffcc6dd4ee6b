"""NIfTI images as an archive exports them: DICOM, one folder per patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from survimg.io import Image, read_image, read_mask
from survimg.io.dicom_seg_writing import write_segmentation


def export_patient(
    folder: Path, ct: Path, mask: Path | None = None, *, image_type="AXIAL", study=None
) -> str:
    """Write a CT, and its mask as a segmentation object; return the study's UID."""
    study = study or generate_uid()
    image = read_image(ct)
    series = folder / "scan 1"
    series.mkdir(parents=True, exist_ok=True)
    uid, frame = generate_uid(), generate_uid()
    for i, plane in enumerate(image.array):
        slice_ = _slice(plane, image, i)
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, uid
        slice_.FrameOfReferenceUID, slice_.ImageType = frame, ["ORIGINAL", "PRIMARY", image_type]
        slice_.save_as(series / f"{uid[-6:]}_{i}.dcm", enforce_file_format=True)
    if mask is not None:
        like = read_image(series)
        write_segmentation(
            folder / "mask.dcm", read_mask(mask, image), like, series, algorithm="hand"
        )
    return study


def _slice(plane: np.ndarray, image: Image, i: int) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality = "secret", "Doe^Jane", "CT"
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
