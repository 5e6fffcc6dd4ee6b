from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.model_selection import (
    EventStratifiedGroupKFold,
    EventStratifiedKFold,
    RepeatedEventStratifiedKFold,
    nested_cross_validate,
)
from survimg.target import make_outcome


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    event_time = rng.exponential(size=90) * np.exp(-X[:, 0])
    censoring = rng.exponential(2, size=90)
    return X, make_outcome(event_time <= censoring, np.minimum(event_time, censoring))


def search(cv, **options):
    return GridSearchCV(
        CoxPHSurvivalAnalysis(), {"alpha": [0.1, 10.0, 1000.0]}, cv=cv, **options
    )


def test_each_patient_is_judged_by_a_model_that_never_saw_it(data):
    X, y = data
    result = nested_cross_validate(search(EventStratifiedKFold(3)), X, y)
    assert len(result.best_params) == len(result.estimators) == 5
    assert np.isfinite(result.scores["score"]).all()
    for k, test in enumerate(result.test_indices):
        assert (result.fold[test] == k).all()
        model = CoxPHSurvivalAnalysis(**result.best_params[k])
        train = np.setdiff1d(np.arange(90), test)
        refit = model.fit(X[train], y[train])
        np.testing.assert_allclose(result.risk[test], refit.predict(X[test]), rtol=1e-9)
        assert result.scores["score"][k] == pytest.approx(refit.score(X[test], y[test]))


def test_groups_reach_both_levels(data):
    X, y = data
    groups = np.arange(90) // 3
    seen = []

    class Recording(EventStratifiedGroupKFold):
        def split(self, X, y=None, groups=None):
            seen.append(np.asarray(groups))
            yield from super().split(X, y, groups)

    result = nested_cross_validate(
        search(Recording(3)), X, y, groups=groups, cv=EventStratifiedGroupKFold(4)
    )
    assert len(seen) >= 4
    assert all(len(inner) < 90 for inner in seen)
    for test, inner in zip(result.test_indices, seen, strict=False):
        assert not set(groups[test]) & set(inner)


def test_repeats_are_averaged_and_several_scores_kept(data):
    X, y = data

    def size(estimator, X, y):
        return len(y)

    result = nested_cross_validate(
        search(EventStratifiedKFold(2)),
        X,
        y,
        cv=RepeatedEventStratifiedKFold(3, n_repeats=2, random_state=0),
        scoring={"size": size},
    )
    assert result.scores["size"].tolist() == [30] * 6
    first = next(k for k, test in enumerate(result.test_indices) if 0 in test)
    second = next(k for k in range(3, 6) if 0 in result.test_indices[k])
    values = [result.estimators[k].predict(X[:1])[0] for k in (first, second)]
    assert result.risk[0] == pytest.approx(np.mean(values))


def test_plain_inner_folds_are_refused(data):
    X, y = data
    with pytest.raises(TypeError, match="splitter as its inner cv"):
        nested_cross_validate(search(3), X, y)
