"""Tables with plain columns: what a reader, a cohort and a model take clinical columns as."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from survimg.columns.cells import EXACT, formula, is_missing, level_of, number_of

__all__ = ["as_frame", "holds_text", "plain_column", "plain_values"]

#: What pandas calls a column without a name.
_NUMBERED = re.compile(r"Unnamed: \d+(_level_\d+)?")


def as_frame(table: Any) -> pd.DataFrame:
    """Return a table with text as names of its columns and every column in a plain type.

    Parameters
    ----------
    table : DataFrame, mapping of name to column, or array-like of shape (n, k)
        Columns of an array are named ``clinical0`` and so on.

    Returns
    -------
    DataFrame
        With the index of `table`. Whatever a cell looks like, its column is a float, integer or
        boolean one, a categorical, or one of text with None where it is missing.

    Raises
    ------
    ValueError
        A column name that is empty, that stands twice, that pandas made up for a column without
        one, or that a spreadsheet would run.
    """
    if isinstance(table, Mapping):
        table = pd.DataFrame(dict(table))
    if not isinstance(table, pd.DataFrame):
        values = np.asarray(table)
        values = values[:, np.newaxis] if values.ndim == 1 else values
        table = pd.DataFrame(values, columns=[f"clinical{j}" for j in range(values.shape[1])])
    if isinstance(table.columns, pd.MultiIndex):
        raise ValueError("Clinical columns need simple names; got several header rows.")
    names = [" ".join(str(name).split()) for name in table.columns]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"There are several clinical columns named {repeated[0]!r}; rename them.")
    for name in names:
        wrong = _wrong_name(name)
        if wrong:
            raise ValueError(f"{name!r} cannot be the name of a clinical column: {wrong}.")
    odd = {
        j for j, dtype in enumerate(table.dtypes)
        if not (types.is_numeric_dtype(dtype) or types.is_bool_dtype(dtype)) or _is_sparse(dtype)
    }
    if not odd:
        frame = table.copy(deep=False)
        frame.columns = pd.Index(names, dtype=object)
        return frame
    columns = {  # one frame of them all: columns set one by one make many of them slow
        name: plain_column(table.iloc[:, j]) if j in odd else table.iloc[:, j]
        for j, name in enumerate(names)
    }
    return pd.DataFrame(columns, index=table.index, columns=pd.Index(names, dtype=object))


def plain_column(column: pd.Series) -> pd.Series:
    """Return a column in a plain type; see `as_frame`.

    What cannot be one (dates, lists) stays as it is: it is refused when a model would learn it.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _plain_categories(column)
    if _is_sparse(dtype):
        column = pd.Series(np.asarray(column), column.index, name=column.name)
    if not holds_text(column.dtype):
        return column
    try:
        values = plain_values(column.to_numpy(dtype=object))
    except TypeError:  # dates, lists, ...
        return column
    return pd.Series(values, index=column.index, name=column.name)


def _wrong_name(name: str) -> str:
    """Say why a column cannot have this name; nothing if it can."""
    if not name:
        return "it is empty"
    if _NUMBERED.fullmatch(name):
        return "pandas calls columns so that have no name, such as an index that was written"
    return "a spreadsheet would run it" if formula(name) else ""


def _is_sparse(dtype: Any) -> bool:
    return isinstance(dtype, pd.SparseDtype)


def holds_text(dtype: Any) -> bool:
    """Tell whether a column of this type may hold text."""
    return bool(types.is_object_dtype(dtype) or types.is_string_dtype(dtype))


def plain_values(values: np.ndarray) -> Any:
    """Return the cells of a column, objects or text, as an array of one plain type.

    Raises
    ------
    TypeError
        Cells that are no text, number or truth value.
    """
    readings = {value: _read(value) for value in set(values.tolist()) if isinstance(value, str)}
    cells = [readings[v] if isinstance(v, str) else _read(v) for v in values.tolist()]
    gone = np.fromiter((cell is None for cell in cells), dtype=bool, count=len(cells))
    present = [cell for cell in cells if cell is not None]
    if present and all(isinstance(cell, bool) for cell in present):
        whole = len(present) == len(cells)
        return np.array(present) if whole else pd.Series(cells, dtype="boolean").array
    if all(isinstance(cell, float) for cell in present):
        numbers = np.full(len(cells), np.nan)
        numbers[~gone] = present
        return numbers
    text = np.full(len(cells), None, dtype=object)
    text[~gone] = [level_of(cell) for cell in present]
    return text


def _read(value: Any) -> float | bool | str | int | None:
    """Return what one cell means: a number, a truth value, the text of a level, or nothing."""
    if isinstance(value, str):
        number = number_of(value)
        if number is not None:
            return number
    if is_missing(value):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer) and abs(int(value)) > EXACT:
        return int(value)
    level = level_of(value)
    number = number_of(level)
    return level if number is None else number


def _plain_categories(column: pd.Series) -> pd.Series:
    """Turn categories of mixed or oddly written text into levels; others stay as they are."""
    categories = column.cat.categories
    if not holds_text(categories.dtype):
        return column
    try:
        levels = [None if is_missing(value) else level_of(value) for value in categories]
    except TypeError:
        return column
    if levels == list(categories) and categories.dtype == object:
        return column
    distinct = list(dict.fromkeys(level for level in levels if level is not None))
    codes = [-1 if level is None else distinct.index(level) for level in levels]
    new_codes = np.append(np.array(codes, dtype=np.intp), -1)[column.cat.codes.to_numpy()]
    dtype = pd.CategoricalDtype(pd.Index(distinct, dtype=object), ordered=column.cat.ordered)
    return pd.Series(
        pd.Categorical.from_codes(new_codes, dtype=dtype), index=column.index, name=column.name
    )
