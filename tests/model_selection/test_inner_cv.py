"""n_jobs of models with inner folds: same bits, where each fit runs, errors, slots."""

from __future__ import annotations

import os
import sys
import threading
import time

import joblib
import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.preprocessing import StandardScaler
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.compute import device_slot
from survimg.datasets import make_phantom_cohort
from survimg.estimators import (
    CNNSurvival,
    FoldEnsemble,
    OutOfFold,
    RandomSurvivalForest,
    SurvivalStacking,
)
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome


def table(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    return X, make_outcome(rng.random(n) < 0.7, rng.exponential(np.exp(-X[:, 0])) + 0.1)


class Where(TransformerMixin, BaseEstimator):
    """Its features: process, thread and time of the fit, and how much of X was in memory."""

    def __init__(self, key="", seconds=0.0):
        self.key = key
        self.seconds = seconds

    def fit(self, X, y):
        with device_slot("test" if self.key else "cpu", [self.key]):
            start = time.time()
            time.sleep(self.seconds)
            self.row_ = [os.getpid(), threading.get_ident(), start, time.time(), sys.getsizeof(X)]
        return self

    def transform(self, X):
        return np.tile(np.array(self.row_, dtype=np.float64), (len(X), 1))


class Fails(CoxPHSurvivalAnalysis):
    """Cannot be fitted without the first patient."""

    def fit(self, X, y):
        if X[0, 0] != table()[0][0, 0]:
            raise ArithmeticError("no first patient")
        return super().fit(X, y)


def forest(seed):
    return RandomSurvivalForest(n_estimators=3, random_state=seed)


@pytest.mark.parametrize(
    "model",
    [
        OutOfFold(forest(0), cv=3, random_state=1),
        OutOfFold(forest(np.random.RandomState(0)), cv=3),
        FoldEnsemble(forest(0), cv=3, random_state=1),
        SurvivalStacking(
            [("forest", forest(0)), ("cox", CoxPHSurvivalAnalysis())], cv=3, random_state=1
        ),
    ],
    ids=["OutOfFold", "OutOfFold-RandomState", "FoldEnsemble", "SurvivalStacking"],
)
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_the_bits_do_not_depend_on_n_jobs(model, backend):
    X, y = table()

    def result(n_jobs):
        fresh = clone(model).set_params(n_jobs=n_jobs)
        if isinstance(model, OutOfFold):
            training = fresh.fit_transform(X, y)
            return np.concatenate([training, fresh.transform(X)])
        return fresh.fit(X, y).predict_survival_function(X, return_array=True)

    alone = result(None)
    with joblib.parallel_config(backend=backend):
        np.testing.assert_array_equal(result(2), alone)


def test_networks_over_a_stored_cohort(tmp_path):
    stored = make_phantom_cohort(n=12, shape=(16, 20, 20), random_state=0).cohort.save(tmp_path)
    network = CNNSurvival(
        n_iterations=2, batch_size=4, batch_norm_batches=1, width=2, hidden=4, n_threads=1,
        random_state=0, device="cpu", precision="float32",
    )  # fmt: skip
    one, two = (FoldEnsemble(network, cv=2, n_jobs=k).fit(stored, stored.outcome) for k in (1, 2))
    np.testing.assert_array_equal(one.predict(stored), two.predict(stored))
    assert len(two.members_) == 2


def test_other_processes_are_sent_the_path_of_a_stored_cohort(tmp_path):
    cohort = make_phantom_cohort(n=12, shape=(16, 20, 20), random_state=0).cohort
    stored = cohort.save(tmp_path)
    rows = OutOfFold(Where(), cv=2, n_jobs=2).fit_transform(stored, cohort.outcome).to_numpy()
    assert os.getpid() not in rows[:, 0]
    assert rows[:, -1].max() < 0.1 * sys.getsizeof(cohort)
    rows = OutOfFold(Where(), cv=2).fit_transform(stored, cohort.outcome).to_numpy()
    assert set(rows[:, 0]) == {os.getpid()}


def test_fits_in_processes_take_turns_on_a_device(tmp_path):
    X, y = table()
    maker = OutOfFold(Where(key=str(tmp_path), seconds=0.2), cv=3, n_jobs=2)
    times = maker.fit_transform(X, y).iloc[:, 2:4].drop_duplicates().to_numpy()
    times = np.vstack([times, maker.estimator_.row_[2:4]])
    times = times[np.argsort(times[:, 0])]
    assert len(times) == 4
    assert (times[1:, 0] >= times[:-1, 1]).all()


def threads_of_fits(n_jobs):
    X, y = table()
    maker = OutOfFold(Where(seconds=0.05), cv=3, n_jobs=n_jobs)
    found = maker.fit_transform(X, y).iloc[:, 1]
    return {*found, float(maker.estimator_.row_[1])}, float(threading.get_ident())


def test_a_surrounding_configuration_is_respected():
    with joblib.parallel_config(backend="threading", n_jobs=2):
        threads, own = threads_of_fits(None)
    assert len(threads) > 1
    assert own not in threads


def test_inside_a_search_with_jobs_of_its_own_fits_are_done_in_turn():
    outer = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(threads_of_fits)(2) for _ in range(2)
    )
    assert all(threads == {own} for threads, own in outer)


def test_scikit_learns_configuration_travels():
    X, y = table()
    with config_context(transform_output="pandas"):
        maker = OutOfFold(StandardScaler(), cv=3, n_jobs=2)
        assert list(maker.fit_transform(X, y).columns) == ["x0", "x1", "x2"]
        assert isinstance(maker.estimator_.transform(X[:1]), type(maker.transform(X[:1])))


@pytest.mark.parametrize("kind", [OutOfFold, FoldEnsemble])
def test_n_jobs_is_a_number(kind):
    with pytest.raises(ValueError, match="n_jobs"):
        kind(CoxPHSurvivalAnalysis(), n_jobs="two").fit(*table())


# The last test here: joblib ends its processes after an error, and starting others costs seconds.
@pytest.mark.parametrize(("kind", "n_jobs"), [("FoldEnsemble", 1), ("broken", 2)])
def test_an_error_names_its_fold(kind, n_jobs):
    X, y = table()
    models = {
        "FoldEnsemble": FoldEnsemble(Fails(), cv=3),
        "broken": SurvivalStacking([("good", CoxPHSurvivalAnalysis()), ("broken", Fails())], cv=3),
    }
    first = [0 in test for _, test in EventStratifiedKFold(3).split(X, y)].index(True)
    with pytest.raises(ArithmeticError, match="^no first patient") as caught:
        models[kind].set_params(n_jobs=n_jobs).fit(X, y)
    assert caught.value.__notes__ == [f"This happened in fold {first + 1} of 3 of {kind}."]
