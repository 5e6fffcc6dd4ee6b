"""The patients of ``survimg predict``, prepared as the model's training cohort was."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from survimg.cli.arguments import labels, refuse, table_reading
from survimg.cli.dicom import find_manifest, is_raw_folder

if TYPE_CHECKING:
    from survimg.cohort import Cohort
    from survimg.io import Manifest

__all__ = ["NewPatients", "find_new_patients"]


@dataclass(frozen=True)
class NewPatients:
    """Patients ready for a model.

    Attributes
    ----------
    cohort : Cohort
    series : list of Path
        Folder of the DICOM series on whose grid each patient's mask is written; empty unless
        segmentation objects are wanted.
    """

    cohort: Cohort
    series: list[Path]


def find_new_patients(arguments: argparse.Namespace, scratch: Path) -> NewPatients:
    """Load the prepared cohort of the command line, or prepare its images.

    Parameters
    ----------
    arguments : argparse.Namespace
    scratch : Path
        Existing folder for temporary files.

    Raises
    ------
    ValueError, OSError
        No such patients, arguments that do not apply to them, images that cannot be prepared.
    """
    from survimg.cohort import Cohort
    from survimg.io import read_manifest
    from survimg.io.dicom.seg_writing import import_highdicom
    from survimg.preprocessing import Preparation, prepare

    path = Path(arguments.cohort)
    if path.suffix.lower() != ".csv" and not is_raw_folder(path):
        _check_prepared(arguments)
        return NewPatients(Cohort.load(path), [])
    if _writes_segmentations(arguments):
        import_highdicom()  # a missing package is reported before the work
    steps = _training_preparation(arguments.model)
    channels = steps.pop("modalities", None)
    path, outside = find_manifest(
        arguments, path, scratch, modalities=channels, every_row=False
    )
    cells = table_reading(arguments)
    manifest = read_manifest(path, channels, allow_outside=outside, **cells)
    _check_masks(manifest, steps, arguments.model)
    series = _series(manifest) if _writes_segmentations(arguments) else []
    cohort = prepare(
        path,
        Preparation(**steps, label=labels(arguments)),
        scratch / "cohort",
        modalities=channels,
        allow_outside=outside,
        **cells,
        n_jobs=arguments.n_jobs,
        progress=arguments.progress,
    )
    return NewPatients(cohort, series)


def _writes_segmentations(arguments: argparse.Namespace) -> bool:
    return arguments.masks and arguments.mask_format == "dicom-seg"


def _check_prepared(arguments: argparse.Namespace) -> None:
    of_images = "mask_label", "allow_outside", "na_values", "kinds"
    of_dicom = "clinical", "by_patient_id", "series"
    refuse(arguments, "a prepared cohort", *of_images, meant_for="images, which are prepared here")
    refuse(arguments, "a prepared cohort", *of_dicom, meant_for="a folder of DICOM")
    if _writes_segmentations(arguments):
        raise ValueError(
            "--mask-format dicom-seg needs the DICOM series that segmentation objects refer to, "
            "which a prepared cohort does not hold; give a folder of DICOM or a manifest."
        )


def _check_masks(manifest: Manifest, steps: dict[str, Any], model: str) -> None:
    """Refuse patients without a mask if the training cohort was cropped around masks."""
    from survimg.io.patients import listed

    pairs = zip(manifest.ids, manifest.masks, strict=True)
    without = [patient for patient, mask in pairs if mask is None]
    if steps["crop"] == "mask" and without:
        raise ValueError(
            f"The training cohort of {model} was cropped around tumour masks (crop='mask'), but "
            f"{len(without)} of {len(manifest)} new patients have no mask: {listed(without)}. Give "
            "their masks; or, to predict without masks, train a model that does not need them on "
            "a cohort prepared with --crop pet_peak, fixed or whole."
        )


def _series(manifest: Manifest) -> list[Path]:
    """Return the first image of each patient, on whose grid masks are written."""
    series = []
    for i, patient in enumerate(manifest.ids):
        images = (paths[i] for paths in manifest.images.values())
        path = next(path for path in images if path is not None)
        if not path.is_dir():
            raise ValueError(
                f"--mask-format dicom-seg: the image {path} of patient {patient!r} is not a DICOM "
                "series, to which a segmentation object has to refer; write masks as NIfTI."
            )
        series.append(path)
    return series


def _training_preparation(folder: str) -> dict[str, Any]:
    """Return how the training cohort was prepared, as arguments of `prepare`."""
    from survimg.model_files import read_manifest
    from survimg.preprocessing.settings import BEFORE_CHOICE

    trained_on = read_manifest(folder)["trained_on"]
    preparation = trained_on.get("preparation")
    if preparation is None:
        raise ValueError(
            f"The model at {folder} does not say how its training cohort was prepared; prepare the "
            "new patients in the same way (survimg prepare) and give that folder as --cohort."
        )
    if preparation.get("registration.transform") is not None:
        raise ValueError(
            f"The training cohort of {folder} was registered to a template, whose image the model "
            "does not hold. Prepare the new patients with survimg prepare --register "
            f"{preparation['registration.transform']} --template-image FILE and give that folder."
        )
    steps = {name: value for name, value in preparation.items() if "." not in name}
    steps = {**BEFORE_CHOICE, **steps}
    steps["modalities"] = trained_on.get("channels")
    return {name: value for name, value in steps.items() if value is not None}
