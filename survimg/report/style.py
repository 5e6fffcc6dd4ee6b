"""Templates, style sheet and script of the report's pages."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import sys
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup

__all__ = ["CompiledTemplates", "Script", "model_class", "script", "stylesheet", "templates"]

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


class CompiledTemplates(FileSystemBytecodeCache):
    """A report needs none of these files: without a readable one the template is compiled."""

    def load_bytecode(self, bucket: Bucket) -> None:
        """Take a compiled template, if it is whole."""
        try:
            super().load_bytecode(bucket)
        except Exception:  # a damaged pickle raises anything
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep a compiled template, if there is room."""
        with contextlib.suppress(OSError):  # a full disk, say
            super().dump_bytecode(bucket)


def _bytecode_cache() -> FileSystemBytecodeCache | None:
    """Place where Python keeps the compiled modules of this folder, if it may write there.

    Compiling the templates takes a third of the time of a report. Who can write there can change
    what Python itself loads from there, so that the files are as safe as the modules.
    """
    folder = Path(cache_from_source(__file__)).parent
    if sys.dont_write_bytecode or not folder.is_dir() or not os.access(folder, os.W_OK):
        return None
    return CompiledTemplates(str(folder))


def model_class(name: str) -> str:
    """Class of all that a page shows of one model, so that it can be switched off."""
    return f"m-{hashlib.blake2s(name.encode(), digest_size=5).hexdigest()}"
