"""Templates, style sheet and script of the report's pages."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["Script", "model_class", "script", "stylesheet", "templates"]

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Script:
    """A script inside a page, and the digest by which the page's security policy allows it.

    Attributes
    ----------
    text : Markup
    digest : str
        As in ``script-src 'sha256-...'``: no other script runs on the page.
    """

    text: Markup
    digest: str


def stylesheet() -> Markup:
    """Style sheet of the report's pages."""
    return Markup((FOLDER / "style.css").read_text(encoding="utf-8"))


def script() -> Script:
    """Script of the report's pages: sorts tables."""
    text = (FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"sha256-{digest}")


def templates() -> Environment:
    """Templates of the report's pages; text is escaped, since names come from users' tables."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        bytecode_cache=_bytecode_cache(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["model_class"] = model_class
    return environment


def _bytecode_cache() -> FileSystemBytecodeCache | None:
    """Place where Python keeps the compiled modules of this folder, if it may write there.

    Compiling the templates takes a third of the time of a report.
    """
    folder = Path(cache_from_source(__file__)).parent
    if sys.dont_write_bytecode or not folder.is_dir() or not os.access(folder, os.W_OK):
        return None
    return FileSystemBytecodeCache(str(folder))


def model_class(name: str) -> str:
    """Class of all that a page shows of one model, so that it can be switched off."""
    return f"m-{hashlib.blake2s(name.encode(), digest_size=5).hexdigest()}"
