"""A small cohort on disk: PET, CT and masks of six patients, on different grids."""

from __future__ import annotations

import numpy as np
import pytest

from survimg.io import Image, write_image

N = 6


def _patient(i):
    rng = np.random.default_rng(i)
    pet = Image(rng.gamma(2.0, size=(12, 14, 16)).astype(np.float32), (4.0, 3.0, 3.0))
    pet.array[5:8, 6 : 9 + i % 3, 7:10] += 20.0
    ct = Image(
        rng.normal(0, 100, size=(24, 21, 24)).astype(np.float32), (2.0, 2.0, 2.0), (0.5, 0.3, -1.0)
    )
    mask = Image((pet.array > 15).astype(np.uint8), pet.spacing, pet.origin)
    return pet, ct, mask


@pytest.fixture
def cohort_folder(tmp_path):
    """Folder with ``manifest.csv`` and the files it names."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = ["patient_id,PET,CT,mask,time,event,group,age"]
    for i in range(N):
        images = dict(zip(("PET", "CT", "mask"), _patient(i), strict=True))
        for name, image in images.items():
            write_image(folder / f"p{i}_{name}.nii.gz", image.array, image)
        ct = "" if i == 4 else f"p{i}_CT.nii.gz"
        mask = f"p{i}_mask.nii.gz"
        rows.append(f"p{i},p{i}_PET.nii.gz,{ct},{mask},{10 + i},{i % 2},c{i % 2},{50 + i}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder
