"""The sign of models that hide a model of times, and predictions that are no risks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sksurv.linear_model import CoxPHSurvivalAnalysis, IPCRidge
from sksurv.meta import EnsembleSelection

from survimg.estimators import FitOnce, SurvivalVoting
from survimg.evaluation import SurvivalScorer, concordance_index
from survimg.model_selection import EventStratifiedKFold
from survimg.survival import risk_of
from survimg.target import make_outcome


@pytest.fixture(scope="module")
def patients():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    time = rng.exponential(np.exp(-X[:, 0]))
    return X, make_outcome(rng.uniform(size=80) < 0.7, time)


class Own(BaseEstimator):
    """A user's own estimator, which may keep its fitted model in any attribute."""

    def __init__(self, model=None, place="model_", sign=1, n_columns=3):
        self.model = model
        self.place = place
        self.sign = sign
        self.n_columns = n_columns

    def fit(self, X, y):
        fitted = clone(IPCRidge() if self.model is None else self.model)
        fitted.fit(X[:, : self.n_columns], y)
        setattr(self, self.place, {"only": [fitted]} if self.place == "models_" else fitted)
        self.predict_by_ = lambda X: fitted.predict(X[:, : self.n_columns])
        return self

    def predict(self, X):
        return self.sign * self.predict_by_(X)

    def transform(self, X):
        return X


class Given(BaseEstimator):
    """Around a model that was fitted before."""

    def __init__(self, given):
        self.given = given

    def fit(self, X, y):
        return self

    def predict(self, X):
        return self.given.predict(X)


def c_of(model, patients):
    X, y = patients
    return concordance_index(y, risk_of(model, X))


@pytest.mark.parametrize("place", ["model_", "_model", "models_", "ridge"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_of_a_model_of_times_is_found_wherever_it_is_kept(place, sign, patients):
    expected = IPCRidge().fit(*patients).score(*patients)
    assert expected > 0.6
    own = Own(place=place, sign=sign).fit(*patients)
    for model in (own, FrozenEstimator(own), Given(own), FitOnce(own).fit(*patients)):
        assert c_of(model, patients) == pytest.approx(expected, abs=1e-12)
    cox = Own(CoxPHSurvivalAnalysis(), place).fit(*patients)
    np.testing.assert_array_equal(risk_of(cox, patients[0]), cox.predict(patients[0]))


def test_a_search_that_is_fitted_once(patients):
    search = GridSearchCV(
        Own(), {}, cv=EventStratifiedKFold(2), scoring=SurvivalScorer("concordance")
    )
    model = FitOnce(search).fit(*patients)
    assert c_of(model, patients) == pytest.approx(IPCRidge().fit(*patients).score(*patients))


def test_mean_ranks_of_times_are_no_risks(patients):
    models = [(f"ridge{alpha}", IPCRidge(alpha=alpha)) for alpha in (0.1, 1.0)]
    chosen = EnsembleSelection(
        models, n_estimators=2, cv=EventStratifiedKFold(2),
        scorer=lambda model, X, y: model.score(X, y),
    ).fit(*patients)  # fmt: skip
    assert c_of(chosen, patients) > 0.6


def test_a_model_that_is_handed_other_columns_than_its_wrapper_is_refused(patients):
    with pytest.raises(ValueError, match="_predict_risk_score of Own to True for risks"):
        risk_of(Own(n_columns=2).fit(*patients), patients[0])


@pytest.mark.parametrize("mark", ["False", lambda self: False, 2, np.array([False])])
def test_a_mark_is_true_or_false(mark, patients):
    marked = type("Marked", (Own,), {"_predict_risk_score": mark})
    with pytest.raises(TypeError, match="_predict_risk_score of Marked must be True for risks"):
        risk_of(marked().fit(*patients), patients[0])


@pytest.mark.parametrize("mark", [False, np.bool_(False), 0, property(lambda self: False)])
def test_marks_that_are(mark, patients):
    marked = type("Marked", (Own,), {"_predict_risk_score": mark})
    assert c_of(marked(n_columns=2).fit(*patients), patients) > 0.6


class Constant(BaseEstimator):
    def __init__(self, values):
        self.values = values

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.array(self.values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_risk_is_finite(bad, patients):
    model = Constant([0.0] * 79 + [bad])
    with pytest.raises(ValueError, match="first at position 79"):
        risk_of(model, patients[0])
    with pytest.raises(ValueError, match="first at position 79"):
        # A rank of it would look like any other.
        SurvivalVoting([("one", model)]).fit(*patients)


def test_there_is_one_risk_for_each_patient(patients):
    column = risk_of(Constant([[1], [2]]), patients[0][:2])
    np.testing.assert_array_equal(column, [1.0, 2.0])
    assert column.dtype == np.float64
    with pytest.raises(ValueError, match=r"shape \(n,\); got \(1, 2\)"):
        risk_of(Constant([[1, 2]]), patients[0][:2])
