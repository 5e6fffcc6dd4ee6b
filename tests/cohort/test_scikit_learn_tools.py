"""scikit-learn's, scikit-survival's and joblib's tools work over a cohort on disk, uncopied."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import joblib
import numpy as np
import psutil
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.pipeline import FeatureUnion, make_pipeline
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import as_concordance_index_ipcw_scorer

from survimg import Cohort
from survimg.estimators.base import SurvivalMixin
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome

N = 24
TRANSFORMED: list[int] = []


class MeanIntensity(TransformerMixin, BaseEstimator):
    """Mean of each channel, the smallest real image feature."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def fit(self, X, y=None):
        self.n_channels_in_ = X.shape[1]
        return self

    def transform(self, X):
        TRANSFORMED.append(len(X))
        return self.scale * np.array([X.volume(i).mean(axis=(1, 2, 3)) for i in range(len(X))])


def anonymous_memory() -> int:
    """Bytes that belong to this process alone; pages of mapped files are not among them."""
    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared


class MemoryProbe(SurvivalMixin, BaseEstimator):
    """Reads every voxel in `fit`; its score is the memory that the process has then."""

    def __init__(self, power: int = 1) -> None:
        self.power = power

    def fit(self, X, y):
        self.total_ = sum(float(X.volume(i).sum()) ** self.power for i in range(len(X)))
        self.memory_ = anonymous_memory()
        self.order_ = np.random.default_rng(0).permutation(1000)
        return self

    def predict(self, X):
        return self.order_[: len(X)].astype(float)

    def score(self, X, y, sample_weight=None):
        return float(self.memory_)


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Cohort:
    rng = np.random.default_rng(0)
    risk = rng.normal(size=N)
    volumes = rng.normal(size=(N, 2, 8, 8, 8)).astype(np.float32)
    volumes[:, 0] += risk[:, None, None, None].astype(np.float32)
    outcome = make_outcome(rng.random(N) < 0.7, rng.exponential(np.exp(-risk)) + 0.01)
    cohort = Cohort(volumes, outcome=outcome, channel_names=("PET", "CT"))
    return cohort.save(tmp_path_factory.mktemp("cohort") / "store")


@pytest.fixture
def folds() -> EventStratifiedKFold:
    return EventStratifiedKFold(3, shuffle=True, random_state=0)


def model():
    return make_pipeline(MeanIntensity(), CoxPHSurvivalAnalysis(alpha=1.0))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_cross_validation(stored, folds, n_jobs):
    scores = cross_val_score(model(), stored, stored.outcome, cv=folds, n_jobs=n_jobs)
    assert np.mean(scores) > 0.6
    serial = cross_val_score(model(), stored, stored.outcome, cv=folds)
    np.testing.assert_array_equal(scores, serial)
    fitted = cross_validate(
        model(), stored, stored.outcome, cv=folds, n_jobs=n_jobs, return_estimator=True
    )["estimator"]
    assert len(fitted) == 3
    predicted = cross_val_predict(model(), stored, stored.outcome, cv=folds, n_jobs=n_jobs)
    assert predicted.shape == (N,)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_searches_and_learning_curve(stored, folds, n_jobs):
    grid = {"meanintensity__scale": [0.5, 1.0]}
    for search in (
        GridSearchCV(model(), grid, cv=folds, n_jobs=n_jobs),
        RandomizedSearchCV(model(), grid, n_iter=2, cv=folds, n_jobs=n_jobs, random_state=0),
        HalvingGridSearchCV(
            model(), grid, cv=folds, n_jobs=n_jobs, min_resources=12, random_state=0
        ),
    ):
        search.fit(stored, stored.outcome)
        assert search.predict(stored[:5]).shape == (5,)
    sizes, _, _ = learning_curve(
        model(), stored, stored.outcome, cv=folds, n_jobs=n_jobs, train_sizes=[0.8, 1.0]
    )
    assert sizes.tolist() == [12, 16]


class Progress:
    """A callback of scikit-learn 1.9: writes down what has ended, as its progress bar does."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.ended.append(context.task_name)


def test_a_search_tells_its_progress(stored, folds):
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks since 1.9")
    progress = Progress()
    search = GridSearchCV(model(), {"meanintensity__scale": [0.5, 1.0]}, cv=folds)
    search.set_callbacks(progress).fit(stored, stored.outcome)
    assert progress.ended.count("candidate-split-evaluation") == 2 * 3


def test_scikit_survival_scorer_wrapper_takes_a_cohort(stored):
    train, test = train_test_split(stored, random_state=0)
    wrapped = as_concordance_index_ipcw_scorer(model(), tau=0.5)
    assert 0 <= wrapped.fit(train, train.outcome).score(test, test.outcome) <= 1


def test_feature_union_and_clone(stored):
    union = FeatureUnion([("a", MeanIntensity()), ("b", MeanIntensity(2.0))])
    assert clone(union).fit_transform(stored).shape == (N, 4)


def test_pipeline_memory_reuses_features_until_the_file_changes(stored, tmp_path: Path):
    folder = tmp_path / "store"
    cohort = stored[:].save(folder)
    cached = make_pipeline(
        MeanIntensity(), CoxPHSurvivalAnalysis(alpha=1.0), memory=str(tmp_path / "cache")
    )
    TRANSFORMED.clear()
    with warnings.catch_warnings():
        # joblib reports how long it took to store a result when the disk is slow
        warnings.simplefilter("ignore", UserWarning)
        cached.fit(cohort, cohort.outcome)
        assert TRANSFORMED == [N]
        clone(cached).fit(Cohort.load(folder), cohort.outcome)
        assert TRANSFORMED == [N]  # the same file: from the cache
        brighter = np.load(folder / "volumes.npy") + 1
        shutil.rmtree(folder)
        Cohort(brighter, outcome=stored.outcome, channel_names=("PET", "CT")).save(folder)
        clone(cached).fit(Cohort.load(folder), cohort.outcome)
    assert TRANSFORMED == [N, N]  # the file changed: computed again


def test_dump_and_load_of_a_fitted_model_and_of_a_cohort(stored, tmp_path: Path):
    fitted = model().fit(stored, stored.outcome)
    joblib.dump((fitted, stored[3:9]), tmp_path / "model.joblib")
    assert (tmp_path / "model.joblib").stat().st_size < 20_000
    loaded, part = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict(part), fitted.predict(stored)[3:9])


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux tells mapped from own memory")
def test_workers_do_not_copy_the_volumes(tmp_path: Path, folds):
    """Workers read all training voxels of 170 MB and stay as small as with a tiny cohort."""

    def largest_worker(side: int) -> float:
        path = tmp_path / f"volumes{side}.npy"
        volumes = np.lib.format.open_memmap(
            path, mode="w+", dtype=np.float32, shape=(N, 2, side, side, side)
        )
        volumes[:, :, ::8] = 1.0
        volumes.flush()
        outcome = make_outcome([1, 0] * (N // 2), np.arange(1.0, N + 1))
        cohort = Cohort(np.load(path, mmap_mode="r"), outcome=outcome)
        search = GridSearchCV(MemoryProbe(), {"power": [1, 2]}, cv=folds, n_jobs=2, refit=False)
        results = search.fit(cohort, outcome).cv_results_
        return float(max(results[f"split{k}_test_score"].max() for k in range(3)))

    largest_worker(4)  # the pool of workers is warm from here on
    grown = largest_worker(96) - largest_worker(4)
    assert grown < 0.1 * N * 2 * 96**3 * 4
