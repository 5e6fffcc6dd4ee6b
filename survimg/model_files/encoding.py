"""From a fitted estimator to JSON values, arrays and tensors: a walk over its state.

The walk knows a closed set of types. Whatever else it meets is refused by its place in the
estimator, so that a model file never holds less than the model.

JSON values stand for themselves (None, bool, int, finite float, str, list), or are an object with
one key: ``tuple``, ``dict`` (pairs), ``slice``, ``float`` (``"nan"``, ``"inf"``, ``"-inf"``),
``scalar`` (NumPy: type and value), ``dtype``, ``type``, ``class`` (the label of a network's class
that the caller trusts), ``loss`` (that of a loss without a state), ``path``, or ``ref``, the
position of an object in the table of objects. An object stands behind all that it refers to, so
that a file cannot describe a cycle, and objects that are shared stay shared.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import UserList
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from survimg.model_files.classes import Classes, may_be_attribute
from survimg.model_files.errors import ModelFileError
from survimg.model_files.networks import describe_network, has_network
from survimg.model_files.requests import encode_requests
from survimg.model_files.trees import Tree, take_apart

__all__ = ["LEFT_OUT", "MAX_DEPTH", "TYPES", "Encoder"]

#: Parameters that name folders of the machine a model was trained on. They are None in a model
#: file: a path says who trained it and where, and a loaded model must not read caches from a place
#: that a file names.
LEFT_OUT = frozenset({"memory", "checkpoint_folder"})

#: Parameters that may be code, which only a training needs, and what they are in a model file then.
CODE_OF_TRAINING: Mapping[str, Any] = {
    "augmentation": None, "callbacks": None, "schedule": "constant",
}  # fmt: skip

#: Types that a parameter such as ``dtype`` may be.
TYPES: Mapping[str, type] = {
    "bool": bool, "float": float, "int": int, "object": object, "str": str,
    **{f"numpy.{kind.__name__}": kind for kind in (
        np.bool_, np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64,
        np.str_, np.uint8, np.uint16, np.uint32, np.uint64,
    )},
}  # fmt: skip

#: Lists in lists, and no deeper.
MAX_DEPTH = 60

# Fitted attributes, and what the manifest calls them.
_TRAINED_ON = {
    "channel_names_in_": "channels",
    "clinical_names_in_": "clinical_columns",
    "columns_": "clinical_columns",
    "preparation_in_": "preparation",
    "volume_shape_in_": "volume_shape",
}

_SCALAR_KINDS = "biufU"
_ARRAY_KINDS = "biufcSUV"
_TEXT_DTYPES = ("str", "string")


@dataclass
class Encoder:
    """Take an estimator apart.

    Parameters
    ----------
    classes : Classes
        Classes that may occur.

    Attributes
    ----------
    objects : list of dict
        The table of objects.
    arrays : dict of ndarray
    tensors : dict of Tensor
    labels : set of str
        Labels of the classes that occurred.
    trained_on : dict
        What the fitted attributes say of the training data, for readers of the manifest.
    """

    classes: Classes
    objects: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    trained_on: dict[str, Any] = field(default_factory=dict)
    _seen: dict[int, int | None] = field(default_factory=dict)
    _alive: list[Any] = field(default_factory=list)

    def encode(self, value: Any, place: str, depth: int = 0) -> Any:
        """Return the JSON value for `value`.

        Parameters
        ----------
        value : object
        place : str
            Where it is in the estimator, for messages.
        depth : int, default=0
            How many containers it is in.

        Raises
        ------
        ModelFileError
            It, or something in it, is of a type that a model file does not hold.
        """
        if depth > MAX_DEPTH:
            raise ModelFileError(f"{place} lies more than {MAX_DEPTH} containers deep.")
        if isinstance(value, UserList) and type(value).__module__.startswith("sklearn."):
            value = value.data  # of scikit-learn's ColumnTransformer before 1.9
        if value is None or type(value) in (bool, int, str):
            return value
        for kind, encode in self._values.items():
            if type(value) is kind:
                return encode(value, place, depth)
        # Of these, subclasses too: each NumPy type has a class of its own, as each system's paths.
        if isinstance(value, np.generic):
            return self._scalar(value, place)
        if isinstance(value, np.dtype):
            return {"dtype": self._dtype(value, place)}
        if callable(value) and (node := self._class(value, place)) is not None:
            return node
        return {"path": str(value)} if isinstance(value, Path) else self._object(value, place)

    @property
    def _values(self) -> dict[type, Callable[[Any, str, int], Any]]:
        return {
            float: self._float,
            list: self._items,
            tuple: lambda value, place, depth: {"tuple": self._items(value, place, depth)},
            dict: self._dict,
            slice: self._slice,
        }

    @staticmethod
    def _float(value: float, _place: str, _depth: int) -> Any:
        return value if math.isfinite(value) else {"float": repr(value)}

    def _dict(self, value: dict[Any, Any], place: str, depth: int) -> dict[str, Any]:
        pairs = [
            [
                self.encode(key, f"a key of {place}", depth + 1),
                self.encode(item, f"{place}[{key!r}]", depth + 1),
            ]
            for key, item in value.items()
        ]
        return {"dict": pairs}

    def _slice(self, value: slice, place: str, depth: int) -> dict[str, Any]:
        return {"slice": self._items((value.start, value.stop, value.step), place, depth)}

    def _items(self, values: Any, place: str, depth: int) -> list[Any]:
        return [self.encode(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(values)]

    def _scalar(self, value: np.generic, place: str) -> dict[str, Any]:
        if value.dtype.kind not in _SCALAR_KINDS or isinstance(value, np.longdouble):
            raise self._refusal(value, place)
        return {"scalar": [value.dtype.str, self.encode(value.item(), place)]}

    def _dtype(self, value: np.dtype, place: str) -> str:
        if (value.hasobject and value != np.dtype(object)) or value.names is not None:
            raise self._refusal(value, place)
        return value.str

    def _class(self, value: Any, place: str) -> dict[str, str] | None:
        """Return a class or function that parameters may hold; None for other callable objects."""
        if (label := self.classes.label_of_value(value)) is not None:
            self.labels.add(label)
            return {"class": label}
        if (label := self.classes.label_of_loss(value)) is not None:
            self.labels.add(label)
            return {"loss": label}
        if not isinstance(value, type):
            return None
        for name, kind in TYPES.items():
            if value is kind:
                return {"type": name}
        raise ModelFileError(
            f"{place} is the class {value.__qualname__}, not an object of it. If it is the class "
            "of a network, pass it: survimg.save(..., trusted=[...]), and the same to survimg.load."
        )

    # ------------------------------------------------------------------ objects

    def _object(self, value: Any, place: str) -> dict[str, int]:
        if id(value) not in self._seen:
            # Alive to the end: the id of an object that is gone may be another's.
            self._alive.append(value)
            self._seen[id(value)] = None
            node = self._node(value, place)
            self._seen[id(value)] = len(self.objects)
            self.objects.append(node)
        position = self._seen[id(value)]
        if position is None:
            raise ModelFileError(f"{place} contains itself; a model file holds no cycles.")
        return {"ref": position}

    def _node(self, value: Any, place: str) -> dict[str, Any]:
        for kind, encode in self._kinds.items():
            if type(value) is kind:
                return encode(value, place)
        label = self.classes.label_of(type(value))
        if label is None or isinstance(value, nn.Module):
            raise self._refusal(value, place)
        self.labels.add(label)
        return self._instance(value, label, place)

    @property
    def _kinds(self) -> dict[type, Callable[[Any, str], dict[str, Any]]]:
        return {
            np.ndarray: self._array,
            np.memmap: self._array,
            Tensor: self._tensor,
            Tree: self._tree,
            np.random.RandomState: self._random_state,
            pd.Index: self._index,
            pd.RangeIndex: self._range_index,
            pd.Series: self._series,
            pd.DataFrame: self._frame,
        }

    def _instance(self, value: Any, label: str, place: str) -> dict[str, Any]:
        attributes = dict(vars(value))
        # For fits to come: progress bars and the like; how long a solver took.
        for name in ("_skl_callbacks", "optimizer_result_"):
            attributes.pop(name, None)
        node: dict[str, Any] = {"is": "instance", "class": label}
        if isinstance(value, BaseEstimator):
            names = [name for name in value._get_param_names() if name in attributes]
            parameters = {name: attributes.pop(name) for name in names}
            parameters |= dict.fromkeys(LEFT_OUT & set(parameters))
            parameters |= _without_folders(parameters)
            self._leave_code_of_training(parameters, place)
            node["parameters"] = self._named(parameters, place)
            node |= encode_requests(attributes)
        if has_network(value):
            del attributes["net_"]
            prefix = f"net{len(self.objects)}"
            node["network"] = prefix
            states = describe_network(value, place)
            self.tensors |= {f"{prefix}.{name}": state for name, state in states.items()}
        for name in attributes:
            if not may_be_attribute(type(value), name):
                raise ModelFileError(
                    f"{place}.{name} hides what its class calls {name}, which a loaded model must "
                    "not do; give the attribute another name."
                )
        node["attributes"] = self._named(attributes, place)
        for name, key in _TRAINED_ON.items():
            if attributes.get(name) is not None:
                self.trained_on.setdefault(key, attributes[name])
        return node

    @staticmethod
    def _leave_code_of_training(parameters: dict[str, Any], place: str) -> None:
        """Replace what only a training needs, and is code, by what does without it."""
        code = [
            name for name in CODE_OF_TRAINING
            if parameters.get(name) is not None and not isinstance(parameters[name], str)
        ]  # fmt: skip
        if code:
            warnings.warn(
                f"A model file holds no code: {place} is saved without its {', '.join(code)}. It "
                "predicts the same; set them again before you fit it again.",
                UserWarning,
                stacklevel=2,
            )
            parameters |= {name: CODE_OF_TRAINING[name] for name in code}

    def _named(self, values: Mapping[str, Any], place: str) -> dict[str, Any]:
        return {name: self.encode(value, f"{place}.{name}") for name, value in values.items()}

    def _array(self, value: np.ndarray, place: str) -> dict[str, Any]:
        if value.dtype.kind == "O":
            items = self._items(value.ravel().tolist(), place, 0)
            return {"is": "object array", "shape": list(value.shape), "items": items}
        if value.dtype.kind not in _ARRAY_KINDS or value.dtype.hasobject:
            raise self._refusal(value, place)
        return {"is": "array", "name": self._keep(value)}

    def _keep(self, value: np.ndarray) -> str:
        name = f"a{len(self.arrays)}"
        self.arrays[name] = np.asarray(value)
        return name

    def _tensor(self, value: Tensor, place: str) -> dict[str, Any]:
        if value.requires_grad:
            raise ModelFileError(f"{place} is a tensor with a gradient; detach it.")
        name = f"t{len(self.objects)}"
        self.tensors[name] = value
        return {"is": "tensor", "name": name}

    def _tree(self, value: Tree, place: str) -> dict[str, Any]:
        return {"is": "tree", "parts": self._named(take_apart(value), place)}

    def _random_state(self, value: np.random.RandomState, place: str) -> dict[str, Any]:
        state = value.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise self._refusal(value, place)
        state = {**state["state"], "has_gauss": state["has_gauss"], "gauss": state["gauss"]}
        return {"is": "random state", "parts": self._named(state, place)}

    def _index(self, value: pd.Index, place: str) -> dict[str, Any]:
        parts = {"values": self._column(value, place), "name": value.name}
        return {"is": "index", "dtype": str(value.dtype), "parts": self._named(parts, place)}

    def _range_index(self, value: pd.RangeIndex, place: str) -> dict[str, Any]:
        parts = {"bounds": [value.start, value.stop, value.step], "name": value.name}
        return {"is": "range", "parts": self._named(parts, place)}

    def _series(self, value: pd.Series, place: str) -> dict[str, Any]:
        parts = {"values": self._column(value, place), "index": value.index, "name": value.name}
        return {"is": "series", "dtype": str(value.dtype), "parts": self._named(parts, place)}

    def _frame(self, value: pd.DataFrame, place: str) -> dict[str, Any]:
        columns = [value.iloc[:, j].rename(None) for j in range(value.shape[1])]
        parts = {"columns": value.columns, "index": value.index, "data": columns}
        return {"is": "frame", "parts": self._named(parts, place)}

    def _column(self, value: pd.Index | pd.Series, place: str) -> np.ndarray:
        if str(value.dtype) in _TEXT_DTYPES:
            return value.to_numpy(dtype=object)
        if not isinstance(value.dtype, np.dtype):
            raise ModelFileError(
                f"{place} has the pandas type {value.dtype}, which a model file does not hold; "
                "convert it to numbers, booleans or text before fitting."
            )
        return value.to_numpy()

    # ------------------------------------------------------------------ refusals

    def _refusal(self, value: Any, place: str) -> ModelFileError:
        kind = type(value)
        fault = f"{place} is a {kind.__module__}.{kind.__qualname__}"
        if hasattr(value, "best_estimator_") or hasattr(value, "param_grid"):
            return ModelFileError(
                f"{fault}. A search is not a model: save its best_estimator_ instead."
            )
        if isinstance(value, nn.Module):
            return ModelFileError(
                f"{fault}, a network itself. Give net=Net({kind.__name__}, **parameters), which "
                f"can be built again, and trusted=[{kind.__name__}]."
            )
        if callable(value) and not hasattr(value, "get_params"):
            return ModelFileError(
                f"{fault}, which is code, and a model file holds none. Fit without it."
            )
        return ModelFileError(
            f"{fault}, which a model file does not hold. If it is a class of your own whose state "
            "is plain data, pass it: survimg.save(..., trusted=[...]), and the same to "
            "survimg.load."
        )


def _without_folders(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those parameters that name a file of this machine as a model file says them.

    Initial weights keep the name of their file; the settings of radiomics, which a prediction
    needs, their content.
    """
    files = {
        name: parameters[name]
        for name in ("initial_weights", "params")
        if isinstance(parameters.get(name), str | os.PathLike)
    }
    if "initial_weights" in files:
        files["initial_weights"] = Path(files["initial_weights"]).name
    if "params" in files:
        from survimg.radiomics.parameters.parameters import read_parameters

        files["params"] = read_parameters(files["params"]).to_dict()
    return files
