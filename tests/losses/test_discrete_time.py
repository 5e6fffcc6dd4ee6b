"""Discrete-time likelihood and curve against the definition, written out patient by patient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from survimg.losses import discrete_survival_curve, discrete_time_labels, discrete_time_loss

PAPER_CUTS = torch.tensor([12.0, 24.0, 36.0, 60.0, 84.0, 120.0], dtype=torch.float64)


def literal_log_likelihood(logits, time, event, cuts):
    """The likelihood of one patient, from the definition in the paper."""
    total, lower = 0.0, 0.0
    for logit, upper in zip(logits, cuts, strict=True):
        p = 1 / (1 + math.exp(-logit))
        if event:
            if time >= upper:
                total += math.log(p)
            else:
                return total + math.log(1 - p)
        elif time >= (lower + upper) / 2:
            total += math.log(p)
        lower = upper
    return total


@pytest.mark.parametrize(
    ("time", "event", "survived", "failed"),
    [
        (0.0, True, 0, 0),
        (11.9, True, 0, 0),
        (12.0, True, 1, 1),  # an interval holds its lower bound
        (59.0, True, 3, 3),
        (120.0, True, 6, None),  # nothing is left to fail in
        (500.0, True, 6, None),
        (5.9, False, 0, None),
        (6.0, False, 1, None),  # half of the first interval was lived through
        (17.9, False, 1, None),
        (47.9, False, 3, None),
        (48.0, False, 4, None),
        (102.0, False, 6, None),
    ],
)
def test_labels_of_the_papers_intervals(time, event, survived, failed):
    s, f = discrete_time_labels(torch.tensor([time]), torch.tensor([event]), PAPER_CUTS)
    assert s[0].tolist() == [k < survived for k in range(6)]
    assert f[0].tolist() == [k == failed for k in range(6)]


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_equals_the_literal_likelihood(data):
    n = data.draw(st.integers(1, 6))
    row = st.lists(st.floats(-20, 20), min_size=6, max_size=6)
    logits = data.draw(st.lists(row, min_size=n, max_size=n))
    time = data.draw(st.lists(st.floats(0, 150), min_size=n, max_size=n))
    event = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    loss = discrete_time_loss(
        torch.tensor(logits, dtype=torch.float64),
        torch.tensor(time, dtype=torch.float64),
        torch.tensor(event),
        PAPER_CUTS,
    )
    cases = zip(logits, time, event, strict=True)
    expected = -sum(literal_log_likelihood(*case, PAPER_CUTS.tolist()) for case in cases) / n
    assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_gradient_equals_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    time = torch.tensor([3.0, 20.0, 70.0, 130.0, 48.0], dtype=torch.float64)
    event = torch.tensor([True, False, True, False, True])
    weight = torch.tensor([1.0, 2.0, 0.5, 1.0, 0.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: discrete_time_loss(x, time, event, PAPER_CUTS, sample_weight=weight), logits
    )


def test_maximum_likelihood_without_censoring_is_the_empirical_survival():
    time = torch.tensor([5.0, 6.0, 7.0, 15.0, 16.0, 30.0, 40.0, 40.0, 100.0, 110.0])
    event = torch.ones(10, dtype=torch.bool)
    logits = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = discrete_time_loss(logits.expand(10, 6), time, event, PAPER_CUTS)
        loss.backward()
        return loss

    for _ in range(5):
        optimiser.step(closure)
    curve = discrete_survival_curve(logits.detach()[None], PAPER_CUTS)[0]
    empirical = torch.tensor([1.0, 0.7, 0.5, 0.4, 0.2, 0.2, 0.0], dtype=torch.float64)
    # Nobody failed in the fifth interval and everybody left in the sixth: logits run to infinity.
    assert torch.allclose(curve, empirical, atol=1e-3)


def test_stable_for_confidently_wrong_predictions():
    logits = torch.tensor([[500.0, 0.0], [-500.0, 0.0]], requires_grad=True)
    time, event = torch.tensor([0.5, 1.5]), torch.tensor([True, True])
    loss = discrete_time_loss(logits, time, event, torch.tensor([1.0, 2.0]))
    loss.backward()
    assert loss.item() == pytest.approx((500 + 500 + math.log(2)) / 2)
    assert logits.grad[:, 0].tolist() == pytest.approx([0.5, -0.5])


def test_weights_average_and_empty_weight_contributes_nothing():
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)
    time, event = torch.tensor([5.0, 50.0, 20.0]), torch.tensor([True, False, True])
    weighted = discrete_time_loss(
        logits, time, event, PAPER_CUTS, sample_weight=torch.tensor([2.0, 1.0, 0.0])
    )
    rows = torch.tensor([0, 0, 1])
    assert torch.isclose(
        weighted, discrete_time_loss(logits[rows], time[rows], event[rows], PAPER_CUTS)
    )
    nothing = discrete_time_loss(logits, time, event, PAPER_CUTS, sample_weight=torch.zeros(3))
    nothing.backward()
    assert nothing.item() == 0
    assert (logits.grad == 0).all()


@settings(deadline=None, max_examples=30)
@given(logits=st.lists(st.floats(-40, 40), min_size=6, max_size=6))
def test_curve_starts_at_one_falls_and_is_linear_in_between(logits):
    row = torch.tensor([logits], dtype=torch.float64)
    curve = discrete_survival_curve(row, PAPER_CUTS)
    assert curve.shape == (1, 7)
    assert curve[0, 0] == 1
    assert (curve.diff() <= 0).all()
    assert (curve >= 0).all()
    assert torch.allclose(curve[:, 1:], row.sigmoid().cumprod(dim=1))
    bounds = torch.cat([torch.zeros(1, dtype=torch.float64), PAPER_CUTS])
    middle = discrete_survival_curve(row, PAPER_CUTS, (bounds[1:] + bounds[:-1]) / 2)
    assert torch.allclose(middle, (curve[:, 1:] + curve[:, :-1]) / 2)
    assert torch.equal(discrete_survival_curve(row, PAPER_CUTS, bounds), curve)


def test_times_beyond_the_model_are_refused():
    with pytest.raises(ValueError, match="times from 0 to 120"):
        discrete_survival_curve(torch.zeros(1, 6), PAPER_CUTS, torch.tensor([121.0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cuts": torch.tensor([2.0, 1.0])}, "must increase"),
        ({"cuts": torch.tensor([0.0, 1.0])}, "must increase"),
        ({"logits": torch.zeros(3, 4)}, "logits must have shape"),
        ({"event": torch.ones(2)}, "equal length"),
        ({"event": torch.tensor([2.0, 5.0, 7.0])}, "event must be boolean"),
        ({"sample_weight": torch.tensor([1.0, -1.0, 0.0])}, "non-negative"),
    ],
)
def test_wrong_input_is_refused(change, message):
    arguments = {
        "logits": torch.zeros(3, 2),
        "time": torch.arange(3.0),
        "event": torch.ones(3),
        "cuts": torch.tensor([1.0, 2.0]),
    }
    with pytest.raises(ValueError, match=message):
        discrete_time_loss(**(arguments | change))
