"""Cross-validated comparison of survival models, with every prediction kept on disk.

`run_benchmark` fits models and writes one record per model, fold and seed; `read_run` opens what is
on disk; scores and tables are computed from records alone. A model is any scikit-learn estimator
with ``fit(X, y)`` and ``predict(X)``.
"""

from typing import TYPE_CHECKING, Any

from survimg.benchmark.leaderboard import Result, leaderboard
from survimg.benchmark.predictions import prediction_table
from survimg.benchmark.records import Record
from survimg.benchmark.run_folder import Run, read_run
from survimg.benchmark.scores import ModelScore, score_run
from survimg.benchmark.tables import fold_table, score_table, write_tables

if TYPE_CHECKING:
    from survimg.benchmark.compare import compare_models
    from survimg.benchmark.runner import run_benchmark

__all__ = [
    "ModelScore",
    "Record",
    "Result",
    "Run",
    "compare_models",
    "fold_table",
    "leaderboard",
    "prediction_table",
    "read_run",
    "run_benchmark",
    "score_run",
    "score_table",
    "write_tables",
]


def __getattr__(name: str) -> Any:
    # When asked for: they need scikit-learn, which takes longer to load than a run to be read.
    if name == "compare_models":
        from survimg.benchmark.compare import compare_models

        return compare_models
    if name == "run_benchmark":
        from survimg.benchmark.runner import run_benchmark

        return run_benchmark
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
