"""Render the report and the tables of a run again, without computing any model."""

from __future__ import annotations

import argparse
import sys

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "render the report of a run again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", help="folder of a run of survimg benchmark")
    parser.add_argument(
        "--figures", metavar="FOLDER", help="also write the figures as PNG files into this folder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Render and say where the page is."""
    from survimg.report import export_figures, render

    sys.stdout.write(f"{render(arguments.folder)}\n")
    if arguments.figures is not None:
        for path in export_figures(arguments.folder, arguments.figures):
            sys.stdout.write(f"{path}\n")
    return 0
