"""Forms of attributes: what a stored value may be, in a few words.

A form is written as text, with alternatives behind ``|``:

=================  ==============================================================================
``size``           a whole number from 0; ``size=p`` demands that it is p, or says what p is
``number``         a number; ``flag`` a truth value; ``text``; ``none``
``float[k, p]``    an array in the machine's byte order with this shape; ``int``, ``bool``,
                   ``label`` (numbers or text), ``object`` and ``outcome`` likewise
``models=m``       a list of m objects; ``model`` one
``list=p``         a list of p values; ``tuple``, ``dict``, ``table``, ``series``, ``dtype``
``numbers=2``      a tuple of two numbers; ``sizes`` likewise
``anything``       is not looked at: nothing that is compiled uses it
=================  ==============================================================================

Letters are lengths: the first form that holds one says what it is, and it is the same in all others
of an object. ``p+1`` is one more, ``?`` any length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from survimg.model_files.errors import ModelFileError

__all__ = ["check_forms"]

_FORM = re.compile(r"(?P<kind>\w+)(=(?P<size>\w+))?(\[(?P<shape>[^\]]*)\])?")
_ARRAYS = {"float": "f", "int": "iu", "bool": "b", "label": "biufUSO", "object": "O"}
_NUMBERS = (int, float, np.integer, np.floating)


def check_forms(name: str, values: Mapping[str, Any], forms: Mapping[str, str]) -> dict[str, int]:
    """Demand that attributes have the forms that their class gives them.

    Parameters
    ----------
    name : str
        Of the class, for messages.
    values : mapping
        Attributes; one that is absent is not looked at.
    forms : mapping of str to str

    Returns
    -------
    dict of str to int
        Lengths by letter.

    Raises
    ------
    ModelFileError
        An attribute is of another form, or is none of the class.
    """
    if foreign := sorted(set(values) - set(forms)):
        raise ModelFileError(
            f"The model holds a {name} with the attribute {foreign[0]!r}, which that class does "
            "not have. The file is damaged, or of another version of the library it names."
        )
    lengths: dict[str, int] = {}
    for attribute in (each for each in forms if each in values):
        value = values[attribute]
        if not any(_has_form(value, form, lengths) for form in forms[attribute].split("|")):
            where = f" where {', '.join(f'{k} = {v}' for k, v in lengths.items())}" * bool(lengths)
            raise ModelFileError(
                f"The model holds a {name} whose {attribute} is {_described(value)}; it must be "
                f"{forms[attribute]}{where}. The file is damaged or was tampered with. Do not use "
                "it."
            )
    return lengths


def _has_form(value: Any, form: str, lengths: dict[str, int]) -> bool:
    parts = _FORM.fullmatch(form.strip())
    if parts is None:
        raise ValueError(f"{form!r} is no form.")
    kind, size, shape = parts["kind"], parts["size"], parts["shape"]
    if kind in _ARRAYS or kind == "outcome":
        return _is_array(value, kind) and _agree(value.shape, (shape or "?").split(","), lengths)
    if not _OTHERS[kind](value):
        return False
    if size is None:
        return True
    return _agree((int(value) if kind == "size" else len(value),), (size,), lengths)


def _is_array(value: Any, kind: str) -> bool:
    if not isinstance(value, np.ndarray):
        return False
    if kind == "outcome":
        kinds = [value.dtype[name].kind for name in value.dtype.names or ()]
        return kinds == ["b", "f"] and value.dtype.isnative
    return value.dtype.kind in _ARRAYS[kind] and value.dtype.isnative


def _agree(shape: tuple[int, ...], letters: Any, lengths: dict[str, int]) -> bool:
    """Compare a shape with its letters; letters that are new become lengths."""
    letters = [letter.strip() for letter in letters if letter.strip()]
    if len(shape) != len(letters):
        return False
    new: dict[str, int] = {}
    for length, letter in zip(shape, letters, strict=True):
        base, _, more = letter.partition("+")
        if letter == "?":
            continue
        if base.isdigit():
            expected = int(base)
        else:
            expected = lengths.get(base, new.get(base, length - int(more or 0)))
            new[base] = expected
        if length != expected + int(more or 0) or expected < 0:
            return False
    lengths.update(new)
    return True


def _is_size(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def _is_model(value: Any) -> bool:
    return hasattr(value, "__dict__") and not isinstance(value, pd.DataFrame | pd.Series | pd.Index)


_OTHERS: Mapping[str, Callable[[Any], bool]] = {
    "size": _is_size,
    "number": _is_number,
    "flag": lambda value: isinstance(value, bool | np.bool_),
    "text": lambda value: isinstance(value, str),
    "none": lambda value: value is None,
    "list": lambda value: isinstance(value, list),
    "tuple": lambda value: isinstance(value, tuple),
    "numbers": lambda value: isinstance(value, tuple) and all(map(_is_number, value)),
    "sizes": lambda value: isinstance(value, tuple) and all(map(_is_size, value)),
    "dict": lambda value: isinstance(value, dict),
    "table": lambda value: isinstance(value, pd.DataFrame),
    "series": lambda value: isinstance(value, pd.Series),
    "dtype": lambda value: isinstance(value, np.dtype),
    "model": _is_model,
    "models": lambda value: isinstance(value, list) and all(map(_is_model, value)),
    "anything": lambda _value: True,
}


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of the type {value.dtype} and the shape {value.shape}"
    if value is None or isinstance(value, bool | int | float | str):
        return f"{value!r:.60}"
    return f"a {type(value).__name__}"
