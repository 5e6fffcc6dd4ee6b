"""Prepare the images of a manifest: resample, crop, normalise, and store them memory-mapped.

Interrupted, the same command continues with the patients that are missing.
"""

from __future__ import annotations

import argparse
import sys

from survimg.cli.arguments import add_preparation, at_least, manifest_reading, preparation

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "turn a manifest of images into a prepared cohort"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("manifest", help="table (.csv) with one row per patient")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of the cohort")
    add_preparation(parser, required=True)
    parser.add_argument(
        "--keep-going", action="store_true",
        help="prepare all others when a patient fails, and list the failures at the end",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a cohort at FOLDER")
    parser.add_argument("--n-jobs", type=at_least(1), default=1, metavar="N", help="processes")
    parser.add_argument(
        "--no-progress", dest="progress", action="store_false", help="no progress bar"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prepare the cohort and say what it holds."""
    from survimg.cohort import Cohort
    from survimg.preprocessing import prepare

    prepare(
        arguments.manifest,
        arguments.out,
        n_jobs=arguments.n_jobs,
        progress=arguments.progress and sys.stderr.isatty(),
        on_error="continue" if arguments.keep_going else "raise",
        overwrite=arguments.overwrite,
        **manifest_reading(arguments),
        **preparation(arguments),
    )
    sys.stdout.write(f"{arguments.out}: {Cohort.load(arguments.out)!r}\n")
    return 0
