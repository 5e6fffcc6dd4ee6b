"""Prepare the images of a cohort: resample, crop, normalise, and store them memory-mapped.

The patients come from a manifest of images (image files or DICOM folders), or from a folder of
DICOM with one sub-folder per patient and a clinical table; series and masks are then recognised by
their headers. With --register all patients are first aligned to a template. After an interruption,
the same command does the rest.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from survimg.cli.arguments import (
    add_dicom,
    add_preparation,
    at_least,
    manifest_reading,
    preparation,
)
from survimg.cli.dicom import find_manifest
from survimg.cli.modalities import absent_modalities, warn_of_absent_modalities
from survimg.cli.output import Answer, add_progress

if TYPE_CHECKING:
    from survimg.preprocessing import Registration

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "turn a manifest of images, or a folder of DICOM, into a prepared cohort"
EXAMPLES = (
    "survimg prepare manifest.csv --shape 64 64 64 --spacing 2 --out cohort",
    "survimg prepare manifest.csv --shape 48 48 48 --spacing 4 --normalise "
    "PET=zscore,CT=window:-200:300 --out cohort",
    "survimg prepare dicom --clinical clinical.csv --mask-label GTV --shape 64 64 64 --spacing 2 "
    "--out cohort",
    "survimg prepare dicom --series 'CT=*venous*' --shape 64 64 64 --spacing 2 --out cohort",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "source", metavar="IMAGES",
        help="table (.csv) with one row per patient, or DICOM folder with a sub-folder per patient",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of the cohort")
    add_preparation(parser, required=True)
    add_dicom(parser)
    _add_registration(parser)
    parser.add_argument(
        "--keep-going", action="store_true",
        help="if a patient fails, prepare the others and list the failures at the end",
    )
    parser.add_argument(
        "--pseudonymise", metavar="KEYFILE",
        help="replace the identifiers of patients by a keyed hash (HMAC-SHA256); the file holds at "
        "least 32 secret bytes and is readable by you alone",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a cohort at FOLDER")
    parser.add_argument("--n-jobs", type=at_least(1), default=1, metavar="N", help="processes")
    add_progress(parser)


def run(arguments: argparse.Namespace) -> Answer:
    """Prepare the cohort and describe it."""
    from survimg.cohort import Cohort
    from survimg.preprocessing import read_key
    from survimg.preprocessing.preparing import check_not_there

    key = None if arguments.pseudonymise is None else read_key(arguments.pseudonymise)
    check_not_there(Path(arguments.out), arguments.overwrite)  # before hours of reading
    with tempfile.TemporaryDirectory(prefix="survimg-") as scratch:
        _prepare(arguments, Path(scratch), key)
    cohort = Cohort.load(arguments.out)
    warn_of_absent_modalities(cohort)
    return Answer(
        f"{arguments.out}: {cohort!r}\n",
        {
            "folder": arguments.out,
            "patients": len(cohort),
            "channels": cohort.channel_names,
            "absent": absent_modalities(cohort),
            "shape": cohort.shape[2:],
            "masks": int(cohort.has_masks.sum()),
            "events": None if cohort.outcome is None else int(cohort.outcome["event"].sum()),
        },
    )


def _prepare(arguments: argparse.Namespace, scratch: Path, key: bytes | None) -> None:
    from survimg.preprocessing import Preparation, prepare

    reading = manifest_reading(arguments)
    settings = Preparation(
        **preparation(arguments), label=reading.pop("label"), registration=_registration(arguments)
    )
    manifest, reading["allow_outside"] = find_manifest(
        arguments, Path(arguments.source), scratch, modalities=arguments.modalities, every_row=True
    )
    prepare(
        manifest,
        settings,
        arguments.out,
        n_jobs=arguments.n_jobs,
        progress=arguments.progress,
        on_error="continue" if arguments.keep_going else "raise",
        overwrite=arguments.overwrite,
        pseudonym_key=key,
        **reading,
    )


def _add_registration(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "registration to a template", "with --crop fixed (a block of the template) or whole"
    )
    group.add_argument(
        "--register", choices=("rigid", "affine"), help="align every patient to a template"
    )
    group.add_argument(
        "--template", metavar="ID", help="patient_id of the template (default: drawn at random)"
    )
    group.add_argument(
        "--template-image", metavar="FILE",
        help="image file to use as the template, such as that of the training cohort",
    )
    group.add_argument(
        "--template-seed", type=at_least(0), metavar="SEED",
        help="seed for drawing the template (default: 0)",
    )
    group.add_argument(
        "--register-by", metavar="COLUMN",
        help="modality that is registered to the template (default: CT, or the first without CT)",
    )
    group.add_argument(
        "--on-failed-registration", choices=("raise", "exclude", "translate"),
        help="stop and name the patients (default), leave them out, or only translate them",
    )
    group.add_argument(
        "--registration-limits", metavar="LIMITS",
        help="limits beyond which a registration has failed, as overlap=0.6,rotation_deg=40; also "
        "similarity, coverage, shift_mm, scale, shear_deg",
    )


def _registration(arguments: argparse.Namespace) -> Registration | None:
    """Return the settings of the registration.

    Raises
    ------
    ValueError
        Options of a registration without --register, or invalid limits.
    """
    from survimg.preprocessing import Registration, RegistrationLimits

    options = {
        "template": arguments.template,
        "template_image": arguments.template_image,
        "template_seed": arguments.template_seed,
        "channel": arguments.register_by,
        "on_failure": arguments.on_failed_registration,
        "limits": arguments.registration_limits,
    }
    settings = {name: value for name, value in options.items() if value is not None}
    if arguments.register is None:
        if settings:
            raise ValueError("Options of the registration need --register rigid or affine.")
        return None
    if "limits" in settings:
        settings["limits"] = RegistrationLimits.from_dict(_limits(settings["limits"]))
    return Registration(arguments.register, **settings)


def _limits(text: str) -> dict[str, float]:
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise ValueError(
            f"--registration-limits must be like overlap=0.6,rotation_deg=40; got {text!r}."
        ) from None
