"""Keys of records: a record is reused if, and only if, its key is the same."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone

from survimg.benchmark.environment import versions
from survimg.files import file_digest, package_digest, source_digest
from survimg.target import check_outcome

__all__ = [
    "code_identity",
    "data_fingerprint",
    "describe",
    "outcome_digest",
    "record_key",
    "seeded_clone",
]

_PACKAGE = Path(__file__).resolve().parents[1]
# Parts of survimg that act before a model is described or after its record is written. All others
# may change a result: estimators share engines, networks, losses and readers.
_NO_RESULT = frozenset({"cli", "report"})
# Parameters that never change a result: printing, number of processes, caches, who looks on.
_WITHOUT_EFFECT = frozenset({"callbacks", "verbose", "n_jobs", "memory"})


def seeded_clone(model: Any, seed: int) -> Any:
    """Clone an estimator and set every ``random_state`` in it, nested ones too.

    Parameters
    ----------
    model : estimator
    seed : int

    Returns
    -------
    estimator
        Unfitted.
    """
    fresh = clone(model)
    names = [
        name
        for name in fresh.get_params(deep=True)
        if name == "random_state" or name.endswith("__random_state")
    ]
    return fresh.set_params(**dict.fromkeys(names, seed)) if names else fresh


def describe(value: Any) -> Any:
    """Describe an estimator or parameter by plain JSON values, completely enough for a key.

    Parameters
    ----------
    value : object
        Estimators are described by class, by the source file that defines the class, by their
        parameters (those without an effect on the result apart) and by the class's defaults of
        those parameters that differ from them; arrays and other objects by a digest.

    Returns
    -------
    dict, list, str, int, float, bool or None
        The same for equal values in any process.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        value = repr(value)  # JSON has neither NaN nor infinity
    if value is None or isinstance(value, bool | int | str | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): describe(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, type) or inspect.isroutine(value):
        return {"name": _qualified_name(value), "source": source_digest(value)}
    if hasattr(value, "get_params"):
        return _describe_estimator(value)
    return {"type": _qualified_name(type(value)), "digest": joblib.hash(value, hash_name="sha1")}


def data_fingerprint(X: Any) -> str:
    """Digest of the content of `X`: its ``fingerprint()``, or a digest of an array or frame."""
    if hasattr(X, "fingerprint"):
        return str(X.fingerprint())
    return str(joblib.hash(X, hash_name="sha1"))


def outcome_digest(
    y: np.ndarray, *, labels: bool = False, sample_weight: np.ndarray | None = None
) -> str:
    """Digest of events and times, or of labels in the form of these, and of the weights."""
    event, time = check_outcome(y)
    kind = b"labels" if labels else b""
    weights = b"" if sample_weight is None else sample_weight.tobytes()
    return hashlib.sha256(event.tobytes() + time.tobytes() + kind + weights).hexdigest()


def record_key(
    description: Any,
    *,
    data: str,
    outcome: str,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    seed: int,
    code: Mapping[str, str],
) -> str:
    """Return the key of a record, 64 hexadecimal digits.

    The key depends on everything that can change a result: model, parameters, patients, split,
    seed, survimg's source, versions of the libraries. The exception is a user's own estimator: the
    key depends on the file that defines its class, but not on files that this file imports.

    Parameters
    ----------
    description : object
        From `describe`, of the seeded estimator.
    data, outcome : str
        From `data_fingerprint` and `outcome_digest`.
    train_ids, test_ids : sequence of str
        Patients of the split, in order.
    seed : int
    code : mapping of str to str
        From `code_identity`.
    """
    parts = [description, data, outcome, list(train_ids), list(test_ids), seed, dict(code)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def code_identity() -> dict[str, str]:
    """Versions of survimg and the libraries, and a digest of survimg's own source."""
    return {**versions(), "source": package_digest(_PACKAGE, _NO_RESULT)}


def _describe_estimator(estimator: Any) -> dict[str, Any]:
    cls = type(estimator)
    parameters = {
        name: _describe_file(item) if name.endswith("weights") else describe(item)
        for name, item in sorted(estimator.get_params(deep=False).items())
        if name not in _WITHOUT_EFFECT
    }
    return {
        "class": _qualified_name(cls),
        "source": source_digest(cls),
        "params": parameters,
        "defaults": _defaults_not_taken(cls, parameters),
    }


def _describe_file(value: Any) -> Any:
    """Describe a file of weights by its content, which may change while its name does not."""
    if isinstance(value, str | os.PathLike) and Path(value).is_file():
        return {"file": str(value), "sha256": file_digest(value)}
    return describe(value)


def _defaults_not_taken(cls: type, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults of the class where the parameters differ from them."""
    declared = inspect.signature(cls).parameters
    defaults = {
        name: describe(declared[name].default)
        for name in parameters
        if name in declared and declared[name].default is not inspect.Parameter.empty
    }
    return {name: value for name, value in defaults.items() if value != parameters[name]}


def _qualified_name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
