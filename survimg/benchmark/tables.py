"""The tables of a run: scores by model, results by fold, and the files that hold them.

Rows are written without pandas, which takes longer to load than a report takes to be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from survimg.benchmark.predictions import csv_text, predictions_as_parquet
from survimg.benchmark.records import Record
from survimg.benchmark.run_folder import Run
from survimg.benchmark.scores import ModelScore, record_concordance, score_run
from survimg.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fold_table", "score_table", "write_tables"]

Row = dict[str, object]


def score_table(scores: Sequence[ModelScore]) -> pd.DataFrame:
    """One row per model, as in ``scores.csv``. Time and memory are in `fold_table`.

    Of labels the columns that begin with ``c_`` begin with ``auc_``.
    """
    import pandas as pd

    return pd.DataFrame(_score_rows(scores))


def fold_table(run: Run) -> pd.DataFrame:
    """One row per model, fold and seed: status, concordance, Dice, seconds, memory."""
    import pandas as pd

    return pd.DataFrame(_fold_rows(run))


def write_tables(run: Run) -> None:
    """Write the tables of a run into its folder.

    ``scores.csv``: one row per model. ``folds.csv``: one per model, fold and seed.
    ``predictions.parquet``: one per prediction of a test patient, see `prediction_table`.
    """
    for name, rows in (("scores", _score_rows(score_run(run))), ("folds", _fold_rows(run))):
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
        write_atomically(run.folder / f"{name}.csv", csv_text(columns).encode())
    write_atomically(run.folder / "predictions.parquet", predictions_as_parquet(run))


def _score_rows(scores: Sequence[ModelScore]) -> list[Row]:
    places = sorted({place for score in scores for place in score.fold_c})
    rows = []
    for score in scores:
        interval, compared = score.within_folds, score.comparison
        c = score.index.lower()
        row: Row = {
            "model": score.model,
            "folds_done": score.n_done,
            "folds_planned": score.n_planned,
            f"{c}_mean": score.c_mean,
            f"{c}_sd": score.c_sd,
            f"{c}_within_folds": None if interval is None else interval.value,
            f"{c}_lower95": None if interval is None else interval.lower,
            f"{c}_upper95": None if interval is None else interval.upper,
            "interval_contains_0.5": score.contains_chance,
            "difference": None if compared is None else compared.difference,
            "difference_lower95": None if compared is None else compared.lower,
            "difference_upper95": None if compared is None else compared.upper,
            "p_holm": score.p_adjusted,
            "p_holm_folds": score.p_folds_adjusted,
            "dice_mean": float(score.dice.mean()) if score.dice.size else None,
            "dice_sd": float(score.dice.std(ddof=1)) if score.dice.size > 1 else None,
            "dice_patients": score.dice.size,
            "verdict": score.verdict,
        }
        for fold, seed in places:
            row[f"{c}_fold{fold + 1}_seed{seed}"] = score.fold_c.get((fold, seed))
        rows.append(row)
    return rows


def _fold_rows(run: Run) -> list[Row]:
    event = run.outcome["event"]
    rows = []
    for (model, fold, seed), record in run.records.items():
        test = run.folds[fold][1]
        row: Row = {
            "model": model,
            "fold": fold + 1,
            "seed": seed,
            "status": _status(record),
            "test_patients": test.size,
            "test_events": int(event[test].sum()),
        }
        if record is not None and not record.failed:
            if record.has_risk:
                row["c_index" if run.label is None else "auc"] = record_concordance(run, record)
            if record.arrays.get("dice", np.zeros(0)).size:
                row["dice_mean"] = float(record.arrays["dice"].mean())
            row["fit_seconds"] = record.details["fit_seconds"]
            row["predict_seconds"] = record.details["predict_seconds"]
            row["memory_increase_bytes"] = record.details.get("memory_increase_bytes")
        elif record is not None and record.error is not None:
            row["error"] = f"{record.error['type']}: {record.error['message']}"
        rows.append(row)
    return rows


def _status(record: Record | None) -> str:
    if record is None:
        return "missing"
    return "failed" if record.failed else "done"
