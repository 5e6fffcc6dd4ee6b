"""SurvivalVoting averages ranks among the training patients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.model_selection import GridSearchCV
from sksurv.linear_model import CoxPHSurvivalAnalysis, IPCRidge

from survimg.estimators import SurvivalVoting
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome


def table(n=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3)).round(1)
    time = rng.exponential(np.exp(-X[:, 0])) + 0.01
    return X, make_outcome(rng.random(n) < 0.7, time)


MODELS = [("cox", CoxPHSurvivalAnalysis()), ("times", IPCRidge())]


def test_training_patients_get_their_mean_ranks_whatever_the_scales_and_signs():
    X, y = table()
    voting = SurvivalVoting(MODELS).fit(X, y)
    risks = [MODELS[0][1].fit(X, y).predict(X), -MODELS[1][1].fit(X, y).predict(X)]
    expected = np.mean([(rankdata(risk) - 0.5) / len(X) for risk in risks], axis=0)
    np.testing.assert_allclose(voting.predict(X), expected)
    assert voting.score(X, y) > 0.6
    np.testing.assert_array_equal(voting.predict(X[[5]]), voting.predict(X)[[5]])


def test_weights_parameters_and_errors():
    X, y = table()
    alone = SurvivalVoting(MODELS[:1]).fit(X, y).predict(X)
    weighted = SurvivalVoting(MODELS, weights=[1, 0]).fit(X, y).predict(X)
    np.testing.assert_array_equal(weighted, alone)
    search = GridSearchCV(
        SurvivalVoting(MODELS), {"cox__alpha": [0.0, 10.0]}, cv=EventStratifiedKFold(2)
    )
    assert search.fit(X, y).best_score_ > 0.5
    with pytest.raises(ValueError, match="at least one"):
        SurvivalVoting([]).fit(X, y)
    with pytest.raises(ValueError, match="2 finite numbers"):
        SurvivalVoting(MODELS, weights=[1.0]).fit(X, y)
    with pytest.raises(ValueError, match="all 0"):
        SurvivalVoting(MODELS, weights=[0, 0]).fit(X, y)
