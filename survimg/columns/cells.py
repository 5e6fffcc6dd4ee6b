"""Single cells: what is missing, which number or level one means, what a spreadsheet runs."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

__all__ = [
    "DECIMAL_COMMA", "EXACT", "MISSING", "comma_said", "formula", "is_missing", "level_of",
    "number_of", "odd_mark", "truth_of",
]

#: Text that means a missing value.
MISSING = frozenset({"", "NA", "NaN", "nan", "NAN"})
#: A number as half of the world writes it.
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_MARK = re.compile(r"\.+|#(?:N/A|VALUE!|REF!|DIV/0!|NUM!|NAME\?|NULL!)")
_WORDS = {"true": True, "false": False}
#: Whole numbers beyond it are no longer told apart as floats.
EXACT = 2**53
_SIGN_AND_WORD = re.compile(r"[+-]+\s*[\w%]*")


def is_missing(value: Any) -> bool:
    """Tell whether a cell is missing."""
    if isinstance(value, str):
        return value in MISSING or clean(value) in MISSING
    return bool(types.is_scalar(value) and pd.isna(value))


def clean(text: str) -> str:
    """Return a text without what nobody sees: blanks around it, control characters."""
    if not text.isprintable():
        text = "".join(sign for sign in text if sign.isprintable() or sign.isspace())
    return unicodedata.normalize("NFC", " ".join(text.split()))


def number_of(text: str) -> float | None:
    """Return the number that a text means, or None.

    Text of a whole number that a float cannot hold (an identifier of 17 digits) is no number.
    """
    try:
        number = float(text.replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        return None
    if "_" in text:  # Python reads 1_000 as a number, nobody else does
        return None
    if math.isnan(number) or (EXACT < abs(number) < math.inf and number.is_integer()):
        return None
    return number


def level_of(value: Any) -> str:
    """Return the text of a cell as a level: one text for all ways to write one value.

    Raises
    ------
    TypeError
        The value is no text, number or truth value.
    """
    if isinstance(value, str):
        text = clean(value)
        number = number_of(text)
        return text if number is None else _number_text(number)
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return _number_text(float(value))
    raise TypeError(f"{value!r} of type {type(value).__name__}")


def _number_text(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)  # infinity is no integer


def truth_of(level: str) -> bool | None:
    """Return what a level means as true or false, or None."""
    if level in ("0", "1"):
        return level == "1"
    return _WORDS.get(level.lower())


def comma_said(text: str) -> str:
    """Say what to write for a number with a comma (`DECIMAL_COMMA`)."""
    plain = text.replace(",", ".")
    if len(text.rpartition(",")[2]) == 3:
        return f"a comma, which may be a decimal one or separate thousands; write {plain}, or " + (
            text.replace(",", "")
        )
    return f"a decimal comma; write {plain}"


def odd_mark(text: str) -> str | None:
    """Say what is wrong with a cell that is never a level: a dot, an error of a spreadsheet.

    Returns
    -------
    str or None
        None for every other text.
    """
    if not _MARK.fullmatch(text):
        return None
    what = "an error of a spreadsheet" if text[0] == "#" else "a common mark for a missing value"
    return f"{text!r} is {what}. Leave such cells empty (na_values=[{text!r}] does so)"


def formula(text: str, *, strict: bool = False) -> bool:
    """Tell whether a spreadsheet would run a cell.

    Parameters
    ----------
    text : str
    strict : bool, default=False
        Count every text that begins with a sign and is no number, as for names of patients.
        Otherwise ``+``, ``++`` and ``-ve`` are levels like any others.
    """
    text = text.lstrip()
    if text[:1] in ("=", "@"):
        return True
    if text[:1] not in ("+", "-") or number_of(text) is not None:
        return False
    return strict or not _SIGN_AND_WORD.fullmatch(text)
