"""Discrete time: nothing is said of intervals in which the training patients taught nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival, FusionClassifier, TumourSegmenter
from survimg.losses import discrete_time_loss
from survimg.target import make_outcome

SHAPE = (16, 18, 18)
N = 8
EVENT = np.array([1, 0, 1, 0, 1, 0, 1, 0], dtype=bool)
QUICK: dict = {
    "n_iterations": 1, "batch_size": 4, "batch_norm_batches": 1, "n_threads": 1, "random_state": 0,
    "width": 4, "hidden": 4, "balanced": False, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return make_phantom_cohort(n=N, shape=SHAPE, random_state=0).cohort


def until(last: float, *, event: bool) -> np.ndarray:
    """Outcome of eight patients, the last of whom is followed to `last`, the others to 11."""
    outcome = make_outcome(EVENT, np.arange(4.0, 12.0))
    outcome[-1] = (event, last)
    return outcome


@pytest.mark.parametrize(
    ("last", "event", "cuts", "horizon"),
    [
        (11.5, False, [12], 12),
        (17.9, False, [12], 12),  # censored in the first half of the second interval
        (18.0, False, [12, 24], 24),
        (12.0, True, [12, 24], 24),  # an event counts in the whole of its interval
        (35.0, False, [12, 24, 36], 36),
        (47.9, False, [12, 24, 36], 36),
        (48.0, False, [12, 24, 36, 60], 36),
        (103.0, False, [12, 24, 36, 60, 84, 120], 36),
        (500.0, True, [12, 24, 36, 60, 84, 120], 36),
    ],
)
def test_default_cuts_end_at_the_last_informed_interval(cohort, last, event, cuts, horizon):
    model = CNNSurvival(**QUICK).fit(cohort, until(last, event=event))
    np.testing.assert_array_equal(model.time_cuts_, cuts)
    assert model.risk_horizon_ == horizon
    curve = model.predict_survival_function(cohort)[0]
    with pytest.raises(ValueError, match=f"from 0 to {cuts[-1]}"):
        curve(cuts[-1] + 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_intervals_kept_are_those_with_a_gradient(cohort, seed):
    rng = np.random.default_rng(seed)
    outcome = make_outcome(np.append(True, rng.random(N - 1) < 0.5), rng.uniform(0, 90, N))
    kept = CNNSurvival(**QUICK).fit(cohort, outcome).time_cuts_
    papers = torch.tensor([12.0, 24.0, 36.0, 60.0, 84.0, 120.0])
    logits = torch.zeros(N, len(papers), requires_grad=True)
    time, event = (torch.as_tensor(outcome[name].copy()) for name in ("time", "event"))
    discrete_time_loss(logits, time, event, papers).backward()
    taught = (logits.grad != 0).any(dim=0)
    np.testing.assert_array_equal(kept, papers[taught])


def test_patients_who_are_held_out_inform_no_interval(cohort):
    model = CNNSurvival(**QUICK, validation_fraction=0.5)
    ends = set()
    for i in np.flatnonzero(~EVENT):
        outcome = make_outcome(EVENT, np.arange(4.0, 12.0))
        outcome["time"][i] = 100.0  # the split depends on events and seed, not on times
        ends.add(model.fit(cohort, outcome).time_cuts_[-1])
        assert model.risk_horizon_ <= model.time_cuts_[-1]
    assert ends == {12.0, 84.0}


def test_given_cuts_without_information_are_refused_with_the_follow_up(cohort):
    with pytest.raises(ValueError, match=r"end at 60, 90.*8 patients.*is 40 months.*None") as error:
        CNNSurvival(**QUICK, time_cuts=[12, 39, 60, 90]).fit(cohort, until(40.0, event=False))
    assert "held out" not in str(error.value)
    fitted = CNNSurvival(**QUICK, time_cuts=[12, 39, 60]).fit(cohort, until(49.5, event=False))
    np.testing.assert_array_equal(fitted.time_cuts_, [12, 39, 60])
    days = cohort.with_outcome(cohort.outcome, time_unit="days")
    with pytest.raises(ValueError, match=r"4 patients who train.*\(4 more are held out\).*days"):
        CNNSurvival(**QUICK, time_cuts=[50, 300], validation_fraction=0.5).fit(
            days, until(40.0, event=False)
        )


def test_a_horizon_beyond_the_follow_up_is_refused(cohort):
    with pytest.raises(ValueError, match=r"risk_horizon=36 lies beyond .*12: .*is 15 months"):
        CNNSurvival(**QUICK, risk_horizon=36).fit(cohort, until(15.0, event=False))


def test_cuts_in_another_unit_lose_the_interval_of_who_is_held_out(cohort):
    days = cohort.with_outcome(cohort.outcome, time_unit="days")
    ends = set()
    for i in np.flatnonzero(~EVENT):
        outcome = make_outcome(EVENT, np.arange(4.0, 12.0))
        outcome["time"][i] = 100.0
        model = CNNSurvival(**QUICK, validation_fraction=0.5).fit(days, outcome)
        ends.add(bool(model.time_cuts_[-1] > 100))
    assert ends == {True, False}


# ---------------------------------------------------------------- fits that fail


def spoilt(cohort: Cohort) -> Cohort:
    volumes = cohort.to_numpy().copy()
    masks = np.stack([cohort.mask(i) for i in range(N)])
    masks[3] = 0
    return Cohort(volumes, masks=masks, time_unit="months", channel_names=cohort.channel_names)


@pytest.mark.parametrize("failure", ["horizon", "cuts", "training", "interrupt"])
def test_a_refit_that_fails_leaves_the_model_as_it_was(cohort, failure, monkeypatch):
    model = CNNSurvival(**QUICK).fit(cohort, until(103.0, event=False))
    before, curves = dict(vars(model)), model.predict_survival_function(cohort, return_array=True)
    other = cohort
    if failure == "horizon":
        model.set_params(risk_horizon=100.0)
    elif failure == "cuts":
        model.set_params(time_cuts=[14, 60])
    elif failure == "training":
        other = spoilt(cohort)
        model.set_params(batch_size=N)
    else:

        def interrupted(*_args):
            raise KeyboardInterrupt

        monkeypatch.setattr(model.__class__, "_after_training", interrupted)
    parameters = model.get_params()
    with pytest.raises((ValueError, KeyboardInterrupt)):
        model.fit(other, until(13.0, event=True))
    assert model.get_params() == parameters
    fitted = {name for name in before if name not in parameters}
    assert fitted == {name for name in vars(model) if name not in parameters}
    assert all(vars(model)[name] is before[name] for name in fitted)
    found = model.predict_survival_function(cohort, return_array=True)
    np.testing.assert_array_equal(found, curves)
    assert found.shape == (N, len(model.unique_times_))


@pytest.mark.parametrize("kind", [TumourSegmenter, FusionClassifier])
def test_a_failed_fit_of_the_others_leaves_nothing_either(cohort, kind, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(kind, "_make_objective", interrupted)
    model = kind(n_threads=1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(cohort, cohort.outcome if kind is TumourSegmenter else EVENT)
    assert set(vars(model)) == set(model.get_params())


def test_a_first_fit_that_fails_leaves_nothing(cohort):
    model = CNNSurvival(**{**QUICK, "batch_size": N})
    with pytest.raises(ValueError, match="case-0003"):
        model.fit(spoilt(cohort), until(13.0, event=True))
    assert set(vars(model)) == set(model.get_params())
