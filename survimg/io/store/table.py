"""The table of a prepared cohort: one row per patient, types kept across the CSV."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from survimg.io.patients import PatientTable
from survimg.target import make_outcome

__all__ = ["read_table", "table_frame"]

CLINICAL = "clinical:"


def table_frame(table: PatientTable) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """Lay a table out as the columns of ``table.csv``.

    Parameters
    ----------
    table : PatientTable

    Returns
    -------
    frame : DataFrame
    dtypes : dict
        Per clinical column its type: ``{"dtype": name}``, for a categorical column also
        ``categories`` and ``ordered``. JSON-serialisable.

    Raises
    ------
    ValueError
        A clinical column of a type that cannot be stored.
    """
    columns: dict[str, Any] = {"patient_id": table.ids}
    if table.outcome is not None:
        event, time = (table.outcome[name] for name in table.outcome.dtype.names or ())
        columns["event"], columns["time"] = event.astype(int), time.astype(np.float64)
    if table.groups is not None:
        columns["group"] = table.groups
    columns["has_mask"] = table.has_mask.astype(int)
    for c, name in enumerate(table.channel_names):
        columns[f"present_{name}"] = table.present[:, c].astype(int)
    dtypes: dict[str, dict[str, Any]] = {}
    if table.clinical is not None:
        for name in table.clinical.columns:
            column = table.clinical[name]
            dtypes[str(name)] = _dtype_entry(column)
            columns[f"{CLINICAL}{name}"] = column
    return pd.DataFrame(columns), dtypes


def read_table(
    path: Path,
    n: int,
    channel_names: Sequence[str],
    clinical_dtypes: dict[str, dict[str, Any]],
    sha256: str | None,
) -> dict[str, Any]:
    """Read ``table.csv``.

    Parameters
    ----------
    path : Path
    n : int
        Number of rows it must have.
    channel_names : sequence of str
    clinical_dtypes : dict
        As returned by `table_frame`.
    sha256 : str or None
        Of the bytes that were written; None in cohorts of survimg's first days.

    Returns
    -------
    dict
        Parts of a `PatientTable`.

    Raises
    ------
    ValueError
        Missing, changed, unreadable, of another length, or columns missing or of another type.
    """
    try:
        content = path.read_bytes()
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError(
                "its checksum does not hold. To change values, change the manifest, and prepare "
                "the cohort again"
            )
        # as text first: "007" is a name, and only an empty cell is a missing value
        text = io.BytesIO(content)
        frame = pd.read_csv(text, dtype=str, keep_default_na=False, na_values=[""])
        if len(frame) != n:
            raise ValueError(f"it has {len(frame)} rows instead of {n}")
        outcome = None
        if "event" in frame:
            outcome = make_outcome(frame["event"].astype(int), frame["time"].astype(float))
        return {
            "ids": _names(frame["patient_id"]),
            "outcome": outcome,
            "groups": frame["group"].to_numpy(dtype=object) if "group" in frame else None,
            "has_mask": _flags(frame["has_mask"]),
            "present": np.stack([_flags(frame[f"present_{n}"]) for n in channel_names], axis=1),
            "clinical": _read_clinical(frame, clinical_dtypes),
        }
    except FileNotFoundError:
        raise ValueError(f"{path} is missing.") from None
    except KeyError as error:
        raise ValueError(f"{path} is damaged: there is no column {error}.") from None
    except (ValueError, TypeError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} is damaged: {error}.") from None


def _dtype_entry(column: pd.Series) -> dict[str, Any]:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = dtype.categories
        return {
            "dtype": "category",
            "categories": categories.tolist(),
            "categories_dtype": _scalar_dtype(categories.dtype, column.name),
            "ordered": bool(dtype.ordered),
        }
    return {"dtype": _scalar_dtype(dtype, column.name)}


def _scalar_dtype(dtype: Any, name: Any) -> str:
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        return str(dtype)
    if pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
        return "object"
    raise ValueError(
        f"The clinical column {name!r} has type {dtype}; numbers, true/false, text and categories "
        "can be stored. Convert it (a date, for instance, to an age or a duration)."
    )


def _read_clinical(
    frame: pd.DataFrame, dtypes: dict[str, dict[str, Any]]
) -> pd.DataFrame | None:
    if not dtypes:
        return None
    columns = {}
    for name, entry in dtypes.items():
        text = frame[f"{CLINICAL}{name}"].astype(object)
        if entry["dtype"] == "category":
            categories = pd.Index(entry["categories"], dtype=entry["categories_dtype"])
            values = _parse(text, entry["categories_dtype"])
            columns[name] = pd.Series(
                pd.Categorical(values, categories=categories, ordered=entry["ordered"])
            )
        else:
            columns[name] = _parse(text, entry["dtype"])
    return pd.DataFrame(columns)


def _parse(text: pd.Series, dtype: str) -> pd.Series:
    if dtype == "object":
        return text
    if dtype.lower().startswith("bool"):
        values: Any = text.map({"True": True, "False": False})
    elif dtype.lower().startswith("float"):
        values = text.astype(float)
    elif text.isna().any() and dtype.startswith(("int", "uint")):
        raise ValueError(f"empty cells in the whole-number column {text.name!r}")
    else:
        values = pd.Series([pd.NA if pd.isna(cell) else int(cell) for cell in text], dtype=object)
    return pd.Series(values.array, dtype=pd.api.types.pandas_dtype(dtype))


def _names(column: pd.Series) -> np.ndarray:
    if column.isna().any():
        raise ValueError(f"empty cells in column {column.name!r}")
    return column.to_numpy(dtype=object)


def _flags(column: pd.Series) -> np.ndarray:
    if not column.isin(["0", "1"]).all():
        raise ValueError(f"column {column.name!r} holds something other than 0 and 1")
    return (column == "1").to_numpy()
