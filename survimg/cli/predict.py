"""Predict risk, survival and tumour masks of new patients with a saved model.

The patients are a prepared cohort, or a manifest of images (NIfTI files or DICOM folders), which is
prepared first with the settings of the training cohort. Writes predictions.csv and, on request,
masks in the geometry of each patient's own image. Example::

    survimg predict --model model --cohort new.csv --out predictions --horizons 24 60 --masks
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from survimg.cli.arguments import at_least

if TYPE_CHECKING:
    import numpy as np

    from survimg.cohort import Cohort

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "risk, survival and masks of new patients from a saved model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--model", required=True, metavar="FOLDER", help="written by survimg fit or survimg.save"
    )
    parser.add_argument(
        "--cohort", required=True, metavar="COHORT",
        help="folder of a prepared cohort, or a manifest (.csv)",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="must not exist")
    parser.add_argument(
        "--horizons", type=float, nargs="+", default=[], metavar="T",
        help="times, in the unit of the training cohort, at which survival is predicted",
    )
    parser.add_argument(
        "--masks", action="store_true", help="also write the predicted tumour masks, as NIfTI"
    )
    parser.add_argument("--device", help="of networks: cpu, cuda (default: as in training)")
    parser.add_argument(
        "--n-jobs", type=at_least(1), default=1, metavar="N", help="processes of the preparation"
    )


def run(arguments: argparse.Namespace) -> int:
    """Predict everything, then write everything."""
    import pandas as pd

    import survimg

    out = Path(arguments.out)
    if out.exists():
        raise FileExistsError(f"--out {out} exists; give another folder.")
    model = survimg.load(arguments.model, device=arguments.device)
    if arguments.masks and not hasattr(model, "predict_mask"):
        raise ValueError(f"--masks: the {type(model).__name__} at {arguments.model} predicts none.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        cohort = _cohort(arguments, Path(folder) / "cohort")
        table = pd.DataFrame({"patient_id": cohort.ids, "risk": model.predict(cohort)})
        for horizon in arguments.horizons:
            table[f"survival_{horizon:g}"] = _survival(model, cohort, horizon)
        partial = Path(folder) / "predictions"
        partial.mkdir()
        if arguments.masks:
            _write_masks(cohort, model.predict_mask(cohort), partial / "masks")
        table.to_csv(partial / "predictions.csv", index=False)
        os.replace(partial, out)
    sys.stdout.write(f"{out / 'predictions.csv'}: {len(table)} patients\n")
    return 0


def _cohort(arguments: argparse.Namespace, store: Path) -> Cohort:
    from survimg.cohort import Cohort
    from survimg.preprocessing import prepare

    path = Path(arguments.cohort)
    if path.suffix.lower() != ".csv":
        return Cohort.load(path)
    steps = _training_preparation(arguments.model)
    prepare(path, store, n_jobs=arguments.n_jobs, progress=sys.stderr.isatty(), **steps)
    return Cohort.load(store)


def _training_preparation(folder: str) -> dict[str, Any]:
    """Return how the training cohort was prepared, as arguments of `prepare`."""
    from survimg.model_files import read_manifest

    trained_on = read_manifest(folder)["trained_on"]
    found = trained_on.get("preparation")
    if found is None:
        raise ValueError(
            f"The model at {folder} does not say how its training cohort was prepared; prepare the "
            "new patients likewise (survimg prepare) and give that folder as --cohort."
        )
    if found.get("registration.transform") is not None:
        raise ValueError(
            f"The training cohort of {folder} was registered to a template, whose image the model "
            "does not hold. Prepare the new patients with survimg prepare --register "
            f"{found['registration.transform']} --template-image FILE and give that folder."
        )
    steps = {name: value for name, value in found.items() if "." not in name}
    steps["modalities"] = trained_on.get("channels")
    return {name: value for name, value in steps.items() if value is not None}


def _survival(model: Any, cohort: Cohort, horizon: float) -> np.ndarray:
    """Predicted probability of being free of the event beyond the horizon."""
    import numpy as np

    if hasattr(model, "predict_survival_at"):
        return np.asarray(model.predict_survival_at(cohort, [horizon]))[:, 0]
    if not hasattr(model, "predict_survival_function"):
        raise ValueError(f"--horizons: {type(model).__name__} predicts risks alone.")
    curves = model.predict_survival_function(cohort)
    last = min(float(curve.domain[1]) for curve in curves)
    if not 0 < horizon <= last:
        raise ValueError(
            f"--horizons {horizon:g}: the model knows survival up to {last:g}, the last time of "
            "its training patients."
        )
    # Before the first time of the training patients nobody had the event.
    return np.array([curve(horizon) if horizon >= curve.domain[0] else 1.0 for curve in curves])


def _write_masks(cohort: Cohort, masks: np.ndarray, folder: Path) -> None:
    from survimg.io.files import file_name
    from survimg.io.images import write_image
    from survimg.preprocessing import to_patient_space

    folder.mkdir()
    for i, mask in enumerate(masks):
        image = to_patient_space(cohort, i, mask, interpolation="nearest")
        path = folder / f"{file_name(str(cohort.ids[i]))}.nii.gz"
        if path.exists():
            raise ValueError(f"Patient {cohort.ids[i]!r}: another id gives the file {path.name}.")
        write_image(path, image.array.astype("uint8"), image)
