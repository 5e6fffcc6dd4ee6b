"""The soft-tissue-sarcoma cohort: 51 patients with FDG-PET, CT and tumour masks."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from survimg.cohort import Cohort, ImageFileStore, MaskFileStore
from survimg.target import make_outcome

__all__ = ["load_sts51"]

_OUTCOME_COLUMNS = {
    "dfs": ("dfs_event", "dfs_days"),
    "os": ("os_event", "os_days"),
    "lung_metastasis": ("lungmets_event", "dfs_days"),
}
_CLINICAL = ["age", "sex", "mskcc_type", "grade"]


def load_sts51(folder: str | os.PathLike[str], endpoint: str = "dfs") -> Cohort:
    """Open the soft-tissue-sarcoma cohort (TCIA, CC BY 3.0); images are read when asked for.

    Parameters
    ----------
    folder : path-like
        Folder with ``clinical.csv`` and, per patient, ``<id>_PET.nii.gz`` (SUV, g/ml),
        ``<id>_CT.nii.gz`` (HU, on the PET grid) and ``<id>_mask.nii.gz``.
    endpoint : {"dfs", "os", "lung_metastasis"}, default="dfs"
        ``"dfs"``: any recurrence or metastasis (27 events). ``"os"``: death (15 events).
        ``"lung_metastasis"``: lung metastasis as first failure (19 events); patients who fail
        elsewhere first are censored at that failure, because what came later is not recorded (the
        estimand is the cause-specific hazard).

    Returns
    -------
    Cohort
        51 patients, raw: sizes and spacings differ, so prepare it before a network sees it.
        Channels ``("PET", "CT")``, times in days from diagnosis.

    Raises
    ------
    FileNotFoundError
        The folder is not this data set, or an image is missing (named).
    ValueError
        Unknown endpoint.

    Notes
    -----
    Clinical columns kept, all known at diagnosis: ``age`` (years), ``sex``, ``mskcc_type``
    (histological group), ``grade`` (High, Intermediate, Low; missing in three patients).

    Left out: ``outcome``, ``days_dx_to_outcome``, ``status``, ``days_dx_to_last_fu`` and the
    columns of the endpoints, which *are* the outcome; ``treatment``, which was decided after
    imaging and may follow the course of the disease (18 of the 21 patients who had chemotherapy
    relapsed, 9 of the 30 others); ``days_dx_to_mri`` and ``days_mri_to_pet``, which describe the
    hospital's schedule; ``histology`` and ``site``, free text in which most values occur once or
    twice (``mskcc_type`` is the grouped histology).

    Time zero is the diagnosis; the PET was made between 47 days before and 36 days after it, and
    the first recorded event comes 51 days after the scan. Nobody died without a recorded relapse.

    References
    ----------
    Vallieres et al., "A radiomics model from joint FDG-PET and MRI texture features for the
    prediction of lung metastases in soft-tissue sarcomas of the extremities", Phys Med Biol 60
    (2015) 5471. Data: doi:10.7937/K9/TCIA.2015.7GO2GSKS; SUV images from the IBSI validation
    subset.
    """
    if endpoint not in _OUTCOME_COLUMNS:
        raise ValueError(f"endpoint must be one of {sorted(_OUTCOME_COLUMNS)}; got {endpoint!r}.")
    folder = Path(folder)
    table = _read_table(folder)
    images = ImageFileStore(
        [[_image(folder, i, "PET"), _image(folder, i, "CT")] for i in table["patient_id"]]
    )
    event, time = _OUTCOME_COLUMNS[endpoint]
    return Cohort(
        images,
        masks=MaskFileStore([_image(folder, i, "mask") for i in table["patient_id"]], images),
        clinical=table[_CLINICAL],
        outcome=make_outcome(table[event].to_numpy(), table[time].to_numpy()),
        ids=table["patient_id"].tolist(),
        channel_names=("PET", "CT"),
        time_unit="days",
    )


def _read_table(folder: Path) -> pd.DataFrame:
    path = folder / "clinical.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give the folder that holds clinical.csv and the files "
            "STS_001_PET.nii.gz, STS_001_CT.nii.gz, STS_001_mask.nii.gz and so on."
        )
    table = pd.read_csv(path, dtype={"patient_id": str})
    names = {"patient_id", *_CLINICAL, *(c for pair in _OUTCOME_COLUMNS.values() for c in pair)}
    absent = sorted(names - set(table.columns))
    if absent:
        raise FileNotFoundError(f"{path} is not the table of this cohort: it lacks {absent}.")
    return table


def _image(folder: Path, patient: str, kind: str) -> Path:
    path = folder / f"{patient}_{kind}.nii.gz"
    if not path.is_file():
        raise FileNotFoundError(f"Patient {patient!r}: {path} does not exist.")
    return path
