"""Say what a folder of survimg holds: a prepared cohort, a fitted model, or a benchmark run.

A model is described from what its folder says of itself, without loading it; a run may be
unfinished.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from survimg.cli.output import Answer, counted
from survimg.cli.tables import score_lines, score_record

if TYPE_CHECKING:
    import pandas as pd

    from survimg.cohort import Cohort

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "what a cohort, a model or a run holds"
EXAMPLES = ("survimg info cohort", "survimg info runs/demo --json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "folder", help="written by survimg prepare, fit or benchmark, or by survimg.save"
    )


def run(arguments: argparse.Namespace) -> Answer:
    """Describe the folder.

    Raises
    ------
    FileNotFoundError
        No such folder, or one that holds none of the three.
    """
    folder = Path(arguments.folder)
    # The names of the files that a cohort, a run and a model each begin with.
    known = {"cohort.json": _cohort, "run.json": _run, "manifest.json": _model}
    for name, describe in known.items():
        if (folder / name).is_file():
            return describe(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    raise FileNotFoundError(
        f"{folder} holds neither a prepared cohort, nor a model, nor a run: it has none of "
        f"{', '.join(known)}."
    )


def _cohort(folder: Path) -> Answer:
    from survimg.cohort import Cohort

    record = _cohort_record(Cohort.load(folder))
    return Answer(_aligned(_cohort_lines(record)), {"kind": "cohort", **record})


def _cohort_record(cohort: Cohort) -> dict[str, Any]:
    import numpy as np

    from survimg.benchmark.follow_up import median_follow_up

    record: dict[str, Any] = {
        "patients": len(cohort),
        "channels": list(cohort.channel_names),
        "shape": list(cohort.shape[2:]),
        "masks": int(cohort.has_masks.sum()),
        "spacing_mm": None,
        "present": dict(
            zip(cohort.channel_names, cohort.present.sum(axis=0).tolist(), strict=True)
        ),
        "time_unit": cohort.time_unit,
        "outcome": None,
        "groups": None,
        "clinical": None,
        "settings": cohort.settings,
    }
    if cohort.spacing is not None:
        low, high = cohort.spacing.min(axis=0), cohort.spacing.max(axis=0)
        record["spacing_mm"] = np.stack([low, high], axis=1).tolist()
    if cohort.outcome is not None:
        event, time = cohort.outcome["event"], cohort.outcome["time"]
        record["outcome"] = {
            "events": int(event.sum()),
            "median_follow_up": median_follow_up(cohort.outcome),
            "longest": float(time.max()),
        }
    if cohort.groups is not None:
        names, counts = np.unique(cohort.groups, return_counts=True)
        record["groups"] = dict(zip(names.tolist(), counts.tolist(), strict=True))
    if cohort.clinical is not None:
        record["clinical"] = {
            str(name): _column_record(column) for name, column in cohort.clinical.items()
        }
    return record


def _cohort_lines(record: dict[str, Any]) -> dict[str, str]:
    patients = record["patients"]
    lines = {
        "patients": str(patients),
        "volumes": f"{'+'.join(record['channels'])}, {' x '.join(map(str, record['shape']))} "
        "voxels (z, y, x)",
        "masks": f"{record['masks']} of {patients}",
    }
    if record["spacing_mm"] is not None:
        sizes = [
            f"{low:g}" if low == high else f"{low:g} to {high:g}"
            for low, high in record["spacing_mm"]
        ]
        lines["voxel size"] = f"{', '.join(sizes)} mm (z, y, x)"
    if any(count < patients for count in record["present"].values()):
        lines["modalities"] = ", ".join(
            f"{name}: {counted(count, 'patient')}" for name, count in record["present"].items()
        )
    if record["outcome"] is not None:
        outcome, unit = record["outcome"], f" {record['time_unit'] or ''}".rstrip()
        median = outcome["median_follow_up"]
        reached = "not reached" if median is None else f"{median:.4g}{unit}"
        lines["outcome"] = (
            f"{counted(outcome['events'], 'event')}, median follow-up {reached} "
            f"(reverse Kaplan-Meier), longest {outcome['longest']:.4g}{unit}"
        )
    if record["groups"] is not None:
        lines["groups"] = ", ".join(f"{name}: {n}" for name, n in record["groups"].items())
    if record["clinical"] is not None:
        lines["clinical"] = ", ".join(
            f"{name} ({_column_text(column)})" for name, column in record["clinical"].items()
        )
    lines["settings"] = json.dumps(record["settings"], sort_keys=True)
    return lines


def _column_record(column: pd.Series) -> dict[str, Any]:
    from pandas.api import types

    # As ClinicalFeatures has it: booleans are categories.
    number = types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
    categories = None if number else int(column.nunique())
    return {"categories": categories, "missing": int(column.isna().sum())}


def _column_text(column: dict[str, Any]) -> str:
    n, missing = column["categories"], column["missing"]
    kind = "number" if n is None else "1 category" if n == 1 else f"{n} categories"
    return f"{kind}, {missing} missing" if missing else kind


def _model(folder: Path) -> Answer:
    from survimg.model_files import read_manifest

    manifest = read_manifest(folder)
    trained_on = manifest["trained_on"]
    lines = {"model": str(manifest["estimator"])}
    if "channels" in trained_on:
        lines["volumes"] = "+".join(trained_on["channels"])
    if "volume_shape" in trained_on:
        lines["shape"] = f"{' x '.join(map(str, trained_on['volume_shape']))} voxels (z, y, x)"
    if trained_on.get("clinical_columns"):
        lines["clinical"] = ", ".join(trained_on["clinical_columns"])
    if "preparation" in trained_on:
        lines["settings"] = json.dumps(trained_on["preparation"], sort_keys=True)
    lines["written by"] = ", ".join(
        f"{name} {version}" for name, version in manifest["versions"].items()
    )
    record = {
        "kind": "model",
        "estimator": manifest["estimator"],
        "trained_on": trained_on,
        "versions": manifest["versions"],
    }
    return Answer(_aligned(lines), record)


def _run(folder: Path) -> Answer:
    from survimg.benchmark import read_run, score_run

    found = read_run(folder)
    scores = score_run(found)
    planned, missing, failed = len(found.records), len(found.missing), len(found.failures)
    lines = {
        "command": str(found.plan["command"]),
        "patients": f"{len(found.ids)}, {counted(int(found.outcome['event'].sum()), 'event')}",
        "protocol": ", ".join(f"{name} {value}" for name, value in found.protocol.items()),
        "fits": f"{planned - missing} of {planned} done, {failed} of them failed",
    }
    record = {
        "kind": "run",
        "command": found.plan["command"],
        "patients": len(found.ids),
        "events": int(found.outcome["event"].sum()),
        "protocol": found.protocol,
        "reference": found.reference,
        "fits": {"planned": planned, "missing": missing, "failed": failed},
        "models": [score_record(score) for score in scores],
    }
    return Answer(f"{_aligned(lines)}\n{score_lines(scores, found.published)}", record)


def _aligned(lines: dict[str, str]) -> str:
    width = max(len(name) for name in lines)
    return "".join(f"{name.ljust(width)}  {text}\n" for name, text in lines.items())
