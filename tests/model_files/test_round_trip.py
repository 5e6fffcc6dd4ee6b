"""Every public estimator is saved, loaded in a new process, and answers to the bit as before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from saved_models import MODELS, answers, make_cohort, network, patients, target
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import survimg
from survimg import estimators, model_files, saving
from survimg.estimators import DeepMTS, DeepSurv, LassoCox, deepmts_variant
from survimg.estimators.deep.deepmts_variants import VARIANT_NAMES
from survimg.estimators.saved_classes import SAVED_CLASSES
from survimg.model_files import ModelFileError
from survimg.model_files.classes import Classes
from survimg.model_selection import EventStratifiedKFold
from survimg.survival import InterpolatedSurvival
from survimg.target import make_outcome

WITHOUT_CURVES = {
    "ComBat", "DeepMTSClassifier", "FoldEnsembleClassifier", "FrozenEncoderFeatures",
    "FusionClassifier", "ImageClassifier", "OutOfFold", "SurvivalVoting", "TumourSegmenter",
}


def beginnings(model: Any, X: Any) -> dict[str, Any] | None:
    """First values of all curves, and the first time of the arrays."""
    if not hasattr(model, "predict_survival_function"):
        return None
    last = model[-1] if hasattr(model, "steps") else model  # pipelines have no `unique_times_`
    first: dict[str, Any] = {"times": float(last.unique_times_[0])}
    for kind in ("survival", "cumulative_hazard"):
        predict = getattr(model, f"predict_{kind}_function")
        arrays, curves = predict(X, return_array=True), predict(X)
        # Those of discrete time are linear, and fall at once.
        early = [0.0] if isinstance(curves[0], InterpolatedSurvival) else [0.0, 1e-9]
        first[kind] = {*arrays[:, 0].tolist(), *(float(v) for c in curves for v in c(early))}
        assert arrays.shape[1] == len(last.unique_times_)
    return first


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    """Fit, save and ask every model; then load and ask them all in one new process."""
    folder = tmp_path_factory.mktemp("models")
    cohort = make_cohort().save(folder / "cohort")
    (folder / "answers").mkdir()
    starts = {}
    for name, make in MODELS.items():
        X = patients(name, cohort)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = make().fit(X, target(name, cohort))
            found = answers(model, X)
            starts[name] = beginnings(model, X)
        survimg.save(model, folder / "models" / name)
        np.savez(folder / "answers" / f"{name}.npz", **found)
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("answer_in_new_process.py"), folder],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return {name: {**told[name], "starts": starts[name]} for name in told}


def test_there_is_a_model_for_every_public_name():
    # of which the six presets are made
    pipelines = {"deep_features_pipeline", "radiomics_pipeline"}
    assert set(MODELS) == {*estimators.__all__, "ComBat"} - pipelines


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_new_process_answers_to_the_bit(name, report):
    assert report[name]["answers"]
    assert report[name]["same"]


@pytest.mark.parametrize("name", sorted(set(MODELS) - WITHOUT_CURVES))
def test_curves_begin_at_0_with_everybody_alive(name, report):
    """S(0) = 1 and H(0) = 0, by function and by array; S(t) = 1 until the first event."""
    starts = report[name]["starts"]
    assert starts["survival"] == {1.0}
    assert starts["cumulative_hazard"] == {0.0}
    assert starts["times"] == 0


def test_the_others_have_no_curves(report):
    assert {name for name in MODELS if report[name]["starts"] is None} == WITHOUT_CURVES


def table(n: int = 40) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    return X, make_outcome(rng.random(n) < 0.7, rng.exponential(np.exp(-X["a"])))


def test_what_a_search_found_is_saved_and_the_search_is_not(tmp_path):
    X, y = table()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LassoCox(cv=2, n_alphas=5)),
        {"lassocox__l1_ratio": [0.5, 1.0]}, cv=EventStratifiedKFold(2),
    ).fit(X, y)  # fmt: skip
    with pytest.raises(ModelFileError, match="save its best_estimator_"):
        survimg.save(search, tmp_path / "search")
    survimg.save(search.best_estimator_, tmp_path / "model")
    loaded = survimg.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), search.predict(X))
    # A loaded model is an ordinary estimator.
    again = clone(loaded).fit(X, y)
    np.testing.assert_array_equal(again.predict(X), loaded.predict(X))


def test_saving_a_loaded_model_writes_the_same_bytes(tmp_path):
    X, y = table()
    model = RandomForestClassifier(3, random_state=np.random.RandomState(0)).fit(X, y["event"])
    survimg.save(model, tmp_path / "one")
    survimg.save(survimg.load(tmp_path / "one"), tmp_path / "two")
    for name in ("model.json", "arrays.npz", "manifest.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_unfitted_model_is_saved_too(tmp_path):
    model = network(random_state=np.random.RandomState(5), frozen=("convolutions",))
    survimg.save(model, tmp_path / "m")
    loaded = survimg.load(tmp_path / "m")
    assert loaded.frozen == ("convolutions",)
    assert loaded.random_state.randint(1000) == np.random.RandomState(5).randint(1000)
    assert not hasattr(loaded, "net_")


def test_a_loaded_network_can_be_trained_on(tmp_path):
    X = make_cohort()
    model = network(warm_start=True).fit(X, X.outcome)
    survimg.save(model, tmp_path / "m")
    loaded = survimg.load(tmp_path / "m", device="cpu")
    assert loaded.device == "cpu"
    model.fit(X, X.outcome)
    np.testing.assert_array_equal(loaded.fit(X, X.outcome).predict(X), model.predict(X))


def test_folders_of_this_machine_are_not_written(tmp_path):
    secret = str(tmp_path / "jane")
    model = estimators.FitOnce(network(checkpoint_folder=secret), memory=secret)
    survimg.save(model, tmp_path / "m")
    assert "jane" not in "".join(p.read_text() for p in (tmp_path / "m").iterdir())
    assert survimg.load(tmp_path / "m").memory is None


def test_the_manifest_tells_what_the_model_was_trained_on(tmp_path):
    X = make_cohort()
    survimg.save(network(clinical_columns=["stage"]).fit(X, X.outcome), tmp_path / "m")
    manifest = model_files.read_manifest(tmp_path / "m")
    assert manifest["estimator"] == "survimg.estimators.CNNSurvival"
    assert manifest["trained_on"]["channels"] == list(X.channel_names)
    assert "stage" in manifest["trained_on"]["clinical_columns"]
    assert manifest["versions"]["survimg"] == survimg.__version__


def test_notes_stand_in_the_manifest_and_are_texts(tmp_path):
    survimg.save(network(), tmp_path / "m", notes={"label": "the event by 36 months"})
    assert model_files.read_manifest(tmp_path / "m")["notes"] == {"label": "the event by 36 months"}
    assert survimg.load(tmp_path / "m").get_params().keys() == network().get_params().keys()
    survimg.save(network(), tmp_path / "plain")
    assert "notes" not in model_files.read_manifest(tmp_path / "plain")
    with pytest.raises(ModelFileError, match="notes are texts"):
        survimg.save(network(), tmp_path / "n", notes={"label": 36})


def test_metadata_requests_are_kept(tmp_path):
    with config_context(enable_metadata_routing=True):
        model = network().set_fit_request(masks=False, clinical="table")
        survimg.save(model, tmp_path / "m")
        loaded = survimg.load(tmp_path / "m")
        assert repr(loaded.get_metadata_routing()) == repr(model.get_metadata_routing())
        assert loaded.get_metadata_routing().fit.requests == {"masks": False, "clinical": "table"}
        survimg.save(network(), tmp_path / "plain")
        asked = survimg.load(tmp_path / "plain").get_metadata_routing().fit.requests
        assert asked == network().get_metadata_routing().fit.requests


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANT_NAMES)
def test_every_variant_is_rebuilt(name, tmp_path):
    model = deepmts_variant(name)
    model.n_channels_in_, model.volume_shape_in_ = 2, (16, 16, 16)
    model.clinical_names_in_ = ("age",)
    model._build_network()
    survimg.save(model, tmp_path / "m")
    states = survimg.load(tmp_path / "m").net_.module_.state_dict()
    for key, state in model.net_.module_.state_dict().items():
        assert np.array_equal(state.numpy(), states[key].numpy())
        assert state.stride() == states[key].stride()  # kernels are chosen by it


# ---------------------------------------------------------------- scikit-learn's estimators

ARGUMENTS: dict[str, tuple] = {
    "sklearn.compose.ColumnTransformer": ([("scale", StandardScaler(), ["a", "b"])],),
    "sklearn.feature_selection.RFE": (RandomForestClassifier(3, random_state=0),),
    "sklearn.feature_selection.RFECV": (RandomForestClassifier(3, random_state=0),),
    "sklearn.feature_selection.SequentialFeatureSelector": (
        RandomForestClassifier(3, random_state=0),
    ),
    "sklearn.feature_selection.SelectFromModel": (RandomForestClassifier(3, random_state=0),),
    "sklearn.frozen.FrozenEstimator": (StandardScaler().fit(table()[0]),),
    "sklearn.model_selection.PredefinedSplit": ([0, 1] * 20,),
    "sklearn.pipeline.FeatureUnion": ([("scale", StandardScaler())],),
    "sklearn.pipeline.Pipeline": ([("scale", StandardScaler())],),
    "survimg.model_selection.KnownGroups": (EventStratifiedKFold(2), ["a", "b"], ["x", "y"]),
    "survimg.nets.transfer.LoadReport": (("a",), (), (), ("b",)),
    "sksurv.functions.StepFunction": (np.arange(3.0), np.arange(3.0)),
}
QUICK = {"n_estimators": 3, "random_state": 0, "n_quantiles": 10, "fit_baseline_model": True}
# The others of survimg are parts of the models above.
CLASSES = Classes(SAVED_CLASSES)
PARTS = ("sklearn.", "sksurv.", "survimg.model_selection.", "survimg.nets.transfer.")


@pytest.mark.parametrize("label", [x for x in CLASSES.labels() if x.startswith(PARTS)])
def test_every_listed_class_makes_the_round_trip(label, tmp_path):
    cls = CLASSES.find(label)
    X, y = table()
    model = cls(*ARGUMENTS.get(label, ()))
    if not hasattr(model, "get_params"):  # splitters and parts: inside an estimator
        survimg.save(LassoCox(cv=model), tmp_path / "m")
        loaded = survimg.load(tmp_path / "m").cv
        assert type(loaded) is cls
        shown = {name: repr(value) for name, value in vars(model).items()}
        assert {name: repr(value) for name, value in vars(loaded).items()} == shown
        return
    model.set_params(**{k: v for k, v in QUICK.items() if k in model.get_params(deep=False)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hasattr(model, "fit"):
            outcome = y if label.startswith("sksurv.") else y["event"]
            args = (X, outcome) if label != "sksurv.linear_model.coxph.BreslowEstimator" else None
            model = model.fit(*args) if args else model
        survimg.save(model, tmp_path / "m")
        loaded = survimg.load(tmp_path / "m")
        for name in ("predict", "transform", "predict_proba", "predict_survival_function"):
            if hasattr(model, name):
                expected, found = getattr(model, name)(X), getattr(loaded, name)(X)
                assert type(found) is type(expected)
                if name == "predict_survival_function":
                    expected, found = ([f.y for f in fs] for fs in (expected, found))
                if hasattr(expected, "toarray"):
                    expected, found = expected.toarray(), found.toarray()
                np.testing.assert_array_equal(found, expected)


# ---------------------------------------------------------------- what cannot be saved


class Mine(DeepSurv):
    """A user's own estimator."""


def test_an_own_class_is_saved_if_it_is_trusted(tmp_path):
    X, y = table()
    model = Mine(n_iterations=2, random_state=0).fit(X, y)
    with pytest.raises(ModelFileError, match=r"Mine is a .*Mine, which .* trusted"):
        survimg.save(model, tmp_path / "m")
    survimg.save(model, tmp_path / "m", trusted=[Mine])
    with pytest.raises(ModelFileError, match="not among those"):
        survimg.load(tmp_path / "m")
    loaded = survimg.load(tmp_path / "m", trusted=[Mine])
    assert type(loaded) is Mine
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    with pytest.raises(TypeError, match="trusted holds classes"):
        survimg.load(tmp_path / "m", trusted=["Mine"])


def cyclic() -> list:
    cycle: list = []
    cycle.append(cycle)
    return cycle


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda x: x, r"LassoCox\.cv\['k'\]\[1\] is a builtins\.function, which is code"),
        (np.mean, r"which is code"),
        (np.random.default_rng(0), r"is a numpy\.random.*Generator"),
        ({1, 2}, r"is a builtins\.set"),
        (b"bytes", r"is a builtins\.bytes"),
        (LassoCox, r"is the class LassoCox"),
        (pd.Series(["a"], dtype="category"), "pandas type category"),
        (np.array([print], dtype=object), "which is code"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "numpy.ndarray"),
        (cyclic(), "containers deep"),
        (np.dtype([("a", "i4")]), "numpy.dtype"),
    ],
)
def test_what_is_no_data_is_refused_by_its_place(value, message, tmp_path):
    with pytest.raises(ModelFileError, match=message):
        survimg.save(LassoCox(cv={"k": [0, value]}), tmp_path / "m")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("value", [LassoCox, np.zeros(3), "text"])
def test_only_estimators_are_saved(value, tmp_path):
    with pytest.raises(ModelFileError, match="writes estimators"):
        survimg.save(value, tmp_path / "m")


def test_a_network_whose_parameters_changed_after_the_fit_is_refused(tmp_path):
    X, y = table()
    model = DeepSurv(hidden=(4,), n_iterations=2, random_state=0).fit(X, y)
    for change in ({"hidden": (5,)}, {"activation": "relu"}, {"hidden": (0,)}):
        with pytest.raises(ModelFileError, match="changed after the fit"):
            survimg.save(clone_with_state(model).set_params(**change), tmp_path / "m")


def clone_with_state(model: DeepSurv) -> DeepSurv:
    copied = DeepSurv.__new__(DeepSurv)
    vars(copied).update(vars(model))
    return copied


def test_survimg_offers_both():
    assert survimg.save is saving.save
    assert survimg.load is saving.load
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = survimg.nothing


def test_a_network_of_a_gpu_machine_says_what_to_do(tmp_path, monkeypatch):
    import torch

    model = DeepMTS(device="cpu", variant="sur-casnet")
    model.n_channels_in_, model.clinical_names_in_ = 1, ()
    model._build_network()
    survimg.save(model, tmp_path / "m")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelFileError, match=r"sees no CUDA device.*device='cpu'"):
        survimg.load(tmp_path / "m", device="cuda")
