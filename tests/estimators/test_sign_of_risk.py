"""One sign everywhere: models that predict a time rank patients as their own `score` says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import BaggingRegressor
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sksurv.datasets import load_whas500
from sksurv.ensemble import GradientBoostingSurvivalAnalysis
from sksurv.linear_model import CoxPHSurvivalAnalysis, IPCRidge
from sksurv.meta import Stacking
from sksurv.metrics import concordance_index_censored
from sksurv.svm import FastSurvivalSVM

from survimg.estimators import FoldEnsemble, OutOfFold, SurvivalStacking
from survimg.evaluation import (
    MultiSurvivalScorer,
    SurvivalScorer,
    concordance_index,
    optimism_corrected_concordance,
)
from survimg.explain import cross_validated_family_importance, shapley_values
from survimg.model_selection import EventStratifiedKFold, nested_cross_validate
from survimg.survival import risk_of
from survimg.target import make_outcome

pytestmark = pytest.mark.filterwarnings("ignore:.*optim.*:sklearn.exceptions.ConvergenceWarning")

TIMES = {
    "IPCRidge": IPCRidge(),
    "SVM": FastSurvivalSVM(rank_ratio=0, fit_intercept=True, max_iter=500, random_state=0),
}
COLUMNS = ["age", "bmi", "hr", "sysbp"]


@pytest.fixture(scope="module")
def patients():
    X, y = load_whas500()
    X = X[COLUMNS].astype(float).iloc[:160]
    scaled = (X - X.mean()) / X.std()
    return scaled, make_outcome(y["fstat"][:160], y["lenfol"][:160])


@pytest.fixture(params=TIMES)
def model(request):
    return TIMES[request.param]


class Wrapped(BaseEstimator):
    """A user's own around another estimator, which may turn the sign, or stretch the scale."""

    def __init__(self, estimator, factor=1.0):
        self.estimator = estimator
        self.factor = factor

    def fit(self, X, y):
        self.estimator_ = clone(self.estimator).fit(X, y)
        return self

    def predict(self, X):
        return self.factor * self.estimator_.predict(X)


class Marked(Wrapped):
    _predict_risk_score = False


def search(estimator, **settings):
    return GridSearchCV(estimator, {}, cv=EventStratifiedKFold(2), **settings)


def c_of(model, X, y):
    return concordance_index(y, risk_of(model, X))


WRAPPERS = {
    "itself": lambda m: m,
    "pipeline": lambda m: make_pipeline(StandardScaler(), m),
    "search": search,
    "search of a pipeline in a pipeline": lambda m: make_pipeline(
        StandardScaler(), search(make_pipeline(StandardScaler(), m))
    ),
    "recursive elimination": lambda m: RFE(m, n_features_to_select=3),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_c_equals_the_own_score_of_scikit_survival(model, wrap, patients):
    X, y = patients
    fitted = wrap(model).fit(X, y)
    score = fitted.score(X, y)
    assert score > 0.6
    for same in (fitted, FrozenEstimator(fitted)):
        assert c_of(same, X, y) == pytest.approx(score, abs=1e-12)
        assert SurvivalScorer("concordance")(same, X, y) == pytest.approx(score, abs=1e-12)
    before = fitted.predict(X)
    risk_of(fitted, X)[:] = 0
    np.testing.assert_array_equal(fitted.predict(X), before)


@pytest.mark.parametrize(
    "estimator",
    [
        GradientBoostingSurvivalAnalysis(loss="ipcwls", n_estimators=5, random_state=0),
        GradientBoostingSurvivalAnalysis(loss="coxph", n_estimators=5, random_state=0),
        CoxPHSurvivalAnalysis(),
    ],
    ids=lambda e: f"{type(e).__name__} {getattr(e, 'loss', '')}",
)
def test_other_models_of_scikit_survival(estimator, patients):
    X, y = patients
    fitted = estimator.fit(X, y)
    assert c_of(fitted, X, y) == pytest.approx(fitted.score(X, y), abs=1e-12)


@pytest.mark.parametrize("around", ["nothing", "pipeline", "search", "frozen"])
@pytest.mark.parametrize("factor", [1.0, -1.0])
def test_a_users_own_wrapper_is_compared_with_its_model(around, factor, model, patients):
    X, y = patients
    wrapped = Wrapped(model, factor)
    if around == "pipeline":
        wrapped = make_pipeline(StandardScaler(), wrapped)
    if around == "search":
        wrapped = search(wrapped, scoring=SurvivalScorer("concordance"))
    fitted = wrapped.fit(X, y)
    fitted = FrozenEstimator(fitted) if around == "frozen" else fitted
    assert c_of(fitted, X, y) > 0.6


def test_a_users_own_that_does_not_say_is_refused_and_one_that_does_is_believed(model, patients):
    X, y = patients
    with pytest.raises(ValueError, match="_predict_risk_score of Wrapped to True for risks"):
        risk_of(Wrapped(model, 2.0).fit(X, y), X)
    assert c_of(Marked(model, 2.0).fit(X, y), X, y) > 0.6
    assert c_of(Wrapped(CoxPHSurvivalAnalysis(), 2.0).fit(X, y), X, y) > 0.6


def test_ensembles_of_times_and_final_models_of_times(model, patients):
    X, y = patients
    bagged = BaggingRegressor(model, 3, random_state=0).fit(X.to_numpy(), y)
    assert c_of(bagged, X.to_numpy(), y) > 0.6
    stacked = Stacking(model, [("cox", CoxPHSurvivalAnalysis())], probabilities=False).fit(X, y)
    assert c_of(stacked, X, y) > 0.6
    mixed = Mean([clone(model).fit(X, y), CoxPHSurvivalAnalysis().fit(X, y)])
    with pytest.raises(ValueError, match="an average of risks and times is neither"):
        risk_of(mixed, X)


class Mean(BaseEstimator):
    def __init__(self, models):
        self.estimators_ = models

    def predict(self, X):
        return np.mean([m.predict(X) for m in self.estimators_], axis=0)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_fold_ensembles_average_risks(model, wrap, patients):
    X, y = patients
    ensemble = FoldEnsemble(wrap(model), cv=3).fit(X, y)
    turned = [-member.predict(X) for member in ensemble.members_]
    by_hand = np.mean(
        [(r - m) / s for r, m, s in zip(turned, ensemble.means_, ensemble.scales_, strict=True)], 0
    )
    event, time = y["event"], y["time"]
    expected = concordance_index_censored(event, time, by_hand)[0]
    assert expected > 0.6
    assert ensemble.score(X, y) == pytest.approx(expected, abs=1e-12)
    assert ensemble.slope_ > 0


def test_out_of_fold_risks_and_stacks(model, patients):
    X, y = patients
    feature = OutOfFold(model, method="predict", cv=3)
    risk = feature.fit_transform(X, y)["risk"]
    assert concordance_index(y, risk) > 0.6
    assert c_of(feature.estimator_, X, y) == pytest.approx(
        concordance_index(y, feature.transform(X)["risk"]), abs=1e-12
    )
    final = make_pipeline(OutOfFold(model, method="predict", cv=3), CoxPHSurvivalAnalysis())
    final.fit(X, y)
    assert final[-1].coef_[0] > 0
    assert final.score(X, y) == pytest.approx(feature.estimator_.score(X, y), abs=1e-12)


@pytest.mark.parametrize("final", [None, *TIMES.values()], ids=["Cox", *TIMES])
def test_a_stack_has_the_c_of_its_risks_by_hand(final, model, patients):
    X, y = patients
    models = [("time", model), ("cox", CoxPHSurvivalAnalysis())]
    stacked = SurvivalStacking(models, final_estimator=final, cv=3).fit(X, y)
    columns = []
    for (_, part), sign in zip(models, (-1, 1), strict=True):
        risk = sign * clone(part).fit(X, y).predict(X)
        columns.append((risk - risk.mean()) / risk.std())
    table = pd.DataFrame(np.transpose(columns), columns=stacked.risks_.get_feature_names_out())
    by_hand = (1 if final is None else -1) * stacked.final_estimator_.predict(table)
    np.testing.assert_allclose(stacked.predict(X), by_hand, rtol=1e-9)
    expected = concordance_index_censored(y["event"], y["time"], by_hand)[0]
    assert expected > 0.6
    assert stacked.score(X, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_stack_of_one_ranks_as_its_model_does(wrap, model, patients):
    X, y = patients
    stacked = SurvivalStacking([("time", wrap(model))], cv=3).fit(X, y)
    own = clone(wrap(model)).fit(X, y).score(X, y)
    assert stacked.score(X, y) == pytest.approx(own, abs=1e-12)


def test_resampling_and_explanations(model, patients):
    X, y = patients
    folds = EventStratifiedKFold(3)
    own = cross_validate(model, X, y, cv=folds)["test_score"]
    scorer = MultiSurvivalScorer(("concordance",))
    found = cross_validate(model, X, y, cv=folds, scoring=scorer)["test_concordance"]
    np.testing.assert_allclose(found, own, rtol=0, atol=1e-12)
    corrected = optimism_corrected_concordance(model, X, y, n_resamples=2, random_state=0)
    assert corrected.apparent == pytest.approx(clone(model).fit(X, y).score(X, y), abs=1e-12)
    nested = nested_cross_validate(search(model), X, y, cv=folds)
    for test, score in zip(nested.test_indices, nested.scores["score"], strict=True):
        assert concordance_index(y[test], nested.risk[test]) == pytest.approx(score, abs=1e-12)
    fitted = clone(model).fit(X, y)
    shapley = shapley_values(fitted, X.iloc[:5], X.iloc[:20])
    np.testing.assert_allclose(shapley.prediction, risk_of(fitted, X.iloc[:5]))
    families = {"age": ["age"], "others": COLUMNS[1:]}
    dropped = cross_validated_family_importance(
        Wrapped(model), X, y, cv=folds, families=families, n_repeats=3, random_state=0
    )
    np.testing.assert_allclose(dropped.score, own, rtol=0, atol=1e-12)
