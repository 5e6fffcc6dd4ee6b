"""
From DICOM to a cohort
======================

One call turns folders of DICOM slices, RTSTRUCT files and a table into a cohort. First, phantoms
are written as DICOM. Their ``Units`` are GML, which is SUV already; survimg converts BQML to SUV.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813
from contourpy import contour_generator
from pydicom import Dataset, uid

from survimg.datasets import make_phantom_cohort
from survimg.preprocessing import Preparation, prepare

TAGS = {"0008|0060": "PT", "0054|1001": "GML", "0020|0037": r"1\0\0\0\1\0", "0028|1052": "0"}
TAGS |= {"0028|1053": "0.001"}  # slope: stored in steps of 0.001 g/ml, 16 bits with a sign
TAGS |= {"0028|0100": "16", "0028|0101": "16", "0028|0102": "15", "0028|0103": "1"}


def write_pet(folder: Path, pet: np.ndarray) -> None:
    folder.mkdir(parents=True)
    tags = TAGS | {"0020|000d": uid.generate_uid(), "0020|000e": uid.generate_uid()}
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for z in range(len(pet)):
        image = sitk.GetImageFromArray(pet[z : z + 1])
        image.SetSpacing((4.0, 4.0, 4.0))
        for tag, value in (tags | {"0020|0032": rf"0\0\{4.0 * z}"}).items():
            image.SetMetaData(tag, value)
        writer.Execute(image, f"{folder}/{z:02d}.dcm", False, -1)


def write_contours(path: Path, mask: np.ndarray) -> None:
    file, region, outlines = Dataset(), Dataset(), Dataset()
    region.ROIName, region.ROINumber, outlines.ReferencedROINumber = "GTV", 1, 1
    outlines.ContourSequence = []
    for z, plane in enumerate(mask):
        for line in contour_generator(z=plane).lines(0.5):
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.ContourData = [round(4.0 * v, 2) for x, y in line[:-1] for v in (x, y, z)]
            outlines.ContourSequence.append(contour)
    file.Modality, file.SOPInstanceUID = "RTSTRUCT", uid.generate_uid()
    file.SOPClassUID = uid.RTStructureSetStorage
    file.StructureSetROISequence, file.ROIContourSequence = [region], [outlines]
    file.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=True)


# %%
# The manifest: paths are relative to it; all other columns are clinical.
study = tempfile.TemporaryDirectory()
root = Path(study.name)
phantoms = make_phantom_cohort(n=6, shape=(32, 32, 32), random_state=0, normalise=False).cohort
for i, name in enumerate(phantoms.ids):
    write_pet(root / name / "pet", phantoms.volume(i)[0])
    write_contours(root / name / "contours.dcm", phantoms.mask(i))
table = pd.DataFrame({"patient_id": phantoms.ids, "stage": phantoms.clinical["stage"]})
table["PET"], table["mask"] = table["patient_id"] + "/pet", table["patient_id"] + "/contours.dcm"
table["time"], table["event"] = phantoms.outcome["time"], phantoms.outcome["event"].astype(int)
table.to_csv(root / "manifest.csv", index=False)
print(table.to_string(index=False))

# %%
# Resample, crop and z-score. Then look at every patient before you train a model.
settings = Preparation(shape=(16,) * 3, spacing=4, label="GTV")
X = prepare(root / "manifest.csv", settings, root / "prepared")
figure, axes = plt.subplots(1, 6, figsize=(10, 2), layout="constrained")
for i, ax in enumerate(axes):
    ax.imshow(X.volume(i)[0, 8], cmap="gray_r")
    ax.contour(X.mask(i)[8], [0.5], colors="tab:red")
    ax.set(title=X.ids[i], xticks=[], yticks=[])
plt.show()
