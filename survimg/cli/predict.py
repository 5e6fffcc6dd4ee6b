"""Predict risk, survival or labels, and tumour masks, of new patients with a saved model.

The patients come from a manifest of images, a folder of DICOM with one sub-folder per patient, or a
prepared cohort. Images are first prepared with the settings of the training cohort. Writes
predictions.csv and, with --masks, masks on the grid of each patient's own image.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from survimg.cli.arguments import add_dicom, add_reading, at_least
from survimg.cli.labels import label_of_model
from survimg.cli.modalities import warn_of_absent_modalities
from survimg.cli.new_patients import NewPatients, find_new_patients
from survimg.cli.output import Answer, add_progress, counted
from survimg.cli.trust import add_trust, trusted

if TYPE_CHECKING:
    import numpy as np

    from survimg.cohort import Cohort

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "predict risk, survival and masks of new patients with a saved model"
EXAMPLES = (
    "survimg predict --model model --cohort new.csv --out predictions --horizons 24 60",
    "survimg predict --model model --cohort dicom --out predictions --masks --mask-format "
    "dicom-seg",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--model", required=True, metavar="FOLDER",
        help="model written by survimg fit or survimg.save",
    )
    parser.add_argument(
        "--cohort", required=True, metavar="COHORT",
        help="manifest (.csv), folder of DICOM with one sub-folder per patient, or folder of a "
        "prepared cohort",
    )
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="folder of the predictions; must not exist"
    )
    parser.add_argument(
        "--horizons", type=float, nargs="+", default=[], metavar="T",
        help="times, in the unit of the training cohort, at which survival is predicted",
    )
    parser.add_argument(
        "--masks", action="store_true", help="also write the predicted tumour masks"
    )
    parser.add_argument(
        "--mask-format", choices=("nifti", "dicom-seg"),
        help="with --masks: NIfTI (default), or DICOM segmentation objects, which contain the "
        "patients' names like the images (only for images in DICOM; pip install highdicom)",
    )
    parser.add_argument("--device", help="device of networks: cpu, cuda (default: as in training)")
    parser.add_argument(
        "--n-jobs", type=at_least(1), default=1, metavar="N", help="processes for the preparation"
    )
    add_trust(parser)
    add_progress(parser)
    add_reading(parser.add_argument_group("reading of images"))
    add_dicom(parser)


def run(arguments: argparse.Namespace) -> Answer:
    """Predict all patients, then write all files."""
    import pandas as pd

    import survimg
    from survimg.files import write_atomically
    from survimg.survival import risk_of

    out = Path(arguments.out)
    if out.exists():
        raise FileExistsError(f"--out {out} exists; give another folder.")
    if arguments.mask_format is not None and not arguments.masks:
        raise ValueError("--mask-format needs --masks.")
    model = survimg.load(
        arguments.model, device=arguments.device, trusted=trusted(arguments)
    )
    if arguments.masks and not hasattr(model, "predict_mask"):
        raise ValueError(
            f"--masks: the {type(model).__name__} at {arguments.model} predicts no masks."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        patients = find_new_patients(arguments, Path(folder))
        cohort = patients.cohort
        warn_of_absent_modalities(cohort)
        masks = None
        if hasattr(model, "predict_proba"):
            columns = _labels(model, cohort)
        elif arguments.masks and hasattr(model, "predict_risk_and_mask"):  # in one pass
            risk, masks = model.predict_risk_and_mask(cohort)
            columns = {"risk": risk}
        else:
            columns = {"risk": risk_of(model, cohort)}
        if arguments.masks and masks is None:
            masks = model.predict_mask(cohort)
        table = pd.DataFrame({"patient_id": cohort.ids, **columns})
        if horizons := list(dict.fromkeys(arguments.horizons)):
            names = [f"survival_{horizon:g}" for horizon in horizons]
            table[names] = _survival(model, cohort, horizons)
        partial = Path(folder) / "predictions"
        partial.mkdir()
        if masks is not None:
            _write_masks(patients, masks, partial / "masks", type(model).__name__)
        write_atomically(partial / "predictions.csv", table.to_csv(index=False).encode())
        os.replace(partial, out)
    label = label_of_model(arguments.model)
    of_what = "" if label is None else f", probability of {label}"
    return Answer(
        f"{out / 'predictions.csv'}: {counted(len(table), 'patient')}{of_what}\n",
        {
            "table": out / "predictions.csv",
            "label": label,
            "patients": table.to_dict(orient="records"),
        },
    )


def _labels(model: Any, cohort: Cohort) -> dict[str, np.ndarray]:
    """Probability of the second of two classes, or of each of more, and the most probable one."""
    import numpy as np

    proba = np.asarray(model.predict_proba(cohort))
    columns = {f"probability_{c}": p for c, p in zip(model.classes_, proba.T, strict=True)}
    if proba.shape[1] == 2:
        columns = {"probability": proba[:, 1]}
    return {**columns, "predicted": model.classes_[proba.argmax(axis=1)]}


def _survival(model: Any, cohort: Cohort, horizons: list[float]) -> np.ndarray:
    """Predicted probabilities of being free of the event beyond the horizons, (n, horizons)."""
    import numpy as np

    from survimg.survival import survival_values

    if hasattr(model, "predict_survival_at"):
        return np.asarray(model.predict_survival_at(cohort, horizons))
    if not hasattr(model, "predict_survival_function"):
        what = "probabilities of a label" if hasattr(model, "predict_proba") else "risks"
        raise ValueError(
            f"--horizons: {type(model).__name__} predicts {what}, no survival; leave --horizons "
            "out."
        )
    curves = model.predict_survival_function(cohort)
    last = min(float(curve.domain[1]) for curve in curves)
    for horizon in horizons:
        if not 0 < horizon <= last:
            raise ValueError(
                f"--horizons {horizon:g}: the model predicts survival up to {last:g}, the last "
                "time of its training patients."
            )
    return survival_values(curves, horizons)


def _write_masks(
    patients: NewPatients, masks: np.ndarray, folder: Path, algorithm: str
) -> None:
    """Write NIfTI, or segmentation objects if there are DICOM series."""
    from survimg.files import file_name
    from survimg.io.dicom.seg_writing import write_segmentation
    from survimg.io.images.image import write_image
    from survimg.preprocessing import to_patient_space

    folder.mkdir()
    cohort, suffix = patients.cohort, "dcm" if patients.series else "nii.gz"
    for i, mask in enumerate(masks):
        image = to_patient_space(cohort, i, mask, interpolation="nearest")
        voxels = image.array.astype("uint8")
        path = folder / f"{file_name(str(cohort.ids[i]))}.{suffix}"
        if path.exists():
            raise ValueError(f"Patient {cohort.ids[i]!r}: another id gives the file {path.name}.")
        if not patients.series:
            write_image(path, voxels, image)
        elif voxels.any():
            write_segmentation(path, voxels, image, patients.series[i], algorithm=algorithm)
        else:
            warnings.warn(
                f"Patient {cohort.ids[i]!r}: no tumour is predicted, so no mask is written "
                "(segmentation objects cannot be empty).",
                UserWarning,
                stacklevel=2,
            )
