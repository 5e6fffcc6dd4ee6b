"""Render the report and the tables of a run again, without fitting models."""

from __future__ import annotations

import argparse

from survimg.cli.arguments import names
from survimg.cli.output import Answer

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "render the report of a run again"
EXAMPLES = (
    "survimg report runs/demo --figures figures",
    "survimg report runs/demo --subgroups sex,age",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", help="folder of a run of survimg benchmark")
    parser.add_argument(
        "--subgroups", type=names, metavar="COLUMNS",
        help="clinical columns, comma-separated: C and AUC of each model in each of their levels; "
        "numbers are divided at their median (default: those of survimg benchmark --subgroups)",
    )
    parser.add_argument(
        "--hide-ids", action="store_true",
        help="number the patients in the page and the tables instead of naming them",
    )
    parser.add_argument(
        "--figures", metavar="FOLDER", help="also write the figures as PNG files into this folder"
    )


def run(arguments: argparse.Namespace) -> Answer:
    """Render the report."""
    from survimg.report import render

    page = render(
        arguments.folder, subgroups=arguments.subgroups, hide_ids=arguments.hide_ids
    )
    figures = []
    if arguments.figures is not None:
        from survimg.report import export_figures  # loads matplotlib

        figures = export_figures(arguments.folder, arguments.figures)
    text = "".join(f"{path}\n" for path in (page, *figures))
    return Answer(text, {"report": page, "figures": figures})
