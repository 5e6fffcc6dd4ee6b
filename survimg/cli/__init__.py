"""The command ``survimg``.

Exit status: 0 done, 1 some model failed (the others are reported), 2 the input is at fault, 130
interrupted.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

from survimg import __version__
from survimg.cli import benchmark, compare, explain, fit, info, predict, prepare, radiomics, report

__all__ = ["main"]

_COMMANDS: tuple[ModuleType, ...] = (
    prepare,
    info,
    radiomics,
    benchmark,
    report,
    compare,
    fit,
    predict,
    explain,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit status.
    """
    # Before torch is loaded: on a busy machine, threads that spin while they wait made a training
    # step of DeepMTS five times slower (two cores, load 5).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = _parser()
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(given)
    arguments.command_line = shlex.join(["survimg", *given])
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    # With progress bars the lines of finished fits would only break them up.
    logging.getLogger("survimg").setLevel(
        logging.WARNING if sys.stderr.isatty() else logging.INFO
    )
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return int(arguments.run(arguments))
    except KeyboardInterrupt:
        sys.stderr.write(f"survimg: {_interrupted(arguments)}\n")
        return 130
    except (ValueError, OSError, LookupError, ImportError) as error:
        if arguments.debug or isinstance(error, KeyError | IndexError):
            raise  # the last two come from mistakes in the code, not in the input
        message = " ".join(str(error).split())
        sys.stderr.write(f"survimg {arguments.command}: error: {message}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="survimg",
        description="Survival models over medical image volumes: prepare, compare, report.",
    )
    parser.add_argument("--version", action="version", version=f"survimg {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        name = module.__name__.rpartition(".")[2]
        summary = str(module.SUMMARY)
        command = commands.add_parser(name, help=summary, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _interrupted(arguments: argparse.Namespace) -> str:
    if arguments.command in ("benchmark", "prepare", "radiomics"):
        return "interrupted; what is finished is kept, and the same command does the rest"
    return "interrupted"


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """Write a warning as one line for a user, who has no use for the place in the source."""
    del category, filename, lineno, file, line
    sys.stderr.write(f"survimg: warning: {' '.join(str(message).split())}\n")
