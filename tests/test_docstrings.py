"""Docstrings against signatures: parameter names, defaults, and shapes of arrays.

Everything that a module of survimg exports is looked at: functions, classes with what their
constructors take, and public methods.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from fractions import Fraction

import pytest
from numpydoc.docscrape import NumpyDocString

import survimg

#: Constructors that take nothing from users: what they say is how to read their attributes.
NOT_CONSTRUCTED = {
    "survimg.estimators.mtdlr.score_cox.ScoreCox": "abstract: what its subclasses share",
    "survimg.model_files.encoding.Encoder": "a dataclass whose other fields begin empty",
    "survimg.training.net.Net": "its parameters are those of the network",
    "survimg.training.engine.TrainingNet": "skorch's constructor, which takes settings",
}
#: A sentence under each: why the array of this name has no one shape.
ANY_SHAPE = {
    "survimg.evaluation.nomogram.Axis.levels": "one array per level, of as many values as it has",
    "survimg.model_files.decoding.Decoder.arrays": "arrays of whatever model the file holds",
    "survimg.model_files.decoding.Decoder.tensors": "likewise",
    "survimg.model_files.encoding.Encoder.arrays": "likewise",
    "survimg.model_files.encoding.Encoder.tensors": "likewise",
    "survimg.model_files.networks.restore_network.states": "likewise",
    "survimg.benchmark.records.Record.arrays": "risk, survival and Dice, listed in the text",
    "survimg.model_selection.nested.NestedCVResult.test_indices": "one array per fold",
}
#: scikit-learn's signatures, in which y and groups may be missing where an error is then raised.
PROTOCOL = ("y", "groups")


def _public():
    """Yield (name, object with a docstring) of all that survimg's modules export."""
    found = {}
    for module in pkgutil.walk_packages(survimg.__path__, "survimg."):
        if module.name.endswith("__main__"):  # runs the command line
            continue
        loaded = importlib.import_module(module.name)
        for name in getattr(loaded, "__all__", ()):
            item = getattr(loaded, name)
            plain = inspect.isclass(item) and not issubclass(item, BaseException)
            if (plain or inspect.isfunction(item)) and item.__module__.startswith("survimg"):
                found[f"{item.__module__}.{item.__qualname__}"] = item
    for name, item in sorted(found.items()):
        yield name, item
        if inspect.isclass(item):
            for part, method in vars(item).items():
                function = getattr(method, "__func__", method)  # of a class or static method
                if inspect.isfunction(function) and not part.startswith("_"):
                    yield f"{name}.{part}", function


@pytest.fixture(scope="module")
def public():
    """All that is public, by name; loads everything, torch too."""
    return dict(_public())


def _entries(item, section):
    """Yield (name, type) of one section of a docstring; ``a, b : int`` are two."""
    for entry in NumpyDocString(inspect.cleandoc(item.__doc__ or ""))[section]:
        for name in entry.name.split(","):
            yield name.strip().lstrip("*"), entry.type


def _documented(item):
    """Parameters of a docstring; that of a class lists those it inherits, too."""
    return dict(_entries(item, "Parameters"))


def _signature(item):
    parameters = inspect.signature(item).parameters
    return {name: p.default for name, p in parameters.items() if name not in ("self", "cls")}


def _described(public):
    """Return what has a section Parameters of its own."""
    return {name: item for name, item in public.items() if list(_entries(item, "Parameters"))}


def test_the_walk_sees_the_library(public):
    known = {"survimg.estimators.deep.deepmts.DeepMTS", "survimg.cohort.cohort.Cohort.take"}
    assert known <= {*public}
    assert len(_described(public)) > 400


def test_documented_parameters_are_those_of_the_signature(public):
    faults = {}
    for name, item in _described(public).items():
        documented, real = set(_documented(item)), set(_signature(item))
        # "..., see `other`" stands for those that are not named
        missing = set() if "..." in documented else real - documented
        if unknown := (documented - {"..."} - real) | missing:
            faults[name] = unknown
    assert set(faults) == set(NOT_CONSTRUCTED), faults


def test_stated_defaults_are_those_of_the_signature(public):
    faults = [
        f"{name}, {parameter} : {kind}: the signature has {real[parameter]!r}"
        for name, item in _described(public).items()
        for real in [_signature(item)]
        for parameter, kind in _entries(item, "Parameters")
        if parameter in real and kind and not _agrees(parameter, kind, real[parameter])
    ]
    assert not faults, "\n".join(faults)


def _agrees(parameter, kind, default):
    required = default is inspect.Parameter.empty
    if stated := re.search(r"default=(.*)$", kind):
        return not required and _value(stated[1]) == default
    if "optional" in kind:
        return not required
    if default is None:
        return parameter in PROTOCOL or "or None" in kind or "ignored" in kind
    return required


def _value(text):
    if quotient := re.fullmatch(r"(\d+) / (\d+)", text):
        return float(Fraction(int(quotient[1]), int(quotient[2])))
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _arrays(public):
    """Yield (name, type) of every array in a docstring; patients (a Cohort) have no one shape."""
    for name, item in public.items():
        for section in ("Parameters", "Attributes", "Returns", "Yields"):
            for part, kind in _entries(item, section):
                # the type of an unnamed result stands in the place of its name
                text = kind or (part if section in ("Returns", "Yields") else "")
                is_array = re.search(r"\b(ndarray|array-like|structured array|Tensor)\b", text)
                if is_array and not text.startswith("Cohort"):
                    yield f"{name}.{part}", text


def test_arrays_say_their_shape(public):
    arrays = dict(_arrays(public))
    told = re.compile(r"of (one |equal |the )?shapes?|, scalar|\(")
    silent = {place for place, kind in arrays.items() if not told.search(kind)}
    assert silent == set(ANY_SHAPE), silent ^ set(ANY_SHAPE)
    assert len(arrays) > 500
