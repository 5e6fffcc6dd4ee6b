"""What the library's messages name in Python, in words of the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from survimg.cli.output import note
from survimg.suites import parameter_names

if TYPE_CHECKING:
    from survimg.benchmark import Run

__all__ = ["options_for", "tell_of_failures", "with_options"]

_KEYWORD = re.compile(r"(?<![\w.])([a-z][a-z_]*)=")
_OTHER_NAMES = {"label": "mask_label", "n_iterations": "iterations", "n_threads": "threads"}


def with_options(
    text: str, arguments: argparse.Namespace, models: Mapping[str, Any] | None = None
) -> str:
    """Add to a message the options that stand for its keywords; see `options_for`."""
    options = options_for(text, arguments, models or {})
    return f"{text} On the command line: {', '.join(options)}." if options else text


def options_for(
    text: str, arguments: argparse.Namespace, models: Mapping[str, Any]
) -> list[str]:
    """Find the options of a command that set what a message names as ``keyword=``.

    Parameters
    ----------
    text : str
        Message; where it names an option itself, nothing is found.
    arguments : argparse.Namespace
        Of the command; its ``usage`` names its options.
    models : mapping of str to estimator
        Models whose parameters ``--set`` sets, by what stands before the parameter, such as
        ``"radiomics-rsf."``, or nothing.

    Returns
    -------
    list of str
        Such as ``["--kinds"]`` or ``["--set radiomics-lasso-cox.cv=VALUE"]``.
    """
    if " --" in text:
        return []
    options = []
    for keyword in dict.fromkeys(_KEYWORD.findall(text)):
        option = f"--{_OTHER_NAMES.get(keyword, keyword).replace('_', '-')}"
        if re.search(rf"{option}(?![\w-])", arguments.usage()):
            options.append(option)
        else:
            options += [
                f"--set {model}{parameter}=VALUE"
                for model, estimator in models.items()
                for parameter in parameter_names(estimator, keyword)
            ]
    return options


def tell_of_failures(
    result: Run, arguments: argparse.Namespace, models: Mapping[str, Any]
) -> None:
    """Write a line for each failed model whose message names what an option sets."""
    messages = {record.model: record.error["message"] for record in result.failures if record.error}
    for name, text in messages.items():
        options = options_for(text, arguments, {f"{name}.": models[name]})
        if options:
            note("error", f"{name} failed; what its message names is set by {', '.join(options)}.")
