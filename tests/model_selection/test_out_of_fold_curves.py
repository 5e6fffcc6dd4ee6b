"""cross_val_survival: every patient's curve comes from a model that has not seen him."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit
from sksurv.linear_model import CoxPHSurvivalAnalysis, IPCRidge

from survimg.model_selection import EventStratifiedKFold, cross_val_survival
from survimg.target import make_outcome


def table(n=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    time = rng.exponential(np.exp(-X[:, 0])) + 0.05
    return X, make_outcome(rng.random(n) < 0.8, time)


def test_it_equals_a_loop_over_the_folds():
    X, y = table()
    cox, times = CoxPHSurvivalAnalysis(alpha=0.1), [0.0, 0.01, 0.3, 1.0]
    folds = KFold(3, shuffle=True, random_state=0)
    curves = cross_val_survival(cox, X, y, folds, times)
    assert curves.shape == (60, 4)
    np.testing.assert_array_equal(curves[:, :2], 1.0)
    for train, test in folds.split(X):
        fitted = clone(cox).fit(X[train], y[train])
        functions = fitted.predict_survival_function(X[test])
        expected = [[curve(t) for t in times[2:]] for curve in functions]
        np.testing.assert_array_equal(curves[test, 2:], expected)
    search = GridSearchCV(cox, {}, cv=EventStratifiedKFold(2))
    np.testing.assert_array_equal(cross_val_survival(search, X, y, folds, times), curves)


def test_errors():
    X, y = table()
    cox = CoxPHSurvivalAnalysis()
    with pytest.raises(TypeError, match="IPCRidge predicts no survival curves"):
        cross_val_survival(IPCRidge(), X, y, 3, [0.5])
    with pytest.raises(ValueError, match="times must hold one or more"):
        cross_val_survival(cox, X, y, 3, [])
    with pytest.raises(ValueError, match="describes survival up to"):
        cross_val_survival(cox, X, y, 3, [1e6])
    with pytest.raises(ValueError, match="exactly once"):
        cross_val_survival(cox, X, y, ShuffleSplit(3, random_state=0), [0.5])
