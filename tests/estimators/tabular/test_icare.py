"""ICARE against a naive implementation of its description, member by member."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, rankdata
from sklearn.model_selection import cross_val_score
from sksurv.metrics import (
    concordance_index_censored,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
)

from survimg.estimators import ICARE
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome
from survimg.testing import check_survival_estimator


def simulate(n=60, seed=0, missing=0.0, ties=False):
    """Eight columns: two with an effect, two copies of them with noise, a constant, noise."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n, 2))
    copies = signal + 0.3 * rng.normal(size=(n, 2))
    X = np.column_stack([signal, copies, np.ones(n), rng.normal(size=(n, 3))])
    time = rng.exponential(np.exp(-signal[:, 0] + 0.8 * signal[:, 1])) + 0.01
    if ties:
        time = np.ceil(4 * time)
    censoring = rng.exponential(3.0, n) if not ties else np.ceil(rng.exponential(12.0, n))
    if missing:
        X[rng.random(X.shape) < missing] = np.nan
    return (
        pd.DataFrame(X, columns=[*"ab", "a_copy", "b_copy", "one", *"xyz"]),
        make_outcome(time <= censoring, np.minimum(time, censoring)),
    )


def naive_score(method, y, column):
    """scikit-survival's definition of each score."""
    if method == "harrell":
        return concordance_index_censored(y["event"], y["time"], column)[0]
    if method == "uno":
        return concordance_index_ipcw(y, y, column)[0]
    times = np.percentile(y["time"], np.linspace(10, 81, 25))
    aucs = [cumulative_dynamic_auc(y, y, column, [t])[0][0] for t in times]
    return np.nanmean(aucs)


def naive_correlation(first, second, method):
    both = np.isfinite(first) & np.isfinite(second)
    if method == "spearman":
        first, second = (rankdata(column, nan_policy="omit") for column in (first, second))
    if both.sum() < 2 or np.ptp(first[both]) == 0 or np.ptp(second[both]) == 0:
        return 0.0
    return abs(pearsonr(first[both], second[both])[0])


def naive_member(X, y, order, *, rho, cmin, methods, correlation):
    """Sign, mean and standard deviation of each column that a member uses: the steps as told."""
    order = [j for j in order if np.nanmax(X[:, j]) > np.nanmin(X[:, j])]
    used = {}
    for place, j in enumerate(order):
        if any(naive_correlation(X[:, i], X[:, j], correlation) > rho for i in order[:place]):
            continue
        there = np.isfinite(X[:, j])
        scores = [naive_score(method, y[there], X[there, j]) for method in methods]
        signs = [-1 if score < 0.5 else 1 for score in scores]
        if len(set(signs)) > 1:
            continue
        if cmin is not None and np.mean([max(s, 1 - s) for s in scores]) < cmin:
            continue
        used[j] = signs[0], X[there, j].mean(), X[there, j].std()
    return used


def naive_votes(member, X):
    votes = []
    for row in X:
        terms = [s * (row[j] - m) / sd for j, (s, m, sd) in member.items() if np.isfinite(row[j])]
        votes.append(np.mean(terms) if terms else np.nan)
    return np.array(votes)


def draws(model, n, groups=None):
    """Rows and ordered columns of each member: the random numbers, in the order of the class."""
    state = np.random.RandomState(model.random_state)
    bagged = model.n_estimators is not None
    seeds = state.randint(2**31 - 1, size=model.n_estimators if bagged else 1)
    names = list(model.feature_names_in_)
    units = np.arange(len(names)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_units = units.max() + 1
    for seed in seeds:
        rng = np.random.default_rng(seed)
        rows = rng.integers(n, size=n) if bagged else np.arange(n)
        sets = model.parameter_sets or [{}]
        parameters = sets[rng.integers(len(sets))]
        fraction = parameters.get("fraction", model.fraction)
        size = n_units if fraction is None else max(1, round(fraction * n_units))
        units_drawn = rng.permutation(n_units)[:size]
        mandatory = [j for j, name in enumerate(names) if name in (model.mandatory or ())]
        others = [j for j in range(len(names)) if units[j] in units_drawn and j not in mandatory]
        order = [*rng.permutation(mandatory), *rng.permutation(others)]
        yield rows, [int(j) for j in order], parameters


CASES = {
    "one member": {"n_estimators": None, "cmin": 0.55},
    "bagged": {"n_estimators": 5, "fraction": 0.6},
    "three scores": {"n_estimators": 4, "sign_methods": ("harrell", "uno", "auc"), "cmin": 0.52},
    "Pearson, all columns": {"n_estimators": 3, "correlation": "pearson", "rho": 1.0},
    "groups and mandatory columns": {
        "n_estimators": 4, "fraction": 0.5, "groups": [0, 1, 0, 1, 2, 2, 3, 3], "mandatory": ["x"],
    },
    "parameter sets, median": {
        "n_estimators": 6, "aggregation": "median",
        "parameter_sets": [{"rho": 0.9, "fraction": 0.5}, {"cmin": 0.6}],
    },
}  # fmt: skip


@pytest.mark.parametrize("missing", [0.0, 0.15])
@pytest.mark.parametrize("case", CASES)
def test_members_are_those_of_the_description(case, missing):
    settings = CASES[case]
    X, y = simulate(missing=missing)
    if missing:  # scikit-survival's AUC needs later censoring than the patients that it judges
        settings = {**settings, "sign_methods": ("harrell",)}
    model = ICARE(random_state=7, **settings).fit(X, y)
    values, new = X.to_numpy(), simulate(20, seed=1)[0]
    votes = []
    members = draws(model, len(X), settings.get("groups"))
    for m, (rows, order, parameters) in enumerate(members):
        expected = naive_member(
            values[rows], y[rows], order,
            rho=parameters.get("rho", model.rho), cmin=parameters.get("cmin", model.cmin),
            methods=model.sign_methods, correlation=model.correlation,
        )  # fmt: skip
        assert set(np.flatnonzero(model.signs_[m])) == set(expected), m
        for j, (sign, mean, sd) in expected.items():
            assert model.signs_[m, j] == sign
            assert model.means_[m, j] == pytest.approx(mean)
            assert model.scales_[m, j] == pytest.approx(sd)
        votes.append(naive_votes(expected, new.to_numpy()))
    join = np.nanmedian if model.aggregation == "median" else np.nanmean
    np.testing.assert_allclose(model.predict(new), join(votes, axis=0), rtol=1e-10, atol=1e-12)
    assert len(votes) == len(model.signs_)


def test_tied_times_count_as_in_scikit_survival():
    X, y = simulate(80, ties=True)
    assert np.unique(y["time"]).size < 40
    model = ICARE(n_estimators=None, rho=1.0, cmin=0.5).fit(X, y)
    for j, name in enumerate(X):
        score = concordance_index_censored(y["event"], y["time"], X[name])[0]
        assert model.signs_[0, j] == (0 if name == "one" else np.sign(score - 0.5))


def test_signs_are_those_of_the_truth_and_copies_share_the_votes():
    X, y = simulate(200)
    model = ICARE(n_estimators=100, cmin=0.55, random_state=0).fit(X, y)
    importance = dict(zip(X, model.importance_, strict=True))
    assert importance["a"] + importance["a_copy"] == pytest.approx(1.0, abs=0.05)
    assert importance["b"] + importance["b_copy"] == pytest.approx(-1.0, abs=0.05)
    assert min(importance["a"], importance["a_copy"], -importance["b"]) > 0.2
    assert importance["one"] == 0
    table = model.importance_table()
    assert set(table.index[:4]) == {"a", "a_copy", "b", "b_copy"}
    assert "one" not in table.index
    X_new, y_new = simulate(300, seed=5)
    assert model.score(X_new, y_new) > 0.7


def test_missing_values_need_no_imputation_and_a_patient_without_any_is_named():
    X, y = simulate(100, missing=0.2)
    model = ICARE(n_estimators=20, random_state=0)
    assert cross_val_score(model, X, y, cv=EventStratifiedKFold(3)).mean() > 0.6
    model.fit(X, y)
    empty = X.iloc[:4].copy()
    empty.iloc[2] = np.nan
    with pytest.raises(ValueError, match="Row 2 of X"):
        model.predict(empty)


def test_nothing_left_warns_and_ranks_nobody():
    X, y = simulate()
    with pytest.warns(UserWarning, match="No member of ICARE uses any of the 8 features"):
        model = ICARE(n_estimators=3, cmin=0.99, random_state=0).fit(X, y)
    assert not model.predict(X).any()
    curves = model.predict_survival_function(X, return_array=True)
    np.testing.assert_array_equal(curves, curves[:1].repeat(len(X), axis=0))


@pytest.mark.parametrize("settings", [{"n_estimators": None}, {"n_estimators": 4, "fraction": 0.7}])
def test_the_contract(settings):
    check_survival_estimator(ICARE(random_state=0, **settings), *simulate(40))


@pytest.mark.parametrize(
    "change",
    [
        {"n_estimators": 6}, {"rho": 0.3}, {"correlation": "pearson", "rho": 0.955},
        {"cmin": 0.6}, {"fraction": 0.3}, {"groups": [0] * 4 + [1] * 4, "fraction": 0.3},
        {"mandatory": ["z"], "fraction": 0.3}, {"sign_methods": ["uno", "auc"]},
        {"parameter_sets": [{"fraction": 0.4}]}, {"aggregation": "median"}, {"random_state": 1},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_parameter_changes_the_result(change):
    X, y = simulate()
    settings = {"n_estimators": 5, "random_state": 0}
    if "correlation" in change:
        settings |= {"rho": 0.955}
    if {"groups", "mandatory"} & set(change):
        settings |= {"fraction": 0.3}
    before = ICARE(**settings).fit(X, y).predict(X)
    after = ICARE(**{**settings, **change}).fit(X, y).predict(X)
    assert not np.allclose(before, after)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rho": 0.0}, "rho"),
        ({"cmin": 0.4}, "cmin"),
        ({"sign_methods": ["gini"]}, "harrell, uno, auc"),
        ({"sign_methods": []}, "harrell, uno, auc"),
        ({"parameter_sets": [{"alpha": 1}]}, r"\['alpha'\]; a set may hold rho, cmin, fraction"),
        ({"parameter_sets": [{"rho": 2.0}]}, "rho"),
        ({"parameter_sets": []}, "one or more sets"),
        ({"groups": [1, 2]}, "groups must hold 8 labels"),
        ({"mandatory": ["stage"]}, "'stage', which matches none of the 8"),
    ],
)
def test_bad_parameters_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ICARE(n_estimators=2, **settings).fit(*simulate(20))


def test_infinite_values_are_refused():
    X, y = simulate(20)
    X.iloc[3, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        ICARE(n_estimators=2).fit(X, y)
