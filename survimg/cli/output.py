"""Output of commands, as text or JSON.

Results go to standard output; progress, warnings and errors go to standard error. Colours are used
in terminals only, and never if ``NO_COLOR`` is set (no-color.org).
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

__all__ = ["Answer", "add_output", "add_progress", "counted", "note", "prepare_terminal", "show"]

_COLOURS = {"error": "31", "warning": "33"}


@dataclass(frozen=True)
class Answer:
    """The result of a command.

    Attributes
    ----------
    text : str
        For people, with a line break at its end.
    record : mapping
        The same for programs: numbers, text, lists and mappings.
    status : int
        Exit status.
    """

    text: str
    record: Mapping[str, Any]
    status: int = 0


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json", action="store_true",
        help="print the result as JSON; everything else goes to standard error",
    )
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument(
        "-v", "--verbose", action="store_true", help="also print notes on finished steps"
    )
    loudness.add_argument(
        "-q", "--quiet", action="store_true",
        help="only the result, warnings and errors: no progress bars, no notes",
    )
    group.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS,
        help="show the traceback of an error",
    )


def add_progress(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands with progress bars."""
    parser.add_argument(
        "--no-progress", dest="progress", action="store_false",
        help="no progress bars (they are shown only if standard error is a terminal)",
    )


def prepare_terminal(arguments: argparse.Namespace) -> None:
    """Decide on bars, colours and notes; `arguments.progress` then says whether bars are shown."""
    bars = getattr(arguments, "progress", False) and not arguments.quiet and sys.stderr.isatty()
    arguments.progress = bars
    if bars and _coloured(sys.stderr):
        os.environ.setdefault("TQDM_COLOUR", "green")  # read when tqdm is first imported
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    # Lines of finished fits would break up progress bars.
    silent = arguments.quiet or (bars and not arguments.verbose)
    level = logging.WARNING if silent else logging.DEBUG if arguments.verbose else logging.INFO
    logging.getLogger("survimg").setLevel(level)


def show(answer: Answer, *, as_json: bool) -> None:
    """Print an answer on standard output."""
    if as_json:
        record = _plain(answer.record)
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        sys.stdout.write(f"{text}\n")
    else:
        sys.stdout.write(answer.text)
    sys.stdout.flush()


def counted(number: int, noun: str) -> str:
    """Return "1 event", "2 events"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def note(kind: str, text: str, *, command: str | None = None) -> None:
    """Write one line about an error or a warning to standard error.

    Parameters
    ----------
    kind : {"error", "warning"}
    text : str
    command : str, optional
    """
    word = f"{kind}:"
    if _coloured(sys.stderr):
        word = f"\x1b[{_COLOURS[kind]}m{word}\x1b[0m"
    program = "survimg" if command is None else f"survimg {command}"
    sys.stderr.write(f"{program}: {word} {' '.join(text.split())}\n")


def _coloured(stream: TextIO) -> bool:
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not unwanted


def _plain(value: Any) -> Any:
    """Convert to JSON types; a number that is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):  # arrays and numbers of numpy
        return _plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
