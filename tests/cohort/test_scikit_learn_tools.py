"""scikit-learn's, scikit-survival's and joblib's tools work over a cohort on disk, uncopied."""

from __future__ import annotations

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


class MeanIntensity(TransformerMixin, BaseEstimator):
    """Mean of each channel, the smallest real image feature."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def fit(self, X, y=None):
        self.n_channels_in_ = X.shape[1]
        return self

    def transform(self, X):
        return self.scale * np.array([X.volume(i).mean(axis=(1, 2, 3)) for i in range(len(X))])


def anonymous_memory() -> int:
    """Bytes that belong to this process alone; pages of mapped files are not among them."""
    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared


class MemoryProbe(SurvivalMixin, BaseEstimator):
    """Reads every voxel in `fit` and remembers by how much the process grew."""

    def __init__(self, power: int = 1) -> None:
        self.power = power

    def fit(self, X, y):
        before = anonymous_memory()
        self.total_ = sum(float(X.volume(i).sum()) ** self.power for i in range(len(X)))
        self.growth_ = anonymous_memory() - before
        self.order_ = np.random.default_rng(0).permutation(1000)
        return self

    def predict(self, X):
        return self.order_[: len(X)].astype(float)

    def score(self, X, y, sample_weight=None):
        return float(self.growth_)


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


def test_scikit_survival_scorer_wrapper_takes_a_cohort(stored):
    train, test = train_test_split(stored, random_state=0)
    wrapped = as_concordance_index_ipcw_scorer(model(), tau=0.5)
    assert 0 <= wrapped.fit(train, train.outcome).score(test, test.outcome) <= 1


def test_feature_union_and_clone(stored):
    union = FeatureUnion([("a", MeanIntensity()), ("b", MeanIntensity(2.0))])
    assert clone(union).fit_transform(stored).shape == (N, 4)


def test_pipeline_memory_reuses_features_until_the_file_changes(stored, tmp_path: Path):
    with warnings.catch_warnings():
        # joblib reports how long it took to store a result when the disk is slow
        warnings.simplefilter("ignore", UserWarning)
        cached = make_pipeline(
            MeanIntensity(), CoxPHSurvivalAnalysis(alpha=1.0), memory=str(tmp_path / "cache")
        )
        first = cached.fit(stored, stored.outcome).predict(stored)
        again = clone(cached).fit(Cohort.load(stored._volumes.path.parent), stored.outcome)
    np.testing.assert_array_equal(again.predict(stored), first)


def test_dump_and_load_of_a_fitted_model_and_of_a_cohort(stored, tmp_path: Path):
    fitted = model().fit(stored, stored.outcome)
    joblib.dump((fitted, stored[3:9]), tmp_path / "model.joblib")
    assert (tmp_path / "model.joblib").stat().st_size < 20_000
    loaded, part = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict(part), fitted.predict(stored)[3:9])


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux tells mapped from own memory")
def test_workers_do_not_copy_the_volumes(tmp_path: Path, folds):
    """Each worker reads all its training voxels and grows by less than a tenth of the cohort."""
    n, shape = N, (2, 96, 96, 96)
    size = n * np.prod(shape) * 4  # 170 MB
    volumes = np.lib.format.open_memmap(
        tmp_path / "volumes.npy", mode="w+", dtype=np.float32, shape=(n, *shape)
    )
    volumes[:, :, ::8] = 1.0
    volumes.flush()
    outcome = make_outcome([1, 0] * (n // 2), np.arange(1.0, n + 1))
    cohort = Cohort(np.load(tmp_path / "volumes.npy", mmap_mode="r"), outcome=outcome)
    search = GridSearchCV(MemoryProbe(), {"power": [1, 2]}, cv=folds, n_jobs=2, refit=False)
    search.fit(cohort, outcome)
    growth = np.concatenate([search.cv_results_[f"split{k}_test_score"] for k in range(3)])
    assert growth.max() < 0.1 * size
