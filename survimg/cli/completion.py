"""Print a script that completes commands, options, models and files of survimg with Tab.

The script is self-contained: pressing Tab does not start Python.
"""

from __future__ import annotations

import argparse
from typing import Any

from survimg.cli.output import Answer
from survimg.suites import LABEL_SUITES, MODELS, SUITES

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "a script for Tab completion in bash, zsh or fish"
EXAMPLES = (
    "survimg completion bash > ~/.local/share/bash-completion/completions/survimg",
    "survimg completion zsh > ~/.zfunc/_survimg    # with fpath+=~/.zfunc before compinit",
    "survimg completion fish > ~/.config/fish/completions/survimg.fish",
)
#: What Tab offers for the value of an argument.
_FOLDERS = ("store", "folder", "folders", "model", "out", "cache", "figures")
_FILES = ("source", "cohort", "html", "template_image", "clinical", "external")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(arguments: argparse.Namespace) -> Answer:
    """Return the script."""
    import shtab

    for command in _subcommands(arguments.parser):
        for action in command._actions:
            values = _completion(command, action)
            if values is not None:
                action.complete = values  # type: ignore[attr-defined]
    script = str(shtab.complete(arguments.parser, arguments.shell))
    return Answer(
        script if script.endswith("\n") else f"{script}\n",
        {"shell": arguments.shell, "script": script},
    )


def _subcommands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    (commands,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    return list(commands.choices.values())


def _completion(command: argparse.ArgumentParser, action: argparse.Action) -> Any:
    import shtab

    choices = {"models": MODELS, "suite": {**SUITES, **LABEL_SUITES}}
    if command.prog.endswith(" fit") and action.dest == "model":
        return shtab.cmd(f"printf %s\\\\n {' '.join(MODELS)}")
    if action.dest in choices:
        return shtab.cmd(f"printf %s\\\\n {' '.join(choices[action.dest])}")
    if action.dest in _FOLDERS:
        return shtab.DIRECTORY
    return shtab.FILE if action.dest in _FILES else None
