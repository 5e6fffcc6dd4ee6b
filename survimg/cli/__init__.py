"""The command ``survimg``: one module per command, each with its arguments and its `run`.

Exit status: 0 success, 1 a model failed (the others are reported), 2 the command line or the input
is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence

from survimg.cli.output import note, prepare_terminal, show
from survimg.cli.parser import make_parser
from survimg.cli.remedies import with_options

__all__ = ["main"]


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
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = make_parser().parse_args(words)
    arguments.command_line = shlex.join(["survimg", *words])
    prepare_terminal(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _each_once(arguments)
            answer = arguments.run(arguments)
        show(answer, as_json=arguments.json)
        return int(answer.status)
    except KeyboardInterrupt:
        sys.stderr.write(f"survimg: {_interrupted(arguments)}\n")
        return 130
    except (ValueError, OSError, LookupError, ImportError) as error:
        if arguments.debug or isinstance(error, KeyError | IndexError):
            raise  # the last two come from mistakes in the code, not in the input
        text = " ".join([str(error), *getattr(error, "__notes__", [])])
        note("error", with_options(text, arguments), command=arguments.command)
        return 2


def _interrupted(arguments: argparse.Namespace) -> str:
    if arguments.command in ("benchmark", "prepare", "radiomics"):
        return "interrupted; finished results are kept, and the same command does the rest"
    return "interrupted"


def _each_once(arguments: argparse.Namespace) -> Callable[..., None]:
    """Return a function that shows each warning once, as one line without its place in the code."""
    texts: set[str] = set()

    def show_warning(message: Warning | str, *place: object, **more: object) -> None:
        del place, more
        if str(message) not in texts:
            texts.add(str(message))
            note("warning", with_options(str(message), arguments))

    return show_warning
