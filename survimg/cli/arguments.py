"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from survimg.cohort import Cohort

__all__ = [
    "PREPARATION", "add_dicom", "add_empty_masks", "add_preparation", "add_reading", "at_least",
    "clinical_columns", "manifest_reading", "names", "preparation", "refuse", "table_reading",
]  # fmt: skip

#: Options that say how volumes are resampled, cropped and normalised.
PREPARATION = (
    "shape", "spacing", "crop", "centre", "normalise", "interpolation", "no_antialias",
    "mask_interpolation", "features_spacing", "features_margin",
)


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a converter to whole numbers that refuses smaller ones."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}; got {value}")
        return value

    return whole_number


def names(text: str) -> list[str]:
    """Convert a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _spacing(text: str) -> float | tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3):
        raise argparse.ArgumentTypeError(f"must be 4 or, for z, y and x, 4,2,2; got {text!r}")
    return numbers[0] if len(numbers) == 1 else numbers


def _features_spacing(text: str) -> str | float | tuple[float, ...]:
    return text if text in ("native", "none") else _spacing(text)


def add_preparation(
    parser: argparse.ArgumentParser,
    *,
    required: bool,
    label_flags: Sequence[str] = ("--mask-label", "--label"),
) -> None:
    """Add the arguments that say how volumes are resampled, cropped and normalised."""
    group = parser.add_argument_group("preparation of raw volumes")
    group.add_argument(
        "--shape", nargs=3, type=at_least(1), metavar=("Z", "Y", "X"), required=required,
        help="voxels of the prepared volumes",
    )
    group.add_argument(
        "--spacing", type=_spacing, metavar="MM",
        help="voxel size in mm, as 4 or Z,Y,X (4,2,2); by default that of each patient",
    )
    group.add_argument(
        "--crop", choices=("mask", "fixed", "pet_peak", "whole"),
        help="position of the crop (default: mask, the middle of the tumour mask)",
    )
    group.add_argument(
        "--centre", nargs=3, type=float, metavar=("Z", "Y", "X"),
        help="with --crop fixed: centre of the crop in mm from the middle of the field of view",
    )
    group.add_argument(
        "--normalise", metavar="HOW",
        help="zscore (default), none or window:LOW:HIGH; per channel PET=zscore,CT=window:-200:300",
    )
    group.add_argument(
        "--interpolation", choices=("linear", "cubic"), help="of images (default: linear)"
    )
    group.add_argument(
        "--no-antialias", action="store_true", default=None,
        help="do not blur along axes that become coarser: their noise aliases",
    )
    group.add_argument(
        "--mask-interpolation", choices=("volume", "linear", "nearest"),
        help="voxels of a mask: as many as its volume fills (default), those whose centre it "
        "covers by linear interpolation, or nearest neighbour",
    )
    group.add_argument(
        "--features-spacing", type=_features_spacing, metavar="MM",
        help="keep finer voxels around each tumour for features, in SUV and HU: voxel size in mm, "
        "native, or none (default: none; native for sts51)",
    )
    group.add_argument(
        "--features-margin", type=float, metavar="MM",
        help="how far they reach beyond the tumour (default: 20)",
    )
    group = parser.add_argument_group("reading of images")
    group.add_argument(
        "--modalities", type=names, metavar="COLUMNS",
        help="image columns, comma-separated (default: all)",
    )
    add_reading(group, label_flags)
    group.add_argument("--time-unit", metavar="UNIT", help="unit of the times")


def add_reading(
    group: argparse._ArgumentGroup, flags: Sequence[str] = ("--mask-label", "--label")
) -> None:
    """Add the arguments that select masks and files of a manifest.

    Parameters
    ----------
    group : argparse group
    flags : sequence of str, default=("--mask-label", "--label")
        How the label of the tumour in masks is given; where models can be trained on labels of
        patients, ``--label`` names these.
    """
    group.add_argument(
        *flags, dest="mask_label", type=_label, action="append",
        help="label of the tumour in masks with several labels, or the name of its RTSTRUCT "
        "region; repeat to merge several",
    )
    group.add_argument(
        "--allow-outside", action="store_true", default=None,
        help="allow files outside the manifest's folder",
    )
    group.add_argument(
        "--na-values", type=names, metavar="CELLS",
        help="further cells that mean missing, comma-separated, such as .,unknown",
    )
    group.add_argument(
        "--kinds", type=_kinds, metavar="COLUMNS",
        help="kinds of clinical columns where the guess is wrong, as grade=categorical,age=numeric",
    )


def add_empty_masks(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says what becomes of patients whose tumour mask is empty."""
    parser.add_argument(
        "--empty-masks", choices=("refuse", "leave-out", "keep"), default="refuse",
        help="patients whose tumour mask holds no voxel: name them and stop (default), leave them "
        "out, or keep them for models that read no masks",
    )


def add_dicom(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how a folder of DICOM is read."""
    group = parser.add_argument_group("reading of a folder of DICOM")
    group.add_argument(
        "--clinical", metavar="CSV",
        help="table with clinical columns and, for training, time and event; patient_id is the "
        "name of a patient's sub-folder",
    )
    group.add_argument(
        "--series", action="append", metavar="MODALITY=DESCRIPTION",
        help="select one of several series by its SeriesDescription, with * for any text, as in "
        "'CT=*venous*'; repeat for other modalities or other descriptions",
    )
    group.add_argument(
        "--by-patient-id", action="store_true", default=None,
        help="group files by the PatientID of their headers instead of by sub-folder; it becomes "
        "the patient_id in all outputs",
    )


def refuse(arguments: argparse.Namespace, cohort: str, *names: str, meant_for: str) -> None:
    """Refuse options that do not apply to a kind of cohort.

    Parameters
    ----------
    arguments : argparse.Namespace
    cohort : str
        For the error.
    *names : str
        Options as attributes of `arguments`.
    meant_for : str
        Cohorts that they apply to, for the error.

    Raises
    ------
    ValueError
        The first one that is given.
    """
    options = [name.replace("_", "-") for name in names if getattr(arguments, name) is not None]
    if options:
        raise ValueError(f"--{options[0]} does not apply to {cohort}: it is for {meant_for}.")


def _kinds(text: str) -> dict[str, str]:
    pairs = [part.rpartition("=") for part in names(text)]
    if not all(equals for _, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"must be like grade=categorical; got {text!r}")
    return {column.strip(): kind.strip() for column, _, kind in pairs}


def table_reading(arguments: argparse.Namespace) -> dict[str, Any]:
    """Turn the arguments that say what cells mean into those of `survimg.io.read_manifest`."""
    return {"na_values": arguments.na_values or (), "kinds": arguments.kinds}


def _label(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def labels(arguments: argparse.Namespace) -> int | str | list[int | str] | None:
    """Return the one label that was given, or several."""
    values = arguments.mask_label
    return values[0] if values is not None and len(values) == 1 else values


def preparation(arguments: argparse.Namespace) -> dict[str, Any]:
    """Turn the arguments on the volumes into those of `survimg.preprocessing.prepare`."""
    options = {name: getattr(arguments, name) for name in PREPARATION}
    settings = {name: value for name, value in options.items() if value is not None}
    for name in ("shape", "centre"):
        if name in settings:
            settings[name] = tuple(settings[name])
    if "normalise" in settings:
        settings["normalise"] = _normalisation(settings["normalise"])
    if settings.get("features_spacing") == "none":
        del settings["features_spacing"]
    if settings.pop("no_antialias", False):
        settings["antialias"] = False
    return settings


def manifest_reading(arguments: argparse.Namespace) -> dict[str, Any]:
    """Turn the arguments that say how a manifest is read into those of `Cohort.from_manifest`."""
    return {
        "modalities": arguments.modalities,
        "label": labels(arguments),
        "time_unit": arguments.time_unit,
        "allow_outside": bool(arguments.allow_outside),
        **table_reading(arguments),
    }


def _normalisation(text: str) -> Any:
    if "=" in text:
        pairs = [part.partition("=") for part in text.split(",")]
        return {name.strip(): _normalisation(value) for name, _, value in pairs}
    how, *limits = text.strip().split(":")
    if how != "window":
        return text.strip()
    try:
        low, high = (float(limit) for limit in limits)
    except ValueError:
        raise ValueError(f"--normalise: a window is window:LOW:HIGH; got {text!r}.") from None
    return ("window", low, high)


def clinical_columns(cohort: Cohort, asked: list[str] | None, option: str) -> list[str]:
    """Names of the clinical columns of a cohort.

    Raises
    ------
    ValueError
        One of those that the option asks for is not among them.
    """
    columns = [] if cohort.clinical is None else [str(name) for name in cohort.clinical.columns]
    absent = [name for name in asked or [] if name not in columns]
    if absent:
        raise ValueError(
            f"{option}: the cohort has no clinical column {absent[0]!r}; it has "
            f"{', '.join(columns) or 'none'}."
        )
    return columns
