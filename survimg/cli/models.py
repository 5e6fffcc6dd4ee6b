"""List the models of the command line in groups, or the parameters of some of them.

Names go to --models of survimg benchmark and to --model of survimg fit; parameters go to --set.
"""

from __future__ import annotations

import argparse

from survimg.cli.model_parameters import holds_estimators
from survimg.cli.output import Answer
from survimg.suites import (
    DEFAULT_LABEL_MODELS,
    DEFAULT_MODELS,
    LABEL_MODEL_GROUPS,
    LABEL_SUITES,
    MODEL_GROUPS,
    SUITES,
    ModelSettings,
    build_models,
)

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "list models, suites and the parameters of a model"
EXAMPLES = (
    "survimg models",
    "survimg models deepmts radiomics-rsf",
    "survimg models --classifiers",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="show the parameters of these models instead"
    )
    parser.add_argument(
        "--classifiers", action="store_true",
        help="those for labels: survimg benchmark and fit with --label or --label-at",
    )


def run(arguments: argparse.Namespace) -> Answer:
    """List.

    Raises
    ------
    ValueError
        An unknown model.
    """
    if arguments.models:
        return _parameters(arguments.models, arguments.classifiers)
    labels = arguments.classifiers
    groups = LABEL_MODEL_GROUPS if labels else MODEL_GROUPS
    default = DEFAULT_LABEL_MODELS if labels else DEFAULT_MODELS
    suites = LABEL_SUITES if labels else SUITES
    names = [name for group in groups.values() for name in group]
    width = max(map(len, names)) + 2
    lines = []
    for heading, group in groups.items():
        lines.append(heading)
        for name, words in group.items():
            mark = "*" if name in default else " "
            lines.append(f"  {mark} {name.ljust(width)}{words}")
        lines.append("")
    lines.append("Tables of papers (--suite)")
    lines += [f"    {name.ljust(width)}{suite.title}" for name, suite in suites.items()]
    lines += ["", "* in a benchmark that names no models. Your own model: module:callable."]
    record = {
        "groups": groups,
        "default": default,
        "suites": {name: suite.models for name, suite in suites.items()},
    }
    return Answer("\n".join(lines) + "\n", record)


def _parameters(names: list[str], classifiers: bool) -> Answer:
    record = {
        name: {
            parameter: value if isinstance(value, bool | int | float | str | None) else repr(value)
            for parameter, value in sorted(model.get_params(deep=True).items())
            if not holds_estimators(value)
        }
        for name, model in build_models(
            names, ModelSettings(), classifiers=classifiers
        ).items()
    }
    lines = [
        line
        for name, values in record.items()
        for line in (name, *(f"    {key} = {value!r}" for key, value in values.items()), "")
    ]
    return Answer("\n".join(lines), {"parameters": record})
