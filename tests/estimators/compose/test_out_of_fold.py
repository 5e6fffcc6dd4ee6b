"""OutOfFold and SurvivalStacking: no feature of a patient comes from a model that saw it."""

from __future__ import annotations

import io

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.estimators import OutOfFold, RandomSurvivalForest, SurvivalStacking
from survimg.features import SpearmanFilter
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome


def simulate(n: int = 150, p: int = 6, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Survival that depends on `signal` alone; the other columns are noise."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, p)), columns=["signal", *(f"z{j}" for j in range(1, p))])
    time = rng.exponential(np.exp(-X["signal"]))
    censoring = rng.exponential(3.0, n)
    return X, make_outcome(time <= censoring, np.minimum(time, censoring))


class Memoriser(BaseEstimator):
    """Returns the exact risk of patients it has seen, and a constant for all others."""

    def fit(self, X, y):
        self.seen_ = dict(zip(X["z1"], -y["time"], strict=True))
        return self

    def predict(self, X):
        return np.array([self.seen_.get(z, 0.0) for z in X["z1"]])


class RowsSeen(TransformerMixin, BaseEstimator):
    """Counts for each patient how often it was in the training set."""

    def fit(self, X, y=None):
        self.seen_ = set(X["z1"])
        return self

    def transform(self, X):
        return np.array([[float(z in self.seen_), z] for z in X["z1"]])

    def get_feature_names_out(self, input_features=None):
        return np.array(["seen", "z"])


def columns(*names: str):
    """Cox model on some columns."""
    return make_pipeline(PickColumns(names), CoxPHSurvivalAnalysis(alpha=0.1))


class PickColumns(TransformerMixin, BaseEstimator):
    def __init__(self, names):
        self.names = names

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[list(self.names)]

    def __sklearn_is_fitted__(self):
        return True


def test_training_features_come_from_models_that_have_not_seen_the_patient():
    X, y = simulate(40)
    maker = OutOfFold(RowsSeen(), cv=4)
    features = maker.fit_transform(X, y)
    assert list(features.columns) == ["seen", "z"]
    np.testing.assert_array_equal(features["seen"], 0.0)
    np.testing.assert_array_equal(features["z"], X["z1"])  # the order of the patients is kept
    np.testing.assert_array_equal(maker.transform(X)["seen"], 1.0)


def test_risks_equal_a_manual_loop_and_are_z_scores_fold_by_fold():
    X, y = simulate(60)
    model = columns("signal", "z1")
    maker = OutOfFold(model, cv=KFold(3), method="predict")
    risk = maker.fit_transform(X, y)["risk"].to_numpy()
    for train, test in KFold(3).split(X):
        fitted = clone(model).fit(X.iloc[train], y[train])
        of_training = fitted.predict(X.iloc[train])
        expected = (fitted.predict(X.iloc[test]) - of_training.mean()) / of_training.std()
        np.testing.assert_allclose(risk[test], expected)
    everyone = clone(model).fit(X, y).predict(X)
    np.testing.assert_allclose(maker.transform(X)["risk"], stats.zscore(everyone))


class Blind(BaseEstimator):
    """Gives everybody the same risk."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.full(len(X), 3.0)


def test_a_model_that_says_nothing_gives_zeros():
    X, y = simulate(30)
    assert not OutOfFold(Blind(), method="predict", cv=3).fit_transform(X, y)["risk"].any()


def test_seed_and_method_change_the_features():
    X, y = simulate(60)
    model = RandomSurvivalForest(n_estimators=5, random_state=0)
    plain, shuffled, again = (
        OutOfFold(model, random_state=seed).fit_transform(X, y)["risk"] for seed in (None, 1, 1)
    )
    assert not np.allclose(plain, shuffled)
    np.testing.assert_array_equal(shuffled, again)
    assert OutOfFold(model).fit(X, y).method_ == "predict"
    assert OutOfFold(RowsSeen()).fit(X, y).method_ == "transform"


def test_out_of_fold_errors():
    X, y = simulate(40)
    with pytest.raises(ValueError, match="exactly once"):
        OutOfFold(RowsSeen(), cv=ShuffleSplit(3, random_state=0)).fit_transform(X, y)
    with pytest.raises(ValueError, match="no method 'predict'"):
        OutOfFold(RowsSeen(), method="predict").fit(X, y)
    with pytest.raises(ValueError, match="different columns in a fold"):
        OutOfFold(SpearmanFilter(0.15), cv=3).fit_transform(X, y)
    few = y.copy()
    few["event"][3:] = False
    with pytest.raises(ValueError, match="at least 5 events"):
        OutOfFold(RowsSeen()).fit_transform(X, few)


def test_a_model_that_memorises_gets_no_weight():
    """In sample it ranks perfectly; stacked out of fold it must not drown the honest model."""
    X, y = simulate(200)
    X_new, y_new = simulate(400, seed=1)
    honest = columns("signal").fit(X, y).score(X_new, y_new)
    stacking = SurvivalStacking([("honest", columns("signal")), ("memory", Memoriser())]).fit(X, y)
    assert stacking.score(X_new, y_new) > honest - 0.01
    # All its out-of-fold risks are alike, while in sample it would rank everyone perfectly.
    assert Memoriser().fit(X, y).predict(X)[0] == -y["time"][0]
    assert stacking.final_estimator_[-1].coef_[1] == pytest.approx(0, abs=0.3)
    assert stacking.final_estimator_[-1].coef_[0] > 0.7


def test_noise_models_stay_at_chance_in_stacking():
    scores = []
    for seed in range(5):
        X, y = simulate(100, p=12, seed=seed)
        noise = X.drop(columns="signal")
        forest = RandomSurvivalForest(n_estimators=10, min_samples_leaf=2, random_state=0)
        assert forest.fit(noise, y).score(noise, y) > 0.8  # it over-fits
        risk = OutOfFold(forest).fit_transform(noise, y)["risk"].to_numpy()
        scores.append(CoxPHSurvivalAnalysis().fit(risk[:, np.newaxis], y).score(risk[:, None], y))
    assert np.mean(scores) < 0.6


def test_stacking_combines_models_that_know_different_things():
    rng = np.random.default_rng(5)
    X, _ = simulate(300, seed=5)
    y = make_outcome(np.ones(300), rng.exponential(np.exp(-X["signal"] - X["z1"])))
    parts = [("one", columns("signal")), ("two", columns("z1"))]
    train, test = np.arange(150), np.arange(150, 300)
    stacking = SurvivalStacking(parts).fit(X.iloc[train], y[train])
    alone = max(
        model.fit(X.iloc[train], y[train]).score(X.iloc[test], y[test]) for _, model in parts
    )
    assert stacking.score(X.iloc[test], y[test]) > alone + 0.03
    curves = stacking.predict_survival_function(X.iloc[test], return_array=True)
    assert curves.shape == (150, stacking.unique_times_.size)
    hazards = stacking.predict_cumulative_hazard_function(X.iloc[test], return_array=True)
    np.testing.assert_allclose(curves, np.exp(-hazards))


def test_stacking_with_scikit_learn_tools():
    X, y = simulate(90)
    stacking = SurvivalStacking(
        [("cox", CoxPHSurvivalAnalysis()), ("one", columns("z1"))],
        final_estimator=CoxPHSurvivalAnalysis(), cv=3, random_state=2,
    )
    assert stacking.get_params()["cox__alpha"] == 0
    grid = {"cox__alpha": [0.1, 1e6], "cv": [3, 4]}
    search = GridSearchCV(stacking, grid, cv=EventStratifiedKFold(3), error_score="raise").fit(X, y)
    assert search.best_estimator_.get_params()["cox__alpha"] in (0.1, 1e6)
    assert cross_val_score(clone(stacking), X, y, cv=EventStratifiedKFold(3)).mean() > 0.6
    buffer = io.BytesIO()
    joblib.dump(search.best_estimator_, buffer)
    buffer.seek(0)
    np.testing.assert_array_equal(joblib.load(buffer).predict(X), search.predict(X))
    with pytest.raises(ValueError, match="at least one"):
        SurvivalStacking([]).fit(X, y)
    with pytest.raises(ValueError, match="unique"):
        SurvivalStacking([("a", columns("z1")), ("a", columns("z2"))]).fit(X, y)


def test_seeds_of_stacking_deal_the_same_folds_to_all_models():
    X, y = simulate(60)
    state = np.random.RandomState(0)
    twins = SurvivalStacking(
        [("a", columns("signal")), ("b", columns("signal"))], random_state=state
    ).fit(X, y)
    assert twins.risks_.transformer_list[0][1].random_state is not None
    coef = twins.final_estimator_[-1].coef_
    assert coef[0] == pytest.approx(coef[1])
    other = SurvivalStacking([("a", columns("signal"))], random_state=1).fit(X, y)
    plain = SurvivalStacking([("a", columns("signal"))]).fit(X, y)
    assert other.final_estimator_[-1].coef_[0] != plain.final_estimator_[-1].coef_[0]
