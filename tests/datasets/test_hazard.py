"""The truth: independent components, Weibull times, calibrated censoring."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest
from sksurv.metrics import concordance_index_censored

from survimg.datasets import PHANTOM_TRUTHS
from survimg.datasets.hazard import (
    COMPONENTS,
    check_effects,
    draw_components,
    draw_event_and_time,
    end_of_accrual,
    log_hazard,
)

N = 4000
DEFAULT = check_effects(None)


@pytest.fixture(scope="module")
def components():
    return draw_components(np.random.SeedSequence(3).spawn(N))


def outcome_seeds(n=N):
    return np.random.SeedSequence(4).spawn(n)


def test_components_are_independent_and_in_their_ranges(components):
    correlation = components.corr(method="spearman").to_numpy()
    off_diagonal = correlation[~np.eye(5, dtype=bool)]
    assert np.abs(off_diagonal).max() < 4 / np.sqrt(N)
    assert components["volume_ml"].between(3.0, 24.1).all()
    assert components["suv_mean"].between(2.97, 8.41).all()
    assert components["heterogeneity"].between(0.05, 0.45).all()
    assert components["infiltration_ml"].between(0.0, 12.0).all()
    assert set(components["stage"]) == {1, 2, 3, 4}


@pytest.mark.parametrize("name", COMPONENTS)
def test_each_score_has_mean_zero_and_unit_variance(components, name):
    score = log_hazard(components, check_effects({name: 1.0}))
    assert score.mean() == pytest.approx(0, abs=4 / np.sqrt(N))
    assert score.var() == pytest.approx(1, abs=0.05)


def test_log_hazard_adds_up(components):
    parts = [log_hazard(components, check_effects({name: 0.8})) for name in COMPONENTS]
    np.testing.assert_allclose(log_hazard(components, DEFAULT), np.sum(parts, axis=0), atol=1e-12)


def test_oracle_is_a_ceiling_that_no_component_reaches_alone(components):
    risk = log_hazard(components, DEFAULT)
    event, time = draw_event_and_time(risk, end_of_accrual(DEFAULT, 0.3), outcome_seeds())
    first = slice(1500)

    def concordance(marker):
        marker = np.asarray(marker, dtype=float)
        return concordance_index_censored(event[first], time[first], marker[first])[0]

    oracle = concordance(risk)
    alone = {name: concordance(components[name]) for name in components}
    assert oracle == pytest.approx(0.83, abs=0.015)
    assert min(alone.values()) > 0.6
    assert max(alone.values()) < 0.67
    for name in COMPONENTS:
        others = {other: 0.8 for other in COMPONENTS if other != name}
        assert concordance(log_hazard(components, check_effects(others))) < oracle - 0.02


def test_event_times_are_weibull_given_the_hazard():
    risk = np.full(N, 0.7)
    event, time = draw_event_and_time(risk, np.inf, outcome_seeds())
    assert event.all()
    uniform = np.exp(-((time / 30) ** 1.2) * np.exp(0.7))  # S(T) of the docstring's equation
    assert kstest(uniform, "uniform").pvalue > 0.01


@pytest.mark.parametrize("censoring", [0.0, 0.1, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("effects", [None, {}, {"infiltration": 2.0}])
def test_expected_censoring_is_the_stated_fraction(components, censoring, effects):
    coefficients = check_effects(effects)
    end = end_of_accrual(coefficients, censoring)
    event, time = draw_event_and_time(log_hazard(components, coefficients), end, outcome_seeds())
    standard_error = np.sqrt(censoring * (1 - censoring) / N)
    assert 1 - event.mean() == pytest.approx(censoring, abs=4 * standard_error + 1e-12)
    assert time.max() <= end


def test_censoring_does_not_depend_on_the_hazard_but_through_the_event_time():
    risk = np.linspace(-2, 2, 500)
    seeds = outcome_seeds(500)
    _, low = draw_event_and_time(risk - 50, 60.0, seeds)  # nobody has an event: all times censored
    _, same = draw_event_and_time(-risk - 50, 60.0, seeds)
    np.testing.assert_array_equal(low, same)
    assert kstest(low / 60.0, "uniform").pvalue > 0.01


@pytest.mark.parametrize("censoring", [-0.1, 1.0, 1.5, float("nan")])
def test_impossible_censoring_is_refused(censoring):
    with pytest.raises(ValueError, match="censoring"):
        end_of_accrual(DEFAULT, censoring)


def test_unknown_or_infinite_effects_are_refused():
    with pytest.raises(ValueError, match=r"\['size'\].*infiltration"):
        check_effects({"size": 1.0})
    with pytest.raises(ValueError, match="finite"):
        check_effects({"stage": float("inf")})


def test_a_truth_is_a_named_set_of_effects():
    assert check_effects(None) == check_effects(None, "mask") == (0.8,) * 5
    assert check_effects(None, "outside") == (0.3, 0.3, 0.3, 1.5, 0.4)
    assert check_effects(PHANTOM_TRUTHS["outside"]) == check_effects(None, "outside")
    with pytest.raises(ValueError, match=r"one of \['mask', 'outside'\]; got 'inside'"):
        check_effects(None, "inside")
    with pytest.raises(ValueError, match="give one of them"):
        check_effects({"stage": 1.0}, "mask")


@pytest.mark.parametrize(
    ("truth", "inside", "with_infiltration"), [("mask", 0.778, 0.778), ("outside", 0.606, 0.810)]
)
def test_the_documented_ceilings(components, truth, inside, with_infiltration):
    effects = check_effects(None, truth)
    event, time = draw_event_and_time(
        log_hazard(components, effects), end_of_accrual(effects, 0.3), outcome_seeds()
    )

    def ceiling(missing):
        parts = dict(zip(COMPONENTS, effects, strict=True))
        parts.pop(missing)
        return concordance_index_censored(event, time, log_hazard(components, check_effects(parts)))

    assert ceiling("infiltration")[0] == pytest.approx(inside, abs=0.015)
    assert ceiling("heterogeneity")[0] == pytest.approx(with_infiltration, abs=0.015)
