"""Show the scores of a run: the best model first, with intervals and the comparison in words.

Nothing is fitted or written; an interrupted run shows what it has.
"""

from __future__ import annotations

import argparse

from survimg.cli.output import Answer
from survimg.cli.tables import score_record

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "show the scores of a run"
EXAMPLES = ("survimg summary runs/demo", "survimg summary runs/demo --json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", metavar="RUN", help="folder of a run of survimg benchmark")


def run(arguments: argparse.Namespace) -> Answer:
    """Score the records."""
    from survimg.benchmark import read_run, score_run
    from survimg.benchmark.leaderboard import leaderboard_text, ranked

    finished = read_run(arguments.folder)
    record = {
        "run": finished.folder,
        "patients": finished.outcome.size,
        "events": int(finished.outcome["event"].sum()),
        "tested_patients": finished.tested.size,
        "tested_events": int(finished.outcome["event"][finished.tested].sum()),
        "splits": len(finished.folds),
        "seeds": finished.seeds,
        "reference": finished.reference,
        "missing_fits": len(finished.missing),
        "models": [score_record(score) for score in ranked(score_run(finished))],
    }
    return Answer(leaderboard_text(finished), record)
