"""`ForestSelector`: the informative columns, of labels and of censored times."""

from __future__ import annotations

import numpy as np
import pytest

from survimg.features import ForestSelector
from survimg.features.selection import _martingale_residuals
from survimg.target import make_outcome


@pytest.mark.parametrize("kind", ["labels", "survival"])
def test_informative_columns_are_kept(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 12))
    risk = 2 * X[:, 3] - 2 * X[:, 7]
    y = np.where(risk > 0, "b", "a")
    if kind == "survival":
        time = rng.exponential(np.exp(-risk))
        limit = rng.uniform(0, 3, size=150)
        y = make_outcome(time <= limit, np.minimum(time, limit) + 1e-6)
    selector = ForestSelector(k=2, n_estimators=50, random_state=0).fit(X, y)
    assert np.flatnonzero(selector.get_support()).tolist() == [3, 7]
    assert ForestSelector(k=99, n_estimators=5).fit(X, y).transform(X).shape == X.shape


def test_martingale_residuals_by_hand():
    event, time = np.array([True, False, True]), np.array([1.0, 2.0, 3.0])
    found = _martingale_residuals(event, time)
    np.testing.assert_allclose(found, [1 - 1 / 3, -1 / 3, 1 - 4 / 3])
    assert abs(found.sum()) < 1e-12
