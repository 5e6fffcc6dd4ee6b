"""Segmentation objects written by highdicom, an independent implementation of the standard.

    pip install highdicom==0.28.2 && python make_segmentations.py

Writes binary.dcm, fractional.dcm, labelmap.dcm (two segments each, on the grid of seven slices
below, empty frames left out where the type allows it) and segmentations.npz (the masks).
"""

from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

HERE = Path(__file__).parent
SHAPE, SPACING, ORIGIN = (7, 10, 12), (3.0, 2.0, 1.5), (-10.0, -20.0, 50.0)
TURN = 0.2  # about the z axis: the object must keep an oblique grid


def slices():
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    cosine, sine = float(np.cos(TURN)), float(np.sin(TURN))
    for i in range(SHAPE[0]):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.FrameOfReferenceUID, dataset.Modality = frame, "CT"
        dataset.Rows, dataset.Columns = SHAPE[1:]
        dataset.PixelSpacing = [SPACING[1], SPACING[2]]
        dataset.SliceThickness = SPACING[0]
        dataset.ImageOrientationPatient = [cosine, sine, 0, -sine, cosine, 0]
        dataset.ImagePositionPatient = [*ORIGIN[:2], ORIGIN[2] + i * SPACING[0]]
        dataset.PatientID = dataset.PatientName = dataset.StudyID = "phantom"
        dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = ""
        dataset.StudyDate = dataset.StudyTime = dataset.ReferringPhysicianName = ""
        dataset.InstanceNumber = i + 1
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.PixelData = bytes(2 * SHAPE[1] * SHAPE[2])
        yield dataset


def masks():
    rng = np.random.default_rng(0)
    tumour, node = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    tumour[2:5, 2:8, 3:9] = rng.random((3, 6, 6)) < 0.8
    node[4:6, 0:2, 9:12] = 1
    return tumour, node * (1 - tumour)


def write(kind, tumour, node):
    descriptions = [
        SegmentDescription(
            number, label, codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Neoplasm,
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, label in ((1, "tumour"), (2, "node"))
    ]
    pixels = np.stack([tumour, node], axis=-1)
    if kind == "LABELMAP":
        pixels = tumour + 2 * node
    elif kind == "FRACTIONAL":
        pixels = pixels.astype(np.float32)
    Segmentation(
        list(slices()), pixels, kind, descriptions, generate_uid(), 1, generate_uid(), 1,
        "made", "by a script", "1", "0", omit_empty_frames=True,
    ).save_as(HERE / f"{kind.lower()}.dcm")


if __name__ == "__main__":
    tumour, node = masks()
    for kind in ("BINARY", "FRACTIONAL", "LABELMAP"):
        write(kind, tumour, node)
    np.savez_compressed(HERE / "segmentations.npz", tumour=tumour, node=node)
