"""Docstrings that explain the parameters a class inherits, as well as its own."""

from __future__ import annotations

import inspect
import re

__all__ = ["document_inherited_parameters"]

_HEADING = re.compile(r"^\w[\w ]*\n-{3,}\n", re.MULTILINE)


def document_inherited_parameters(kind: type) -> None:
    """Append the parameters that only the bases of a class describe to its docstring.

    A base calls it in ``__init_subclass__``, so that ``help(DeepMTS)``, the site and notebooks show
    every parameter of the constructor. What a class describes itself is left as it is.

    Parameters
    ----------
    kind : type
        Its docstring is in numpydoc's format; without one of its own nothing is done.
    """
    if not kind.__dict__.get("__doc__"):
        return
    before, entries, after = _sections(kind)
    missing = _constructor_parameters(kind) - {name for names in entries for name in names}
    for base in kind.__mro__[1:]:
        for names, text in _sections(base)[1].items():
            if missing & set(names):
                entries[names] = text
                missing -= set(names)
    listed = "\n".join(entries.values())
    parameters = f"Parameters\n----------\n{listed}\n\n" if entries else ""
    kind.__doc__ = f"{before}{parameters}{after}"


def _constructor_parameters(kind: type) -> set[str]:
    # A dataclass has its constructor after `__init_subclass__` only: its bases tell what it takes.
    owners = [kind] if "__init__" in vars(kind) else kind.__mro__
    constructors = [vars(owner)["__init__"] for owner in owners if "__init__" in vars(owner)]
    written = [each for each in constructors if inspect.isfunction(each)]
    return {name for each in written for name in inspect.signature(each).parameters} - {"self"}


def _sections(kind: type) -> tuple[str, dict[tuple[str, ...], str], str]:
    """Text before the parameters, names to the text that describes them, and what follows."""
    text = inspect.cleandoc(kind.__dict__.get("__doc__") or "") + "\n"
    start = re.search(r"^Parameters\n-+\n", text, re.MULTILINE)
    first = start or _HEADING.search(text)
    if start is None:
        cut = len(text) if first is None else first.start()
        return f"{text[:cut].rstrip()}\n\n", {}, text[cut:]
    end = _HEADING.search(text, start.end())
    cut = len(text) if end is None else end.start()
    entries = {}
    for entry in re.split(r"^(?=\S)", text[start.end() : cut], flags=re.MULTILINE):
        if entry.strip():
            names = entry.split("\n")[0].partition(" :")[0].split(",")
            entries[tuple(name.strip() for name in names)] = entry.rstrip()
    return text[: start.start()], entries, text[cut:]
