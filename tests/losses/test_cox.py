"""The Cox loss against R's survival, lifelines, a literal double loop and its own invariances."""

from __future__ import annotations

from pathlib import Path

import lifelines
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.losses import cox_loss
from survimg.target import make_outcome

REFERENCES = Path(__file__).parent / "references"
TIES = ("breslow", "efron", "sorted")


def literal_breslow(risk, time, event):
    terms = []
    for i in range(len(risk)):
        if event[i]:
            at_risk = [risk[j] for j in range(len(risk)) if time[j] >= time[i]]
            terms.append(risk[i] - np.log(np.sum(np.exp(at_risk))))
    return -np.mean(terms)


def literal_sorted(risk, time, event):
    order = np.argsort(time, kind="stable")
    risk, event = risk[order], event[order]
    terms = [risk[i] - np.log(np.exp(risk[i:]).sum()) for i in range(len(risk)) if event[i]]
    return -np.mean(terms)


def random_sample(seed, n=12, n_times=5):
    rng = np.random.default_rng(seed)
    event = rng.random(n) < 0.6
    event[rng.integers(n)] = True
    return rng.normal(size=n) * 2, rng.integers(1, n_times + 1, n).astype(float), event


def tensors(risk, time, event):
    return torch.from_numpy(risk), torch.from_numpy(time), torch.from_numpy(event)


def test_the_mean_over_a_given_number_of_events():
    risk, time, event = tensors(*random_sample(0))
    total = cox_loss(risk, time, event) * event.sum()
    torch.testing.assert_close(cox_loss(risk, time, event, n_events=2.5), total / 2.5)
    assert cox_loss(risk, time, torch.zeros(12), n_events=2.5) == 0
    for n_events in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="n_events must be positive"):
            cox_loss(risk, time, event, n_events=n_events)


@pytest.mark.parametrize("ties", ["breslow", "efron"])
@pytest.mark.parametrize("weights", ["unit", "case"])
def test_equals_r_survival(ties, weights):
    sample = pd.read_csv(REFERENCES / "cox_sample.csv")
    table = pd.read_csv(REFERENCES / "cox_loglik.csv").set_index(["ties", "weights"])
    weight = np.ones(len(sample)) if weights == "unit" else sample["weight"].to_numpy()
    loss = cox_loss(
        torch.tensor(sample["risk"].to_numpy()),
        torch.tensor(sample["time"].to_numpy()),
        torch.tensor(sample["event"].to_numpy()),
        ties=ties,
        sample_weight=torch.tensor(weight),
    )
    divisor = weight[sample["event"] == 1].sum()
    assert -loss.item() * divisor == pytest.approx(table["loglik"][ties, weights], abs=1e-9)


def test_efron_equals_lifelines_at_its_optimum():
    sample = pd.read_csv(REFERENCES / "cox_sample.csv").drop(columns="weight")
    fitted = lifelines.CoxPHFitter().fit(sample, "time", "event")
    risk = torch.tensor(sample["risk"].to_numpy()) * fitted.params_["risk"]
    loss = cox_loss(
        risk, torch.tensor(sample["time"]), torch.tensor(sample["event"]), ties="efron"
    )
    expected = -fitted.log_likelihood_ / sample["event"].sum()
    assert loss.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("ties", ["breslow", "efron"])
def test_gradient_vanishes_at_scikit_survivals_optimum(ties):
    rng = np.random.default_rng(3)
    covariates = rng.normal(size=(60, 3))
    _, time, event = random_sample(4, n=60)
    fitted = CoxPHSurvivalAnalysis(ties=ties, tol=1e-12).fit(covariates, make_outcome(event, time))
    coefficients = torch.tensor(fitted.coef_, requires_grad=True)
    risk = torch.from_numpy(covariates) @ coefficients
    cox_loss(risk, torch.from_numpy(time), torch.from_numpy(event), ties=ties).backward()
    assert coefficients.grad.abs().max() < 1e-8


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_literal_formulas(seed):
    risk, time, event = random_sample(seed)
    assert cox_loss(*tensors(risk, time, event)).item() == pytest.approx(
        literal_breslow(risk, time, event), abs=1e-12
    )
    assert cox_loss(*tensors(risk, time, event), ties="sorted").item() == pytest.approx(
        literal_sorted(risk, time, event), abs=1e-12
    )


def test_the_sorted_variant_leaves_out_tied_patients_that_stand_earlier():
    risk = torch.tensor([2.0, 0.0, 1.0])
    time = torch.tensor([1.0, 1.0, 2.0])
    event = torch.tensor([False, True, False])
    # The published code's risk set of patient 1 is {1, 2}; patient 0, tied with him, is missing.
    expected = torch.tensor([0.0, 1.0]).logsumexp(0)
    assert torch.isclose(cox_loss(risk, time, event, ties="sorted"), expected)
    assert torch.isclose(cox_loss(risk, time, event), risk.logsumexp(0))


@pytest.mark.parametrize("ties", TIES)
def test_gradient_equals_finite_differences(ties):
    risk, time, event = tensors(*random_sample(11))
    weight = torch.rand(len(risk), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    risk.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda h: cox_loss(h, time, event, ties=ties, sample_weight=weight + 0.1), risk
    )


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), shift=st.floats(-300, 300), ties=st.sampled_from(TIES[:2]))
def test_invariant_to_shift_scale_of_time_and_order(seed, shift, ties):
    risk, time, event = tensors(*random_sample(seed))
    loss = cox_loss(risk, time, event, ties=ties)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(risk)))
    assert torch.isclose(cox_loss(risk + shift, time, event, ties=ties), loss, atol=1e-9)
    assert torch.isclose(cox_loss(risk, time.exp(), event, ties=ties), loss, atol=1e-12)
    assert torch.isclose(
        cox_loss(risk[order], time[order], event[order], ties=ties), loss, atol=1e-12
    )


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_without_ties_all_variants_agree(seed):
    risk, _, event = random_sample(seed)
    time = np.random.default_rng(seed).permutation(len(risk)).astype(float)
    losses = [cox_loss(*tensors(risk, time, event), ties=ties) for ties in TIES]
    assert torch.allclose(torch.stack(losses), losses[0], atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_gradient_sums_to_zero_and_events_pull_risk_up(seed):
    risk, time, event = tensors(*random_sample(seed))
    risk.requires_grad_()
    cox_loss(risk, time, event).backward()
    assert abs(risk.grad.sum()) < 1e-12
    assert (risk.grad[~event] >= 0).all()


def test_a_weight_of_two_is_a_patient_given_twice():
    risk, time, event = tensors(*random_sample(5))
    weight = torch.ones_like(risk)
    weight[3] = 2
    twice = [torch.cat([values, values[3:4]]) for values in (risk, time, event)]
    weighted = cox_loss(risk, time, event, sample_weight=weight)
    assert torch.isclose(weighted, cox_loss(*twice))


@pytest.mark.parametrize("ties", TIES)
def test_a_weight_of_zero_removes_the_patient(ties):
    risk, time, event = tensors(*random_sample(6))
    weight = torch.ones_like(risk)
    weight[[0, 4]] = 0
    kept = weight > 0
    risk.requires_grad_()
    loss = cox_loss(risk, time, event, ties=ties, sample_weight=weight)
    loss.backward()
    assert torch.isclose(loss, cox_loss(risk[kept], time[kept], event[kept], ties=ties))
    assert risk.grad.isfinite().all()
    assert (risk.grad[~kept] == 0).all()


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("scale", [500.0, 1e4])
def test_stable_for_huge_risks(ties, scale):
    risk = torch.tensor([scale, -scale, scale, -scale, 0.0], requires_grad=True)
    time = torch.tensor([1.0, 1.0, 2.0, 2.0, 3.0])
    event = torch.tensor([1, 1, 0, 1, 1])
    loss = cox_loss(risk, time, event, ties=ties)
    loss.backward()
    assert loss.isfinite()
    assert risk.grad.isfinite().all()
    # Patient 1 failed first although he was given the lowest hazard: the full pull is on him.
    assert risk.grad[1] == pytest.approx(-0.25, abs=1e-6)


@pytest.mark.parametrize("ties", TIES)
def test_event_free_batch_contributes_exactly_nothing(ties):
    risk = torch.tensor([1.0, torch.inf, -3.0], requires_grad=True)
    loss = cox_loss(risk, torch.arange(3.0), torch.zeros(3), ties=ties)
    loss.backward()
    assert loss.item() == 0
    assert (risk.grad == 0).all()


def test_half_precision_risks_are_summed_in_float32():
    risk, time, event = tensors(*random_sample(8))
    low = risk.to(torch.bfloat16)
    loss = cox_loss(low, time, event)
    assert loss.dtype == torch.float32
    assert torch.isclose(loss, cox_loss(low.float(), time, event))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ties": "exact"}, "ties must be"),
        ({"time": torch.arange(4.0)}, "equal length"),
        ({"risk": torch.zeros(3, 1)}, "one-dimensional"),
        ({"sample_weight": torch.tensor([1.0, -1.0, 1.0])}, "non-negative"),
        ({"sample_weight": torch.tensor([1.0, torch.nan, 1.0])}, "non-negative"),
        ({"sample_weight": torch.ones(2)}, "shape of risk"),
    ],
)
def test_wrong_input_is_refused(change, message):
    arguments = {"risk": torch.zeros(3), "time": torch.arange(3.0), "event": torch.ones(3)}
    with pytest.raises(ValueError, match=message):
        cox_loss(**(arguments | change))


def test_times_in_the_place_of_events_are_refused():
    risk, time = torch.zeros(3), torch.tensor([2.0, 5.0, 7.0])
    event = torch.tensor([True, False, True])
    with pytest.raises(ValueError, match="event must be boolean"):
        cox_loss(risk, event, time)
    assert cox_loss(risk, time, event.float()) == cox_loss(risk, time, event)
