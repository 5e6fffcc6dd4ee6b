"""The files of a run, as links and as downloads inside the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from survimg.benchmark.run_folder import Run

__all__ = ["RunFile", "run_files"]

_LARGEST = 200_000
_WORDS = {
    "scores.csv": "one row per model",
    "folds.csv": "one row per model, fold and seed",
    "predictions.parquet": "every prediction of a test patient",
}


@dataclass(frozen=True)
class RunFile:
    """A file beside the page.

    Attributes
    ----------
    name : str
        Path from the page.
    words : str
        What is in it.
    data : str or None
        A data URI with its content, if it is small and names no patient: the page may be sent
        alone.
    """

    name: str
    words: str
    data: str | None


def run_files(run: Run, tables: Sequence[Path]) -> list[RunFile]:
    """List the tables of a run.

    Parameters
    ----------
    run : Run
    tables : sequence of Path
        Of the folder ``tables``.

    Returns
    -------
    list of RunFile
    """
    files = [
        RunFile(name, words, _embedded(run.folder / name) if name.endswith(".csv") else None)
        for name, words in _WORDS.items()
    ]
    return files + [RunFile(f"tables/{path.name}", "", None) for path in sorted(tables)]


def _embedded(path: Path) -> str | None:
    content = path.read_bytes()
    if len(content) > _LARGEST:
        return None
    return f"data:text/csv;base64,{base64.b64encode(content).decode()}"
