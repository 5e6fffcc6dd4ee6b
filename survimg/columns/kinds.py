"""Kinds of columns: learned from training patients, and how later values are brought to them."""

from __future__ import annotations

import datetime as dt
import math
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from survimg.columns.cells import (
    DECIMAL_COMMA,
    comma_said,
    is_missing,
    level_of,
    number_of,
    odd_mark,
    truth_of,
)
from survimg.columns.frames import holds_text, plain_column

__all__ = [
    "KINDS", "NOTHING", "Column", "bring_levels", "bring_numbers", "declare", "learn_column",
    "learn_together",
]

#: Levels of a column without a value in training.
NOTHING = ("",)
#: What a column can be declared as.
KINDS = ("numeric", "categorical", "boolean")
_MOST_NUMBERS = 10  # different numbers that text may stand among: grades, stages
_FEWEST_SINGLES = 5  # levels of a single patient before a column is taken for identifiers
_MOST_NAMED = 5

_MONTH = "(?:jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-z]*\\.?"
_DATE = re.compile(
    r"(?:\d{4}[-/.](?:0?[1-9]|1[0-2])(?:[-/.](?:0?[1-9]|[12]\d|3[01]))?"
    r"|(?:18|19|20|21)\d\d-?(?:w[0-5]\d|q[1-4])"  # weeks and quarters
    r"|(?:0?[1-9]|[12]\d|3[01])[-/.](?:0?[1-9]|[12]\d|3[01])[-/.](?:\d{4}|\d\d)"
    rf"|(?:0?[1-9]|[12]\d|3[01])[-/. ]*{_MONTH}[-/., ]*(?:\d{{4}}|\d\d)"
    r"|(?:0?[1-9]|[12]\d|3[01])[-/. ]+[^\W\d_]{3,}\.?[-/., ]+(?:18|19|20|21)\d\d"  # any language
    rf"|(?:0?[1-9]|[12]\d|3[01])[-/. ]+{_MONTH}|{_MONTH}[-/. ]+\d\d"  # as Excel shortens them
    rf"|{_MONTH}[-/., ]*(?:(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?[-/., ]+)?\d{{4}})"
    r"(?:[t ]+\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?\s*(?:z|[+-]\d\d:?\d\d|am|pm)?)?",
    re.IGNORECASE,
)
#: Numbers that are read as none: with a unit, a percent sign, or separators of thousands.
_QUANTITY = re.compile(
    r"[-+]?\d[\d.]*\s*(?:%|‰|(?:hours?|days?|weeks?|months?|years?|yrs?|cm|mm|ml|kg|mg|gy|mbq|h|d|y)\b\.?)"
    r"|[-+]?\d{1,3}(?:[,'’ ]\d{3})+(?:\.\d+)?",
    re.IGNORECASE,
)
_DASHES = re.compile("[\u2010-\u2015\u2212]")
_FEWEST_QUANTITIES = 3  # different ones; two may be the arms of a trial
_LARGE = 1e5  # whole numbers from here on that are all different, and not rounded, name something
_DAY_NUMBER = re.compile(r"(?:18|19|20|21)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


@dataclass(frozen=True)
class Column:
    """What was learned of one column.

    Attributes
    ----------
    name : str
    kind : {"numeric", "categorical", "boolean"}
    levels : tuple of str
        Of a column that is not numeric: in the order of a pandas categorical, else sorted. Of a
        numeric one: empty, or ``("0", "1")`` where training held nothing else, so that true and
        false are understood too, or `NOTHING`.
    spellings : dict of str to str
        Other spellings of a level (case, blanks) that training patients had, to the level.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)


def declare(
    frame: pd.DataFrame,
    kinds: Mapping[str, str] | None,
    patients: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Give columns the kinds that they are declared to have.

    Parameters
    ----------
    frame : DataFrame
        As `as_frame` returns it.
    kinds : mapping of column to kind or None
        Kinds are ``"numeric"``, ``"categorical"`` and ``"boolean"``.
    patients : sequence of str, optional
        For messages; by default the index.

    Raises
    ------
    ValueError
        No such column or kind, or a value that is not of the kind.
    """
    frame = frame.copy(deep=False)
    for name, kind in (kinds or {}).items():
        if name not in frame.columns or kind not in KINDS:
            raise ValueError(
                f"kinds says {name!r}: {kind!r}; kinds are {', '.join(KINDS)}, and the columns "
                f"{', '.join(map(str, frame.columns))}."
            )
        names = [str(label) for label in frame.index] if patients is None else patients
        learned = Column(name, kind, ("False", "True") if kind == "boolean" else ())
        if kind == "numeric":
            frame[name] = bring_numbers(frame[name], learned, names)
        elif kind == "boolean":
            levels = bring_levels(frame[name], learned, names, on_unknown="raise")
            frame[name] = levels.map({"True": True, "False": False}).astype("boolean")
        elif not isinstance(frame[name].dtype, pd.CategoricalDtype):
            texts = _texts(frame[name])
            levels = pd.Index(sorted(texts.dropna().unique()), dtype=object)
            frame[name] = pd.Series(pd.Categorical(texts, categories=levels), index=frame.index)
    return frame


def learn_column(column: pd.Series, patients: Sequence[str] | None = None) -> Column:
    """Learn kind and levels of a column from the training patients.

    A column without any value is numeric, with the level ``""``: later values are not used.

    Parameters
    ----------
    column : Series
    patients : sequence of str, optional
        For messages; by default the index.

    Warns
    -----
    UserWarning
        A few words among numbers, which make categories of them; levels that differ by case or
        blanks alone, which are taken for one.

    Raises
    ------
    ValueError
        Dates, objects, numbers among text, numbers with units, or identifiers; the message names
        the column.
    """
    name = str(column.name)
    column = plain_column(column)
    _refuse_other_types(column)
    if not column.notna().any():
        return Column(name, "numeric", NOTHING)
    if _is_numeric(column):
        numbers = set(column.dropna().tolist())
        _refuse_numbers(name, numbers, int(column.notna().sum()))
        return Column(name, "numeric", ("0", "1") if numbers == {0, 1} else ())
    texts = _texts(column)
    counts = Counter(texts.dropna())
    if isinstance(column.dtype, pd.CategoricalDtype):
        order = [level_of(value) for value in column.cat.categories]
        return _categorical(name, [level for level in order if level in counts], counts)
    if counts and all(truth_of(level) is not None for level in counts):
        return Column(name, "boolean", ("False", "True"))
    _refuse_text(name, counts)
    _tell_of_words(texts, counts, list(texts.index) if patients is None else patients)
    return _categorical(name, sorted(counts), counts)


def learn_together(parts: Sequence[pd.Series]) -> Column:
    """Learn one kind for a column that stands in several tables, such as those of two cohorts.

    Parameters
    ----------
    parts : sequence of Series
        Levels of the first pandas categorical come first, in its order.
    """
    plain = [plain_column(part) for part in parts]
    whole = pd.concat([part.astype(object) for part in plain], ignore_index=True)
    whole.name = parts[0].name
    categoricals = [part for part in plain if isinstance(part.dtype, pd.CategoricalDtype)]
    if categoricals:
        first = dict.fromkeys(level_of(value) for p in categoricals for value in p.cat.categories)
        texts = _texts(whole)
        levels = [*first, *sorted(set(texts.dropna()) - first.keys())]
        whole = pd.Series(pd.Categorical(texts, categories=levels), name=whole.name)
    return learn_column(whole)


def _is_numeric(column: pd.Series) -> bool:
    return types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)


def _refuse_other_types(column: pd.Series) -> None:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    objects = column.dropna() if types.is_object_dtype(dtype) else column[:0]
    days = [v for v in objects if isinstance(v, dt.date | dt.timedelta | pd.Period)]
    if days or isinstance(dtype, pd.PeriodDtype) or getattr(dtype, "kind", "") in "mM":
        raise _dates(str(column.name), (days or column.dropna().tolist() or [""])[0])
    if types.is_complex_dtype(dtype) or not (
        types.is_numeric_dtype(dtype) or types.is_bool_dtype(dtype) or holds_text(dtype)
    ):
        raise ValueError(
            f"Clinical column {column.name!r} has type {dtype}; columns hold numbers, true/false, "
            "text or categories."
        )
    odd = [v for v in objects if not isinstance(v, str | bool | np.bool_ | int | float | np.number)]
    if odd:
        raise ValueError(
            f"Clinical column {column.name!r} holds {odd[0]!r} of type {type(odd[0]).__name__}; "
            "cells are numbers, true/false or text."
        )


def _dates(name: str, value: Any) -> ValueError:
    return ValueError(
        f"Clinical column {name!r} holds dates (such as {str(value)!r}); turn them into a number "
        "first (for example years since birth), or declare the column "
        f"(kinds={{{name!r}: 'categorical'}}) if they are levels of something else."
    )


def _refuse_numbers(name: str, numbers: set[float], n: int) -> None:
    """Refuse numbers that measure nothing: days written as 19500302, identifiers."""
    if min(numbers) < _LARGE or not all(float(number).is_integer() for number in numbers):
        return
    levels = sorted(level_of(number) for number in numbers)
    if all(_DAY_NUMBER.fullmatch(level) for level in levels):
        raise _dates(name, levels[0])
    if n == len(numbers) >= 2 * _FEWEST_SINGLES and math.gcd(*map(int, numbers)) % 10:
        raise ValueError(
            f"Clinical column {name!r} holds identifiers: whole numbers such as {levels[0]}, "
            "another one for each patient. Leave it out; if it is a measurement, give it in a "
            "larger unit."
        )


def _refuse_text(name: str, counts: Mapping[str, int]) -> None:
    """Refuse text that is no category: dates, numbers among text, identifiers."""
    comma = next((level for level in counts if DECIMAL_COMMA.fullmatch(level)), None)
    if comma is not None:
        raise ValueError(f"Clinical column {name!r} holds {comma!r}, with {comma_said(comma)}.")
    mark = next((text for level in counts if (text := odd_mark(level))), None)
    if mark is not None:
        raise ValueError(f"Clinical column {name!r}: {mark}.")
    days = [level for level in counts if _DATE.fullmatch(level) and number_of(level) is None]
    if days:
        raise _dates(name, days[0])
    quantities = [level for level in counts if _QUANTITY.fullmatch(level)]
    if len(quantities) == len(counts) >= _FEWEST_QUANTITIES:
        raise ValueError(
            f"Clinical column {name!r} holds numbers with units or separators, such as "
            f"{quantities[0]!r}, which would be categories; write plain numbers, or declare the "
            f"column (kinds={{{name!r}: 'categorical'}})."
        )
    numbers = [level for level in counts if number_of(level) is not None]
    words = [level for level in counts if number_of(level) is None]
    fractions = [level for level in numbers if "." in level]
    if words and (fractions or len(numbers) > _MOST_NUMBERS):
        raise ValueError(
            f"Clinical column {name!r} mixes numbers (such as {(fractions or numbers)[0]!r}) and "
            f"text (such as {words[0]!r}). Leave the cell empty if the value is missing "
            f"(na_values={[words[0]]!r} does so for all of them), or declare the column "
            f"(kinds={{{name!r}: 'categorical'}})."
        )
    singles = [level for level, count in counts.items() if count == 1]
    n = sum(counts.values())
    mostly = 2 * len(singles) > len(counts) and 5 * len(singles) > n
    many = len(singles) == n or n >= 2 * _FEWEST_SINGLES
    if len(singles) >= _FEWEST_SINGLES and mostly and many:
        raise ValueError(
            f"Clinical column {name!r} holds identifiers or free text: {len(singles)} of its "
            f"{len(counts)} levels, such as {singles[0]!r}, belong to one patient each. Leave it "
            f"out, or declare it (kinds={{{name!r}: 'categorical'}}) if it is a category."
        )


def _tell_of_words(texts: pd.Series, counts: Mapping[str, int], patients: Sequence[str]) -> None:
    """Say so if a few words make categories of numbers; not of ``4a`` among grades."""
    words = [level for level in counts if number_of(level) is None]
    if 2 * sum(counts[level] for level in words) >= sum(counts.values()):
        return
    if odd := [level for level in words if not level[0].isdigit()]:
        patient = next(p for p, text in zip(patients, texts, strict=True) if text == odd[0])
        _warn(
            f"Clinical column {texts.name!r} is taken as categories, since {odd[0]!r} (patient "
            f"{str(patient)!r}) is not a number. Leave the cell empty if the value is missing, or "
            f"declare the column (kinds={{{texts.name!r}: 'categorical'}})."
        )


def _categorical(name: str, levels: Sequence[str], counts: Mapping[str, int]) -> Column:
    """Merge levels that differ by case or blanks alone into the most frequent spelling."""
    by_key: dict[str, list[str]] = {}
    for level in levels:
        by_key.setdefault(_key(level), []).append(level)
    spellings = {}
    for variants in by_key.values():
        main = max(variants, key=lambda level: counts[level])
        spellings.update({level: main for level in variants if level != main})
    if spellings:
        pairs = ", ".join(f"{level!r} and {main!r}" for level, main in spellings.items())
        _warn(
            f"Clinical column {name!r} has levels that differ by case or blanks alone: {pairs}. "
            "Each pair is taken for one level; correct the table."
        )
    merged = tuple(level for level in levels if level not in spellings)
    return Column(name, "categorical", merged, spellings)


def _key(level: str) -> str:
    plain = unicodedata.normalize("NFKC", level)  # letters of another width
    return _DASHES.sub("-", "".join(plain.split())).casefold()


def _texts(column: pd.Series) -> pd.Series:
    """Levels of a column as text, None where missing."""
    values = column.to_numpy(dtype=object)
    texts = np.full(len(values), None, dtype=object)
    text_of: dict[Any, str] = {}
    for i, value in enumerate(values):
        if not is_missing(value):
            key = type(value), value
            if key not in text_of:
                text_of[key] = level_of(value)
            texts[i] = text_of[key]
    return pd.Series(texts, index=column.index, name=column.name, dtype=object)


def bring_numbers(column: pd.Series, learned: Column, patients: Sequence[str]) -> pd.Series:
    """Bring the values of a numeric column to float64, NaN where missing.

    Parameters
    ----------
    column : Series
    learned : Column
    patients : sequence of str
        For messages.

    Raises
    ------
    ValueError
        A value that is no finite number; the message names column and patient.

    Warns
    -----
    UserWarning
        Values in a column that had none in training; they are missing in the result.
    """
    if learned.levels == NOTHING:
        there = column.map(lambda value: not is_missing(value)).to_numpy(dtype=bool)
        if there.any():
            _warn(
                f"Clinical column {learned.name!r} had no value in training; those of patients "
                f"{_first(patients, there)} are not used."
            )
        return pd.Series(np.nan, index=column.index, name=learned.name)
    if _is_numeric(column) and not types.is_complex_dtype(column.dtype):
        plain = isinstance(column.dtype, np.dtype)
        column = column if plain else column.astype("Float64")
        values = column.astype(np.float64).to_numpy()
    else:
        values = np.full(len(column), np.nan)
        for i, value in enumerate(column.to_numpy(dtype=object)):
            if not is_missing(value):
                values[i] = _as_number(value, learned, patients[i])
    infinite = np.isinf(values)
    if infinite.any():
        raise ValueError(
            f"Clinical column {learned.name!r} is infinite for patients "
            f"{_first(patients, infinite)}."
        )
    return pd.Series(values, index=column.index, name=learned.name)


def _as_number(value: Any, learned: Column, patient: str) -> float:
    try:
        level = level_of(value)
    except TypeError:
        level = str(value)
    number = number_of(level)
    if number is None and learned.levels and truth_of(level) is not None:
        number = float(bool(truth_of(level)))
    if number is None:
        raise ValueError(
            f"Clinical column {learned.name!r} was numeric in training but holds other values now, "
            f"such as {value!r} (patient {patient!r}). Leave the cell empty if the value is "
            "missing."
        )
    return number


def bring_levels(
    column: pd.Series, learned: Column, patients: Sequence[str], *, on_unknown: str = "warn"
) -> pd.Series:
    """Bring the values of a categorical or boolean column to the levels learned; missing is None.

    Parameters
    ----------
    column : Series
    learned : Column
    patients : sequence of str
        For messages.
    on_unknown : {"warn", "raise"}, default="warn"
        What to do with levels that no training patient had: a warning, and the first level (the
        reference); or an error.

    Warns
    -----
    UserWarning
        Unknown levels; levels that differ from a known one by case or blanks alone, which are
        taken for it.
    """
    try:
        texts = _texts(column)
    except TypeError as error:
        raise ValueError(f"Clinical column {learned.name!r} holds {error}.") from None
    moved = {text: _known_level(text, learned) for text in texts.dropna().unique()}
    unknown = [text for text, level in moved.items() if level is None]
    respelt = {
        text: level for text, level in moved.items()
        if level not in (None, text) and text not in learned.spellings and learned.kind != "boolean"
    }
    if unknown and on_unknown == "raise":
        raise ValueError(
            f"Column {learned.name!r} is declared {learned.kind}, but holds "
            f"{', '.join(map(repr, unknown[:_MOST_NAMED]))} (patients "
            f"{_first(patients, texts.isin(unknown))})."
        )
    if unknown:
        _warn(
            f"Clinical column {learned.name!r} holds levels that no training patient had: "
            f"{sorted(unknown)[:_MOST_NAMED]} (patients {_first(patients, texts.isin(unknown))}); "
            f"training had {list(learned.levels[:_MOST_NAMED])}. They are encoded like the "
            f"reference level {learned.levels[0]!r}."
        )
    if respelt:
        pairs = ", ".join(f"{text!r} as {level!r}" for text, level in respelt.items())
        _warn(
            f"Clinical column {learned.name!r} spells levels otherwise than in training: {pairs} "
            f"(patients {_first(patients, texts.isin(list(respelt)))}); they are taken for them."
        )
    final = {text: learned.levels[0] if level is None else level for text, level in moved.items()}
    return texts.map(final).where(texts.notna(), None).astype(object)


def _known_level(text: str, learned: Column) -> str | None:
    """Return the learned level that a text means, or None."""
    if learned.kind == "boolean":
        truth = str(truth_of(text))
        return truth if truth in learned.levels else None
    if text in learned.levels or text in learned.spellings:
        return learned.spellings.get(text, text)
    return next((level for level in learned.levels if _key(level) == _key(text)), None)


def _first(patients: Sequence[str], selection: Any) -> str:
    names = [str(name) for name, is_it in zip(patients, selection, strict=True) if is_it]
    return ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=4)
