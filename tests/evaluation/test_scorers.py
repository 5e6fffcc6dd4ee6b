from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sksurv.datasets import load_gbsg2, load_veterans_lung_cancer, load_whas500
from sksurv.linear_model import CoxPHSurvivalAnalysis, IPCRidge
from sksurv.preprocessing import OneHotEncoder

import survimg.evaluation as ev
from survimg.target import make_outcome


def cox():
    return make_pipeline(StandardScaler(), CoxPHSurvivalAnalysis(alpha=0.1))


def encoded(loader):
    X, y = loader()
    return OneHotEncoder().fit_transform(X), y


@pytest.fixture(scope="module")
def whas():
    return encoded(load_whas500)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("loader", [load_whas500, load_veterans_lung_cancer, load_gbsg2])
@pytest.mark.parametrize("pass_outcome", [True, False])
def test_every_fold_of_public_cohorts_is_scored(loader, pass_outcome):
    X, y = encoded(loader)
    y = make_outcome(y[y.dtype.names[0]], y[y.dtype.names[1]])
    scoring = ev.survival_scorers(
        y if pass_outcome else None, metrics=("concordance", "uno", "auc", "neg_brier", "antolini")
    )
    folds = KFold(5, shuffle=True, random_state=0)
    scores = cross_validate(cox(), X, y, cv=folds, scoring=scoring)
    for name in scoring:
        assert np.isfinite(scores[f"test_{name}"]).all(), name
    assert (scores["test_neg_brier"] > -0.3).all()


@pytest.mark.filterwarnings("error:.*:survimg.evaluation.UndefinedScoreWarning")
def test_every_fold_of_the_sarcoma_cohort_is_scored(shared_dir):
    table = pd.read_csv(shared_dir / "data" / "sts51_petgrid" / "clinical.csv")
    X = pd.get_dummies(table[["age", "sex", "grade"]], dtype=float).fillna(table["age"].median())
    for event, time in (("dfs_event", "dfs_days"), ("os_event", "os_days")):
        y = make_outcome(table[event], table[time])
        for seed in range(3):
            folds = KFold(5, shuffle=True, random_state=seed)
            for reference in (y, None):
                scorer = ev.MultiSurvivalScorer(y_train=reference)
                scores = cross_validate(cox(), X, y, cv=folds, scoring=scorer)
                for name in scorer.metrics:
                    assert np.isfinite(scores[f"test_{name}"]).all(), (event, seed, name)


def test_scores_are_those_of_the_functions(whas):
    X, y = whas
    y = make_outcome(y["fstat"], y["lenfol"])
    model = cox().fit(X[:300], y[:300])
    risk, test = model.predict(X[300:]), y[300:]
    fold = {"estimator": model, "X": X[300:], "y": test}
    scores = ev.MultiSurvivalScorer(horizon=1000.0, y_train=y)(**fold)
    assert scores["horizon"] == 1000
    assert scores["concordance"] == ev.concordance_index(test, risk)
    tau = np.nextafter(1000.0, np.inf)
    assert scores["uno"] == ev.uno_concordance(y, test, risk, tau)
    times = np.unique(test["time"][test["event"] & (test["time"] <= 1000)])
    assert scores["auc"] == ev.cumulative_dynamic_auc(y, test, risk, times).mean_auc
    functions = model.predict_survival_function(X[300:])
    grid = np.unique(np.append(test["time"][test["time"] < 1000], 1000.0))
    curves = np.vstack([f(grid) for f in functions])
    expected = -ev.integrated_brier_score(y, test, curves, grid)
    assert scores["neg_brier"] == pytest.approx(expected, abs=1e-12)
    for name, value in scores.items():
        assert ev.SurvivalScorer(name, 1000.0, y)(**fold) == value
    other = ev.MultiSurvivalScorer(horizon=500.0, y_train=y)(**fold)
    assert other["uno"] != scores["uno"]
    own = ev.MultiSurvivalScorer(horizon=1000.0)(**fold)
    assert own["uno"] != scores["uno"]


def test_survivors_count_to_the_end_of_a_fold_that_ends_with_censorings(whas):
    X, y = whas
    y = make_outcome(y["fstat"], y["lenfol"])
    model = cox().fit(X[:300], y[:300])
    test = y[300:]
    last = 1000.0
    test["event"] &= test["time"] < last
    test["time"] = np.minimum(test["time"], last)
    found = ev.SurvivalScorer("neg_brier", y_train=y)(model, X[300:], test)
    grid = np.unique(np.append(test["time"][test["time"] < last], 999.999))
    curves = np.vstack([f(grid) for f in model.predict_survival_function(X[300:])])
    expected = -ev.integrated_brier_score(y, test, curves, grid)
    assert found == pytest.approx(expected, rel=1e-5)


def test_several_scorers_drive_a_grid_search_in_processes(whas):
    X, y = whas
    y = make_outcome(y["fstat"], y["lenfol"])
    grid = {"coxphsurvivalanalysis__alpha": [0.1, 1000.0]}
    search = GridSearchCV(cox(), grid, scoring=ev.survival_scorers(y), refit="uno", cv=KFold(3))
    search.fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_neg_brier"]).all()
    assert np.isfinite(search.cv_results_["mean_test_horizon"]).all()
    scorer = pickle.loads(pickle.dumps(ev.MultiSurvivalScorer(y_train=y)))
    single = GridSearchCV(cox(), grid, scoring=scorer, refit="uno", cv=KFold(3)).fit(X, y)
    assert single.best_params_ == search.best_params_
    np.testing.assert_array_equal(
        single.cv_results_["mean_test_uno"], search.cv_results_["mean_test_uno"]
    )


def test_a_horizon_beyond_the_fold_is_cut_with_a_warning(whas):
    X, y = whas
    y = make_outcome(y["fstat"], y["lenfol"])
    model = cox().fit(X[:300], y[:300])
    with pytest.warns(ev.ClippedHorizonWarning, match="cut to"):
        end = ev.SurvivalScorer("horizon", 1e6)(model, X[300:], y[300:])
    assert end <= y["time"][300:].max()


def test_a_fold_without_events_gives_nan_and_says_why(whas):
    X, y = whas
    y = make_outcome(y["fstat"], y["lenfol"])
    model = cox().fit(X, y)
    censored = np.flatnonzero(~y["event"])[:10]
    for name in ("concordance", "uno", "auc", "antolini"):
        with pytest.warns(ev.UndefinedScoreWarning, match="no event"):
            assert np.isnan(ev.SurvivalScorer(name)(model, X.iloc[censored], y[censored]))


def test_a_broken_prediction_is_an_error_not_a_nan(whas):
    X, y = whas
    y = make_outcome(y["fstat"], y["lenfol"])

    class Broken:
        def predict(self, X):
            return np.full(len(X), np.nan)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("concordance", "uno", "auc"):
            with pytest.raises(ValueError, match="failed to train"):
                ev.SurvivalScorer(name)(Broken(), X, y)
    with pytest.raises(ValueError, match="metric must be one of"):
        ev.SurvivalScorer("accuracy")(Broken(), X, y)


def test_the_outcome_an_estimator_kept_gives_the_weights(whas):
    X, y = whas
    y = make_outcome(y["fstat"], y["lenfol"])

    class Keeps:
        training_outcome_ = y[:300]

        def predict(self, X):
            return X["age"].to_numpy()

    class Search:
        best_estimator_ = Keeps()

        def predict(self, X):
            return self.best_estimator_.predict(X)

    for estimator in (Keeps(), Search()):
        found = ev.SurvivalScorer("uno", 800.0)(estimator, X[300:], y[300:])
        given = ev.SurvivalScorer("uno", 800.0, y[:300])(estimator, X[300:], y[300:])
        without = ev.SurvivalScorer("uno", 800.0, y[300:])(estimator, X[300:], y[300:])
        assert found == given != without


def test_scorers_by_name_and_models_without_curves(whas):
    X, y = whas
    y = make_outcome(y["fstat"], y["lenfol"])
    model = IPCRidge().fit(X, y)
    scorer = ev.survival_scorer("concordance")
    assert scorer(model, X, y) == pytest.approx(model.score(X, y), abs=1e-12)
    with pytest.raises(ValueError, match="metric must be one of"):
        ev.survival_scorer("brier")
    for metric in ("neg_brier", "antolini"):
        with pytest.raises(TypeError, match="IPCRidge predicts no survival curves"):
            ev.survival_scorer(metric)(model, X, y)
    search = GridSearchCV(cox(), {}, cv=KFold(2)).fit(X, y)
    brier = ev.survival_scorer("neg_brier")
    assert brier(search, X, y) == brier(search.best_estimator_, X, y)
