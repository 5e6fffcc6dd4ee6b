"""Render the report and the tables of a run again, without computing any model."""

from __future__ import annotations

import argparse
import sys

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "render the report of a run again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", help="folder of a run of survimg benchmark")


def run(arguments: argparse.Namespace) -> int:
    """Render and say where the page is."""
    from survimg.report import render

    sys.stdout.write(f"{render(arguments.folder)}\n")
    return 0
