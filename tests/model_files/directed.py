"""Every numeric attribute of every class that a model file may hold, changed one at a time.

Each changed model is put together and used in another process, whose unused memory holds a pattern
(run it with ``MALLOC_PERTURB_`` set; what NumPy keeps of small arrays gets the same pattern): what
compiled code does with a wrong number shows as a crash, or as an answer that depends on it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import pickle
import re
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from survimg.model_files import ModelFileError
from survimg.model_files.classes import Classes
from survimg.model_files.decoding import Decoder
from survimg.model_files.encoding import Encoder

METHODS = (
    "predict", "predict_proba", "transform", "inverse_transform", "decision_path", "apply",
    "predict_survival_function", "predict_cumulative_hazard_function", "get_support", "split",
    "__call__",
)  # fmt: skip
#: Of CPU, and of the clock (on a machine with other work): what takes longer hangs.
_SECONDS, _WAITING = 20, 600


class Change(NamedTuple):
    """One change: where, what, and the content of the changed file."""

    place: str
    what: str
    content: dict[str, Any]
    arrays: dict[str, np.ndarray]
    tensors: dict[str, Any]


def taken_apart(model: Any, classes: Classes) -> Encoder:
    """Encode a model; its content is that of `content`."""
    encoder = Encoder(classes)
    encoder.root = encoder.encode(model, "model")  # type: ignore[attr-defined]
    return encoder


def content(encoder: Encoder) -> dict[str, Any]:
    return {"objects": encoder.objects, "model": encoder.root}  # type: ignore[attr-defined]


def changes(encoder: Encoder) -> Iterator[Change]:
    """Draw every change of every number in a model."""
    whole = content(encoder)
    for k, node in enumerate(encoder.objects):
        name = str(node.get("class", node["is"]))
        for part in ("attributes", "parameters", "parts", "items"):
            if part in node:
                for path, value in _numbers(node[part], (part,)):
                    for what, new in _other_numbers(value):
                        yield Change(
                            f"{name}.{'.'.join(map(str, path[1:]))}", what,
                            _replaced(whole, ("objects", k, *path), new), encoder.arrays,
                            encoder.tensors,
                        )  # fmt: skip
    owners = _owners(encoder)
    for name, array in encoder.arrays.items():
        for what, new in _other_arrays(array):
            arrays = {**encoder.arrays, name: new}
            yield Change(owners.get(name, name), what, whole, arrays, encoder.tensors)
    yield from _changes_of_tensors(encoder)


def _changes_of_tensors(encoder: Encoder) -> Iterator[Change]:
    """Change three tensors of each network: the first, one in the middle, the last."""
    for node in encoder.objects:
        names = [name for name in encoder.tensors if name.startswith(f"{node.get('network')}.")]
        places = (0, len(names) // 2, -1) if names else ()
        for name in dict.fromkeys(names[k] for k in places):  # in this order in every process
            for what, new in _other_tensors(encoder.tensors[name]):
                tensors = {**encoder.tensors, name: new}
                place = f"{node['class']}, a tensor"
                yield Change(place, what, content(encoder), encoder.arrays, tensors)


def outcomes(
    all_changes: Iterable[Change], classes: Classes, use: Callable[[Any], Any], expected: str
) -> Iterator[tuple[Change, str, str]]:
    """Put each changed model together and use it, in children: what came of it, and details.

    A child goes on from change to change until one kills it; the next child begins after that one.
    """
    waiting = list(all_changes)
    while waiting:
        told = _told_by_child(waiting, classes, use, expected)
        yield from ((change, *answer) for change, answer in zip(waiting, told, strict=False))
        waiting = waiting[len(told) :]


def _told_by_child(
    waiting: Sequence[Change], classes: Classes, use: Callable[[Any], Any], expected: str
) -> list[tuple[str, str]]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        for change in waiting:
            signal.setitimer(signal.ITIMER_PROF, _SECONDS)
            signal.alarm(_WAITING)
            told = json.dumps(_tried(change, classes, use, expected)) + "\n"
            os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = [tuple(json.loads(line)) for line in pipe.read().splitlines()]
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        told.append(("crash", signal.Signals(os.WTERMSIG(status)).name))
    return told


def _tried(
    change: Change, classes: Classes, use: Callable[[Any], Any], expected: str
) -> tuple[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = Decoder(classes, change.arrays, change.tensors, None).decode(change.content)
        except ModelFileError as error:
            # without addresses, which differ between processes
            return "refused", re.sub("0x[0-9a-f]+", "0x", str(error))[:150]
        except Exception as error:
            return "not refused by name", f"{type(error).__name__}: {error}"[:300]
        try:
            _fill_small_blocks()
            answer = digest(use(model))
        except Exception as error:
            return "raises in use", f"{type(error).__name__}: {error}"[:300]
    return ("equal", "") if answer == expected else ("differs", answer)


def _fill_small_blocks() -> None:
    """Fill what NumPy keeps of freed arrays below 1 KiB, seven of each size, which it reuses."""
    if pattern := int(os.environ.get("MALLOC_PERTURB_", "0")):
        _ = [np.full(size, pattern, np.uint8) for size in range(8, 1024, 8) for _ in range(7)]


def answers(model: Any, X: Any) -> dict[str, Any]:
    """Everything that a fitted model says of `X`, or of what it made of `X`."""
    told: dict[str, Any] = {}
    for method in METHODS:
        if hasattr(model, method):
            argument = told.get("transform", X) if method == "inverse_transform" else X
            arguments = () if method == "get_support" else (argument,)
            answer = getattr(model, method)(*arguments)
            told[method] = list(answer) if method == "split" else answer
    return told


def digest(value: Any) -> str:
    """Tell values apart: equal numbers and shapes, equal digest."""
    total = hashlib.sha256()
    _add(total, value)
    return total.hexdigest()[:16]


def _add(total: Any, value: Any) -> None:
    if hasattr(value, "toarray"):
        value = value.toarray()
    if isinstance(value, Mapping):
        for key, each in value.items():
            total.update(str(key).encode())
            _add(total, each)
    elif isinstance(value, list | tuple) or (
        isinstance(value, np.ndarray) and value.dtype == object
    ):
        for each in value:
            _add(total, each)
    elif hasattr(value, "x") and hasattr(value, "y"):  # a step function
        _add(total, (value.x, value.y))
    else:
        array = np.asarray(value)
        total.update(str((array.dtype.kind, array.shape)).encode())
        total.update(array.tobytes() if array.dtype.kind not in "O" else pickle.dumps(array))


# ---------------------------------------------------------------- where numbers are


def _numbers(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, bool | int | float):
        yield path, value
    elif isinstance(value, list):
        for k, item in enumerate(value[:3]):
            yield from _numbers(item, (*path, k))
    elif isinstance(value, dict) and "ref" not in value:
        for key, item in value.items():
            yield from _numbers(item, (*path, key))


def _replaced(whole: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = copy.copy(whole)
    changed[path[0]] = _replaced(whole[path[0]], path[1:], new)
    return changed


def _other_numbers(value: Any) -> Iterator[tuple[str, Any]]:
    for what, new in (
        ("0", 0), ("-1", -1), ("2^31", 2**31), ("one more", value + 1), ("one less", value - 1),
        ("NaN", {"float": "nan"}), ("text", "1"), ("None", None), ("float", float(value) + 0.5),
    ):  # fmt: skip
        if not (type(new) is type(value) and new == value):
            yield what, new


def _owners(encoder: Encoder) -> dict[str, str]:
    """Name each array by the attribute that holds it."""
    arrays = {k: node["name"] for k, node in enumerate(encoder.objects) if node["is"] == "array"}
    owners: dict[str, str] = {}
    for node in encoder.objects:
        name = str(node.get("class", node["is"]))
        for part in ("attributes", "parameters", "parts", "items"):
            for path, k in _references(node.get(part), ()):
                if k in arrays:
                    owners.setdefault(arrays[k], f"{name}.{'.'.join(map(str, path))}")
    return owners


def _references(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], int]]:
    if isinstance(value, list):
        for k, item in enumerate(value):
            yield from _references(item, (*path, k))
    elif isinstance(value, dict):
        if isinstance(value.get("ref"), int):
            yield path, value["ref"]
        for key, item in value.items():
            yield from _references(item, (*path, key))


def _other_arrays(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for name in array.dtype.names or ():
        for what, column in _other_values(array[name].copy()):
            changed = array.copy()
            changed[name] = column
            yield f"{name} {what}", changed
    if array.dtype.kind in "biuf":
        yield from _other_values(array)
        for dtype in ("f4", "f8", "i4", "i8", "?", ">f8"):
            if array.dtype != np.dtype(dtype):
                with np.errstate(all="ignore"):
                    yield f"dtype {dtype}", array.astype(dtype)
    yield from _shapes(array)


def _other_values(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for number in (0, -1, 2**31, 10**7, math.nan, math.inf):
        if array.size and _fits(number, array.dtype):
            for what, where in (("all", slice(None)), ("first", 0), ("last", -1)):
                changed = array.copy().reshape(-1)
                changed[where] = number
                yield f"{what} {number}", changed.reshape(array.shape)
    if array.dtype.kind in "iuf":
        with np.errstate(all="ignore"):
            yield "one more", (array + 1).astype(array.dtype)
            yield "one less", (array - 1).astype(array.dtype)
    yield "backwards", array.reshape(-1)[::-1].reshape(array.shape)


def _shapes(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield "empty", array[:0]
    if array.ndim:
        yield "shorter", array[:-1]
        yield "longer", np.concatenate([array, array[-1:]])
        yield "much longer", np.concatenate([array] * 50)
    yield "an axis more", array[None]
    if array.ndim > 1:
        yield "flat", array.reshape(-1)
        yield "narrower", array[:, :-1]
        yield "transposed", array.T.copy()


def _other_tensors(tensor: Any) -> Iterator[tuple[str, Any]]:
    for number in (0, -1, 2**31, math.nan):
        yield f"all {number}", (tensor.double() * 0 + number).to(tensor.dtype)
    yield "float64", tensor.double()
    yield "int64", tensor.long()
    yield "empty", tensor[:0] if tensor.ndim else tensor[None][:0]
    yield "an axis more", tensor[None]
    yield "longer", tensor.repeat([2] * max(tensor.ndim, 1))
    yield "flat", tensor.reshape(-1)


def _fits(number: float, dtype: np.dtype) -> bool:
    if dtype.kind == "f":
        return True
    if dtype.kind == "b":
        return number in (0, -1)
    return math.isfinite(number) and np.iinfo(dtype).min <= number <= np.iinfo(dtype).max
