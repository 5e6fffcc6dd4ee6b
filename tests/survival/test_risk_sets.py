"""The partial likelihood against its definition, and its derivatives against differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from survimg.losses import cox_loss
from survimg.survival import RiskSets

BETA = np.array([0.7, -0.3])
BOTH = pytest.mark.parametrize("ties", ["efron", "breslow"])


def drawn(n: int = 50, seed: int = 0, n_times: int = 12):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    weight = rng.uniform(0.5, 3, n)
    return X, rng.random(n) < 0.6, rng.integers(0, n_times, n).astype(float), weight


def by_definition(event, time, log_risk, weight, ties) -> float:
    """Event time by event time, as the papers write it."""
    total = 0.0
    for t in np.unique(time[event]):
        at_risk, dying = time >= t, event & (time == t)
        d = int(dying.sum())
        total += weight[dying] @ log_risk[dying]
        for k in range(d):
            out = k / d if ties == "efron" else 0.0
            risks = weight * np.exp(log_risk)
            total -= weight[dying].mean() * np.log(risks[at_risk].sum() - out * risks[dying].sum())
    return total


def differences(function, at, step: float = 1e-5) -> np.ndarray:
    """Central differences of a function along each coordinate."""
    return np.stack([
        (np.asarray(function(at + step * e)) - np.asarray(function(at - step * e))) / (2 * step)
        for e in np.eye(at.size)
    ])


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_likelihood_is_that_of_the_definition(ties, seed):
    X, event, time, weight = drawn(seed=seed)
    log_risk = X @ BETA
    for w in (np.ones(len(time)), weight):
        value = RiskSets(event, time, w, ties).log_likelihood(log_risk)
        assert value == pytest.approx(by_definition(event, time, log_risk, w, ties), rel=1e-12)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_likelihood_is_that_of_the_networks_loss(ties):
    X, event, time, _ = drawn()
    log_risk = X @ BETA
    loss = cox_loss(*map(torch.as_tensor, (log_risk, time, event)), ties=ties)
    mean = RiskSets(event, time, ties=ties).log_likelihood(log_risk) / event.sum()
    assert -float(loss) == pytest.approx(mean, rel=1e-10)


@BOTH
def test_score_and_information_are_the_derivatives(ties):
    X, event, time, weight = drawn()
    sets = RiskSets(event, time, weight, ties)

    def score(beta):
        return sets.at(X, X @ beta).score()

    gradient = differences(lambda beta: sets.log_likelihood(X @ beta), BETA)
    np.testing.assert_allclose(score(BETA), gradient, rtol=1e-6, atol=1e-6)
    hessian = differences(score, BETA)
    information = sets.at(X, X @ BETA).information()
    np.testing.assert_allclose(information, -hessian, rtol=1e-6, atol=1e-6)


@BOTH
def test_factors_of_rows_are_those_of_their_event_times(ties):
    """Rows up to a time alone: the patients who are censored there."""
    X, event, time, _ = drawn()
    sets = RiskSets(event, time, ties=ties)
    early = (sets.event_times <= 5)[sets.block].astype(float)
    until = RiskSets(event & (time <= 5), np.minimum(time, 5.5), ties=ties)
    sums, cut = sets.at(X, X @ BETA), until.at(X, X @ BETA)
    np.testing.assert_allclose(sums.score(early), cut.score(), rtol=1e-10)
    np.testing.assert_allclose(sums.information(early), cut.information(), rtol=1e-10)


def test_whole_weights_are_repeated_patients_under_breslow():
    X, event, time, _ = drawn()
    times = np.random.default_rng(1).integers(1, 4, len(time))
    repeated = np.repeat(np.arange(len(time)), times)
    weighted = RiskSets(event, time, times, "breslow")
    copies = RiskSets(event[repeated], time[repeated], ties="breslow")
    log_risk = X @ BETA
    assert weighted.log_likelihood(log_risk) == pytest.approx(
        copies.log_likelihood(log_risk[repeated]), rel=1e-12
    )
    np.testing.assert_allclose(
        weighted.log_baseline_hazard(log_risk), copies.log_baseline_hazard(log_risk[repeated])
    )
    np.testing.assert_allclose(
        weighted.at(X, log_risk).information(),
        copies.at(X[repeated], log_risk[repeated]).information(),
    )
    assert weighted.saturated_log_likelihood() == pytest.approx(copies.saturated_log_likelihood())


def test_both_ties_agree_where_there_are_none_and_only_there():
    X, event, time, _ = drawn()
    log_risk = X @ BETA
    values = {
        ties: RiskSets(event, time, ties=ties).log_likelihood(log_risk)
        for ties in ("efron", "breslow")
    }
    assert values["efron"] > values["breslow"]
    apart = np.random.default_rng(0).permutation(len(time)).astype(float)
    same = [
        RiskSets(event, apart, ties=ties).log_likelihood(log_risk) for ties in ("efron", "breslow")
    ]
    assert same[0] == pytest.approx(same[1], rel=1e-14)
    assert RiskSets(event, apart).saturated_log_likelihood() == 0


def test_no_model_beats_the_saturated_one():
    _, event, time, _ = drawn()
    sets = RiskSets(event, time, ties="breslow")
    best = sets.log_likelihood(-100 * time - 50.0 * ~event)  # the dying above all who remain
    assert best == pytest.approx(sets.saturated_log_likelihood(), abs=1e-8)


def test_many_models_at_once():
    X, event, time, weight = drawn()
    risks = X @ np.random.default_rng(0).normal(size=(2, 5))
    sets = RiskSets(event, time, weight)
    single = [sets.log_likelihood(risk) for risk in risks.T]
    np.testing.assert_allclose(sets.log_likelihood(risks), single, rtol=1e-14)


@BOTH
def test_the_order_of_patients_does_not_matter(ties):
    X, event, time, weight = drawn()
    shuffled = np.random.default_rng(0).permutation(len(time))
    one, other = (
        RiskSets(event[o], time[o], weight[o], ties).at(X[o], X[o] @ BETA)
        for o in (np.arange(len(time)), shuffled)
    )
    np.testing.assert_allclose(one.score(), other.score(), rtol=1e-10)
    np.testing.assert_allclose(one.information(), other.information(), rtol=1e-10)


def test_risks_of_many_orders_of_magnitude_lose_no_risk_set():
    _, event, time, _ = drawn()
    sets = RiskSets(event, time)
    steep = 1000.0 * time  # the last risk sets hold all but nothing of the sum
    for risk in (steep, -steep):
        assert np.isfinite(sets.log_likelihood(risk))
        assert np.isfinite(sets.log_hazard_steps(risk)).all()


def test_refusals():
    with pytest.raises(ValueError, match="All 4 patients are censored"):
        RiskSets(np.zeros(4, bool), np.arange(4.0))
    with pytest.raises(ValueError, match="'efron' or 'breslow'; got 'exact'"):
        RiskSets(np.ones(4, bool), np.arange(4.0), ties="exact")
