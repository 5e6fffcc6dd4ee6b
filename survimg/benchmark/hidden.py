"""A run whose patients have numbers in place of identifiers, for reports that leave a site."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from survimg.benchmark.records import Record
from survimg.benchmark.run_folder import Run

__all__ = ["without_identifiers"]


def without_identifiers(run: Run) -> Run:
    """Return a run with ``patient 001`` in place of each identifier, also in texts.

    Parameters
    ----------
    run : Run
        Stays as it is, on disk and in memory.

    Returns
    -------
    Run
        Warnings, errors and settings quote the numbers. (A number in a text that happens to be an
        identifier is taken for one.)
    """
    width = len(str(len(run.ids)))
    identifiers = dict.fromkeys(
        [*run.ids.tolist(), *([] if run.clusters is None else run.clusters)]
    )
    names = {str(name): f"patient {k:0{width}d}" for k, name in enumerate(identifiers, start=1)}
    longest_first = sorted(names, key=len, reverse=True)
    anyone = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])")

    def hidden(value: Any) -> Any:
        if isinstance(value, str):
            return anyone.sub(lambda match: names[match.group()], value)
        if isinstance(value, Mapping):
            return {hidden(key): hidden(item) for key, item in value.items()}
        return [hidden(item) for item in value] if isinstance(value, list | tuple) else value

    def hidden_record(record: Record | None) -> Record | None:
        if record is None:
            return None
        details = dict(record.details)
        for name in ("warnings", "examples"):
            if name in details:
                details[name] = hidden(details[name])
        arrays = {
            name: _named(array, names) if name.endswith("_ids") else array
            for name, array in record.arrays.items()
        }
        return replace(record, error=hidden(record.error), details=details, arrays=arrays)

    texts = {name: hidden(run.plan[name]) for name in ("settings", "caveats", "command")}
    return replace(
        run,
        plan={**run.plan, **texts},
        ids=_named(run.ids, names),
        clusters=None if run.clusters is None else _named(run.clusters, names),
        records={place: hidden_record(record) for place, record in run.records.items()},
    )


def _named(ids: np.ndarray, names: Mapping[str, str]) -> np.ndarray:
    return np.array([names[str(name)] for name in ids])
