"""Parameters of models on the command line: ``--set`` of ``survimg fit`` and ``benchmark``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from survimg.suites import parameter_names

__all__ = ["holds_estimators", "set_parameters", "set_parameters_of_models"]

_WORDS = {"None": None, "True": True, "False": False}


def set_parameters(model: Any, name: str, texts: Sequence[str], *, prefix: str = "") -> list[str]:
    """Set parameters of one model.

    Parameters
    ----------
    model : estimator
    name : str
        For errors.
    texts : sequence of str
        ``PARAMETER=VALUE``, with names as in ``set_params``; inside a pipeline the last part is
        enough if only one step has such a parameter. The value is JSON, or None, True or False;
        anything else is text.
    prefix : str, default=""
        What stands before the parameters on the command line, for errors.

    Returns
    -------
    list of str
        The same, with whole names.

    Raises
    ------
    ValueError
        No such parameter, an ambiguous name, a parameter given twice, or a nested estimator instead
        of a parameter.
    """
    values: dict[str, Any] = {}
    for text in texts:
        short_name, _, value = text.partition("=")
        parameter = _whole_name(model, name, short_name.strip(), text, prefix)
        if parameter in values:
            raise ValueError(f"--set {prefix}{text}: {parameter} of {name} is set twice.")
        values[parameter] = _value(value)
        before = model.get_params(deep=True)[parameter]
        _check_part(before, values[parameter], parameter, text, prefix)
    for step in (parameter for parameter, value in values.items() if value == "passthrough"):
        if any(parameter.startswith(f"{step}__") for parameter in values):
            raise ValueError(
                f"--set {prefix}{step}=passthrough removes a step whose parameters are set."
            )
    model.set_params(**values)
    return [f"{parameter}={json.dumps(value)}" for parameter, value in values.items()]


def set_parameters_of_models(
    models: Mapping[str, Any], texts: Sequence[str], grids: Sequence[str]
) -> list[str]:
    """Set parameters of the models of a run.

    Parameters
    ----------
    models : mapping of str to estimator
    texts : sequence of str
        ``MODEL.PARAMETER=VALUE``; see `set_parameters`.
    grids : sequence of str
        ``MODEL:PARAMETER=V1,V2``, the parameters that are searched.

    Returns
    -------
    list of str
        The same, with the parameters' whole names.

    Raises
    ------
    ValueError
        An unknown model, what `set_parameters` refuses, a seed, or a parameter that is searched.
    """
    of_model: dict[str, list[str]] = {}
    for text in texts:
        place, equals, value = text.partition("=")
        name, _, parameter = place.strip().rpartition(".")
        if not (equals and name and parameter):
            raise ValueError(
                f"--set is MODEL.PARAMETER=VALUE, with a model of this run ({', '.join(models)}); "
                f"got {text!r}."
            )
        if name not in models:
            near = get_close_matches(name, models)
            raise ValueError(
                f"--set {text}: no model {name!r} in this run; its models are {', '.join(models)}"
                + (f". Did you mean {near[0]!r}?" if near else ".")
            )
        of_model.setdefault(name, []).append(f"{parameter}={value}")
    searched = {grid.partition("=")[0].strip() for grid in grids}
    assignments = []
    for name, parts in of_model.items():
        for part in set_parameters(models[name], name, parts, prefix=f"{name}."):
            parameter = part.partition("=")[0]
            if parameter.split("__")[-1] == "random_state":
                raise ValueError(f"--set {name}.{part}: set seeds with --seed.")
            if f"{name}:{parameter}" in searched:
                raise ValueError(f"--set {name}.{part}: --grid searches this parameter.")
            assignments.append(f"{name}.{part}")
    return assignments


def _whole_name(model: Any, name: str, parameter: str, text: str, prefix: str) -> str:
    parameters = model.get_params(deep=True)
    inside = parameter_names(model, parameter)
    if "=" not in text:
        problem = "no value is given"
    elif parameter in parameters:
        return parameter
    elif len(inside) == 1:
        return inside[0]
    else:
        problem = f"{name} has {'several such parameters' if inside else 'no such parameter'}"
    candidates = inside or get_close_matches(parameter, parameters)
    outer = sorted(name for name in parameters if "__" not in name)
    listed = " or ".join(candidates) or f"one of {', '.join(outer)}"
    raise ValueError(
        f"--set {prefix}{text}: {problem}; write {prefix}PARAMETER=VALUE with {listed}."
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return _WORDS.get(text.strip(), text.strip())


def _check_part(before: Any, value: Any, parameter: str, text: str, prefix: str) -> None:
    """Refuse to put a number or a word where an estimator is, except to leave a step out."""
    if holds_estimators(before) and value != "passthrough":
        raise ValueError(
            f"--set {prefix}{text}: {parameter} is a part of the model; set its parameters as "
            f"{prefix}{parameter}__NAME, or leave out a step of a pipeline by "
            f"{prefix}{parameter}=passthrough."
        )


def holds_estimators(value: Any) -> bool:
    """Say whether a parameter is an estimator or a list with one, rather than a plain value."""
    if isinstance(value, list | tuple):
        return any(holds_estimators(item) for item in value)
    return hasattr(value, "get_params")
