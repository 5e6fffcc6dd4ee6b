"""Compute the radiomic features of a prepared cohort, or of a table of cases, and write them.

A table of cases is a CSV with the columns Image and Mask, and Label and Label_channel if need be:
the batch file of PyRadiomics. `--params` takes PyRadiomics' parameter files, for either.

`--maps FOLDER` writes voxel-based maps, a NIfTI file for each case and feature on the grid of its
image, and puts their paths in it into the table: PyRadiomics' mode "voxel".

After an interruption, the same command does the rest: finished patients are stored in CSV.partial
until the table is written (or permanently in the folder of --cache).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from survimg.cli.arguments import at_least
from survimg.cli.output import Answer, add_progress

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

#: Sub-folder in which `survimg.radiomics` stores its records.
FOLDER = "survimg-radiomics"
SUMMARY = "radiomic features of a prepared cohort as a table"
EXAMPLES = (
    "survimg radiomics cohort --out features.csv --n-jobs 4",
    "survimg radiomics cases.csv --params Params.yaml --out features.csv",
    "survimg radiomics cases.csv --params Params.yaml --maps maps --out maps.csv",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("source", help="folder of a prepared cohort, or a CSV of images and masks")
    parser.add_argument("--out", required=True, metavar="CSV", help="table, one row per patient")
    parser.add_argument(
        "--params", metavar="FILE",
        help="parameter file of PyRadiomics (YAML or JSON), instead of --engine, --bin-... and "
        "--images; of a CSV without one, PyRadiomics' defaults",
    )
    parser.add_argument("--engine", choices=("native", "pyradiomics"), default="native")
    parser.add_argument(
        "--standard", choices=("pyradiomics", "ibsi"), default="pyradiomics",
        help="whose definitions and names (default: those of PyRadiomics)",
    )
    bins = parser.add_mutually_exclusive_group()
    bins.add_argument("--bin-count", type=at_least(2), metavar="N", help="grey levels; default 32")
    bins.add_argument("--bin-width", type=float, metavar="W", help="width of a grey level")
    parser.add_argument(
        "--images", nargs="+", choices=("original", "wavelet"),
        help="filtered images to measure (default: both; with --standard ibsi the original)",
    )
    parser.add_argument(
        "--lesions", choices=("union", "largest", "each", "sum"), default="union",
        help="of a CSV, what to measure of a label with several lesions: all its voxels (default), "
        "the largest lesion, a row for each, or the sum of each feature",
    )
    parser.add_argument(
        "--all-labels", action="store_true", help="of a CSV, a row for each label of each mask"
    )
    parser.add_argument(
        "--maps", metavar="FOLDER",
        help="of a CSV, write a map of each feature (but shape) here, as NIfTI files, instead of "
        "numbers; the table holds their paths in it",
    )
    parser.add_argument(
        "--empty-masks", choices=("raise", "nan"), default="raise",
        help="stop at a patient without a tumour (default), or give a row of NaN",
    )
    parser.add_argument("--cache", metavar="FOLDER", help="store features of each patient here")
    parser.add_argument("--n-jobs", type=at_least(1), default=1, metavar="N")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the table, and maps, if they exist"
    )
    add_progress(parser)


def run(arguments: argparse.Namespace) -> Answer:
    """Compute the features and write the table in one step.

    Raises
    ------
    BlockingIOError
        Another process is writing the same table.
    """
    from survimg.files import lock_folder, remove_empty, unlock, write_atomically

    out = Path(arguments.out)
    _check_free(out, arguments.overwrite)
    if not out.parent.is_dir():  # hours of features would be lost at the end
        raise FileNotFoundError(f"--out {out}: there is no folder {out.parent}; make it first.")
    _check_options(arguments)
    partial = out.with_name(f"{out.name}.partial")
    started = _mark_of_maps(partial, arguments.maps)
    if started is not None and not started.exists():  # else they are those of the run that goes on
        _check_maps(Path(arguments.maps), arguments.overwrite)
    partial.mkdir(exist_ok=True)
    lock = lock_folder(partial)
    try:
        _check_free(out, arguments.overwrite)  # another run may have ended meanwhile
        if started is not None:
            write_atomically(started, b"")
        n_rows, n_features = _write_table(arguments, out, partial)
        shutil.rmtree(partial / FOLDER, ignore_errors=True)
    finally:
        records = [*partial.glob(f"{FOLDER}/**/*.npz"), *partial.glob(f"{FOLDER}/*.json")]
        if not records:  # nothing to come back to
            shutil.rmtree(partial / FOLDER, ignore_errors=True)
            for left in [partial / "lock", *partial.glob("maps-*")]:
                left.unlink(missing_ok=True)
        unlock(lock)
        remove_empty([partial])
    what = "regions" if _is_table(arguments) else "patients"
    return Answer(
        f"{out}: {n_rows} {what}, {n_features} features\n",
        {"table": out, what: n_rows, "features": n_features},
    )


def _mark_of_maps(partial: Path, maps: str | None) -> Path | None:
    """Name the file by which a run that is continued knows that it began these maps."""
    if maps is None:
        return None
    digest = hashlib.sha256(os.fsencode(Path(maps).resolve())).hexdigest()
    return partial / f"maps-{digest[:16]}"


def _is_table(arguments: argparse.Namespace) -> bool:
    return Path(arguments.source).suffix.lower() == ".csv"


def _check_options(arguments: argparse.Namespace) -> None:
    options = {
        "--engine": arguments.engine != "native",
        "--standard": arguments.standard != "pyradiomics",
        "--bin-count": arguments.bin_count is not None,
        "--bin-width": arguments.bin_width is not None,
        "--images": arguments.images is not None,
    }
    extra = [name for name, present in options.items() if present]
    if extra and (arguments.params or _is_table(arguments)):
        raise ValueError(
            f"{', '.join(extra)} cannot go with --params or a CSV of cases: the parameter file "
            "says it (binCount, binWidth, imageType)."
        )
    if not _is_table(arguments) and (arguments.all_labels or arguments.lesions != "union"):
        raise ValueError(
            "--lesions and --all-labels are for a CSV of images and masks; of a prepared cohort "
            "the lesions of each patient are one region."
        )
    if arguments.maps and not _is_table(arguments):
        raise ValueError(
            "--maps is for a CSV of images and masks: maps lie on the grid of each image, which a "
            "prepared cohort does not hold."
        )


def _check_free(out: Path, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists; choose another name or give --overwrite.")


def _check_maps(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--maps {folder} is a file; name a folder.")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(
            f"--maps {folder} is not empty; choose another folder or give --overwrite."
        )


def _write_table(arguments: argparse.Namespace, out: Path, partial: Path) -> tuple[int, int]:
    """Write the table; return the number of rows and of features."""
    from survimg.files import remove_temporaries, write_atomically

    table, n_others = (_of_cases if _is_table(arguments) else _of_cohort)(arguments, partial)
    remove_temporaries(out.parent.glob(f"{out.name}.*"))
    write_atomically(out, table.to_csv(index=False).encode())
    return len(table), table.shape[1] - n_others


def _of_cohort(arguments: argparse.Namespace, partial: Path) -> tuple[DataFrame, int]:
    from survimg.cohort import Cohort
    from survimg.radiomics import RadiomicsFeatures

    cohort = Cohort.load(arguments.source)
    extractor = (
        RadiomicsFeatures.from_params(arguments.params)
        if arguments.params
        else RadiomicsFeatures(
            engine=arguments.engine,
            standard=arguments.standard,
            bin_count=arguments.bin_count,
            bin_width=arguments.bin_width,
            image_types=arguments.images,
        )
    )
    extractor.set_params(
        on_empty_mask=arguments.empty_masks,
        memory=arguments.cache or partial,
        n_jobs=arguments.n_jobs,
        verbose=arguments.progress,
    ).set_output(transform="pandas")
    table = extractor.fit_transform(cohort)
    table.insert(0, "patient_id", cohort.ids)
    return table, 1


def _of_cases(arguments: argparse.Namespace, partial: Path) -> tuple[DataFrame, int]:
    from survimg.radiomics import FeatureExtractor
    from survimg.radiomics.extractor.batch import Regions, measure_cases, read_cases
    from survimg.radiomics.extractor.feature_extractor import feature_names

    extractor = FeatureExtractor(arguments.params)
    regions = Regions(
        all_labels=arguments.all_labels,
        lesions=arguments.lesions,
        empty=arguments.empty_masks,
        maps=Path(arguments.maps) if arguments.maps else None,
    )
    names = feature_names(extractor.parameters, maps=regions.maps is not None)
    if not names:
        raise ValueError(
            f"--params {arguments.params} enables no feature that there is a map of (shape has "
            "none); add a texture or first-order class to featureClass."
        )
    records = Path(arguments.cache or partial) / FOLDER
    records.mkdir(parents=True, exist_ok=True)
    table = measure_cases(
        read_cases(Path(arguments.source)),
        extractor,
        regions,
        records=records,
        n_jobs=arguments.n_jobs,
        progress=arguments.progress,
    )
    return table, table.shape[1] - len(names)
