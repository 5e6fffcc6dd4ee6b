"""Parameters of the models of a run, from its records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from survimg.benchmark.records import Record
from survimg.benchmark.run_folder import Run

__all__ = ["ModelParameters", "Parameter", "in_words", "model_parameters"]

# Names under which estimators, ours and others', take the length of their training.
_TRAINING_LENGTH = frozenset({"n_iterations", "max_epochs", "n_epochs"})


@dataclass(frozen=True)
class Parameter:
    """One parameter of an estimator.

    Attributes
    ----------
    name : str
        As in scikit-learn's ``set_params``: ``step__parameter`` inside a pipeline.
    value, default : object
        JSON values of `survimg.benchmark.identity.describe`; `default` is that of the class.
    estimator : str
        Class that takes it, which may be inside another one.
    changed : bool
        Whether the two differ; False if the default was not recorded.
    """

    name: str
    value: Any
    estimator: str
    default: Any = None
    changed: bool = False

    @property
    def text(self) -> str:
        """Name, value and, if it differs, the default."""
        text = f"{self.name} = {in_words(self.value)}"
        return f"{text} (default {in_words(self.default)})" if self.changed else text

    @property
    def short_text(self) -> str:
        """`text` without the names of steps."""
        return replace(self, name=self.name.rpartition("__")[2]).text

    @property
    def shortens_training(self) -> bool:
        """Whether it makes the training shorter than by default."""
        return (
            self.changed
            and self.name.rpartition("__")[2] in _TRAINING_LENGTH
            and isinstance(self.value, int)
            and isinstance(self.default, int)
            and self.value < self.default
        )


@dataclass(frozen=True)
class ModelParameters:
    """Parameters of one model.

    Attributes
    ----------
    model, estimator : str
        Name in the run and name of the class.
    parameters : tuple of Parameter
        Those that differ from their defaults first; seeds are left out.
    defaults_known : bool
        Whether the records contain the defaults; those of early versions do not.
    """

    model: str
    estimator: str
    parameters: tuple[Parameter, ...]
    defaults_known: bool

    @property
    def changed(self) -> list[Parameter]:
        """Parameters that differ from their defaults."""
        return [parameter for parameter in self.parameters if parameter.changed]

    @property
    def shortened(self) -> list[Parameter]:
        """Parameters that make the training shorter than by default."""
        return [parameter for parameter in self.parameters if parameter.shortens_training]


def model_parameters(run: Run) -> dict[str, ModelParameters]:
    """Parameters of every model that has a record; its folds share them, seeds apart.

    Parameters
    ----------
    run : Run

    Returns
    -------
    dict of str to ModelParameters
    """
    first: dict[str, Record] = {}
    for (name, _, _), record in run.records.items():
        if record is not None:
            first.setdefault(name, record)
    return {
        name: _of_model(name, first[name].details["estimator"])
        for name in run.models
        if name in first
    }


def in_words(value: Any) -> str:
    """Write a JSON value as text: a list of numbers as ``2 × 3``, a mapping as pairs."""
    if isinstance(value, Mapping):
        if "digest" in value:
            return f"{value['type']} {str(value['digest'])[:8]}"
        if "source" in value:
            return str(value.get("name", value.get("class")))
        return "; ".join(f"{name}: {in_words(item)}" for name, item in value.items())
    if isinstance(value, list):
        numbers = value and all(isinstance(item, int | float) for item in value)
        return (" × " if numbers else ", ").join(in_words(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _of_model(model: str, description: Mapping[str, Any]) -> ModelParameters:
    parameters = [
        parameter
        for parameter in _walk(description, "")
        if parameter.name.rpartition("__")[2] != "random_state"
    ]
    parameters.sort(key=lambda parameter: not parameter.changed)
    defaults_known = "defaults" in description
    return ModelParameters(model, _class_name(description), tuple(parameters), defaults_known)


def _walk(description: Mapping[str, Any], prefix: str) -> Iterator[Parameter]:
    defaults = description.get("defaults", {})
    for name, value in description["params"].items():
        parts = _inner_estimators(name, value)
        if parts:
            for inner, part in parts.items():
                yield from _walk(part, f"{prefix}{inner}__")
        else:
            owner, changed = _class_name(description), name in defaults
            yield Parameter(f"{prefix}{name}", value, owner, defaults.get(name), changed)


def _class_name(description: Mapping[str, Any]) -> str:
    return str(description["class"]).rpartition(".")[2]


def _inner_estimators(name: str, value: Any) -> dict[str, Mapping[str, Any]]:
    """Estimators inside a parameter: one, or named ones as in a pipeline's list of steps."""
    if _is_estimator(value):
        return {name: value}
    if not isinstance(value, list):
        return {}
    return {
        str(item[0]): item[1]
        for item in value
        if isinstance(item, list) and len(item) > 1 and _is_estimator(item[1])
    }


def _is_estimator(value: Any) -> bool:
    return isinstance(value, Mapping) and "class" in value and "params" in value
