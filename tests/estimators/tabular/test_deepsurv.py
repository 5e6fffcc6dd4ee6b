"""DeepSurv: recovers a linear and a curved risk, is reproducible, and uses every parameter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from survimg.estimators import DeepSurv
from survimg.target import make_outcome
from survimg.testing import survival_checks


def simulate(risk, n: int = 300, seed: int = 0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    time = rng.exponential(np.exp(-risk(X)))
    censoring = rng.exponential(3.0, n)
    return X, make_outcome(time <= censoring, np.minimum(time, censoring))


@pytest.mark.parametrize("check", survival_checks(), ids=lambda check: check.__name__[7:])
def test_common_checks(check):
    X, y = simulate(lambda X: X[:, 0], n=40)
    check(DeepSurv(n_iterations=5, random_state=0), X, y)


def test_finds_a_curved_risk_that_a_linear_model_cannot():
    X, y = simulate(lambda X: 2 * X[:, 0] ** 2, n=400)
    new_X, new_y = simulate(lambda X: 2 * X[:, 0] ** 2, n=300, seed=1)
    model = DeepSurv(n_iterations=200, learning_rate=1e-2, random_state=0).fit(X, y)
    assert model.score(new_X, new_y) > 0.7
    assert model.history_["cox"].iloc[-1] < model.history_["cox"].iloc[0]


CHANGES = {
    "hidden": (5,),
    "activation": "relu",
    "dropout": 0.5,
    "learning_rate": 1e-2,
    "l2": 5.0,
    "n_iterations": 3,
    "random_state": 1,
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_parameter_changes_the_result(name):
    assert {*CHANGES, "n_threads"} == set(DeepSurv().get_params())
    X, y = simulate(lambda X: X[:, 0], n=40)
    first = DeepSurv(n_iterations=5, random_state=0).fit(X, y)
    changed = DeepSurv(**{"n_iterations": 5, "random_state": 0, name: CHANGES[name]}).fit(X, y)
    assert not np.allclose(first.predict(X), changed.predict(X))


def test_threads_are_pinned_and_the_global_stream_is_left_alone(monkeypatch):
    X, y = simulate(lambda X: X[:, 0], n=40)
    before, state = torch.get_num_threads(), torch.get_rng_state()
    seen = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self: (seen.append(torch.get_num_threads()), step(self))[1]
    )
    DeepSurv(n_iterations=2, n_threads=3).fit(X, y)
    assert set(seen) == {3}
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_scale_of_the_columns_does_not_matter_and_constants_are_harmless():
    X, y = simulate(lambda X: X[:, 0], n=60)
    frame = pd.DataFrame(X, columns=list("abcd"))
    first = DeepSurv(n_iterations=5, random_state=0).fit(frame, y)
    assert first.feature_names_in_.tolist() == list("abcd")
    scaled = DeepSurv(n_iterations=5, random_state=0).fit(1000 * frame + 7, y)
    np.testing.assert_allclose(scaled.predict(1000 * frame + 7), first.predict(frame), rtol=1e-6)
    model = DeepSurv(n_iterations=5, random_state=0).fit(frame.assign(e=0.1), y)
    moved = model.predict(frame.assign(e=0.11)) - model.predict(frame.assign(e=0.1))
    assert np.abs(moved).max() < 1


def test_nan_features_and_divergence_are_errors():
    X, y = simulate(lambda X: X[:, 0], n=40)
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        DeepSurv().fit(X, y)
    with pytest.raises(FloatingPointError, match="diverged in epoch"):
        DeepSurv(learning_rate=1e200, n_iterations=20).fit(np.nan_to_num(X), y)
