"""FitOnce: the same training happens once, another one is never taken for it."""

from __future__ import annotations

import pickle
import time
import uuid
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils import check_random_state

from survimg.datasets import make_phantom_cohort
from survimg.estimators import (
    DeepMTS,
    DeepSurv,
    FitOnce,
    LassoCox,
    OutOfFold,
    RandomSurvivalForest,
    deep_features_pipeline,
)
from survimg.estimators.compose import fit_once as module
from survimg.evaluation import SurvivalScorer
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome


class Counted(TransformerMixin, BaseEstimator):
    """Stands for a network: leaves one file in a folder for each time it is trained."""

    def __init__(self, log=None, strength=1.0, random_state=0, verbose=0, weights=None):
        self.log = log
        self.strength = strength
        self.random_state = random_state
        self.verbose = verbose
        self.weights = weights

    def fit(self, X, y):
        (Path(self.log) / uuid.uuid4().hex).touch()
        if self.strength < 0:
            raise FloatingPointError("diverged")
        rng = check_random_state(self.random_state)
        self.loadings_ = self.strength * rng.normal(size=(3, 4)) + np.mean(y["time"])
        self.history_ = pd.DataFrame({"loss": [1.0, 0.5]})
        return self

    def transform(self, X):
        return np.asarray(X) @ self.loadings_

    def predict(self, X):
        return self.transform(X).sum(axis=1)

    def get_feature_names_out(self, input_features=None):
        return np.array([f"unit{j}" for j in range(4)])


N = 60


@pytest.fixture
def log(tmp_path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    return X, make_outcome(rng.random(N) < 0.8, rng.exponential(np.exp(-X[:, 0])))


def n_fits(log: Path) -> int:
    return len(list(log.iterdir()))


def test_three_models_on_deep_features_train_one_set_of_networks(data, log, tmp_path):
    X, y = data
    heads = (
        LassoCox(cv=3),
        RandomSurvivalForest(n_estimators=5, random_state=0),
        DeepSurv(n_iterations=5, random_state=0),
    )

    def risks(memory, **options):
        return [
            deep_features_pipeline(
                head, estimator=Counted(log), cv=3, clinical_columns=[], threshold=1.0,
                memory=memory, **options,
            )
            .fit(X, y)
            .predict(X)
            for head in heads
        ]

    apart = risks(None)
    assert n_fits(log) == 3 * (3 + 1)
    shared = risks(tmp_path / "cache")
    assert n_fits(log) == 3 * (3 + 1) + (3 + 1)
    np.testing.assert_array_equal(shared, apart)
    # Out-of-fold features need a network trained on all patients for new ones: it is the same.
    in_sample = risks(tmp_path / "cache", in_sample=True)
    assert n_fits(log) == 3 * (3 + 1) + (3 + 1)
    assert not np.allclose(in_sample[1], shared[1])


def test_another_parameter_fold_seed_or_outcome_is_another_fit(data, log, tmp_path):
    X, y = data

    def fit(patients=slice(None), outcome=y, **parameters):
        before = n_fits(log)
        FitOnce(Counted(log, **parameters), memory=tmp_path).fit(X[patients], outcome[patients])
        return n_fits(log) - before

    later = y.copy()
    later["time"] += 1
    differing = [
        {}, {"strength": 2.0}, {"random_state": 1}, {"patients": slice(1, None)},
        {"patients": slice(None, None, -1)}, {"outcome": later},
    ]  # fmt: skip
    assert [fit(**case) for case in differing] == [1] * len(differing)
    assert [fit(**case) for case in differing] == [0] * len(differing)
    assert fit(verbose=1) == 0  # shows more, computes the same


def test_weights_that_change_under_their_name_are_another_fit(data, log, tmp_path):
    X, y = data
    weights = tmp_path / "weights.pt"
    for content in ("a", "longer"):
        weights.write_text(content)
        FitOnce(Counted(log, weights=str(weights)), memory=tmp_path / "cache").fit(X, y)
    assert n_fits(log) == 2


def test_another_source_of_survimg_is_another_fit(data, log, tmp_path, monkeypatch):
    X, y = data
    FitOnce(Counted(log), memory=tmp_path).fit(X, y)
    monkeypatch.setattr(module, "package_digest", lambda *_: "another")
    assert not FitOnce(Counted(log), memory=tmp_path).fit(X, y).reused_
    assert n_fits(log) == 2


def test_inner_and_outer_folds_are_told_apart(data, log, tmp_path):
    """Each network of each outer fold is trained once and on its own patients."""
    X, y = data
    for _ in range(2):
        for train, _test in EventStratifiedKFold(2).split(X, y):
            maker = OutOfFold(FitOnce(Counted(log), memory=tmp_path), cv=3, method="transform")
            features = maker.fit_transform(X[train], y[train])
            plain = OutOfFold(Counted(log / ".."), cv=3, method="transform")
            pd.testing.assert_frame_equal(features, plain.fit_transform(X[train], y[train]))
    assert n_fits(log) == 2 * (3 + 1)


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_workers_that_want_the_same_fit_wait_for_one(data, log, tmp_path, backend):
    X, y = data
    fitted = joblib.Parallel(n_jobs=2, backend=backend)(
        joblib.delayed(FitOnce(_Slow(log), memory=tmp_path).fit)(X, y) for _ in range(4)
    )
    assert n_fits(log) == 1
    assert sorted(model.reused_ for model in fitted) == [False, True, True, True]
    assert all(model.seconds_ >= 0.3 for model in fitted)  # what the training took


class _Slow(Counted):
    def fit(self, X, y):
        time.sleep(0.3)
        return super().fit(X, y)


def test_a_failed_or_cut_fit_leaves_nothing_to_reuse(data, log, tmp_path):
    X, y = data
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="diverged"):
            FitOnce(Counted(log, strength=-1.0), memory=tmp_path).fit(X, y)
    assert n_fits(log) == 2
    FitOnce(Counted(log), memory=tmp_path).fit(X, y)
    (kept,) = (path.parent for path in (tmp_path / "survimg-fits").glob("*/manifest.json"))
    half = kept.with_name(f".{kept.name}.1234abcd.partial")  # as a killed process leaves it
    kept.rename(half)
    (half / "manifest.json").unlink()
    assert not FitOnce(Counted(log), memory=tmp_path).fit(X, y).reused_


def test_a_damaged_fit_is_trained_again(data, log, tmp_path):
    X, y = data
    first = FitOnce(Counted(log), memory=tmp_path).fit(X, y)
    (arrays,) = (tmp_path / "survimg-fits").glob("*/arrays.npz")
    arrays.write_bytes(arrays.read_bytes()[:100])
    with pytest.warns(UserWarning, match=r"truncated.* The fit is done again"):
        again = FitOnce(Counted(log), memory=tmp_path).fit(X, y)
    assert not again.reused_
    np.testing.assert_array_equal(again.predict(X), first.predict(X))
    assert FitOnce(Counted(log), memory=tmp_path).fit(X, y).reused_


class _HoldsCode(Counted):
    def fit(self, X, y):
        self.score_ = np.mean
        return super().fit(X, y)


def test_a_fit_that_is_no_data_is_done_each_time(data, log, tmp_path):
    X, y = data
    for n_done in (1, 2):
        with pytest.warns(UserWarning, match=r"cannot be stored.*estimator_\.score_ is a"):
            model = FitOnce(_HoldsCode(log), memory=tmp_path).fit(X, y)
        assert n_fits(log) == n_done
        np.testing.assert_array_equal(model.predict(X), Counted(log / "..").fit(X, y).predict(X))


def test_folders_of_this_machine_stay_with_the_estimator(data, log, tmp_path):
    X, y = data
    for reused in (False, True):
        network = _WithMemory(log, memory=str(tmp_path / "elsewhere"))
        model = FitOnce(network, memory=tmp_path / "fits").fit(X, y)
        assert model.reused_ == reused
        assert model.estimator_.memory == str(tmp_path / "elsewhere")


class _WithMemory(Counted):
    def __init__(self, log=None, memory=None, random_state=0):
        super().__init__(log, random_state=random_state)
        self.memory = memory


@pytest.mark.parametrize("state", [None, np.random.RandomState(0)])
def test_only_a_repeatable_fit_is_shared(data, log, tmp_path, state):
    X, y = data
    with pytest.raises(ValueError, match="needs an integer random_state"):
        FitOnce(Counted(log, random_state=state), memory=tmp_path).fit(X, y)
    assert not FitOnce(Counted(log, random_state=state)).fit(X, y).reused_
    with pytest.raises(ValueError, match="estimator"):
        FitOnce(LassoCox(), memory=tmp_path).fit(X, y)


def test_a_search_that_was_stopped_goes_on(data, log, tmp_path, monkeypatch):
    X, y = data

    def search(memory):
        return GridSearchCV(
            FitOnce(Counted(log), memory=memory), {"estimator__random_state": [0, 1, 2]},
            cv=EventStratifiedKFold(2), scoring=SurvivalScorer("concordance"),
        ).fit(X, y)  # fmt: skip

    train = FitOnce._train

    def until_ctrl_c(self, X, y):
        if n_fits(log) == 4:
            raise KeyboardInterrupt
        train(self, X, y)

    with monkeypatch.context() as patch:
        patch.setattr(FitOnce, "_train", until_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path)
    resumed = search(tmp_path)
    assert n_fits(log) == 3 * 2 + 1  # and the winner on all patients
    whole = search(None)
    np.testing.assert_array_equal(
        resumed.cv_results_["mean_test_score"], whole.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(resumed.predict(X), whole.predict(X))


def test_it_stands_for_the_estimator(data, log, tmp_path):
    X, y = data
    once = FitOnce(Counted(log), memory=joblib.Memory(tmp_path, verbose=0))
    with pytest.raises(NotFittedError):
        once.transform(X)
    assert not hasattr(once, "history_")
    assert not hasattr(once, "estimator_")
    once.fit(X, y)
    plain = Counted(log).fit(X, y)
    np.testing.assert_array_equal(once.transform(X), plain.transform(X))
    np.testing.assert_array_equal(once.predict(X), plain.predict(X))
    assert list(once.history_["loss"]) == [1.0, 0.5]
    assert list(once.set_output(transform="pandas").transform(X).columns) == [
        "unit0", "unit1", "unit2", "unit3",
    ]  # fmt: skip
    again = pickle.loads(pickle.dumps(once))
    np.testing.assert_array_equal(again.predict(X), plain.predict(X))
    assert not hasattr(clone(once), "history_")
    with pytest.raises(AttributeError, match="no attribute"):
        _ = once.history_of_the_world
    np.testing.assert_array_equal(once.fit_transform(X, y), plain.transform(X))


def test_a_network_from_the_folder_predicts_to_the_bit(tmp_path):
    X = make_phantom_cohort(n=8, shape=(16, 16, 16), random_state=0).cohort
    network = DeepMTS(
        variant="sur-casnet", n_iterations=1, batch_size=4, batch_norm_batches=1, n_threads=1,
        random_state=0, precision="float32",
    )  # fmt: skip
    first, second = (FitOnce(network, memory=tmp_path).fit(X, X.outcome) for _ in range(2))
    assert (first.reused_, second.reused_) == (False, True)
    alone = clone(network).fit(X, X.outcome)
    np.testing.assert_array_equal(second.predict(X), alone.predict(X))
    np.testing.assert_array_equal(second.transform(X), first.transform(X))
    assert FitOnce(network, memory=tmp_path).fit(X[:7], X.outcome[:7]).reused_ is False
