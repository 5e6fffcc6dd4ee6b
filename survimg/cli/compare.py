"""Compare finished runs: settings, data, splits, versions and results.

The first run is the baseline. Models get a paired test only if both runs have the same patients in
the same folds.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from survimg.cli.output import Answer
from survimg.cli.tables import score_record

if TYPE_CHECKING:
    from survimg.report.comparison import ModelChange, RunComparison
    from survimg.report.table_formats import Table

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "compare finished runs with each other"
EXAMPLES = ("survimg compare runs/first runs/second --html difference.html",)
_WIDTH = 60  # of a value in the terminal; the page and the JSON have full values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folders", nargs="+", metavar="RUN", help="folders of runs, at least two")
    parser.add_argument("--html", metavar="OUT", help="also write a page to this file")


def run(arguments: argparse.Namespace) -> Answer:
    """Compare."""
    from survimg.report.comparison import compare_runs, comparison_table

    comparison = compare_runs(arguments.folders)
    text = _as_text(comparison, comparison_table(comparison))
    record = _as_json(comparison)
    if arguments.html is not None:
        from survimg.report.comparison_page import render_comparison

        record["page"] = render_comparison(comparison, arguments.html)
        text += f"\n{record['page']}\n"
    return Answer(text, record)


def _as_text(comparison: RunComparison, table: Table) -> str:
    letters = comparison.letters
    runs = zip(letters, comparison.folders, strict=True)
    lines = [f"{letter}  {folder}" for letter, folder in runs]
    lines.append("")
    for letter, patients, splits in zip(
        letters[1:], comparison.patients, comparison.splits, strict=True
    ):
        who = "the patients and outcomes of A" if patients == "same" else patients
        where = "the folds of A" if splits == "same" else splits
        lines.append(f"{letter}: {who}; {where}")
    lines += ["", *_columns([table.header, *table.rows]), ""]
    for change in comparison.models:
        if change.reason:
            lines.append(f"{letters[change.run]} and A, {change.model}: {change.reason}")
    if not comparison.models:
        lines.append("The runs share no model.")
    lines += ["", "What differs:" if comparison.changes else "Nothing else differs."]
    for item in comparison.changes:
        lines.append(f"  {item.topic}")
        lines += [
            f"    {letter}: {value if len(value) <= _WIDTH else f'{value[: _WIDTH - 1]}…'}"
            for letter, value in zip(letters, item.values, strict=True)
        ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def _as_json(comparison: RunComparison) -> dict[str, Any]:
    others = zip(comparison.folders[1:], comparison.patients, comparison.splits, strict=True)
    return {
        "baseline": comparison.folders[0],
        "others": [
            {"run": folder, "patients": patients, "splits": splits}
            for folder, patients, splits in others
        ],
        "runs": [
            {"run": folder, "models": {name: score_record(score) for name, score in scores.items()}}
            for folder, scores in zip(comparison.folders, comparison.scores, strict=True)
        ],
        "comparisons": [_model(change, comparison.folders) for change in comparison.models],
        "changes": [
            {"topic": change.topic, "values": list(change.values)} for change in comparison.changes
        ],
    }


def _model(change: ModelChange, folders: tuple[str, ...]) -> dict[str, Any]:
    test = change.comparison
    return {
        "model": change.model,
        "run": folders[change.run],
        "difference": None if test is None else test.difference,
        "lower95": None if test is None else test.lower,
        "upper95": None if test is None else test.upper,
        "p_value": None if test is None else test.p_value,
        "p_holm": change.p_adjusted,
        "reason": change.reason or None,
    }
