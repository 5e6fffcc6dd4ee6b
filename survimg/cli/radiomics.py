"""Compute the radiomic features of a prepared cohort and write them as a table.

After an interruption, the same command does the rest: finished patients are stored in CSV.partial
until the table is written (or permanently in the folder of --cache).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from survimg.cli.arguments import at_least
from survimg.cli.output import Answer, add_progress
from survimg.io.files import lock_folder, remove_empty, unlock_folder, write_atomically

if TYPE_CHECKING:
    from survimg.cohort import Cohort

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

#: Sub-folder in which `survimg.radiomics` stores its records.
FOLDER = "survimg-radiomics"
SUMMARY = "radiomic features of a prepared cohort as a table"
EXAMPLES = ("survimg radiomics cohort --out features.csv --n-jobs 4",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("store", help="folder of a prepared cohort")
    parser.add_argument("--out", required=True, metavar="CSV", help="table, one row per patient")
    parser.add_argument("--engine", choices=("native", "pyradiomics"), default="native")
    bins = parser.add_mutually_exclusive_group()
    bins.add_argument("--bin-count", type=at_least(2), metavar="N", help="grey levels; default 32")
    bins.add_argument("--bin-width", type=float, metavar="W", help="width of a grey level")
    parser.add_argument(
        "--images", nargs="+", choices=("original", "wavelet"), default=["original", "wavelet"],
        help="filtered images to measure (default: both)",
    )
    parser.add_argument(
        "--empty-masks", choices=("raise", "nan"), default="raise",
        help="stop at a patient without a tumour (default), or give a row of NaN",
    )
    parser.add_argument("--cache", metavar="FOLDER", help="store features of each patient here")
    parser.add_argument("--n-jobs", type=at_least(1), default=1, metavar="N")
    parser.add_argument("--overwrite", action="store_true", help="replace the table if it exists")
    add_progress(parser)


def run(arguments: argparse.Namespace) -> Answer:
    """Compute the features and write the table in one step.

    Raises
    ------
    BlockingIOError
        Another process is writing the same table.
    """
    from survimg.cohort import Cohort

    out = Path(arguments.out)
    _check_free(out, arguments.overwrite)
    if not out.parent.is_dir():  # hours of features would be lost at the end
        raise FileNotFoundError(f"--out {out}: there is no folder {out.parent}; make it first.")
    cohort = Cohort.load(arguments.store)
    partial = out.with_name(f"{out.name}.partial")
    partial.mkdir(exist_ok=True)
    lock = lock_folder(partial)
    try:
        _check_free(out, arguments.overwrite)  # another run may have ended meanwhile
        n_features = _write_table(arguments, cohort, out, partial)
        shutil.rmtree(partial / FOLDER, ignore_errors=True)
    finally:
        if not any(partial.glob(f"{FOLDER}/**/*.npz")):  # nothing to come back to
            shutil.rmtree(partial / FOLDER, ignore_errors=True)
            (partial / "lock").unlink(missing_ok=True)
        unlock_folder(lock)
        remove_empty([partial])
    return Answer(
        f"{out}: {len(cohort)} patients, {n_features} features\n",
        {"table": out, "patients": len(cohort), "features": n_features},
    )


def _check_free(out: Path, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists; choose another name or give --overwrite.")


def _write_table(
    arguments: argparse.Namespace, cohort: Cohort, out: Path, partial: Path
) -> int:
    """Write the table; return the number of features."""
    from survimg.radiomics import RadiomicsFeatures

    extractor = RadiomicsFeatures(
        engine=arguments.engine,
        bin_count=arguments.bin_count,
        bin_width=arguments.bin_width,
        image_types=tuple(arguments.images),
        on_empty_mask=arguments.empty_masks,
        memory=arguments.cache or partial,
        n_jobs=arguments.n_jobs,
        verbose=arguments.progress,
    ).set_output(transform="pandas")
    table = extractor.fit_transform(cohort)
    table.insert(0, "patient_id", cohort.ids)
    for leftover in out.parent.glob(f"{out.name}.*.tmp"):  # of a process killed while it wrote
        leftover.unlink()
    write_atomically(out, table.to_csv(index=False).encode())
    return table.shape[1] - 1
