"""What compiled code trusts is checked: every number of every class, changed one at a time."""

from __future__ import annotations

import ast
import inspect
import textwrap
import warnings

import numpy as np
import pytest
import torch
from directed import answers, changes, content, digest, outcomes, taken_apart
from saved_models import MODELS, make_cohort, patients, radiomics, target
from sklearn.ensemble import RandomForestClassifier
from third_party_examples import EXAMPLES, fitted

from survimg.model_files import ModelFileError
from survimg.model_files.attribute_forms import check_forms
from survimg.model_files.classes import Classes
from survimg.model_files.decoding import Decoder
from survimg.model_files.third_party import THIRD_PARTY
from survimg.saving import _LISTED

CLASSES = Classes(_LISTED)
#: Classes whose stored numbers are sizes, places or pointers of compiled code.
COMPILED = (
    "OneHotEncoder, infrequent", "OneHotEncoder, infrequent and dropped", "PolynomialFeatures",
    "KBinsDiscretizer", "DecisionTreeRegressor", "MissingIndicator",
)  # fmt: skip
#: Splitters are no models, and the two are parts of CoxPHSurvivalAnalysis.
INSIDE_OTHERS = {"StepFunction", "BreslowEstimator"}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_each_listed_class_has_a_validator_and_an_example():
    names = {
        cls.__name__ for cls, _ in THIRD_PARTY.values() if not hasattr(cls, "get_n_splits")
    }
    assert names - INSIDE_OTHERS == {name.partition(",")[0] for name in EXAMPLES}
    assert all(CLASSES.validator_of(CLASSES.find(label)) for label in CLASSES.labels())


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_was_not_changed_is_as_it_was(name):
    model, X = fitted(name)
    encoder = taken_apart(model, CLASSES)
    restored = Decoder(CLASSES, encoder.arrays, encoder.tensors, None).decode(content(encoder))
    assert digest(answers(restored, X)) == digest(answers(model, X))


def tried(name: str) -> dict[str, list[str]]:
    model, X = fitted(name)
    found: dict[str, list[str]] = {}
    all_changes = changes(taken_apart(model, CLASSES))
    expected = digest(answers(model, X))
    for change, what, detail in outcomes(all_changes, CLASSES, lambda m: answers(m, X), expected):
        found.setdefault(what, []).append(f"{change.place}, {change.what}: {detail}")
    return found


@pytest.mark.parametrize("name", COMPILED)
def test_no_change_leads_compiled_code_astray(name):
    found = tried(name)
    assert len(found["refused"]) > 10
    assert not found.get("crash")
    assert not found.get("not refused by name")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - set(COMPILED)))
def test_no_change_of_any_class_ends_the_process(name):
    found = tried(name)
    assert not found.get("crash")
    assert not found.get("not refused by name")


def test_a_forest_has_trees_of_its_own_features():
    wide, narrow = np.zeros((20, 9)), np.zeros((20, 3))
    wide[:, 8] = narrow[:, 2] = np.arange(20)
    y = np.arange(20) % 2
    forest = RandomForestClassifier(2, random_state=0).fit(narrow, y)
    forest.estimators_[1] = RandomForestClassifier(2, random_state=0).fit(wide, y).estimators_[0]
    encoder = taken_apart(forest, CLASSES)
    with pytest.raises(ModelFileError, match="trees read other features"):
        Decoder(CLASSES, encoder.arrays, {}, None).decode(content(encoder))
    forest.estimators_ = tuple(forest.estimators_)
    encoder = taken_apart(forest, CLASSES)
    with pytest.raises(ModelFileError, match="estimators_ is a tuple; it must be models=m"):
        Decoder(CLASSES, encoder.arrays, {}, None).decode(content(encoder))


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("size", [0, np.int64(3)], [-1, 1.0, True, "1", None]),
        ("number | none", [0, 1.5, None], [True, "1"]),
        ("float[p]", [np.zeros(3), np.zeros(3, "f4")], [np.zeros(2), np.zeros((3, 1)), [0.0] * 3]),
        ("float[p+1, 2]", [np.zeros((4, 2))], [np.zeros((3, 2)), np.zeros((4, 2), ">f8")]),
        ("int[?]", [np.zeros(0, int), np.zeros(9, "u1")], [np.zeros(3), np.zeros((1, 1), int)]),
        ("numbers=2", [(0, 1.5), (np.float64(1), np.inf)], [(0,), (0, "1"), (0, None), [0, 1]]),
        ("sizes=p", [(1, 2, 3)], [(1, 2), (1, 2, -3), (1, 2, 3.0)]),
        ("models=p", [[CLASSES] * 3], [[CLASSES] * 2, (CLASSES,) * 3, [1, 2, 3]]),
    ],
)
def test_forms(form, good, bad):
    for value in good:
        check_forms("Thing", {"n_": 3, "x_": value}, {"n_": "size=p", "x_": form})
    for value in bad:
        with pytest.raises(ModelFileError, match="Thing whose x_ is"):
            check_forms("Thing", {"n_": 3, "x_": value}, {"n_": "size=p", "x_": form})
    with pytest.raises(ModelFileError, match="with the attribute 'y_'"):
        check_forms("Thing", {"y_": 1}, {"x_": form})


@pytest.mark.parametrize(
    ("name", "attribute", "wrong"),
    [
        ("ComBat", "coef_", np.zeros((0, 36))),
        ("ComBat", "preserve", []),
        ("RadiomicsFeatures", "n_features_out_", 2**31),
        ("RadiomicsFeatures", "shell_hu", ("-200", 300.0)),
        ("RadiomicsFeatures", "shell_hu", (np.nan, 300.0)),
        ("OutOfFold", "_unit", (None, 1.0)),
        ("LassoCox", "slope_", None),
        ("ImageSurvival", "time_cuts_", np.array([20.0, 41.0])),
        ("ImageSurvival", "risk_horizon_", 30.5),
        ("ImageClassifier", "prevalence_", 1.5),
        ("DeepSurv", "n_threads", 2**31),
    ],
)
def test_what_of_ours_does_not_fit_together_is_refused(name, attribute, wrong):
    cohort = make_cohort()
    make = MODELS.get(name, radiomics)
    model = make().fit(patients(name, cohort), target(name, cohort))
    encoder = taken_apart(model, CLASSES)
    Decoder(CLASSES, encoder.arrays, encoder.tensors, None).decode(content(encoder))
    setattr(model, attribute, wrong)
    encoder = taken_apart(model, CLASSES)
    with pytest.raises(ModelFileError, match=f"holds a {name} (whose|that).*{attribute}"):
        Decoder(CLASSES, encoder.arrays, encoder.tensors, None).decode(content(encoder))


def test_the_times_of_a_baseline_rise_and_its_hazard_does_not_fall():
    cohort = make_cohort()
    X, y = patients("LassoCox", cohort), cohort.outcome
    for attribute, what in (("unique_times_", "do not rise"), ("log_cumulative_hazard_", "falls")):
        model = MODELS["LassoCox"]().fit(X, y)
        getattr(model.baseline_, attribute)[-1] = -5.0
        encoder = taken_apart(model, CLASSES)
        with pytest.raises(ModelFileError, match=f"holds a BreslowBaseline that.*{what}"):
            Decoder(CLASSES, encoder.arrays, {}, None).decode(content(encoder))


def test_what_our_classes_store_has_a_form():
    """Each attribute that a class of survimg gives itself, by its source."""
    without: dict[str, set[str]] = {}
    for label, (cls, validator) in _LISTED.items():
        if issubclass(cls, torch.nn.Module):
            continue
        names = {name for base in cls.__mro__ for name in stored_by(base)}
        parameters = cls._get_param_names() if hasattr(cls, "_get_param_names") else []
        if missing := names - {*parameters, *validator.forms, "net_"}:
            without[label] = missing
    fusion = {"_clinical_mean", "_clinical_scale", "clinical_names_in_"}
    assert without == {"survimg.estimators.FusionSurvival": fusion}


def stored_by(cls: type) -> set[str]:
    """Names of what the methods of a class of survimg assign to self."""
    if not cls.__module__.startswith("survimg."):
        return set()
    nodes = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(cls))))
    return {
        node.attr for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name) and node.value.id == "self"
    }  # fmt: skip
