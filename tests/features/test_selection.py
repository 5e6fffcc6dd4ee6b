"""SpearmanFilter against pandas and scikit-survival, and by its properties."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sksurv.metrics import concordance_index_censored

from survimg.features import SpearmanFilter
from survimg.target import make_outcome

small_integers = arrays(np.float64, st.tuples(st.integers(4, 12), st.integers(1, 8)),
                        elements=st.integers(-3, 3).map(float))


def redundant_table(n: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, 4))
    copies = base[:, [0, 0, 1, 2]] + 0.3 * rng.normal(size=(n, 4))
    table = pd.DataFrame(np.hstack([base, copies]), columns=list("abcdABCD"))
    table.insert(2, "constant", 1.5)
    return table


def outcome(risk: np.ndarray, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.ceil(rng.exponential(np.exp(-risk)) * 10)
    return make_outcome(rng.random(len(risk)) < 0.7, time)


def test_keeps_the_first_of_each_redundant_pair_as_pandas_correlations_say():
    table = redundant_table()
    rho = table.drop(columns="constant").corr(method="spearman").abs()
    expected: list[str] = []
    for name in rho.columns:
        if not any(rho.loc[name, other] > 0.7 for other in expected):
            expected.append(name)
    fitted = SpearmanFilter(0.7).fit(table)
    assert fitted.get_feature_names_out().tolist() == expected
    assert {"A", "B"}.isdisjoint(expected)  # the case is not empty
    assert fitted.representative_[table.columns.get_loc("constant")] == -1
    assert table.columns[fitted.representative_[table.columns.get_loc("A")]] == "a"


@settings(max_examples=60, deadline=None)
@given(X=small_integers, threshold=st.sampled_from([0.3, 0.7, 0.95, 1.0]))
def test_nothing_kept_is_redundant_and_everything_dropped_is(X, threshold):
    varies = np.ptp(X, axis=0) > 0
    if not varies.any():
        with pytest.raises(ValueError, match="constant"):
            SpearmanFilter(threshold).fit(X)
        return
    fitted = SpearmanFilter(threshold).fit(X)
    rho = np.zeros((X.shape[1], X.shape[1]))
    rho[np.ix_(varies, varies)] = np.abs(pd.DataFrame(X[:, varies]).corr(method="spearman"))
    kept = np.flatnonzero(fitted.support_)
    among = rho[np.ix_(kept, kept)] - np.eye(kept.size)
    assert (among <= threshold + 1e-12).all()
    for j in np.flatnonzero(~fitted.support_ & varies):
        assert rho[j, fitted.representative_[j]] > threshold - 1e-12
        assert fitted.representative_[j] in kept
    assert not fitted.support_[~varies].any()


def test_monotone_transformations_of_features_change_nothing():
    table = redundant_table()
    y = outcome(table["a"].to_numpy())
    for keep in ("first", "univariate"):
        before = SpearmanFilter(keep=keep).fit(table, y)
        after = SpearmanFilter(keep=keep).fit(np.exp(table), y)
        np.testing.assert_array_equal(before.support_, after.support_)


def test_a_higher_threshold_keeps_more():
    X = redundant_table().to_numpy()
    counts = [SpearmanFilter(t).fit(X).support_.sum() for t in (0.05, 0.5, 0.9, 1.0)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 8


def test_univariate_concordance_equals_scikit_survival():
    table = redundant_table(40).round(1)
    y = outcome(table["a"].to_numpy())
    assert len(np.unique(y["time"])) < len(y)  # ties in time, between events and censored too
    fitted = SpearmanFilter(keep="univariate").fit(table, y)
    for j, name in enumerate(table):
        expected = concordance_index_censored(y["event"], y["time"], table[name].to_numpy())[0]
        assert fitted.concordance_[j] == pytest.approx(expected, abs=1e-12)


def test_univariate_keeps_the_better_of_a_pair_and_first_the_earlier():
    rng = np.random.default_rng(3)
    signal = rng.normal(size=200)
    table = pd.DataFrame({"noisy": signal + 0.5 * rng.normal(size=200), "exact": -signal})
    y = outcome(2 * signal)
    assert SpearmanFilter(0.7).fit(table, y).get_feature_names_out().tolist() == ["noisy"]
    better = SpearmanFilter(0.7, keep="univariate").fit(table, y)
    assert better.get_feature_names_out().tolist() == ["exact"]


def test_names_and_containers():
    table = redundant_table()
    fitted = SpearmanFilter().fit(table)
    assert fitted.transform(table).shape[1] == len(fitted.get_feature_names_out())
    frame = clone(fitted).set_output(transform="pandas").fit_transform(table)
    assert list(frame.columns) == list(fitted.get_feature_names_out())
    pd.testing.assert_frame_equal(frame, table[list(frame.columns)])
    assert set(SpearmanFilter().fit(table.to_numpy()).get_feature_names_out()) <= {
        f"x{j}" for j in range(table.shape[1])
    }


def test_clear_errors():
    table = redundant_table()
    with pytest.raises(ValueError, match=r"'B', 'D'.*Impute"):
        SpearmanFilter().fit(table.assign(B=np.nan, D=np.inf))
    fitted = SpearmanFilter().fit(table)
    with pytest.raises(ValueError, match="'a'"):
        fitted.transform(table.assign(a=np.nan))
    with pytest.raises(ValueError, match="needs y"):
        SpearmanFilter(keep="univariate").fit(table)
    with pytest.raises(ValueError, match="No pair"):
        SpearmanFilter(keep="univariate").fit(
            table, make_outcome(np.ones(len(table)), np.ones(len(table)))
        )
    for wrong in ({"threshold": 0.0}, {"threshold": 1.2}, {"keep": "best"}):
        with pytest.raises(ValueError, match="parameter of SpearmanFilter"):
            SpearmanFilter(**wrong).fit(table)
