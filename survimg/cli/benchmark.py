"""Compare survival models on the same folds of a cohort and write a report.

Interrupted or repeated, the command computes only what is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib

from survimg.cli.arguments import add_preparation, at_least
from survimg.cli.cohorts import PHANTOM_PATIENTS, PHANTOM_SHAPE, Patients, find_cohort
from survimg.suites import MODELS, REFERENCE, ModelSettings, build_models, parameter_names

if TYPE_CHECKING:
    from survimg.benchmark import ModelScore
    from survimg.cohort import Cohort

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "compare models by cross-validation, with a report"
#: Models that read the mask of a patient whose risk they predict.
_MASK_READERS = frozenset(MODELS) - {"deepmts"}
#: Steps of a network on the phantom cohort, so that a demonstration ends while one waits.
PHANTOM_ITERATIONS = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--cohort", required=True, metavar="COHORT",
        help="folder of a prepared cohort, manifest (.csv), sts51:FOLDER, or phantom",
    )
    parser.add_argument(
        "--models", default=",".join(MODELS), metavar="NAMES",
        help=f"comma-separated: {', '.join(MODELS)}, or module:callable (default: all); the report "
        "covers these alone, and fits of others stay in the folder until they are named again",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of the run")
    parser.add_argument("--folds", type=at_least(2), default=5, help="default: 5")
    parser.add_argument(
        "--seed", type=at_least(0), nargs="+", default=[0], metavar="SEED",
        help="seeds of the models; the first one also draws the folds and the phantom cohort "
        "(default: 0)",
    )
    parser.add_argument(
        "--reference", metavar="NAME",
        help=f"model that the others are compared with (default: {REFERENCE}, if it takes part)",
    )
    parser.add_argument(
        "--endpoint", choices=("dfs", "os", "lung_metastasis"), help="of sts51 (default: dfs)"
    )
    size = "x".join(str(s) for s in PHANTOM_SHAPE)
    parser.add_argument(
        "--patients", type=at_least(6), metavar="N",
        help=f"of the phantom cohort (default: {PHANTOM_PATIENTS}, of {size} voxels)",
    )
    parser.add_argument(
        "--iterations", type=at_least(1), metavar="N",
        help="training steps of networks, also of your own with a parameter n_iterations "
        f"(default: {PHANTOM_ITERATIONS} for survimg's on phantoms, else the network's own)",
    )
    parser.add_argument("--device", help="of networks: auto (default), cpu, cuda")
    parser.add_argument(
        "--n-jobs", type=at_least(1), default=1, metavar="N",
        help="models and folds worked on at once (default: 1); another number gives networks other "
        "threads, which changes their last digits, so that they are fitted again",
    )
    parser.add_argument(
        "--no-progress", dest="progress", action="store_false", help="no progress bars"
    )
    add_preparation(parser, required=False)


def run(arguments: argparse.Namespace) -> int:
    """Run the comparison, render the report, print the table."""
    from survimg.benchmark import run_benchmark, score_run
    from survimg.benchmark.checks import check_models
    from survimg.model_selection import EventStratifiedKFold
    from survimg.report import render

    arguments.progress = arguments.progress and sys.stderr.isatty()
    names = [name.strip() for name in arguments.models.split(",") if name.strip()]
    if any(":" in name for name in names) and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a user's own module lies where the command is given
    source = find_cohort(arguments)
    models = build_models(names, _model_settings(arguments, source.cohort))
    _set_on_networks(models, arguments)
    reference = arguments.reference or (REFERENCE if REFERENCE in models else None)
    check_models(models, reference)
    y = source.cohort.outcome
    if y is None:
        raise ValueError(f"--cohort {arguments.cohort} has no outcome (columns time and event).")
    folds = EventStratifiedKFold(arguments.folds, shuffle=True, random_state=arguments.seed[0])
    splits = list(folds.split(source.cohort, y))  # before the work of the preparation
    patients = source.load()
    finished = run_benchmark(
        models,
        patients.cohort,
        y,
        splits=splits,
        out=arguments.out,
        seeds=arguments.seed,
        reference=reference,
        oracle_risk=patients.oracle_risk,
        settings=_settings(arguments, patients),
        caveats=[*patients.caveats, *_mask_caveats(names, patients.cohort)],
        command=arguments.command_line,
        n_jobs=arguments.n_jobs,
        progress=arguments.progress,
    )
    page = render(arguments.out)
    sys.stdout.write(_table(score_run(finished)))
    sys.stdout.write(f"\n{page}\n")
    return 1 if finished.failures else 0


def _mask_caveats(names: list[str], cohort: Cohort) -> list[str]:
    """Say where the masks of test patients reach the models: new patients would need one too."""
    if not cohort.has_masks.any():
        return []
    ways = []
    readers = [name for name in names if name in _MASK_READERS]
    if readers:
        ways.append(f"{' and '.join(readers)}: the risk is computed from the mask")
    if cohort.settings.get("crop") == "mask":
        ways.append("every model: volumes are cropped around the mask, which tells where to look")
    if not ways:
        return []
    return [
        "How models rank patients without a tumour mask: the masks of test patients, as a rule "
        f"drawn by hand, are used ({'; '.join(ways)})."
    ]


def _set_on_networks(models: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """Give ``--iterations`` and ``--device`` to the user's own networks; survimg's have them."""
    for option, parameter in (("iterations", "n_iterations"), ("device", "device")):
        value = getattr(arguments, option)
        if value is None:
            continue
        found = {name: parameter_names(model, parameter) for name, model in models.items()}
        if not any(found.values()):
            raise ValueError(
                f"--{option} applies to networks (models with the parameter {parameter}), and none "
                "takes part."
            )
        for name, parameters in found.items():
            if ":" in name:
                models[name].set_params(**dict.fromkeys(parameters, value))


def _model_settings(arguments: argparse.Namespace, cohort: Cohort) -> ModelSettings:
    iterations = arguments.iterations
    if iterations is None and arguments.cohort == "phantom":
        iterations = PHANTOM_ITERATIONS
    # Fits side by side share the cores; a fixed number of threads keeps their results repeatable.
    cores = joblib.cpu_count()
    return ModelSettings(
        n_iterations=iterations,
        device=arguments.device or "auto",
        n_threads=None if arguments.n_jobs == 1 else max(1, cores // arguments.n_jobs),
        cache=Path(arguments.out) / "cache",
        verbose=arguments.progress and arguments.n_jobs == 1,
        clinical=cohort.clinical is not None,
    )


def _settings(arguments: argparse.Namespace, patients: Patients) -> dict[str, Any]:
    settings: dict[str, Any] = {"cohort": patients.label, **patients.settings}
    settings["folds"] = f"{arguments.folds}, stratified by event"
    return settings


def _table(scores: list[ModelScore]) -> str:
    """Lay out the scores for a terminal."""
    rows = [("model", "C, mean ± sd", "C within folds, 95 %", "Dice", "result")]
    for score in scores:
        interval = score.within_folds
        mean = "-" if score.c_mean is None else f"{score.c_mean:.3f}"
        spread = "" if score.c_sd is None else f" ± {score.c_sd:.3f}"
        within = "-"
        if interval is not None:
            limits = f"{interval.lower:.3f}-{interval.upper:.3f}"
            within = f"{interval.value:.3f} ({'no interval' if isnan(interval.lower) else limits})"
        dice = f"{score.dice.mean():.2f}" if score.dice.size else "-"
        rows.append((score.model, mean + spread, within, dice, score.verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
        for row in rows
    ]
    return "\n".join(lines) + "\n"
