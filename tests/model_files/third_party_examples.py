"""A small fitted example of each class of scikit-learn and scikit-survival on the list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import (
    compose,
    decomposition,
    ensemble,
    feature_selection,
    frozen,
    impute,
    linear_model,
    pipeline,
    preprocessing,
    tree,
)
from sksurv import ensemble as survival_ensemble
from sksurv import linear_model as survival_linear_model
from sksurv import svm as survival_svm
from sksurv import tree as survival_tree

from survimg.target import make_outcome

_rng = np.random.default_rng(0)
X = _rng.normal(size=(30, 4)).astype(np.float32)
HOLES = np.where(_rng.random(X.shape) < 0.2, np.nan, X)
LABELS = (X[:, 0] + 0.3 * X[:, 1] > 0).astype(int)
NUMBERS = 2.0 * X[:, 0] + _rng.normal(size=30)
OUTCOME = make_outcome(_rng.random(30) < 0.7, _rng.exponential(np.exp(-X[:, 0])) + 0.01)
TEXT = np.array([["a", "x"], ["b", "y"], ["c", "x"], ["a", "z"], ["b", "x"]] * 6, dtype=object)
LEVELS = np.tile(np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]]), (10, 1))

_p, _TREE = preprocessing, {"max_depth": 3, "random_state": 0}
_FOREST = {"n_estimators": 2, **_TREE}

#: What is fitted, on which X and y; used on the same X.
EXAMPLES: dict[str, Callable[[], tuple[Any, np.ndarray, Any]]] = {
    "ColumnTransformer": lambda: (compose.ColumnTransformer(
        [("a", _p.StandardScaler(), [0, 1]), ("b", _p.MinMaxScaler(), slice(2, 3))],
        remainder="passthrough",
    ), X, None),
    "PCA": lambda: (decomposition.PCA(2, random_state=0), X, None),
    "TruncatedSVD": lambda: (decomposition.TruncatedSVD(2, random_state=0), X, None),
    "RandomForestClassifier": lambda: (ensemble.RandomForestClassifier(**_FOREST), X, LABELS),
    "RandomForestClassifier, two outputs": lambda: (
        ensemble.RandomForestClassifier(**_FOREST), X, np.c_[LABELS, LABELS]
    ),
    "RandomForestRegressor": lambda: (ensemble.RandomForestRegressor(**_FOREST), X, NUMBERS),
    "SelectFromModel": lambda: (feature_selection.SelectFromModel(
        ensemble.RandomForestClassifier(**_FOREST)
    ), X, LABELS),
    "GenericUnivariateSelect": lambda: (feature_selection.GenericUnivariateSelect(), X, LABELS),
    "SelectFdr": lambda: (feature_selection.SelectFdr(), X, LABELS),
    "SelectFpr": lambda: (feature_selection.SelectFpr(), X, LABELS),
    "SelectFwe": lambda: (feature_selection.SelectFwe(), X, LABELS),
    "SelectKBest": lambda: (feature_selection.SelectKBest(k=2), X, LABELS),
    "SelectPercentile": lambda: (feature_selection.SelectPercentile(percentile=50), X, LABELS),
    "RFE": lambda: (feature_selection.RFE(linear_model.LogisticRegression()), X, LABELS),
    "RFECV": lambda: (feature_selection.RFECV(linear_model.LogisticRegression()), X, LABELS),
    "SequentialFeatureSelector": lambda: (feature_selection.SequentialFeatureSelector(
        linear_model.LogisticRegression(), n_features_to_select=2
    ), X, LABELS),
    "VarianceThreshold": lambda: (feature_selection.VarianceThreshold(0.1), X, None),
    "FrozenEstimator": lambda: (
        frozen.FrozenEstimator(_p.StandardScaler().fit(X)), X, None
    ),
    "KNNImputer": lambda: (impute.KNNImputer(n_neighbors=3, add_indicator=True), HOLES, None),
    "MissingIndicator": lambda: (impute.MissingIndicator(), HOLES, None),
    "SimpleImputer": lambda: (impute.SimpleImputer(add_indicator=True), HOLES, None),
    "ElasticNet": lambda: (linear_model.ElasticNet(), X, NUMBERS),
    "Lasso": lambda: (linear_model.Lasso(), X, NUMBERS),
    "LinearRegression": lambda: (linear_model.LinearRegression(), X, NUMBERS),
    "Ridge": lambda: (linear_model.Ridge(), X, NUMBERS),
    "LogisticRegression": lambda: (linear_model.LogisticRegression(), X, LABELS),
    "LogisticRegression, three classes": lambda: (
        linear_model.LogisticRegression(), X, np.digitize(X[:, 0], [-0.5, 0.5])
    ),
    "FeatureUnion": lambda: (pipeline.FeatureUnion(
        [("a", _p.StandardScaler()), ("b", decomposition.PCA(2))]
    ), X, None),
    "Pipeline": lambda: (pipeline.make_pipeline(
        _p.StandardScaler(), linear_model.LogisticRegression()
    ), X, LABELS),
    "Binarizer": lambda: (_p.Binarizer(), X, None),
    "FunctionTransformer": lambda: (_p.FunctionTransformer(), X, None),
    "KBinsDiscretizer": lambda: (
        _p.KBinsDiscretizer(3, encode="onehot", strategy="uniform"), X, None
    ),
    "KBinsDiscretizer, dense": lambda: (
        _p.KBinsDiscretizer(4, encode="onehot-dense", strategy="uniform"), X, None
    ),
    "KBinsDiscretizer, ordinal": lambda: (
        _p.KBinsDiscretizer(3, encode="ordinal", strategy="uniform"), X, None
    ),
    "MaxAbsScaler": lambda: (_p.MaxAbsScaler(), X, None),
    "MinMaxScaler": lambda: (_p.MinMaxScaler(), X, None),
    "Normalizer": lambda: (_p.Normalizer(), X, None),
    "OneHotEncoder": lambda: (_p.OneHotEncoder(), TEXT, None),
    "OneHotEncoder, dropped": lambda: (
        _p.OneHotEncoder(drop="first", sparse_output=False), TEXT, None
    ),
    "OneHotEncoder, numbers": lambda: (
        _p.OneHotEncoder(sparse_output=False, handle_unknown="ignore"), LEVELS, None
    ),
    "OneHotEncoder, infrequent": lambda: (_p.OneHotEncoder(
        sparse_output=False, handle_unknown="infrequent_if_exist", min_frequency=8
    ), TEXT, None),
    "OneHotEncoder, infrequent and dropped": lambda: (_p.OneHotEncoder(
        sparse_output=False, handle_unknown="infrequent_if_exist", max_categories=2,
        drop="if_binary",
    ), TEXT, None),
    "OrdinalEncoder": lambda: (_p.OrdinalEncoder(), TEXT, None),
    "OrdinalEncoder, infrequent": lambda: (_p.OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=8
    ), TEXT, None),
    "OrdinalEncoder, missing": lambda: (
        _p.OrdinalEncoder(), np.where(LEVELS == 2, np.nan, LEVELS), None
    ),
    "PolynomialFeatures": lambda: (_p.PolynomialFeatures(2), X, None),
    "PolynomialFeatures, interactions": lambda: (
        _p.PolynomialFeatures((2, 3), interaction_only=True, include_bias=False), X, None
    ),
    "PowerTransformer": lambda: (_p.PowerTransformer(), X, None),
    "QuantileTransformer": lambda: (
        _p.QuantileTransformer(n_quantiles=10, output_distribution="normal"), X, None
    ),
    "RobustScaler": lambda: (_p.RobustScaler(), X, None),
    "StandardScaler": lambda: (_p.StandardScaler(), X, None),
    "StandardScaler, missing": lambda: (_p.StandardScaler(), HOLES, None),
    "DecisionTreeClassifier": lambda: (tree.DecisionTreeClassifier(**_TREE), X, LABELS),
    "DecisionTreeRegressor": lambda: (tree.DecisionTreeRegressor(**_TREE), X, NUMBERS),
    "ExtraSurvivalTrees": lambda: (
        survival_ensemble.ExtraSurvivalTrees(**_FOREST), X, OUTCOME
    ),
    "RandomSurvivalForest": lambda: (
        survival_ensemble.RandomSurvivalForest(**_FOREST), X, OUTCOME
    ),
    "GradientBoostingSurvivalAnalysis": lambda: (
        survival_ensemble.GradientBoostingSurvivalAnalysis(n_estimators=2, **_TREE), X, OUTCOME
    ),
    "FastSurvivalSVM": lambda: (survival_svm.FastSurvivalSVM(random_state=0), X, OUTCOME),
    "HingeLossSurvivalSVM": lambda: (survival_svm.HingeLossSurvivalSVM(), X, OUTCOME),
    "NaiveSurvivalSVM": lambda: (survival_svm.NaiveSurvivalSVM(random_state=0), X, OUTCOME),
    "CoxPHSurvivalAnalysis": lambda: (
        survival_linear_model.CoxPHSurvivalAnalysis(alpha=0.1), X, OUTCOME
    ),
    "CoxnetSurvivalAnalysis": lambda: (
        survival_linear_model.CoxnetSurvivalAnalysis(n_alphas=5, fit_baseline_model=True),
        X, OUTCOME,
    ),
    "IPCRidge": lambda: (survival_linear_model.IPCRidge(), X, OUTCOME),
    "ExtraSurvivalTree": lambda: (survival_tree.ExtraSurvivalTree(**_TREE), X, OUTCOME),
    "SurvivalTree": lambda: (survival_tree.SurvivalTree(**_TREE), X, OUTCOME),
}  # fmt: skip


def fitted(name: str) -> tuple[Any, np.ndarray]:
    """An example, fitted, and what it is used on."""
    model, data, target = EXAMPLES[name]()
    return model.fit(data, target), data
