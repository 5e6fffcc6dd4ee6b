"""A small DICOM series, written slice by slice so that tests can damage it."""

from __future__ import annotations

import numpy as np
import pytest


def _slice(pydicom, array, i, modality, spacing, series_uid):
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series_uid, "1.2.3"
    dataset.PatientID, dataset.Modality = "ANON", modality
    dataset.Rows, dataset.Columns = array.shape
    dataset.PixelSpacing = [spacing[1], spacing[2]]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-10.0, -20.0, 50.0 + i * spacing[0]]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    # every slice has its own slope, as in PET
    slope = max(float(np.abs(array).max()), 1e-3) / 30000
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.10g}", "0"
    dataset.PixelData = np.round(array / slope).astype("<i2").tobytes()
    return dataset


@pytest.fixture
def dicom_series(tmp_path):
    """Return ``write(array, change=..., ...) -> folder``; `change(datasets)` edits the slices."""
    pydicom = pytest.importorskip("pydicom")

    def write(array, change=None, modality="CT", spacing=(3.0, 2.0, 1.5), name="series"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        uid = pydicom.uid.generate_uid()
        slices = [
            _slice(pydicom, plane, i, modality, spacing, uid) for i, plane in enumerate(array)
        ]
        slices = change(slices) or slices if change is not None else slices
        # names in another order than the slices: only positions may count
        for k, dataset in enumerate(slices):
            path = folder / f"{(k * 7919) % 1000:03d}_{uid[-5:]}.dcm"
            dataset.save_as(path, enforce_file_format=True)
        return folder

    return write
