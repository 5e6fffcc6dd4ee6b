"""Every prediction of a run as one table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from survimg.benchmark.run_folder import Run
from survimg.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["prediction_table", "write_parquet"]

_COLUMNS = (
    "model", "repeat", "fold", "seed", "patient_id", "cluster", "group", "event", "time", "risk",
)


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
        a fold). Models that failed or only segment have no rows.
    """
    import pandas as pd  # loads for half a second

    position = {name: i for i, name in enumerate(run.ids.tolist())}
    repeat_of = {fold: k + 1 for k, folds in enumerate(run.repeats) for fold in folds}
    parts = []
    for (model, fold, seed), record in run.records.items():
        if record is None or not record.has_risk:
            continue
        rows = np.array([position[name] for name in record.arrays["test_ids"].tolist()])
        columns: dict[str, object] = {
            "model": model,
            "repeat": repeat_of[fold],
            "fold": fold + 1,
            "seed": seed,
            "patient_id": run.ids[rows],
            "event": run.outcome["event"][rows],
            "time": run.outcome["time"][rows],
            "risk": record.arrays["test_risk"],
        }
        if run.clusters is not None:
            columns["cluster"] = run.clusters[rows]
        if run.groups is not None:
            columns["group"] = run.groups[rows]
        parts.append(pd.DataFrame(columns))
    optional = {"cluster": run.clusters, "group": run.groups}
    order = [name for name in _COLUMNS if optional.get(name, name) is not None]
    if not parts:
        return pd.DataFrame(columns=order)
    return pd.concat(parts, ignore_index=True)[order]


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table in one step."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomically(path, buffer.getvalue())
