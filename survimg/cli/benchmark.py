"""Compare survival models on the same folds of a cohort and write a report.

Interrupted or repeated, the command computes only what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from survimg.cli.arguments import (
    add_empty_masks,
    add_preparation,
    at_least,
    clinical_columns,
    names,
)
from survimg.cli.caveats import control_caveat, ensemble_caveats, mask_caveats
from survimg.cli.cluster import add_cluster, check_cluster, cluster_of
from survimg.cli.cohorts import (
    Study,
    add_phantoms,
    find_cohort,
    outcome_of,
    with_external,
    with_labels,
    without_empty_masks,
)
from survimg.cli.labels import add_label, check_label, label_wanted, tell_of_left_out
from survimg.cli.model_parameters import set_parameters_of_models
from survimg.cli.output import Answer, add_progress, note
from survimg.cli.protocols import (
    add_protocol,
    check_protocol,
    make_protocol,
    permuted,
    weights_of,
    wrap_models,
)
from survimg.cli.remedies import tell_of_failures, with_options
from survimg.cli.tables import classification_lines, classification_records, score_record
from survimg.suites import (
    DEFAULT_LABEL_MODELS,
    DEFAULT_MODELS,
    LABEL_REFERENCE,
    LABEL_SUITES,
    REFERENCE,
    SUITES,
    ModelSettings,
    Suite,
    build_models,
    parameter_names,
)

if TYPE_CHECKING:
    import numpy as np

    from survimg.benchmark import Run
    from survimg.cohort import Cohort
    from survimg.model_selection import Protocol

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "compare models by cross-validation, with a report"
EXAMPLES = (
    "survimg benchmark --cohort phantom --models deepmts,clinical-volume-cox --out runs/demo",
    "survimg benchmark --cohort store --suite comparison --folds 5 --out runs/comparison",
    "survimg benchmark --cohort store --set radiomics-rsf.n_estimators=200 "
    "--set radiomics-lasso-cox.cv=10 --out runs/larger",
)
#: Training steps on the phantom cohort, to keep demonstrations short.
PHANTOM_ITERATIONS = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--cohort", required=True, metavar="COHORT",
        help="folder of a prepared cohort, manifest (.csv), sts51:FOLDER, or phantom",
    )
    parser.add_argument(
        "--suite", metavar="NAME",
        help=f"models of a paper's table, shown with the paper's results: {', '.join(SUITES)}; "
        f"with --label or --label-at: {', '.join(LABEL_SUITES)}",
    )
    parser.add_argument(
        "--models", metavar="NAMES",
        help="comma-separated names of survimg models, or module:callable, which is imported and "
        f"run (default: {', '.join(DEFAULT_MODELS)}; with --suite: added to it; with --label or "
        f"--label-at: {', '.join(DEFAULT_LABEL_MODELS)}); the report covers only these "
        "models, but fits of others stay in the folder and are used when they are named again",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of the run")
    parser.add_argument(
        "--seed", type=at_least(0), nargs="+", default=[0], metavar="SEED",
        help="seeds of the models; the first one also draws the folds and the phantom cohort "
        "(default: 0)",
    )
    parser.add_argument(
        "--reference", metavar="NAME",
        help=f"model that the others are compared with (default: {REFERENCE}, if it is included)",
    )
    parser.add_argument(
        "--pair", nargs=2, action="append", default=[], metavar=("NAME", "NAME"),
        help="also compare these two models with each other; may be repeated (with --suite, the "
        "pairs that its paper compares are included)",
    )
    parser.add_argument(
        "--subgroups", type=names, metavar="COLUMNS",
        help="clinical columns, comma-separated, by whose levels the report also evaluates the "
        "models",
    )
    parser.add_argument(
        "--endpoint", choices=("dfs", "os", "lung_metastasis"),
        help="endpoint of sts51 (default: dfs)",
    )
    parser.add_argument(
        "--centres", type=at_least(2), metavar="N",
        help="number of centres of the phantom cohort (default: 1); see --shift",
    )
    add_phantoms(parser)
    add_label(parser)
    parser.add_argument(
        "--iterations", type=at_least(1), metavar="N",
        help="training steps of networks, including your own with a parameter n_iterations "
        f"(default: 400; {PHANTOM_ITERATIONS} for survimg's networks on phantoms)",
    )
    parser.add_argument(
        "--published", action="store_true",
        help="train survimg's networks as in their papers: 15,000 steps, days on a CPU",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="MODEL.PARAMETER=VALUE",
        help="set a parameter of one model, such as deepmts.learning_rate=1e-3 or, for a step of a "
        "pipeline, radiomics-rsf.model__n_estimators=200; may be repeated, and overrides "
        "--iterations and --device",
    )
    parser.add_argument("--device", help="device of networks: auto (default), cpu, cuda")
    parser.add_argument(
        "--n-jobs", type=at_least(1), default=1, metavar="N",
        help="fits at once (default: 1); another number changes the threads of networks and so "
        "their last digits, so networks are fitted again",
    )
    add_cluster(parser)
    parser.add_argument(
        "--threads", type=at_least(1), metavar="N",
        help="threads for each network (default: cores divided by --n-jobs; on a cluster 1); "
        "another number changes the last digits of results, so networks are fitted again",
    )
    add_empty_masks(parser)
    add_progress(parser)
    control = parser.add_mutually_exclusive_group()
    control.add_argument(
        "--negative-control", type=at_least(0), nargs="?", const=0, metavar="SEED",
        help="also run the models on outcomes permuted among the patients, shown as '(permuted)'",
    )
    control.add_argument(
        "--permute-outcome", type=at_least(0), metavar="SEED",
        help="run on permuted outcomes only: every interval should contain 0.5",
    )
    add_protocol(parser)
    add_preparation(parser, required=False, label_flags=("--mask-label",))


def run(arguments: argparse.Namespace) -> Answer:
    """Run the comparison, render the report, answer with the table."""
    from survimg.benchmark.checks import check_models, check_pair
    from survimg.benchmark.leakage import check_unfitted

    check_protocol(arguments)
    check_cluster(arguments)
    suite = _suite(arguments)
    names = _names(arguments, suite)
    source = find_cohort(arguments)
    check_label(arguments)
    if not label_wanted(arguments):
        outcome_of(source.cohort, arguments.cohort)
    unprepared = with_labels(arguments, Study(source.cohort, ""))
    models = build_models(
        names,
        _model_settings(arguments, unprepared.cohort),
        classifiers=label_wanted(arguments),
    )
    _set_on_networks(models, arguments)
    parameters = set_parameters_of_models(models, arguments.set, arguments.grid or [])
    reference = arguments.reference or (
        suite.reference if suite else _simple_reference(arguments)
    )
    reference = reference if reference in models or arguments.reference else None
    check_models(models, reference, classifiers=label_wanted(arguments))
    pairs = [(first, second) for first, second in arguments.pair]
    for first, second in pairs:
        check_pair(models, first, second)
    check_unfitted(models)
    clinical_columns(unprepared.cohort, arguments.subgroups, "--subgroups")
    if arguments.protocol != "external":  # check the splits before the preparation
        _plan(arguments, unprepared, arguments.permute_outcome)
    patients = with_labels(arguments, without_empty_masks(arguments, source.load()))
    if arguments.protocol == "external":
        patients = with_external(arguments, patients)
    _check_levels(patients.cohort, arguments.subgroups)  # before hours of fits
    tell_of_left_out(patients.settings)
    caveats = mask_caveats(names, patients.cohort) + ensemble_caveats(arguments)
    comparison = _Comparison(models, reference, suite, caveats, parameters, pairs)
    return _run_and_report(arguments, patients, comparison)


def _check_levels(cohort: Cohort, columns: list[str] | None) -> None:
    """Refuse columns by whose levels the report cannot evaluate the models."""
    from survimg.benchmark.run_folder import clinical_cells
    from survimg.report.subgroups import levels_of_cells

    cells = clinical_cells(cohort.clinical) or {}
    for column in columns or []:
        levels_of_cells(column, cells[column])


@dataclass(frozen=True)
class _Comparison:
    """The models of a comparison."""

    models: dict[str, Any]
    reference: str | None
    suite: Suite | None
    caveats: list[str]
    parameters: list[str]  # of single models, from --set
    asked_pairs: list[tuple[str, str]]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of the suite's paper, then those that were asked for, each in one order."""
        of_suite = () if self.suite is None else self.suite.pairs
        pairs: dict[frozenset[str], tuple[str, str]] = {}
        for pair in (*of_suite, *self.asked_pairs):
            pairs.setdefault(frozenset(pair), pair)
        return list(pairs.values())

    @property
    def published(self) -> dict[str, Any]:
        """Results of the suite's paper for the models of this comparison."""
        reported = {} if self.suite is None else self.suite.published
        return {name: dict(reported[name]) for name in self.models if name in reported}


def _run_and_report(
    arguments: argparse.Namespace, patients: Study, comparison: _Comparison
) -> Answer:
    from survimg.benchmark import score_run
    from survimg.benchmark.leaderboard import score_lines
    from survimg.benchmark.run_folder import negative_control_folder
    from survimg.report import render

    out = Path(arguments.out)
    with cluster_of(arguments, comparison.models):
        result = _benchmark(arguments, patients, comparison, out, arguments.permute_outcome)
        failures = len(result.failures)
        if arguments.negative_control is not None:
            folder, seed = negative_control_folder(out), arguments.negative_control
            failures += len(_benchmark(arguments, patients, comparison, folder, seed).failures)
    _show_warnings(result, arguments, comparison.models)
    tell_of_failures(result, arguments, comparison.models)
    page = render(out)
    scores = score_run(result)
    control = arguments.permute_outcome
    remark = "" if control is None else f"{control_caveat(control)}\n"
    record = {
        "run": out,
        "report": page,
        "reference": result.reference,
        "outcome_permuted_with_seed": control,
        "failed_fits": failures,
        "models": [score_record(score) for score in scores],
    }
    if result.label is not None:
        record["classification"] = classification_records(result)
    classified = "" if result.label is None else f"\n{classification_lines(result)}"
    text = f"{score_lines(scores, comparison.published)}{classified}{remark}\n{page}\n"
    return Answer(text, record, status=1 if failures else 0)


def _benchmark(
    arguments: argparse.Namespace,
    patients: Study,
    comparison: _Comparison,
    out: Path,
    permutation: int | None,
) -> Run:
    """Run the models on the given outcomes, or on permuted ones.

    A negative control is a separate run, because it has its own outcomes and so its own stratified
    folds. Its models are scored on permuted outcomes too: scored on the true ones, a model ranks
    patients in a random but fixed direction, so its interval may rightly exclude 0.5.
    """
    from survimg.benchmark import run_benchmark

    protocol, cohort = _plan(arguments, patients, permutation)
    settings = _settings(arguments, patients, protocol)
    settings |= {"parameters_set": comparison.parameters} if comparison.parameters else {}
    caveats = [*patients.caveats, *comparison.caveats]
    if permutation is not None:
        settings = {"outcome": f"PERMUTED (seed {permutation})", **settings}
        caveats = [f"Anything about prognosis. {control_caveat(permutation)}", *caveats]
    simple = _simple_reference(arguments)
    return run_benchmark(
        wrap_models(arguments, comparison.models, protocol),
        cohort,
        _target(arguments, patients, cohort),
        out=out,
        seeds=arguments.seed,
        reference=comparison.reference,
        simple_reference=simple if simple in comparison.models else None,
        oracle_risk=patients.oracle_risk if permutation is None else None,
        settings=settings,
        caveats=caveats,
        command=arguments.command_line,
        suite=None if comparison.suite is None else comparison.suite.name,
        label=patients.label_name,
        sample_weight=weights_of(arguments, patients, permutation),
        published=comparison.published,
        pairs=comparison.pairs,
        n_jobs=None if arguments.backend == "dask" else arguments.n_jobs,
        progress=arguments.progress,
        **protocol.arguments(),
    )


def _target(arguments: argparse.Namespace, patients: Study, cohort: Cohort) -> np.ndarray:
    """Return events and times, or the labels that these stand for."""
    y = outcome_of(cohort, arguments.cohort)
    return y if patients.label_name is None else y["event"]


def _show_warnings(
    result: Run, arguments: argparse.Namespace, fitted: Mapping[str, Any]
) -> None:
    """Show the warnings of all fits, each once with the models that gave it."""
    models: dict[str, list[str]] = {}
    for (name, _, _), record in result.records.items():
        for text in [] if record is None else record.details.get("warnings", []):
            names_of_text = models.setdefault(text.partition(": ")[2], [])
            if name not in names_of_text:
                names_of_text.append(name)
    for text, names_of_text in models.items():
        of_text = {f"{name}.": fitted[name] for name in names_of_text if name in fitted}
        note("warning", f"{', '.join(names_of_text)}: {with_options(text, arguments, of_text)}")


def _plan(
    arguments: argparse.Namespace, patients: Study, permutation: int | None
) -> tuple[Protocol, Cohort]:
    cohort = patients.cohort
    if permutation is not None:
        cohort = permuted(arguments, cohort, permutation, patients.n_training)
    return make_protocol(arguments, cohort, patients.n_training), cohort


def _suite(arguments: argparse.Namespace) -> Suite | None:
    if arguments.suite is None:
        return None
    labels = label_wanted(arguments)
    known, others = (LABEL_SUITES, SUITES) if labels else (SUITES, LABEL_SUITES)
    if arguments.suite in others:
        needs = "is about times, not labels" if labels else "needs --label or --label-at"
        raise ValueError(f"--suite {arguments.suite} {needs}.")
    if arguments.suite not in known:
        raise ValueError(f"Unknown suite {arguments.suite!r}; choose from {', '.join(known)}.")
    return known[arguments.suite]


def _names(arguments: argparse.Namespace, suite: Suite | None) -> list[str]:
    """Models of the suite, then those named; without either, the default ones."""
    names = [name.strip() for name in (arguments.models or "").split(",") if name.strip()]
    if suite is not None:  # a table of a paper is compared with the simple model too
        simple = _simple_reference(arguments)
        names += [simple] if simple not in (*suite.models, *names) else []
        return [*suite.models, *names]
    default = DEFAULT_LABEL_MODELS if label_wanted(arguments) else DEFAULT_MODELS
    return list(default) if arguments.models is None else names


def _simple_reference(arguments: argparse.Namespace) -> str:
    return LABEL_REFERENCE if label_wanted(arguments) else REFERENCE


def _set_on_networks(models: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """Give ``--iterations`` and ``--device`` to the user's own networks; survimg's have them."""
    users = {name: model for name, model in models.items() if ":" in name}
    # Networks over volumes have a parameter device; other models of survimg do not.
    has_network = any(parameter_names(models[name], "device") for name in models.keys() - users)
    if arguments.published and not has_network:
        raise ValueError("--published applies to survimg's networks, and none is included.")
    for option, parameter in (("iterations", "n_iterations"), ("device", "device")):
        value = getattr(arguments, option)
        if value is None:
            continue
        names = {name: parameter_names(model, parameter) for name, model in users.items()}
        if not has_network and not any(names.values()):
            raise ValueError(
                f"--{option} applies to networks (models with the parameter {parameter}), and none "
                "is included."
            )
        for name, parameters in names.items():
            users[name].set_params(**dict.fromkeys(parameters, value))


def _model_settings(arguments: argparse.Namespace, cohort: Cohort) -> ModelSettings:
    import joblib

    iterations = arguments.iterations
    if iterations is None and arguments.cohort == "phantom" and not arguments.published:
        iterations = PHANTOM_ITERATIONS
    # Fits side by side share the cores; a fixed number of threads keeps their results repeatable.
    alone = arguments.n_jobs == 1 and arguments.backend == "loky"
    threads = 1 if arguments.backend == "dask" else max(1, joblib.cpu_count() // arguments.n_jobs)
    return ModelSettings(
        n_iterations=iterations,
        published=arguments.published,
        device=arguments.device or "auto",
        n_threads=arguments.threads or (None if alone else threads),
        # Workers on other machines may work in another folder.
        cache=Path(arguments.out).absolute() / "cache",
        verbose=arguments.progress and alone,
        clinical=cohort.clinical is not None,
    )


def _settings(
    arguments: argparse.Namespace, patients: Study, protocol: Protocol
) -> dict[str, Any]:
    settings: dict[str, Any] = {"cohort": patients.label, **patients.settings}
    numbers = protocol.parameters
    ensemble = (
        "; each model is an ensemble over {inner_folds} training folds, with "
        + ("risks averaged as z-scores" if patients.label_name is None else "mean probabilities")
    )
    words = {
        "kfold": "{n_folds}, stratified by event",
        "repeated": "{n_folds}, stratified by event, repeated {n_repeats} times",
        "nested": "{n_folds}, stratified by event; {inner_folds} inner folds choose the parameters",
        "external": "none: trained on {n_training} patients, tested on {n_external} of another "
        "cohort"
        + ("" if protocol.inner_cv is None else ensemble),
        "leave-one-centre-out": "{n_folds}, each a centre",
    }
    settings["folds"] = words[protocol.name].format(**numbers)
    if protocol.groups is not None:
        n_groups = len(set(protocol.groups.tolist()))
        settings["groups"] = f"images of one patient share a fold ({n_groups} patients)"
    if arguments.subgroups:
        settings["subgroups"] = arguments.subgroups
    if arguments.grid is not None:
        settings["grid"] = list(arguments.grid)
    return settings
