"""One record per model, fold and seed: predictions, estimator, data, time and memory."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from survimg.benchmark.places import without_places
from survimg.benchmark.storage import read_arrays, read_json, write_arrays
from survimg.files import write_json

__all__ = ["Record", "read_record", "record_path", "write_record"]

FORMAT = 1
_TYPES: dict[str, Any] = {"arrays_sha256": str, "error": dict | None, "details": dict}


@dataclass(frozen=True)
class Record:
    """One model on one fold with one seed; contains no scores.

    Attributes
    ----------
    key : str
        See `survimg.benchmark.identity`.
    model : str
    fold, seed : int
    error : dict or None
        ``type``, ``message`` and ``traceback`` if the model failed; `arrays` is empty then.
    details : dict
        Estimator, data fingerprint, settings of the run, environment, start, seconds, increase in
        memory, warnings, training history (column to values), best parameters of an inner search,
        descriptions of the example slices: plain JSON values.
    arrays : dict of ndarray
        ``test_ids``, ``test_risk``, ``train_ids``, ``train_risk`` (no risks from a model that only
        segments); ``times`` and ``survival``
        (n_test, n_times; NaN beyond a curve's end) if the model has curves; ``dice_ids`` and
        ``dice`` if it segments, and of each such patient ``thumbnail<k>`` (channels, true mask,
        predicted mask; y, x; uint8); ``example<k>_image`` (channels, y, x),
        ``example<k>_truth`` and ``example<k>_predicted`` (y, x).
    """

    key: str
    model: str
    fold: int
    seed: int
    error: dict[str, str] | None = None
    details: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the model raised an error."""
        return self.error is not None

    @property
    def has_risk(self) -> bool:
        """Whether the model ranks patients; one that only segments does not."""
        return "test_risk" in self.arrays


def record_path(folder: Path, model: str, fold: int, seed: int, key: str) -> Path:
    """Path of a record's JSON file; its arrays lie beside it as ``.npz``."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", model)
    return folder / "records" / name / f"fold{fold:02d}-seed{seed}-{key[:16]}.json"


def write_record(folder: Path, record: Record) -> None:
    """Write a record; the JSON, which holds the digest of the arrays, is written last."""
    path = record_path(folder, record.model, record.fold, record.seed, record.key)
    digest = write_arrays(path.with_suffix(".npz"), record.arrays)
    write_json(
        path,
        {
            "format": FORMAT,
            "key": record.key,
            "model": record.model,
            "fold": record.fold,
            "seed": record.seed,
            "error": without_places(record.error),
            "arrays_sha256": digest,
            "details": without_places(record.details),
        },
    )


def read_record(folder: Path, model: str, fold: int, seed: int, key: str) -> Record | None:
    """Read the record with this key; None if it is missing.

    Warns
    -----
    UserWarning
        It is damaged, or another one; it counts as none.
    """
    path = record_path(folder, model, fold, seed, key)
    if not path.exists():
        return None
    try:
        content = read_json(path)
        identity = {"format": FORMAT, "key": key, "model": model, "fold": fold, "seed": seed}
        wrong = [name for name, value in identity.items() if content.get(name) != value]
        if wrong:
            raise ValueError(f"{path} is the record of another {wrong[0]}.")
        for name, allowed in _TYPES.items():
            if not isinstance(content.get(name), allowed):
                raise ValueError(f"{path} has no usable {name}.")
        arrays = read_arrays(path.with_suffix(".npz"), content["arrays_sha256"])
    except (OSError, ValueError) as error:
        warnings.warn(
            f"A damaged record counts as none, and its model is fitted again by the same command: "
            f"{error}",
            UserWarning,
            stacklevel=2,
        )
        return None
    return Record(key, model, fold, seed, content["error"], content["details"], arrays)
