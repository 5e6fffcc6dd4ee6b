"""The forest against scikit-survival's own, and its memory."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sksurv.ensemble import RandomSurvivalForest as ReferenceForest

from survimg.estimators import RandomSurvivalForest
from survimg.estimators.tabular.random_survival_forest import _time_grid
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome


def simulate(n: int = 120, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 5)), columns=list("abcde"))
    time = rng.exponential(np.exp(-X["a"] * 1.5))
    censoring = rng.exponential(4.0, n)
    return X, make_outcome(time <= censoring, np.minimum(time, censoring))


def test_equals_scikit_survival_when_times_are_not_grouped():
    X, y = simulate()
    settings = {"n_estimators": 10, "min_samples_leaf": 7, "random_state": 3}
    reference = ReferenceForest(min_samples_split=14, **settings).fit(X, y)
    for n_time_bins in (None, 100):
        model = RandomSurvivalForest(n_time_bins=n_time_bins, **settings).fit(X, y)
        np.testing.assert_array_equal(model.predict(X), reference.predict(X))
        np.testing.assert_array_equal(model.unique_times_, [0, *reference.unique_times_])
        for name, start in (("survival", 1), ("cumulative_hazard", 0)):
            predict = f"predict_{name}_function"
            curves = getattr(model, predict)(X, return_array=True)
            assert (curves[:, 0] == start).all()
            expected = getattr(reference, predict)(X, return_array=True)
            np.testing.assert_array_equal(curves[:, 1:], expected)
    assert model.time_grid_ is None
    assert model.feature_names_in_.tolist() == list("abcde")


def test_grouped_times_shrink_the_forest_and_hardly_change_its_order():
    X, y = simulate(300)
    settings = {"n_estimators": 20, "random_state": 0}
    exact = RandomSurvivalForest(n_time_bins=None, **settings).fit(X, y)
    grouped = RandomSurvivalForest(n_time_bins=15, **settings).fit(X, y)
    assert grouped.unique_times_.size <= 17  # 0 and 16
    assert len(pickle.dumps(grouped)) < 0.3 * len(pickle.dumps(exact))
    X_new, y_new = simulate(500, seed=1)
    assert grouped.score(X_new, y_new) == pytest.approx(exact.score(X_new, y_new), abs=0.03)
    assert not np.array_equal(grouped.predict(X), exact.predict(X))


def test_the_grid_holds_equal_numbers_of_events_and_rounds_up():
    rng = np.random.default_rng(0)
    event, time = rng.random(200) < 0.6, rng.exponential(size=200)
    grid = _time_grid(event, time, 10)
    assert set(grid[:-1]) <= set(time[event])
    assert grid[-1] == time.max()
    counts = np.bincount(np.searchsorted(grid, time[event]), minlength=10)[:10]
    assert np.ptp(counts) <= 2
    assert (grid[np.searchsorted(grid, time)] >= time).all()


@pytest.mark.parametrize(
    "change",
    [{"n_estimators": 4}, {"min_samples_leaf": 20}, {"max_features": 1}, {"random_state": 1}],
)
def test_every_parameter_changes_the_forest(change):
    X, y = simulate()
    settings = {"n_estimators": 8, "random_state": 0}
    changed = RandomSurvivalForest(**{**settings, **change}).fit(X, y)
    assert not np.array_equal(
        changed.predict(X), RandomSurvivalForest(**settings).fit(X, y).predict(X)
    )


def test_low_memory_keeps_risks_only():
    X, y = simulate()
    model = RandomSurvivalForest(n_estimators=8, low_memory=True, random_state=0).fit(X, y)
    assert model.score(X, y, sample_weight=np.ones(len(X))) > 0.7
    with pytest.raises(NotImplementedError):
        model.predict_survival_function(X)
    full = RandomSurvivalForest(n_estimators=8, random_state=0).fit(X, y)
    assert len(pickle.dumps(model)) < 0.2 * len(pickle.dumps(full))


def test_scikit_learn_tools_and_errors():
    X, y = simulate()
    model = RandomSurvivalForest(n_estimators=10, random_state=0, n_jobs=2)
    assert cross_val_score(clone(model), X, y, cv=EventStratifiedKFold(3)).mean() > 0.65
    fitted = clone(model).fit(X, y)
    hazards = fitted.predict_cumulative_hazard_function(X, return_array=True)
    assert (np.diff(hazards, axis=1) >= 0).all()
    with pytest.raises(ValueError, match="at least one event"):
        model.fit(X, make_outcome(np.zeros(120), np.arange(120)))
    with pytest.raises(ValueError, match="n_time_bins"):
        RandomSurvivalForest(n_time_bins=0).fit(X, y)
