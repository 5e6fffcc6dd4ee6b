"""Every prediction of a run as one table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from survimg.benchmark.run_folder import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["csv_text", "prediction_table", "predictions_as_parquet"]


def prediction_table(run: Run) -> pd.DataFrame:
    """Put the out-of-fold risks of all models into one table.

    Parameters
    ----------
    run : Run

    Returns
    -------
    DataFrame
        One row per model, fold, seed and test patient: ``model``, ``repeat`` and ``fold`` (from 1;
        folds are counted through the repeats, as in ``folds.csv``), ``seed``, ``patient_id``,
        ``cluster`` (the patient, if patients have several images) and ``group`` (centre) if the run
        has them, ``event``, ``time``, ``risk`` (higher = earlier event; comparable within
        a fold). Of labels ``event`` says who has it, and there is no ``time``. Models that failed
        or only segment have no rows.
    """
    import pandas as pd

    return pd.DataFrame(_columns(run))


def predictions_as_parquet(run: Run) -> bytes:
    """Bytes of a Parquet file with the `prediction_table`."""
    # By way of CSV, in which a number has all its digits: pyarrow's other constructors load pandas.
    from pyarrow import bool_, float64, int64, parquet, string
    from pyarrow.csv import ConvertOptions, ParseOptions, read_csv

    columns = _columns(run)
    types = {"i": int64(), "b": bool_(), "f": float64(), "U": string()}
    # Text in quotes, which keep a carriage return in a name.
    table = read_csv(
        io.BytesIO(csv_text(columns, quotes=True).encode()),
        parse_options=ParseOptions(newlines_in_values=True),
        convert_options=ConvertOptions(
            column_types={name: types[values.dtype.kind] for name, values in columns.items()}
        ),
    )
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def csv_text(columns: Mapping[str, Iterable[object]], *, quotes: bool = False) -> str:
    """Lay out columns as comma-separated values; None and NaN are empty cells."""
    text = io.StringIO()
    writer = csv.writer(
        text, quoting=csv.QUOTE_NONNUMERIC if quotes else csv.QUOTE_MINIMAL, lineterminator="\n"
    )
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow(["" if _is_missing(cell) else cell for cell in row])
    return text.getvalue()


def _is_missing(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _columns(run: Run) -> dict[str, np.ndarray]:
    records = [
        (place, record)
        for place, record in run.records.items()
        if record is not None and record.has_risk
    ]
    position = {name: i for i, name in enumerate(run.ids.tolist())}
    names = [name for _, record in records for name in record.arrays["test_ids"].tolist()]
    rows = np.array([position[name] for name in names], dtype=np.intp)
    sizes = [record.arrays["test_ids"].size for _, record in records]
    repeat_of = {fold: k + 1 for k, folds in enumerate(run.repeats) for fold in folds}

    def per_patient(values: list[int] | list[str], kind: type) -> np.ndarray:
        return np.repeat(np.array(values, dtype=kind), sizes)

    columns = {
        "model": per_patient([model for (model, _, _), _ in records], str),
        "repeat": per_patient([repeat_of[fold] for (_, fold, _), _ in records], np.int64),
        "fold": per_patient([fold + 1 for (_, fold, _), _ in records], np.int64),
        "seed": per_patient([seed for (_, _, seed), _ in records], np.int64),
        "patient_id": run.ids[rows],
    }
    if run.clusters is not None:
        columns["cluster"] = run.clusters[rows]
    if run.groups is not None:
        columns["group"] = run.groups[rows]
    columns["event"] = run.outcome["event"][rows]
    if run.label is None:
        columns["time"] = run.outcome["time"][rows]
    risks = [record.arrays["test_risk"] for _, record in records]
    columns["risk"] = np.concatenate([np.zeros(0), *risks])
    return columns
