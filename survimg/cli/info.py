"""Say what a prepared cohort holds."""

from __future__ import annotations

import argparse
import json
import sys

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "what a prepared cohort holds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("store", help="folder of a prepared cohort")


def run(arguments: argparse.Namespace) -> int:
    """Print size, outcome, columns and settings."""
    import numpy as np

    from survimg.benchmark.follow_up import median_follow_up
    from survimg.cohort import Cohort

    cohort = Cohort.load(arguments.store)
    lines = {
        "patients": str(len(cohort)),
        "volumes": f"{'+'.join(cohort.channel_names)}, {' x '.join(map(str, cohort.shape[2:]))} "
        "voxels (z x y x x)",
        "masks": f"{int(cohort.has_masks.sum())} of {len(cohort)}",
    }
    if cohort.spacing is not None:
        sizes = [f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in
                 zip(cohort.spacing.min(axis=0), cohort.spacing.max(axis=0), strict=True)]
        lines["voxel size"] = f"{', '.join(sizes)} mm (z, y, x)"
    if not cohort.present.all():
        counts = cohort.present.sum(axis=0)
        lines["modalities"] = ", ".join(
            f"{name}: {count} patients" for name, count in
            zip(cohort.channel_names, counts, strict=True)
        )
    if cohort.outcome is not None:
        event, time = cohort.outcome["event"], cohort.outcome["time"]
        unit = "" if cohort.time_unit is None else f" {cohort.time_unit}"
        median = median_follow_up(cohort.outcome)
        reached = "not reached" if median is None else f"{median:.4g}{unit}"
        lines["outcome"] = (
            f"{int(event.sum())} events, median follow-up {reached} (reverse Kaplan-Meier), "
            f"longest {time.max():.4g}{unit}"
        )
    if cohort.groups is not None:
        names, counts = np.unique(cohort.groups, return_counts=True)
        lines["groups"] = ", ".join(f"{n}: {c}" for n, c in zip(names, counts, strict=True))
    if cohort.clinical is not None:
        lines["clinical"] = ", ".join(
            f"{name} ({int(column.isna().sum())} missing)" if column.isna().any() else str(name)
            for name, column in cohort.clinical.items()
        )
    lines["settings"] = json.dumps(cohort.settings, sort_keys=True)
    width = max(len(name) for name in lines)
    for name, text in lines.items():
        sys.stdout.write(f"{name.ljust(width)}  {text}\n")
    return 0
