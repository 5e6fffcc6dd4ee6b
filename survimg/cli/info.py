"""Describe a manifest, a prepared cohort, a fitted model, or a benchmark run.

Clinical columns are shown as a model would learn them from all of these patients: as numbers, or as
levels with their counts. A model is described from its manifest, without loading it; a run may be
unfinished.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from survimg.cli.arguments import add_reading, names, refuse, table_reading
from survimg.cli.output import Answer, counted
from survimg.cli.remedies import with_options
from survimg.cli.tables import score_record

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from survimg.cohort import Cohort
    from survimg.io import PatientTable

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "describe a manifest, a cohort, a model or a run"
EXAMPLES = (
    "survimg info manifest.csv", "survimg info cohort", "survimg info runs/demo --json"
)
_MOST_LEVELS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "folder", metavar="PATH",
        help="manifest (.csv), or folder written by survimg prepare, fit or benchmark, or by "
        "survimg.save",
    )
    group = parser.add_argument_group("reading of a manifest")
    group.add_argument(
        "--modalities", type=names, metavar="COLUMNS",
        help="image columns, comma-separated (default: all)",
    )
    add_reading(group)


def run(arguments: argparse.Namespace) -> Answer:
    """Describe the folder.

    Raises
    ------
    FileNotFoundError
        No such path, or a folder that contains none of the three.
    """
    folder = Path(arguments.folder)
    if folder.suffix.lower() == ".csv":
        return _manifest(arguments, folder)
    reading = "modalities", "mask_label", "allow_outside", "na_values", "kinds"
    refuse(arguments, "a folder", *reading, meant_for="a manifest (.csv)")
    kinds = {"cohort.json": _cohort, "run.json": _run, "manifest.json": _model}
    for name, describe in kinds.items():
        if (folder / name).is_file():
            return describe(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    raise FileNotFoundError(
        f"{folder} holds neither a prepared cohort, nor a model, nor a run: it has no file "
        f"{' or '.join(kinds)}."
    )


def _cohort(folder: Path) -> Answer:
    from survimg.cohort import Cohort

    record = _cohort_record(Cohort.load(folder))
    return Answer(_aligned(_cohort_lines(record)), {"kind": "cohort", **record})


def _manifest(arguments: argparse.Namespace, path: Path) -> Answer:
    from survimg.io import read_manifest

    manifest = read_manifest(
        path, arguments.modalities, allow_outside=bool(arguments.allow_outside),
        **table_reading(arguments),
    )
    record = {"shape": None, "settings": None, **_table_record(manifest), "empty_masks": None}
    for column in (record["clinical"] or {}).values():
        if "reason" in column:
            column["reason"] = with_options(column["reason"], arguments)
    return Answer(_aligned(_cohort_lines(record)), {"kind": "manifest", **record})


def _cohort_record(cohort: Cohort) -> dict[str, Any]:
    masked = [i for i in range(len(cohort)) if cohort.has_masks[i]]
    return {
        **_table_record(cohort.table),
        "shape": list(cohort.shape[2:]),
        "empty_masks": [str(cohort.ids[i]) for i in masked if not cohort.mask(i).any()],
        "settings": cohort.settings,
    }


def _table_record(table: PatientTable) -> dict[str, Any]:
    import numpy as np

    from survimg.benchmark.follow_up import median_follow_up

    present = table.present.sum(axis=0).tolist()
    record: dict[str, Any] = {
        "patients": len(table),
        "channels": list(table.channel_names),
        "masks": int(table.has_mask.sum()),
        "spacing_mm": None,
        "present": dict(zip(table.channel_names, present, strict=True)),
        "time_unit": table.time_unit,
        "outcome": None,
        "groups": None,
        "clinical": None,
    }
    if table.spacing is not None:
        low, high = table.spacing.min(axis=0), table.spacing.max(axis=0)
        record["spacing_mm"] = np.stack([low, high], axis=1).tolist()
    if table.outcome is not None:
        event, time = table.outcome["event"], table.outcome["time"]
        record["outcome"] = {
            "events": int(event.sum()),
            "median_follow_up": median_follow_up(table.outcome),
            "longest": float(time.max()),
        }
    if table.groups is not None:
        groups = [str(group) for group in table.groups.tolist()]
        record["groups"] = dict(sorted(Counter(groups).items()))
    if table.clinical is not None:
        record["clinical"] = {
            str(name): _column_record(column, table.ids)
            for name, column in table.clinical.items()
        }
    return record


def _cohort_lines(record: dict[str, Any]) -> dict[str, str]:
    patients = record["patients"]
    size = "" if record["shape"] is None else (
        f", {' x '.join(map(str, record['shape']))} voxels (z, y, x)"
    )
    lines = {
        "patients": str(patients),
        "volumes": f"{'+'.join(record['channels'])}{size}",
        "masks": f"{record['masks']} of {patients}",
    }
    if record["empty_masks"]:
        from survimg.io.patients import listed

        empty = record["empty_masks"]
        lines["masks"] += f"; {len(empty)} of them empty: {listed(empty)}"
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
        lines["clinical"] = "\n".join(
            f"{name}: {_column_text(column)}" for name, column in record["clinical"].items()
        )
    if record["settings"] is not None:
        lines["settings"] = json.dumps(record["settings"], sort_keys=True)
    return lines


def _column_record(column: pd.Series, patients: np.ndarray) -> dict[str, Any]:
    from survimg.columns import bring_levels, bring_numbers, learn_column

    n_missing, names = int(column.isna().sum()), patients.tolist()
    try:
        meaning = learn_column(column, names)
    except ValueError as error:
        return {"kind": "refused", "missing": n_missing, "reason": str(error)}
    if meaning.kind != "numeric":
        counts = Counter(bring_levels(column, meaning, names).dropna())
        levels = {level: counts[level] for level in meaning.levels if level in counts}
        return {"kind": meaning.kind, "missing": n_missing, "levels": levels}
    values = bring_numbers(column, meaning, names).dropna()
    limits = None if values.empty else [float(values.min()), float(values.max())]
    return {"kind": "numeric", "missing": n_missing, "range": limits}


def _column_text(column: dict[str, Any]) -> str:
    text = str(column["kind"])
    if "reason" in column:
        text += f". {column['reason']}"
    elif "levels" in column:
        levels = list(column["levels"].items())[:_MOST_LEVELS]
        more = len(column["levels"]) - len(levels)
        text += ", " + ", ".join(f"{level}: {count}" for level, count in levels)
        text += f" and {more} more levels" if more else ""
    elif column["range"] is not None:
        text += ", {:g} to {:g}".format(*column["range"])
    return f"{text}; {column['missing']} missing" if column["missing"] else text


def _model(folder: Path) -> Answer:
    from survimg.model_files import read_manifest

    manifest = read_manifest(folder)
    trained_on = manifest["trained_on"]
    notes = manifest.get("notes", {})
    lines = {"model": str(manifest["estimator"])}
    if "channels" in trained_on:
        lines["volumes"] = "+".join(trained_on["channels"])
    if "volume_shape" in trained_on:
        lines["shape"] = f"{' x '.join(map(str, trained_on['volume_shape']))} voxels (z, y, x)"
    if trained_on.get("clinical_columns"):
        lines["clinical"] = ", ".join(trained_on["clinical_columns"])
    if "preparation" in trained_on:
        lines["settings"] = json.dumps(trained_on["preparation"], sort_keys=True)
    lines |= {str(name): str(text) for name, text in notes.items() if name not in lines}
    lines["written by"] = ", ".join(
        f"{name} {version}" for name, version in manifest["versions"].items()
    )
    record = {
        "kind": "model",
        "estimator": manifest["estimator"],
        "notes": notes,
        "trained_on": trained_on,
        "versions": manifest["versions"],
    }
    return Answer(_aligned(lines), record)


def _run(folder: Path) -> Answer:
    from survimg.benchmark import read_run, score_run
    from survimg.benchmark.leaderboard import score_lines

    run = read_run(folder)
    scores = score_run(run)
    n_fits, n_missing, n_failed = len(run.records), len(run.missing), len(run.failures)
    lines = {
        "command": str(run.plan["command"]),
        "patients": run.patients_in_words,
        "protocol": ", ".join(f"{name} {value}" for name, value in run.protocol.items()),
        "fits": f"{n_fits - n_missing} of {n_fits} done, {n_failed} of them failed",
    }
    record = {
        "kind": "run",
        "command": run.plan["command"],
        "patients": len(run.ids),
        "events": int(run.outcome["event"].sum()),
        "tested_patients": run.tested.size,
        "tested_events": int(run.outcome["event"][run.tested].sum()),
        "protocol": run.protocol,
        "reference": run.reference,
        "fits": {"planned": n_fits, "missing": n_missing, "failed": n_failed},
        "models": [score_record(score) for score in scores],
    }
    return Answer(f"{_aligned(lines)}\n{score_lines(scores, run.published)}", record)


def _aligned(lines: dict[str, str]) -> str:
    width = max(len(name) for name in lines)
    indent = "\n" + " " * (width + 2)
    return "".join(
        f"{name.ljust(width)}  {text.replace(chr(10), indent)}\n" for name, text in lines.items()
    )
