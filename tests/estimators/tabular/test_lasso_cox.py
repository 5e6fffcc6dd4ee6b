"""LassoCox against R's glmnet, and by its properties."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, PredefinedSplit, ShuffleSplit, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from survimg.estimators import LassoCox
from survimg.estimators.tabular import lasso_cox
from survimg.estimators.tabular.coxnet_path import CoxnetPath
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome

# Made by references/make_glmnet_reference.R.
GLMNET: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "references" / "glmnet.json").read_text()
)


def reference_case(name: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any], dict[str, Any]]:
    case = GLMNET[name]
    settings = {
        "l1_ratio": case["alpha"],
        "penalty_factor": case["penalty"],
        "cv": PredefinedSplit(np.array(case["foldid"]) - 1),
    }
    return np.array(case["x"]), make_outcome(case["event"], case["time"]), settings, case


def simulate(n: int = 120, p: int = 12, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, p)), columns=[f"f{j}" for j in range(p)])
    time = rng.exponential(np.exp(-X["f0"] + 0.7 * X["f1"]))
    censoring = rng.exponential(3.0, size=n)
    return X, make_outcome(time <= censoring, np.minimum(time, censoring))


@pytest.mark.parametrize("name", GLMNET)
def test_path_and_penalty_equal_glmnet(name):
    X, y, settings, case = reference_case(name)
    model = LassoCox(alphas=case["lambda"], **settings).fit(X, y)
    np.testing.assert_allclose(model.alphas_, case["lambda"], rtol=1e-8)
    np.testing.assert_allclose(model.coef_path_, case["beta"], rtol=0, atol=1e-3)
    assert model.alpha_min_ == pytest.approx(case["lambda_min"], rel=1e-8)
    assert model.alpha_1se_ == pytest.approx(case["lambda_1se"], rel=1e-8)


@pytest.mark.parametrize("name", GLMNET)
def test_cross_validated_deviance_equals_cv_glmnet(name):
    X, y, settings, case = reference_case(name)
    model = LassoCox(alphas=case["lambda"], tol=1e-13, **settings).fit(X, y)
    np.testing.assert_allclose(model.coef_path_, case["beta"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(model.cv_deviance_, case["cvm"], rtol=1e-4)
    np.testing.assert_allclose(model.cv_deviance_se_, case["cvsd"], rtol=1e-3)


@pytest.mark.parametrize("name", GLMNET)
def test_path_starts_where_glmnet_starts_and_is_not_cut_by_tied_times(name):
    X, y, settings, case = reference_case(name)
    model = LassoCox(alpha_min_ratio=1e-2, **settings).fit(X, y)
    assert model.alphas_[0] == pytest.approx(case["lambda"][0], rel=3e-4)
    # Coxnet alone ends `tied_times` after six penalties.
    assert model.alphas_.size > 30
    penalised = np.array(case["penalty"]) > 0
    np.testing.assert_allclose(model.coef_path_[penalised, 0], 0, atol=1e-3)


def test_rescaling_and_constant_columns_change_no_risk():
    X, y = simulate()
    plain = LassoCox().fit(X, y)
    changed = X.assign(f0=X["f0"] * 1000 + 5)
    changed.insert(3, "constant", 7.3)
    rescaled = LassoCox().fit(changed, y)
    np.testing.assert_allclose(rescaled.predict(changed), plain.predict(X), atol=1e-6)
    assert rescaled.selected_features_.tolist() == plain.selected_features_.tolist()
    assert rescaled.coef_[0] == pytest.approx(plain.coef_[0] / 1000, rel=1e-4)
    assert rescaled.coef_[3] == 0


def test_constant_columns_leave_penalty_factors_as_they_are():
    X, y = simulate()
    wide = X.assign(constant=1.0)
    factor = np.array([0.5, 2.0] + [1.0] * 10)
    alone = LassoCox(alphas=[0.1, 0.05], penalty_factor=factor).fit(X, y)
    # Factors are rescaled to sum to the number of columns; 1.0 for the constant keeps them.
    mean = factor.mean()
    with_constant = LassoCox(alphas=[0.1, 0.05], penalty_factor=[*factor, mean]).fit(wide, y)
    np.testing.assert_allclose(with_constant.coef_path_[:12], alone.coef_path_, atol=1e-6)


def test_selection_is_readable_by_name():
    X, y = simulate()
    model = LassoCox(rule="lambda_1se").fit(X, y)
    assert {"f0", "f1"} <= set(model.selected_features_)
    table = model.coef_table()
    assert list(table.index[:2]) == ["f0", "f1"]
    assert sorted(table.index) == sorted(model.selected_features_)
    np.testing.assert_allclose(table["hazard_ratio"], np.exp(table["coef"]))
    assert table.loc["f0", "hazard_ratio_per_sd"] == pytest.approx(
        np.exp(table.loc["f0", "coef"] * X["f0"].std(ddof=0))
    )
    assert LassoCox().fit(X.to_numpy(), y).selected_features_[0] == "x0"


def test_risk_and_curves_agree():
    X, y = simulate()
    model = LassoCox().fit(X, y)
    risk = model.predict(X)
    assert risk.dtype == np.float64
    np.testing.assert_allclose(risk, (X - X.mean()).to_numpy() @ model.coef_, atol=1e-12)
    curves = model.predict_survival_function(X, return_array=True)
    assert curves.shape == (len(X), model.unique_times_.size)
    assert (np.diff(curves, axis=1) <= 0).all()
    assert ((curves >= 0) & (curves <= 1)).all()
    assert curves[np.argmax(risk), 10] < curves[np.argmin(risk), 10]
    hazard = model.predict_cumulative_hazard_function(X, return_array=True)
    np.testing.assert_allclose(curves, np.exp(-hazard))
    assert model.score(X, y) > 0.7
    assert model.score(X, y, sample_weight=np.ones(len(X))) == pytest.approx(model.score(X, y))


def test_no_selected_feature_is_a_warning_and_a_constant_risk():
    X, y = simulate()
    noise = X[["f5", "f6", "f7"]]
    with pytest.warns(UserWarning, match="selected none of the 3 features"):
        model = LassoCox(rule="lambda_1se").fit(noise, y)
    np.testing.assert_array_equal(model.predict(noise), 0.0)
    assert model.selected_features_.size == 0
    assert model.coef_table().empty
    curves = model.predict_survival_function(noise, return_array=True)
    np.testing.assert_array_equal(curves, curves[[0]].repeat(len(curves), axis=0))


def test_a_best_penalty_at_the_end_of_the_path_is_a_warning():
    X, y = simulate()
    with pytest.warns(UserWarning, match="smallest that was tried"):
        LassoCox(alpha_min_ratio=0.8).fit(X, y)


def test_rules_and_seeds():
    X, y = simulate(80, 30, seed=3)
    by_min, by_1se = LassoCox().fit(X, y), LassoCox(rule="lambda_1se").fit(X, y)
    assert by_1se.alpha_ > by_min.alpha_ == by_1se.alpha_min_
    assert by_1se.selected_features_.size < by_min.selected_features_.size
    np.testing.assert_array_equal(LassoCox().fit(X, y).cv_deviance_, by_min.cv_deviance_)
    one, again, two = (LassoCox(random_state=seed).fit(X, y).cv_deviance_ for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    shortest = min(one.size, two.size)
    assert np.abs(one[:shortest] - two[:shortest]).max() > 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_the_path_ends_behind_the_choice_and_does_not_change_it(seed, monkeypatch):
    X, y = simulate(90, 40, seed=seed)
    short = LassoCox(cv=5).fit(X, y)
    monkeypatch.setattr(lasso_cox, "_STANDARD_ERRORS", np.inf)
    whole = LassoCox(cv=5).fit(X, y)
    n = short.alphas_.size
    assert n < whole.alphas_.size
    assert (short.alpha_min_, short.alpha_1se_) == (whole.alpha_min_, whole.alpha_1se_)
    np.testing.assert_array_equal(short.coef_path_, whole.coef_path_[:, :n])
    np.testing.assert_array_equal(short.cv_deviance_, whole.cv_deviance_[:n])
    null, last = short.cv_deviance_[[0, -1]]
    assert last > null + short.cv_deviance_se_[-1]
    assert LassoCox(cv=5, alphas=whole.alphas_).fit(X, y).alphas_.size == whole.alphas_.size


@pytest.mark.parametrize(
    "change",
    [
        {"cv": 4}, {"l1_ratio": 0.3}, {"n_alphas": 7}, {"alpha_min_ratio": 0.2},
        {"alphas": [0.3, 0.01]}, {"penalty_factor": {"f[0-3]": 0.0}}, {"tol": 1e-2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_parameter_changes_the_fit(change):
    X, y = simulate(80, 20, seed=4)
    assert not np.array_equal(LassoCox(**change).fit(X, y).coef_, LassoCox().fit(X, y).coef_)


def test_max_iter_ends_the_path():
    X, y = simulate()
    with pytest.raises(ValueError, match=r"largest penalty, 0.05, within max_iter=2"):
        LassoCox(max_iter=2, alphas=[0.05, 0.01]).fit(X, y)
    assert LassoCox(max_iter=12).fit(X, y).alphas_.size < LassoCox().fit(X, y).alphas_.size


def test_penalty_factors_by_name():
    X, y = simulate()
    by_position = LassoCox(penalty_factor=[1.0] * 10 + [0.0, 0.0]).fit(X, y)
    by_name = LassoCox(penalty_factor={"f10": 0.0, "f11": 0.0}).fit(X, y)
    by_pattern = LassoCox(penalty_factor={"f1?": 0.0}).fit(X, y)
    for model in (by_name, by_pattern):
        np.testing.assert_array_equal(model.coef_, by_position.coef_)
    assert {"f10", "f11"} <= set(by_pattern.selected_features_)
    assert (by_pattern.coef_path_[10:] != 0).all()


def test_separation_ends_the_path_and_is_explained():
    rng = np.random.default_rng(0)
    separated = np.hstack([np.repeat([[0.0], [1.0]], 10, axis=0), rng.normal(size=(20, 1))])
    event, time = np.ones(20, dtype=bool), np.arange(20, 0, -1.0)
    # Penalised, it has a minimum that moves away as the penalty falls.
    lasso = CoxnetPath(np.ones(2), l1_ratio=1.0, tol=1e-9, max_iter=1000)
    path = lasso.coefficients(separated, event, time, np.logspace(-1, -20, 30))
    coef = np.transpose(list(path))
    assert np.isfinite(coef).all()
    assert coef.shape[1] > 5
    assert (np.diff(np.abs(coef[0])) >= 0).all()
    # Unpenalised, it has no maximum at any penalty.
    y = make_outcome(event, time)
    with pytest.raises(ValueError, match="must not predict the events perfectly"):
        LassoCox(penalty_factor=[0.0, 1.0], cv=3, max_iter=1000).fit(separated, y)


def test_clear_errors():
    X, y = simulate(30)
    few = y.copy()
    few["event"][np.flatnonzero(few["event"])[5:]] = False
    with pytest.raises(ValueError, match=r"\(cv=10\).* 10 events .*are 5\. Give .*model__cv"):
        LassoCox().fit(X, few)
    with pytest.raises(ValueError, match="at least one event"):
        LassoCox().fit(X, make_outcome(np.zeros(30), np.arange(30)))
    with pytest.raises(ValueError, match="constant"):
        LassoCox().fit(np.ones((30, 3)), y)
    with pytest.raises(ValueError, match="NaN"):
        LassoCox().fit(X.mask(X > 2.0), y)
    with pytest.raises(ValueError, match=r"'clinical__\*', which matches none"):
        LassoCox(penalty_factor={"clinical__*": 0.0}).fit(X, y)
    with pytest.raises(ValueError, match="every feature unpenalised"):
        LassoCox(penalty_factor=np.zeros(12)).fit(X, y)
    with pytest.raises(ValueError, match="12 finite, non-negative"):
        LassoCox(penalty_factor=[1.0, 2.0]).fit(X, y)
    with pytest.raises(ValueError, match="alphas must hold"):
        LassoCox(alphas=[0.1, -1.0]).fit(X, y)
    with pytest.raises(ValueError, match="two inner folds"):
        LassoCox(cv=ShuffleSplit(1, random_state=0)).fit(X, y)
    with pytest.raises(ValueError, match="number of folds or a splitter"):
        LassoCox(cv="five").fit(X, y)
    with pytest.raises(ValueError, match="'rule' parameter of LassoCox"):
        LassoCox(rule="best").fit(X, y)


def test_scikit_learn_tools():
    X, y = simulate()
    scores = cross_val_score(LassoCox(cv=4), X, y, cv=EventStratifiedKFold(3))
    assert scores.min() > 0.6
    search = GridSearchCV(LassoCox(cv=4), {"rule": ["lambda_min", "lambda_1se"]}, cv=3).fit(X, y)
    assert search.best_score_ > 0.6
    model = LassoCox().fit(X, y)
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    np.testing.assert_array_equal(joblib.load(buffer).predict(X), model.predict(X))
    assert not hasattr(clone(model), "coef_")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X.rename(columns={"f0": "other"}))


class PlainTargetLassoCox(LassoCox):
    """LassoCox on the plain y that scikit-learn's checks give: its rank is the time of an event."""

    def __init__(self, *, cv: int = 3, max_iter: int = 1000) -> None:
        super().__init__(cv=cv, max_iter=max_iter, alphas=[0.3, 0.1])

    def fit(self, X, y):
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return super().fit(X, as_event_times(y))

    def score(self, X, y):
        return super().score(X, as_event_times(y))


def as_event_times(y: np.ndarray) -> np.ndarray:
    y = np.asarray(y)
    time = np.arange(len(y)) if y.dtype.kind not in "fiu" else y.ravel() - y.min()
    return make_outcome(np.ones(len(time)), time)


@parametrize_with_checks([PlainTargetLassoCox()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
