"""The solver against its stated objective, other libraries, and what it must refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from scipy.optimize import minimize
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.survival import RiskSets, column_scale, maximise_partial_likelihood
from survimg.target import make_outcome

BOTH = pytest.mark.parametrize("ties", ["efron", "breslow"])


def drawn(n: int = 120, seed: int = 0, decimals: int = 1):
    """Two numbers of unlike size, a rare indicator, tied times."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(60, 10, n), rng.normal(0, 0.01, n), rng.random(n) < 0.15])
    eta = X @ [0.04, 30.0, 0.7]
    time = np.round(5 * rng.exponential(np.exp(eta.mean() - eta)), decimals) + 0.1
    return X, rng.random(n) < 0.7, time


@BOTH
def test_agrees_with_scikit_survival(ties):
    X, event, time = drawn()
    fit = maximise_partial_likelihood(X, event, time, ties=ties)
    y = make_outcome(event, time)
    scaled = CoxPHSurvivalAnalysis(ties=ties, tol=1e-14).fit(X / fit.scale, y)
    np.testing.assert_allclose(fit.coefficients, scaled.coef_ / fit.scale, rtol=1e-6)


def test_agrees_with_lifelines():
    X, event, time = drawn()
    fit = maximise_partial_likelihood(X, event, time)
    frame = pd.DataFrame(X, columns=list("abc")).assign(time=time, event=event)
    other = CoxPHFitter().fit(frame, "time", "event", fit_options={"precision": 1e-10})
    np.testing.assert_allclose(fit.coefficients, other.params_, rtol=1e-6)
    np.testing.assert_allclose(fit.covariance, other.variance_matrix_, rtol=1e-6)
    assert fit.log_likelihood == pytest.approx(other.log_likelihood_, rel=1e-10)


@BOTH
@pytest.mark.parametrize("alpha", [0.0, 0.1, 3.0])
def test_maximises_the_stated_objective(ties, alpha):
    X, event, time = drawn()
    rng = np.random.default_rng(1)
    weight, offset = rng.uniform(0.2, 2, len(time)), rng.normal(size=len(time))
    fit = maximise_partial_likelihood(
        X, event, time, weight=weight, offset=offset, alpha=alpha, ties=ties
    )
    sets, scale = RiskSets(event, time, weight, ties), np.array([*X.std(axis=0)[:2], 1.0])

    def loss(beta):
        log_risk = (X - X.mean(axis=0)) / scale @ beta + offset
        return -sets.log_likelihood(log_risk) + alpha / 2 * beta @ beta

    best = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(fit.coefficients * scale, best.x, atol=1e-5)
    assert loss(fit.coefficients * scale) <= best.fun + 1e-10
    assert fit.log_likelihood == pytest.approx(-loss(fit.coefficients * scale) + alpha / 2 * (
        (fit.coefficients * scale) @ (fit.coefficients * scale)
    ))


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_double_weights_are_repeated_patients_under_breslow(alpha):
    X, event, time = drawn()
    n = len(time)
    twice = np.concatenate([np.arange(n), np.arange(0, n, 2)])
    weight = np.where(np.arange(n) % 2 == 0, 2.0, 1.0)
    # The means differ, and with them only what the baseline stands at.
    weighted = maximise_partial_likelihood(
        X / X.std(axis=0), event, time, weight=weight, ties="breslow"
    )
    copies = maximise_partial_likelihood(
        X[twice] / X.std(axis=0), event[twice], time[twice], ties="breslow"
    )
    np.testing.assert_allclose(weighted.coefficients, copies.coefficients, rtol=1e-9)
    np.testing.assert_allclose(weighted.covariance, copies.covariance, rtol=1e-8)
    everyone = maximise_partial_likelihood(
        X, event, time, weight=np.full(n, 2.0), alpha=2 * alpha, ties="breslow"
    )
    single = maximise_partial_likelihood(X, event, time, alpha=alpha, ties="breslow")
    np.testing.assert_allclose(everyone.coefficients, single.coefficients, rtol=1e-9)


def test_a_weight_of_zero_leaves_a_patient_out():
    X, event, time = drawn()
    weight = (np.arange(len(time)) % 4 > 0).astype(float)
    inside = weight > 0
    weighted = maximise_partial_likelihood(X, event, time, weight=weight)
    rest = maximise_partial_likelihood(X[inside], event[inside], time[inside])
    np.testing.assert_array_equal(weighted.coefficients, rest.coefficients)
    assert (weighted.n_patients, weighted.n_events) == (inside.sum(), event[inside].sum())


@BOTH
def test_an_offset_is_a_covariate_whose_coefficient_is_known(ties):
    X, event, time = drawn()
    whole = maximise_partial_likelihood(X, event, time, ties=ties)
    rest = maximise_partial_likelihood(
        X[:, 1:], event, time, offset=X[:, 0] * whole.coefficients[0], ties=ties
    )
    np.testing.assert_allclose(rest.coefficients, whole.coefficients[1:], rtol=1e-8)
    assert rest.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-12)


def test_the_ridge_path_goes_from_the_classical_model_to_zero():
    X, event, time = drawn()
    path = [
        maximise_partial_likelihood(X, event, time, alpha=alpha)
        for alpha in (0.0, 1e-8, 0.1, 1.0, 10.0, 100.0, 1e8)
    ]
    lengths = [np.linalg.norm(fit.coefficients * fit.scale) for fit in path]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)
    assert (np.diff(lengths[1:]) < 0).all()
    assert lengths[-1] < 1e-5
    assert (np.diff([fit.log_likelihood for fit in path[1:]]) < 0).all()
    errors = [np.sqrt(np.diag(fit.covariance)) for fit in path]
    assert (np.diff(errors[1:], axis=0) < 0).all()


def test_units_and_origins_of_covariates_do_not_matter():
    X, event, time = drawn()
    plain = maximise_partial_likelihood(X, event, time)
    factor = np.array([1e6, 1e-4, 1.0])
    moved = maximise_partial_likelihood(X * factor + [1e9, 3.0, 0.0], event, time)
    np.testing.assert_allclose(moved.coefficients * factor, plain.coefficients, rtol=1e-5)
    assert moved.log_likelihood == pytest.approx(plain.log_likelihood, rel=1e-9)


def test_information_is_per_unit_and_its_inverse_the_covariance():
    X, event, time = drawn()
    fit = maximise_partial_likelihood(X, event, time)
    sets = RiskSets(event, time)
    centred = X - X.mean(axis=0)
    expected = sets.at(centred, centred @ fit.coefficients).information()
    np.testing.assert_allclose(fit.information, expected, rtol=1e-8)
    np.testing.assert_allclose(fit.covariance @ fit.information, np.eye(3), atol=1e-8)


def test_a_penalty_allows_what_the_classical_model_refuses():
    X, event, time = drawn()
    doubtful = np.column_stack([X[:, 0], X[:, 0], np.full(len(time), 0.1), event])
    fit = maximise_partial_likelihood(doubtful, event, time, alpha=1.0)
    assert fit.coefficients[0] == pytest.approx(fit.coefficients[1])
    assert abs(fit.coefficients[2]) < 1e-10
    assert 1 < fit.coefficients[3] < 10


_X, _EVENT, _TIME = drawn(40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.column_stack([_X[:, 0], np.full(40, 0.1)])}, r"\['x1'\] are constant"),
        ({"X": _X[:, [0, 0]]}, r"\['x0', 'x1'\] are collinear"),
        ({"X": np.where(_X > 100, _X, np.nan)}, r"\['x0', 'x1', 'x2'\] have missing"),
        ({"X": _X[:30]}, r"shape \(40, at least 1\); got \(30, 3\)"),
        ({"X": _X[:, :0]}, "at least 1"),
        ({"X": _EVENT[:, np.newaxis].astype(float)}, "'x0'.*no maximum.*separate the events"),
        ({"X": -_TIME[:, np.newaxis] ** 3}, "'x0'.*no maximum"),
        ({"event": np.zeros(40, bool)}, "All 40 patients are censored"),
        ({"weight": (~_EVENT).astype(float)}, "are censored"),
        ({"weight": np.full(40, np.nan)}, "weight must hold 40 finite"),
        ({"weight": -np.ones(40)}, "must not be negative"),
        ({"alpha": -1.0}, "must not be negative"),
        ({"offset": np.full(40, np.inf)}, "offset must hold 40 finite"),
        ({"offset": np.zeros(39)}, "offset must hold 40 finite"),
        ({"names": ["a"]}, "3 covariates but 1 names"),
        ({"ties": "exact"}, "'efron' or 'breslow'"),
    ],
)
def test_refusals_say_what_is_wrong(change, message):
    arguments = {"X": _X, "event": _EVENT, "time": _TIME, **change}
    with pytest.raises(ValueError, match=message):
        maximise_partial_likelihood(**arguments)


def test_separated_events_of_any_scale_are_refused_and_near_separation_is_not():
    time = np.arange(1.0, 61.0)
    event = time <= 30
    for size in (1e-6, 1.0, 1e6):
        with pytest.raises(ValueError, match="no maximum"):
            maximise_partial_likelihood(size * -time[:, np.newaxis], np.ones(60, bool), time)
    nearly = event.astype(float)
    nearly[15] = 0.0  # one event among the others
    fit = maximise_partial_likelihood(nearly[:, np.newaxis], event, time)
    assert 2 < fit.coefficients[0] < 10


@pytest.mark.parametrize("seed", range(20))
def test_long_first_steps_are_halved_and_find_the_maximum(seed):
    """Few patients and heavy tails, where Newton's first step overshoots."""
    rng = np.random.default_rng(seed)
    X = rng.standard_t(1.5, size=(15, 2))
    event, time = rng.random(15) < 0.7, rng.permutation(15) + 1.0
    event[:2] = True
    try:
        fit = maximise_partial_likelihood(X, event, time)
    except ValueError as error:
        assert "no maximum" in str(error)  # noqa: PT017
        return
    Z = (X - X.mean(axis=0)) / column_scale(X)
    score = RiskSets(event, time).at(Z, Z @ (fit.coefficients * fit.scale)).score()
    np.testing.assert_allclose(score, 0, atol=1e-7)


def test_thousands_of_patients():
    X, event, time = drawn(5000, decimals=0)
    fit = maximise_partial_likelihood(X, event, time)
    np.testing.assert_allclose(
        fit.coefficients, [0.04, 30.0, 0.7], atol=4 * np.sqrt(np.diag(fit.covariance)).max()
    )
    assert abs(fit.coefficients[0] - 0.04) < 4 * np.sqrt(fit.covariance[0, 0]) + 0.005
