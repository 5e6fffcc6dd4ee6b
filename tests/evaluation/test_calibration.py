from __future__ import annotations

import numpy as np
import pytest
from drawn_outcomes import draw_outcome

import survimg.evaluation as ev
from survimg.target import make_outcome


def exponential_cohort(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outcome and true hazard of each patient."""
    rng = np.random.default_rng(seed)
    hazard = 0.6 * np.exp(0.6 * rng.normal(size=n))
    event_time, censoring = rng.exponential(size=n) / hazard, rng.uniform(0, 3, size=n)
    return make_outcome(event_time <= censoring, np.minimum(event_time, censoring)), hazard


def test_the_truth_is_calibrated_and_a_distortion_is_not():
    y, hazard = exponential_cohort(1000)
    truth, wrong = np.exp(-hazard), np.exp(-1.6 * hazard)
    assert ev.greenwood_nam_dagostino_test(y, truth, 1.0).p_value > 0.05
    assert ev.greenwood_nam_dagostino_test(y, wrong, 1.0).p_value < 1e-4
    grid = np.unique(y["time"])
    curve = np.exp(-hazard[:, np.newaxis] * grid)
    assert ev.d_calibration(y, curve, grid).p_value > 0.05
    assert ev.d_calibration(y, curve**1.6, grid).p_value < 1e-4
    good = ev.integrated_calibration_index(y, truth, 1.0)
    bad = ev.integrated_calibration_index(y, wrong, 1.0)
    assert good.ici < 0.04 < bad.ici
    assert good.e50 <= good.e90
    assert np.all(np.diff(good.predicted) >= 0)


@pytest.mark.parametrize(("lowest", "highest"), [(0.5, 0.98), (0.05, 0.95), (0.02, 0.3)])
def test_probabilities_that_labels_were_drawn_from_are_calibrated(lowest, highest):
    rng = np.random.default_rng(0)
    probability = rng.uniform(lowest, highest, size=20_000)
    event = rng.uniform(size=probability.size) < probability
    y = make_outcome(event, np.where(event, 1.0, 2.0))  # as outcome_of_labels makes it
    good = ev.integrated_calibration_index(y, 1 - probability, 1.0)
    assert np.abs(good.observed - good.predicted).max() < 0.02
    odds = 2 * probability / (1 - probability)  # the logit that is off by log 2
    bad = ev.integrated_calibration_index(y, 1 / (1 + odds), 1.0)
    assert bad.observed == pytest.approx(bad.predicted / (2 - bad.predicted), abs=0.02)


def test_of_events_at_the_horizon_those_censored_before_say_nothing():
    rng = np.random.default_rng(1)
    survival = rng.uniform(0.1, 0.9, size=60)
    y = make_outcome(np.arange(60) % 3 == 0, np.where(np.arange(60) % 5 == 0, 1.0, 2.0))
    y["time"][y["event"]] = 1.5
    at_risk = y["time"] >= 1.5
    of_all = ev.integrated_calibration_index(y, survival, 1.5)
    in_order = at_risk[np.argsort(1 - survival, kind="stable")]
    share = np.count_nonzero(y["event"]) / np.count_nonzero(at_risk)
    assert of_all.observed[in_order].mean() == pytest.approx(share, abs=1e-6)
    with pytest.raises(ValueError, match="without the event at the horizon: all 20 have it"):
        ev.integrated_calibration_index(y[y["event"]], survival[y["event"]], 1.5)


def test_false_alarms_of_the_gnd_test_are_as_rare_as_promised():
    p = []
    for seed in range(150):
        y, hazard = exponential_cohort(400, seed)
        p.append(ev.greenwood_nam_dagostino_test(y, np.exp(-hazard), 1.0, 5).p_value)
    assert np.mean(np.array(p) < 0.05) < 0.12


def test_d_calibration_by_hand():
    # Events fall into the bins of 0.1 and 0.7; the censored patient with S = 0.8 is spread over
    # [0, 0.5) and [0.5, 0.8) in proportion 5 to 3.
    y = make_outcome([1, 1, 0], [1, 2, 3])
    curves = np.array([[0.1, 0.1, 0.1], [0.9, 0.7, 0.2], [0.9, 0.9, 0.8]])
    test = ev.d_calibration(y, curves, [1.0, 2.0, 3.0], n_bins=2)
    np.testing.assert_allclose(test.observed, [1 + 0.5 / 0.8, 1 + 0.3 / 0.8])
    np.testing.assert_allclose(test.statistic, 2 * (0.125**2) / 1.5)
    assert test.degrees_of_freedom == 1


def test_d_calibration_counts_every_patient_once():
    y = draw_outcome(np.random.default_rng(1), 60, tied=True)
    grid = np.unique(y["time"])
    curves = np.exp(-np.random.default_rng(2).random((60, 1)) * grid)
    curves[0] = 0.0
    for bins in (5, 10):
        assert ev.d_calibration(y, curves, grid, bins).observed.sum() == pytest.approx(60)
    with pytest.raises(ValueError, match="unknown"):
        ev.d_calibration(y, curves[:, :-1], grid[:-1])


def test_groups_are_merged_until_they_have_enough_events():
    y, hazard = exponential_cohort(200)
    survival = np.exp(-hazard)
    groups = ev.calibration_groups(y, survival, 1.0, 10, min_events=12)
    assert groups.n_events.min() >= 12
    assert groups.n_patients.sum() == 200
    assert 1 < groups.observed.size < 10
    assert np.all(np.diff(groups.predicted) > 0)
    narrow = ev.calibration_groups(y, survival, 1.0, 5, level=0.5)
    wide = ev.calibration_groups(y, survival, 1.0, 5, level=0.99)
    assert np.all(wide.lower < narrow.lower)


def test_undefined_calibration_raises():
    y, hazard = exponential_cohort(60)
    survival = np.exp(-hazard)
    with pytest.raises(ValueError, match="two groups"):
        ev.calibration_groups(y, np.full(60, 0.5), 1.0)
    with pytest.raises(ValueError, match="two groups"):
        ev.greenwood_nam_dagostino_test(y, survival, 1.0, min_events=1000)
    with pytest.raises(ValueError, match=r"Group \d of \d"):
        ev.calibration_groups(y, survival, 2.99)
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        ev.integrated_calibration_index(y, np.ones(60), 1.0)
    with pytest.raises(ValueError, match="n_knots"):
        ev.integrated_calibration_index(y, survival, 1.0, n_knots=7)
    late = make_outcome([1, 0, 1, 0], [2, 3, 4, 5])
    with pytest.raises(ValueError, match="Greenwood"):
        ev.greenwood_nam_dagostino_test(late, [0.1, 0.2, 0.8, 0.9], 1.0, 2, min_events=0)


def test_decision_curve_without_censoring_counts_patients():
    rng = np.random.default_rng(3)
    y = make_outcome(np.ones(80, bool), rng.exponential(size=80))
    probability = rng.random(80)
    curve = ev.decision_curve(y, probability, 0.7, [0.3, 0.999999])
    early, above = y["time"] <= 0.7, probability > 0.3
    expected = (np.sum(early & above) - np.sum(~early & above) * 0.3 / 0.7) / 80
    assert curve.net_benefit[0] == pytest.approx(expected)
    assert curve.treat_all[0] == pytest.approx(early.mean() - (~early).mean() * 0.3 / 0.7)
    assert curve.net_benefit[1] == 0
    assert curve.share_treated[1] == 0
    with pytest.raises(ValueError, match="not a risk score"):
        ev.decision_curve(y, 3 * probability, 0.7, [0.3])
    with pytest.raises(ValueError, match="thresholds"):
        ev.decision_curve(y, probability, 0.7, [1.0])
    short = y[y["time"] < 0.5]
    short["event"] = False
    with pytest.raises(ValueError, match="not estimable"):
        ev.decision_curve(short, probability[: len(short)], 0.7, [0.3])
