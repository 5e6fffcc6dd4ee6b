"""Survival curves of Cox networks: risks times the slope of patients who did not train."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from sklearn.utils import check_random_state

import survimg
from survimg.compute.devices import RandomStreams
from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival, DeepMTS
from survimg.explain.score import score_of
from survimg.survival import BreslowBaseline, RiskSets
from survimg.training.holdout import split_by_event

N = 48
QUICK: dict = {
    "variant": "sur-hs", "n_iterations": 4, "iterations_per_epoch": 2, "batch_size": 8,
    "batch_norm_batches": 2, "n_threads": 1, "random_state": 3, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=N, shape=(16, 18, 18), random_state=0, censoring=0.2).cohort


@pytest.fixture(scope="module")
def fitted(cohort):
    return DeepMTS(**QUICK, validation_fraction=0.5).fit(cohort, cohort.outcome)


def held_out_patients(cohort, fraction, seed=3):
    drawn = check_random_state(seed).randint(np.iinfo(np.int32).max)
    streams = RandomStreams.from_seed(drawn)
    return split_by_event(cohort.outcome["event"], fraction, streams.validation_seed)[1]


def test_the_slope_is_that_of_the_held_out_patients(fitted, cohort):
    others = held_out_patients(cohort, 0.5)
    risk = fitted.predict(cohort[others])
    outcome = cohort.outcome[others]
    sets = RiskSets(outcome["event"], outcome["time"], ties="breslow")
    slopes = np.linspace(0, 5, 5001)
    value = sets.log_likelihood(risk[:, None] * slopes) - (slopes - 1) ** 2 / (2 * 0.3**2)
    assert fitted.slope_ == pytest.approx(slopes[np.argmax(value)], abs=1e-3)
    assert fitted.slope_ not in (0.0, 1.0)


def test_curves_use_it_and_predict_keeps_its_order(fitted, cohort):
    risk, outcome = fitted.predict(cohort), cohort.outcome
    raw = [float(output.risk) for output in fitted._outputs(fitted._patients(cohort))]
    np.testing.assert_array_equal(risk, raw)
    baseline = BreslowBaseline(fitted.slope_ * risk, outcome["event"], outcome["time"])
    expected = np.exp(-baseline.cumulative_hazard(fitted.slope_ * risk))
    survival = fitted.predict_survival_function(cohort, return_array=True)
    np.testing.assert_allclose(survival, expected, rtol=1e-12)
    hazard = fitted.predict_cumulative_hazard_function(cohort, return_array=True)
    np.testing.assert_allclose(np.exp(-hazard), expected, rtol=1e-12)
    flat = np.exp(-BreslowBaseline(risk, outcome["event"], outcome["time"]).cumulative_hazard(risk))
    assert np.abs(survival - flat).max() > 1e-5


def test_explanations_and_files_know_it(fitted, cohort, tmp_path):
    horizon = float(np.median(cohort.outcome["time"]))
    expected = [curve(horizon) for curve in fitted.predict_survival_function(cohort[:3])]
    score = score_of(fitted, cohort[:3], horizon)
    explained = [score(score.select(i)).item() for i in range(3)]
    np.testing.assert_allclose(explained, expected, rtol=1e-5)
    survimg.save(fitted, tmp_path / "model")
    again = survimg.load(tmp_path / "model")
    assert again.slope_ == fitted.slope_
    np.testing.assert_array_equal(
        again.predict_survival_function(cohort, return_array=True),
        fitted.predict_survival_function(cohort, return_array=True),
    )


def test_without_held_out_patients_it_is_one(fitted, cohort):
    again = copy.deepcopy(fitted).set_params(validation_fraction=None)
    assert again.fit(cohort, cohort.outcome).slope_ == 1.0


def test_discrete_time_networks_estimate_none(cohort):
    settings = {key: value for key, value in QUICK.items() if key != "variant"}
    model = CNNSurvival(**settings, width=4, hidden=4, validation_fraction=0.5)
    assert "slope_" not in vars(model.fit(cohort, cohort.outcome))
