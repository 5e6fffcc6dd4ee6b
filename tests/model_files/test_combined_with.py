"""Estimators of scikit-survival and selectors of scikit-learn that people combine."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import feature_selection as fs
from sklearn.linear_model import Ridge
from sksurv.ensemble import GradientBoostingSurvivalAnalysis
from sksurv.svm import FastSurvivalSVM, HingeLossSurvivalSVM, NaiveSurvivalSVM
from tampering import edit

import survimg
from survimg.model_files import ModelFileError
from survimg.target import make_outcome

SURVIVAL = [
    GradientBoostingSurvivalAnalysis(n_estimators=3, subsample=0.8, random_state=0),
    GradientBoostingSurvivalAnalysis(loss="ipcwls", n_estimators=3, random_state=0),
    FastSurvivalSVM(tol=1e-3, random_state=0),  # rounding can stop it short of 1e-5
    HingeLossSurvivalSVM(),
    NaiveSurvivalSVM(random_state=0),
]
SELECTORS = [
    fs.SelectKBest(fs.f_regression, k=2),
    fs.SelectPercentile(fs.f_regression, percentile=40),
    fs.SelectFpr(fs.f_regression, alpha=0.9),
    fs.SelectFdr(fs.f_regression, alpha=0.99),
    fs.SelectFwe(fs.f_regression, alpha=0.99),
    fs.GenericUnivariateSelect(fs.f_regression, mode="k_best", param=2),
    fs.RFE(Ridge(), n_features_to_select=2),
    fs.SequentialFeatureSelector(Ridge(), n_features_to_select=2, cv=2),
]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X, time = rng.normal(size=(40, 5)), rng.exponential(size=40) + 1.1
    return X, make_outcome(rng.random(40) < 0.7, time)


@pytest.mark.parametrize("model", SURVIVAL, ids=lambda model: type(model).__name__)
def test_survival_models(model, data, tmp_path):
    X, y = data
    model.fit(X, y)
    survimg.save(model, tmp_path / "model")
    again = survimg.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda selector: type(selector).__name__)
def test_selectors(selector, data, tmp_path):
    X, y = data
    selector.fit(X, y["time"])
    survimg.save(selector, tmp_path / "model")
    again = survimg.load(tmp_path / "model")
    np.testing.assert_array_equal(again.transform(X), selector.transform(X))


@pytest.mark.parametrize("label", ["builtins.eval", "sklearn.pipeline.Pipeline", 3, "survimg.x"])
@pytest.mark.parametrize("kind", ["class", "loss"])
def test_a_file_names_no_other_function(kind, label, data, tmp_path):
    X, y = data
    survimg.save(fs.SelectKBest(fs.f_regression, k=2).fit(X, y["time"]), tmp_path / "model")

    def replace(content):
        parameters = content["objects"][-1]["parameters"]
        assert parameters["score_func"] == {"class": "sklearn.feature_selection.f_regression"}
        parameters["score_func"] = {kind: label}

    edit(tmp_path / "model", replace)
    with pytest.raises(ModelFileError):
        survimg.load(tmp_path / "model")


def test_trees_of_another_width_are_refused(data, tmp_path):
    X, y = data
    survimg.save(SURVIVAL[0].fit(X, y), tmp_path / "model")

    def widen(content):
        model = content["objects"][-1]
        assert model["class"].endswith("GradientBoostingSurvivalAnalysis")
        model["attributes"]["n_features_in_"] = 500

    edit(tmp_path / "model", widen)
    with pytest.raises(ModelFileError, match="features"):
        survimg.load(tmp_path / "model")
