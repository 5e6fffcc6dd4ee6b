"""From JSON values, arrays and tensors to an estimator; the inverse of `encoding`.

Nothing is called but what is named here: classes come from a closed list and are made without
their constructors, and every part is checked before it is used.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from torch import Tensor

from survimg.model_files.classes import Classes, may_be_attribute
from survimg.model_files.encoding import LEFT_OUT, MAX_DEPTH, TYPES
from survimg.model_files.errors import ModelFileError
from survimg.model_files.networks import restore_network
from survimg.model_files.renamed import rename
from survimg.model_files.requests import decode_requests
from survimg.model_files.trees import build_tree
from survimg.model_files.validators import validate

__all__ = ["Decoder"]

_NAMED: Mapping[str, Mapping[str, Any]] = {
    "float": {"nan": math.nan, "inf": math.inf, "-inf": -math.inf},
    "type": TYPES,
}
_SCALAR_KINDS = "biufU"
_MT19937_WORDS = 624
_TEXT_DTYPES = ("str", "string")


class Decoder:
    """Put an estimator together.

    Parameters
    ----------
    classes : Classes
        Classes that may occur.
    arrays : mapping of str to ndarray
    tensors : mapping of str to Tensor
    device : str or None
        See `survimg.model_files.load`.
    """

    def __init__(
        self,
        classes: Classes,
        arrays: Mapping[str, np.ndarray],
        tensors: Mapping[str, Tensor],
        device: str | None,
    ) -> None:
        self.classes = classes
        self.arrays = arrays
        self.tensors = tensors
        self.device = device
        self._objects: list[Any] = []
        self._used: set[str] = set()
        self._makers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "array": self._array,
            "object array": self._object_array,
            "tensor": self._tensor,
            "tree": self._tree,
            "random state": self._random_state,
            "index": self._index,
            "range": self._range_index,
            "series": self._series,
            "frame": self._frame,
            "instance": self._instance,
        }
        self._readers: dict[tuple[str, type], Callable[[Any, int], Any]] = {
            ("ref", int): self._referred,
            ("tuple", list): lambda items, depth: tuple(self._items(items, depth)),
            ("dict", list): self._dict,
            ("slice", list): self._slice,
            ("scalar", list): self._scalar,
            ("dtype", str): lambda text, _depth: _dtype(text),
            ("loss", str): lambda label, _depth: self.classes.make_loss(label),
            ("class", str): lambda label, _depth: self.classes.find_value(label),
            ("path", str): lambda text, _depth: Path(text),
        }

    def decode(self, content: Mapping[str, Any]) -> Any:
        """Return the estimator that the content of ``model.json`` describes.

        Raises
        ------
        ModelFileError
            It describes none.
        """
        nodes = content.get("objects")
        if not isinstance(nodes, list) or set(content) != {"objects", "model"}:
            raise _damaged("it is not a table of objects with a model in it")
        for node in nodes:
            maker = self._makers.get(_text(node.get("is"))) if isinstance(node, dict) else None
            if maker is None:
                raise _damaged(f"object {len(self._objects)} is of an unknown kind")
            self._objects.append(maker(node))
        model = self._value(content["model"])
        unused = sorted({*self.arrays, *self.tensors} - self._used)
        if unused:
            raise _damaged(f"nothing refers to {', '.join(unused[:3])}")
        if not isinstance(model, BaseEstimator):
            raise _damaged(f"it describes a {type(model).__name__}, which is no estimator")
        return model

    # ------------------------------------------------------------------ values

    def _value(self, value: Any, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            raise _damaged(f"values lie more than {MAX_DEPTH} containers deep")
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return self._items(value, depth)
        if isinstance(value, dict) and len(value) == 1:
            ((kind, inner),) = value.items()
            if kind in _NAMED and isinstance(inner, str) and inner in _NAMED[kind]:
                return _NAMED[kind][inner]
            read = self._readers.get((kind, type(inner)))
            if read is not None:
                return read(inner, depth)
        raise _damaged(f"{str(value)[:60]} is no value")

    def _items(self, values: list[Any], depth: int) -> list[Any]:
        return [self._value(item, depth + 1) for item in values]

    def _dict(self, pairs: list[Any], depth: int) -> dict[Any, Any]:
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise _damaged("a dict has no pairs")
        try:
            return dict(self._items(pair, depth) for pair in pairs)
        except TypeError:
            raise _damaged("a key of a dict cannot be one") from None

    def _slice(self, bounds: list[Any], depth: int) -> slice:
        if len(bounds) != 3:
            raise _damaged(f"a slice has {len(bounds)} bounds")
        return slice(*self._items(bounds, depth))

    def _scalar(self, parts: list[Any], depth: int) -> np.generic:
        if len(parts) != 2:
            raise _damaged(f"a number has {len(parts)} parts")
        return _scalar(parts[0], self._value(parts[1], depth + 1))

    def _referred(self, position: int, _depth: int) -> Any:
        # Only to what is there already: objects come in the order in which they are needed.
        if not 0 <= position < len(self._objects):
            raise _damaged(f"object {len(self._objects)} refers to object {position!r}")
        return self._objects[position]

    def _parts(self, node: Mapping[str, Any], *names: str) -> list[Any]:
        parts = node.get("parts")
        if not isinstance(parts, dict) or set(parts) != set(names):
            raise _damaged(f"a {node['is']} lacks some of the parts {list(names)}")
        return [self._value(parts[name]) for name in names]

    # ------------------------------------------------------------------ arrays and tables

    def _array(self, node: Mapping[str, Any]) -> np.ndarray:
        return self.arrays[self._claim(node, self.arrays)]

    def _tensor(self, node: Mapping[str, Any]) -> Tensor:
        return self.tensors[self._claim(node, self.tensors)]

    def _claim(self, node: Mapping[str, Any], among: Mapping[str, Any]) -> str:
        name = _text(node.get("name"))
        if name not in among:
            raise _damaged(f"there is no {node['is']} {name!r}")
        self._used.add(name)
        return name

    def _object_array(self, node: Mapping[str, Any]) -> np.ndarray:
        shape, items = node.get("shape"), self._value(node.get("items"))
        if (
            not isinstance(items, list)
            or not isinstance(shape, list)
            or not all(type(length) is int and 0 <= length <= len(items) for length in shape)
            or len(shape) > 8
            or math.prod(shape) != len(items)
        ):
            raise _damaged("the shape of an array does not fit its items")
        array = np.empty(len(items), dtype=object)
        for i, item in enumerate(items):
            array[i] = item
        return array.reshape(shape)

    def _tree(self, node: Mapping[str, Any]) -> Any:
        names = ("n_features", "n_classes", "n_outputs", "max_depth", "nodes", "values")
        return build_tree(*self._parts(node, *names))

    def _random_state(self, node: Mapping[str, Any]) -> np.random.RandomState:
        key, pos, has_gauss, gauss = self._parts(node, "key", "pos", "has_gauss", "gauss")
        # NumPy does not check: a position beyond the key would read other memory.
        if (
            not isinstance(key, np.ndarray)
            or key.shape != (_MT19937_WORDS,)
            or key.dtype != np.uint32
            or type(pos) is not int
            or not 0 <= pos <= _MT19937_WORDS
            or type(has_gauss) is not int
            or has_gauss not in (0, 1)
            or type(gauss) is not float
        ):
            raise _damaged("the state of a random number generator is invalid")
        state = np.random.RandomState(0)
        state.set_state(("MT19937", key, pos, has_gauss, gauss))
        return state

    def _column(self, node: Mapping[str, Any], values: Any) -> tuple[np.ndarray, Any]:
        """Values and type of a column or an index."""
        if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.names:
            raise _damaged("a column of a table is no array")
        dtype = node.get("dtype")
        if dtype in _TEXT_DTYPES and all(isinstance(v, str | float | None) for v in values):
            return values, dtype
        if dtype != str(values.dtype):
            raise _damaged(f"a column of the type {dtype!r} holds {values.dtype}")
        return values, values.dtype

    def _index(self, node: Mapping[str, Any]) -> pd.Index:
        values, name = self._parts(node, "values", "name")
        values, dtype = self._column(node, values)
        return pd.Index(values, dtype=dtype, name=_hashable(name))

    def _range_index(self, node: Mapping[str, Any]) -> pd.RangeIndex:
        bounds, name = self._parts(node, "bounds", "name")
        whole = isinstance(bounds, list) and len(bounds) == 3
        if not whole or not all(type(b) is int and abs(b) < 2**62 for b in bounds) or not bounds[2]:
            raise _damaged("an index has no bounds")
        return pd.RangeIndex(bounds[0], bounds[1], bounds[2], name=_hashable(name))

    def _series(self, node: Mapping[str, Any]) -> pd.Series:
        values, index, name = self._parts(node, "values", "index", "name")
        values, dtype = self._column(node, values)
        if not isinstance(index, pd.Index) or len(index) != len(values):
            raise _damaged("a column has another length than its index")
        return pd.Series(values, index=index, dtype=dtype, name=_hashable(name))

    def _frame(self, node: Mapping[str, Any]) -> pd.DataFrame:
        columns, index, data = self._parts(node, "columns", "index", "data")
        if (
            not isinstance(columns, pd.Index)
            or not isinstance(index, pd.Index)
            or not isinstance(data, list)
            or len(data) != len(columns)
            or not all(isinstance(c, pd.Series) and len(c) == len(index) for c in data)
        ):
            raise _damaged("the parts of a table do not fit")
        # By position: two indices that are equal need not be alike to pandas (NaN, duplicates).
        frame = pd.DataFrame({j: c.array for j, c in enumerate(data)}, index=index)
        frame.columns = columns
        return frame

    # ------------------------------------------------------------------ instances

    def _instance(self, node: Mapping[str, Any]) -> Any:
        cls: Any = self.classes.find(node.get("class"))
        node = rename(cls, node)
        attributes = self._attributes(cls, node.get("attributes"))
        parameters: dict[str, Any] = {}
        if issubclass(cls, BaseEstimator):
            parameters = self._parameters(cls, node.get("parameters"))
        elif dataclasses.is_dataclass(cls):
            field_names = {each.name for each in dataclasses.fields(cls)}
            if set(attributes) != field_names:
                raise _damaged(f"a {node['class']} has the parts {sorted(attributes)}")
        instance = cls.__new__(cls)
        vars(instance).update(parameters)
        vars(instance).update(attributes)
        if "requests" in node:
            decode_requests(instance, node["requests"])
        validator = self.classes.validator_of(cls)
        if validator is not None:
            validate(instance, attributes, validator)
        if "network" in node:
            self._network(instance, f"{_text(node['network'])}.")
        return instance

    def _parameters(self, cls: Any, encoded: Any) -> dict[str, Any]:
        names = cls._get_param_names()
        if not isinstance(encoded, dict):
            raise _damaged(f"a {cls.__name__} has no parameters")
        if foreign := sorted(set(encoded) - set(names)):
            raise ModelFileError(
                f"The model holds a {cls.__name__} with the parameters {foreign}, which the "
                f"installed version does not have. Use the versions in the manifest."
            )
        for name in LEFT_OUT & set(encoded):
            if encoded[name] is not None:
                raise ModelFileError(
                    f"The model names a folder of this machine ({cls.__name__}.{name} = "
                    f"{str(encoded[name])[:60]}); survimg.save never writes that. Do not use it."
                )
        # A parameter that came after the file was written is what it is by default.
        signature = inspect.signature(cls.__init__).parameters
        later = {
            name: signature[name].default
            for name in names
            if name not in encoded and signature[name].default is not inspect.Parameter.empty
        }
        return {**later, **{name: self._value(value) for name, value in encoded.items()}}

    def _attributes(self, cls: Any, encoded: Any) -> dict[str, Any]:
        if not isinstance(encoded, dict):
            raise _damaged(f"a {cls.__name__} has no attributes")
        parameters = cls._get_param_names() if issubclass(cls, BaseEstimator) else ()
        for name in encoded:
            if not may_be_attribute(cls, name) or name in parameters:
                raise _damaged(f"{name!r} cannot be an attribute of a {cls.__name__}")
        return {name: self._value(value) for name, value in encoded.items()}

    def _network(self, estimator: Any, prefix: str) -> None:
        if not hasattr(type(estimator), "_build_network"):
            raise _damaged(f"a {type(estimator).__name__} has no network")
        names = [name for name in self.tensors if name.startswith(prefix)]
        self._used.update(names)
        states = {name.removeprefix(prefix): self.tensors[name] for name in names}
        restore_network(estimator, states, self.device)


def _damaged(problem: str) -> ModelFileError:
    return ModelFileError(
        f"model.json cannot be used: {problem}. The file is damaged, or was not written by "
        "survimg.save."
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _damaged(f"{str(value)[:60]} stands where a name should")
    return value


def _hashable(name: Any) -> Any:
    if name is None or isinstance(name, bool | int | float | str | np.generic):
        return name
    raise _damaged("the name of a column is invalid")


def _dtype(text: str) -> np.dtype:
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        raise _damaged(f"{text[:60]!r} is no type") from None
    if dtype.names is not None or dtype.subdtype is not None:
        raise _damaged(f"{text[:60]!r} is no simple type")
    return dtype


def _scalar(text: Any, value: Any) -> np.generic:
    dtype = _dtype(_text(text))
    if dtype.kind not in _SCALAR_KINDS or not isinstance(value, bool | int | float | str):
        raise _damaged(f"{str(value)[:60]} is no number of the type {text}")
    if isinstance(value, str) != (dtype.kind == "U"):
        raise _damaged(f"{value!r:.60} is no number of the type {text}")
    try:
        return dtype.type(value)
    except (ValueError, OverflowError, TypeError):
        raise _damaged(f"{str(value)[:60]} is no number of the type {text}") from None
