"""A folder in the layout of HECKTOR 2022, filled with phantoms."""

from __future__ import annotations

import numpy as np
import pandas as pd

from survimg.datasets import make_phantom_cohort
from survimg.io import Image, write_image


def write_hecktor(folder, n):
    """Write `n` patients of three centres: PET, CT, contours, clinical and endpoint tables."""
    phantoms = make_phantom_cohort(n=n, shape=(16, 16, 16), random_state=0).cohort
    rng = np.random.default_rng(0)
    names = [f"{('CHUM', 'MDA', 'USZ')[i % 3]}-{i + 1:03d}" for i in range(n)]
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for i, name in enumerate(names):
        pet, ct = phantoms.volume(i)
        pet = (pet - pet.min()).astype(np.float32)
        ct = np.clip(100 * ct, -1000, 1000).astype(np.int16)
        like = Image(pet, (4.0, 4.0, 4.0))
        write_image(folder / "imagesTr" / f"{name}__PT.nii.gz", pet, like=like)
        write_image(folder / "imagesTr" / f"{name}__CT.nii.gz", ct, like=like)
        mask = np.asarray(phantoms.mask(i), np.uint8)
        write_image(folder / "labelsTr" / f"{name}.nii.gz", mask, like=like)
    pd.DataFrame(
        {
            "PatientID": names,
            "CenterID": np.arange(n) % 3 + 1,
            "Gender": rng.choice(["M", "F"], n),
            "Age": rng.integers(40, 80, n),
            "HPV status (0=-, 1=+)": rng.choice(["0", "1", ""], n),
        }
    ).to_csv(folder / "hecktor2022_clinical_info_training.csv", index=False)
    pd.DataFrame(
        {
            "PatientID": names,
            "Relapse": phantoms.outcome["event"].astype(int),
            "RFS": np.maximum(30 * phantoms.outcome["time"], 1).round().astype(int),
        }
    ).to_csv(folder / "hecktor2022_endpoint_training.csv", index=False)
