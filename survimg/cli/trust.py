"""Classes of the user's own in model files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

__all__ = ["add_trust", "trusted"]


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names them.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    """
    parser.add_argument(
        "--trust", nargs="+", default=[], metavar="MODULE:NAME",
        help="classes or functions of your own that the model is made of, such as the class of its "
        "network: monai.networks.nets:DenseNet121. Their modules are imported, which runs their "
        "code: name only what you trust",
    )


def trusted(arguments: argparse.Namespace) -> list[Callable[..., Any]]:
    """Import what the user trusts.

    Parameters
    ----------
    arguments : argparse.Namespace

    Raises
    ------
    ValueError
        One of them cannot be imported.
    """
    from survimg.suites.model_names import import_named

    return [import_named(name) for name in arguments.trust]
