"""The words of CONTRIBUTING.md: every estimator and transformer uses them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString
from sklearn.base import BaseEstimator

from survimg import estimators, features, radiomics
from survimg.estimators import deep

ROOT = Path(__file__).parents[1]
OUTSIDE = sorted(
    path for folder in ("benchmarks", "examples", "tests") for path in (ROOT / folder).rglob("*.py")
)
#: May be given without their names: what a meta-estimator wraps, and the filter's one number.
POSITIONAL = {"estimator", "estimators", "extractor", "threshold"}
#: Words that have another one in the table, as parameters ...
OTHER_PARAMETERS = {
    "base_estimator", "clinical", "columns", "deep", "dice", "epochs", "iterations", "max_epochs",
    "max_iterations", "model", "n_epochs", "n_steps", "network", "radiomics",
}  # fmt: skip
#: ... and as what a fit learns.
OTHER_ATTRIBUTES = {
    "channel_names_", "clinical_encoding_", "clinical_features_", "network_", "radiomics_",
}  # fmt: skip
#: Values that need a paper, or its code, at hand.
OTHER_VALUES = {"paper", "code"}


def _classes() -> Iterator[type]:
    for face in (estimators, features, radiomics, deep):
        for name in face.__all__:
            item = getattr(face, name)
            if isinstance(item, type) and issubclass(item, BaseEstimator):
                yield item


CLASSES = sorted(set(_classes()), key=lambda item: item.__name__)
FUNCTIONS = [
    item for name in estimators.__all__ if inspect.isfunction(item := getattr(estimators, name))
]


def _parameters(item: object) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(item).parameters)


def test_all_rooms_are_looked_at():
    assert {"DeepMTS", "LassoCox", "MTDLR", "FitOnce", "ComBat", "RadiomicsFeatures"} <= {
        item.__name__ for item in CLASSES
    }


@pytest.mark.parametrize("item", [*CLASSES, *FUNCTIONS], ids=lambda item: item.__name__)
def test_one_word_for_one_thing(item):
    parameters = _parameters(item)
    if inspect.isfunction(item):  # pipelines end in a model
        parameters.pop("model", None)
    assert not set(parameters) & OTHER_PARAMETERS
    documented = NumpyDocString(inspect.getdoc(item))["Attributes"]
    names = {name.strip() for entry in documented for name in entry.name.split(",")}
    assert not names & OTHER_ATTRIBUTES


@pytest.mark.parametrize("item", CLASSES, ids=lambda item: item.__name__)
def test_constructors_take_names(item):
    kinds = {name: p.kind for name, p in _parameters(item).items()}
    by_place = {name for name, kind in kinds.items() if kind != inspect.Parameter.KEYWORD_ONLY}
    assert by_place <= POSITIONAL
    assert len(by_place) <= 1


@pytest.mark.parametrize("item", CLASSES, ids=lambda item: item.__name__)
def test_every_parameter_has_a_constraint(item):
    assert set(_parameters(item)) <= set(item._parameter_constraints)


@pytest.mark.parametrize("item", [*CLASSES, *FUNCTIONS], ids=lambda item: item.__name__)
def test_values_say_what_they_do(item):
    assert not {p.default for p in _parameters(item).values() if isinstance(p.default, str)} & (
        OTHER_VALUES
    )
    for constraints in getattr(item, "_parameter_constraints", {}).values():
        for constraint in constraints if isinstance(constraints, list) else []:
            assert not set(getattr(constraint, "options", ())) & OTHER_VALUES


@pytest.mark.parametrize("item", CLASSES, ids=lambda item: item.__name__)
def test_help_explains_every_parameter(item):
    described = {
        name.strip(): " ".join(entry.desc)
        for entry in NumpyDocString(inspect.getdoc(item))["Parameters"]
        for name in entry.name.split(",")
    }
    assert {name for name in _parameters(item) if not described.get(name)} == set()
    assert not [name for name, text in described.items() if re.match(r"(As in|See) `", text)]


def test_the_table_is_in_contributing():
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for word in ("n_iterations", "clinical_columns", "estimator", "extractor", "radiomics_model",
                 "channel_names_in_", "clinical_encoder_"):  # fmt: skip
        assert f"`{word}`" in page


def _faces() -> dict[tuple[str, str], str]:
    """File and public name to the package nearest to the top that gives the name."""
    given: dict[tuple[str, str], str] = {}
    # The deepest first: packages give what the packages below them give.
    for path in sorted((ROOT / "survimg").rglob("__init__.py"), key=lambda p: -len(p.parts)):
        package = ".".join(path.parent.relative_to(ROOT).parts)
        tree = ast.parse(path.read_text("utf-8"))
        lists = [n.value for n in tree.body if isinstance(n, ast.Assign | ast.AnnAssign)
                 and "__all__" in ast.dump(n)]  # fmt: skip
        public = {c.value for node in lists for c in ast.walk(node) if isinstance(c, ast.Constant)}
        for node in tree.body:
            for alias in node.names if isinstance(node, ast.ImportFrom) else []:
                if alias.name in public and package != "survimg":
                    sources = [s for s, face in given.items() if face == node.module]
                    for source in [(node.module, alias.name), *sources]:
                        if source[1] == alias.name:
                            given[source] = package
    return given


def test_public_names_are_imported_from_the_faces():
    assert len(OUTSIDE) > 100
    faces = _faces()
    assert faces["survimg.estimators.deep.deepmts", "DeepMTS"] == "survimg.estimators"
    around = [
        f"{path.relative_to(ROOT)}: import {alias.name} from {face}, not from {node.module}"
        for path in OUTSIDE
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (face := faces.get((node.module or "", alias.name))) is not None
    ]
    assert not around, "\n".join(around)
