"""The parser of the command line: one module of this folder per command."""

from __future__ import annotations

import argparse
from types import ModuleType

from survimg import __version__
from survimg.cli import (
    benchmark,
    checklist,
    compare,
    completion,
    explain,
    fit,
    info,
    methods,
    models,
    mtdlr,
    predict,
    prepare,
    radiomics,
    report,
    summary,
)
from survimg.cli.output import add_output

__all__ = ["make_parser"]

_COMMANDS: tuple[ModuleType, ...] = (
    prepare,
    info,
    models,
    radiomics,
    benchmark,
    report,
    summary,
    methods,
    checklist,
    compare,
    mtdlr,
    fit,
    predict,
    explain,
    completion,
)

_EXIT_STATUS = """\
exit status:
  0    success
  1    a model failed (benchmark reports the others), or survimg has a bug
  2    the command line or the input is wrong; one line on standard error says what to do
  130  interrupted"""


class _Paragraphs(argparse.HelpFormatter):
    """Fill paragraphs to the width of the terminal; leave those with indented lines alone."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            paragraph if "\n  " in paragraph else super(_Paragraphs, self)._fill_text(
                paragraph, width, indent
            )
            for paragraph in text.strip().split("\n\n")
        )


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands.

    Returns
    -------
    argparse.ArgumentParser
        The parsed arguments include ``run``, the function of the command, its ``usage``, and the
        ``parser``.
    """
    parser = argparse.ArgumentParser(
        prog="survimg",
        description="Survival models over medical image volumes: prepare, compare, fit, predict.",
        epilog=f"{_EXIT_STATUS}\n\nsurvimg COMMAND --help shows the options with an example.",
        formatter_class=_Paragraphs,
    )
    parser.add_argument("--version", action="version", version=f"survimg {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        examples = "\n".join(f"  {line}" for line in module.EXAMPLES)
        command = commands.add_parser(
            module.__name__.rpartition(".")[2],
            help=str(module.SUMMARY),
            description=module.__doc__,
            epilog=f"{'example' if len(module.EXAMPLES) == 1 else 'examples'}:\n{examples}",
            formatter_class=_Paragraphs,
        )
        module.add_arguments(command)
        add_output(command)
        command.set_defaults(run=module.run, parser=parser, usage=command.format_usage)
    return parser
