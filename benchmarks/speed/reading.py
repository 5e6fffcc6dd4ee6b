"""Processor seconds of reading DICOM series and compressed images, beside SimpleITK's.

    OMP_NUM_THREADS=1 python benchmarks/speed/reading.py [--pet FOLDER]

A CT of 134 slices of 512 x 512 and a PET of 545 slices of 168 x 168, to SUV, written for the
purpose; with ``--pet`` a series of your own too. SimpleITK reads voxels and geometry only: no SUV,
no check of the slices. Median of five, in one process each, files in the file cache.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
)

from survimg.io import read_image

REPEATS = 5


def write_series(folder: Path, shape: tuple[int, int, int], modality: str) -> Path:
    """Write a series of noise with the attributes that scanners write."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    storage = CTImageStorage if modality == "CT" else PositronEmissionTomographyImageStorage
    for i in range(shape[0]):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = storage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{i + 1}"
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.4", "1.2.5"
        dataset.Modality, dataset.InstanceNumber = modality, i + 1
        dataset.PixelSpacing, dataset.SliceThickness = ["0.98", "0.98"], "3"
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [-250, -250, 3 * i]
        dataset.RescaleSlope, dataset.RescaleIntercept = "1.5", "0"
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = shape[1:]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelRepresentation = 0
        if modality == "PT":
            add_injection(dataset)
        dataset.PixelData = rng.integers(0, 4000, shape[1:]).astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.save_as(folder / f"{i:04d}.dcm", enforce_file_format=True)
    return folder


def add_injection(dataset: Dataset) -> None:
    """Add what SUV needs."""
    injection = Dataset()
    injection.RadionuclideTotalDose, injection.RadionuclideHalfLife = "3.7e8", "6586.2"
    injection.RadiopharmaceuticalStartTime = "090000"
    dataset.RadiopharmaceuticalInformationSequence = [injection]
    dataset.Units, dataset.DecayCorrection = "BQML", "START"
    dataset.CorrectedImage, dataset.PatientWeight = ["ATTN", "DECY"], "70"
    dataset.SeriesDate = dataset.AcquisitionDate = "20200101"
    dataset.SeriesTime = dataset.AcquisitionTime = "100000"


def by_itk(path: Path) -> np.ndarray:
    """Read with SimpleITK."""
    if path.is_dir():
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(sorted(map(str, path.iterdir())))
        return sitk.GetArrayFromImage(reader.Execute())
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def seconds(read: Callable[[Path], object], path: Path) -> list[float]:
    """Processor seconds of each repeat, sorted."""
    used = []
    for _ in range(REPEATS):
        start = time.process_time()
        read(path)
        used.append(time.process_time() - start)
    return sorted(used)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pet", type=Path, help="folder of a PET series of your own")
    own = parser.parse_args().pet
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with tempfile.TemporaryDirectory() as name:
        ct = write_series(Path(name) / "ct", (134, 512, 512), "CT")
        pet = write_series(Path(name) / "pet", (545, 168, 168), "PT")
        packed = Path(name) / "ct.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(by_itk(ct)), str(packed), useCompression=True)
        rows = {"CT, 134 x 512 x 512": ct, "PET, 545 x 168 x 168, to SUV": pet,
                "the CT as .nii.gz": packed}
        if own is not None:
            rows[f"{own.name}, {len(list(own.iterdir()))} files"] = own
        for what, path in rows.items():
            ours, itk = seconds(read_image, path), seconds(by_itk, path)
            sys.stdout.write(
                f"{what}: {ours[REPEATS // 2]:.2f} s ({ours[0]:.2f} to {ours[-1]:.2f}), SimpleITK "
                f"{itk[REPEATS // 2]:.2f} s ({itk[0]:.2f} to {itk[-1]:.2f})\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    main()
