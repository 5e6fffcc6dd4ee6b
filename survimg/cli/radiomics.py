"""Compute the radiomic features of a prepared cohort and write them as a table."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from survimg.cli.arguments import at_least

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "radiomic features of a prepared cohort as a table"


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
    parser.add_argument("--cache", metavar="FOLDER", help="keep features of each patient here")
    parser.add_argument("--n-jobs", type=at_least(1), default=1, metavar="N")
    parser.add_argument("--overwrite", action="store_true", help="replace the table if it exists")


def run(arguments: argparse.Namespace) -> int:
    """Compute the features and write the table in one step."""
    from survimg.cohort import Cohort
    from survimg.radiomics import RadiomicsFeatures

    out = Path(arguments.out)
    if out.exists() and not arguments.overwrite:
        raise FileExistsError(f"{out} exists; choose another name or give --overwrite.")
    if not out.parent.is_dir():  # hours of features would be lost at the end
        raise FileNotFoundError(f"--out {out}: there is no folder {out.parent}; make it first.")
    cohort = Cohort.load(arguments.store)
    extractor = RadiomicsFeatures(
        engine=arguments.engine,
        bin_count=arguments.bin_count,
        bin_width=arguments.bin_width,
        image_types=tuple(arguments.images),
        on_empty_mask=arguments.empty_masks,
        memory=arguments.cache,
        n_jobs=arguments.n_jobs,
        verbose=sys.stderr.isatty(),
    ).set_output(transform="pandas")
    table = extractor.fit_transform(cohort)
    table.insert(0, "patient_id", cohort.ids)
    temporary = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    table.to_csv(temporary, index=False)
    temporary.replace(out)
    sys.stdout.write(f"{out}: {len(table)} patients, {table.shape[1] - 1} features\n")
    return 0
