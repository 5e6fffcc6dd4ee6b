"""Masks and clinical values are both arrays: a call that swaps them must not be possible."""

from __future__ import annotations

import inspect

import pytest

import survimg.estimators as public

METHODS = [
    pytest.param(method, id=f"{name}.{label}")
    for name in public.__all__
    if inspect.isclass(getattr(public, name))
    for label, method in inspect.getmembers(getattr(public, name), callable)
    if not label.startswith("_")
    and {"masks", "clinical"} & set(inspect.signature(method).parameters)
]


@pytest.mark.parametrize("method", METHODS)
def test_masks_and_clinical_are_given_by_name(method):
    parameters = inspect.signature(method).parameters
    for name in {"masks", "clinical"} & set(parameters):
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY


def test_the_networks_are_among_them():
    names = {parameter.id for parameter in METHODS}
    assert {"DeepMTS.fit", "DeepMTS.predict", "MTDLR.predict", "TumourSegmenter.fit"} <= names
