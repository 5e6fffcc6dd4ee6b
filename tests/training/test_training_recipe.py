"""What a training consists of: learning rates, optimiser, batches, clipping, augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from quick_networks import STEPS, quick

import survimg.training.augment
from survimg import Cohort
from survimg.augmentation import draw_transforms
from survimg.datasets import make_phantom_cohort
from survimg.estimators import (
    DLPM,
    MDSN,
    CNNSurvival,
    DeepMTS,
    SingleTaskSurvival,
    TumourSegmenter,
)
from survimg.losses import cox_loss
from survimg.training.accumulation import parts_of
from survimg.training.batches import BatchSampler, PatientBatches
from survimg.training.schedules import CosineSchedule, StepSchedule


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    """Every axis has a length of its own."""
    return make_phantom_cohort(n=12, shape=(16, 18, 20), random_state=0).cohort


# ---------------------------------------------------------------- learning rate and optimiser


def test_the_step_schedule_is_the_papers():
    factor = StepSchedule(15_000)
    first_and_last = [0, 2_499, 2_500, 4_999, 5_000, 9_999, 10_000, 14_999]
    rates = [1e-4 * factor(iteration) for iteration in first_and_last]
    np.testing.assert_allclose(rates, np.repeat([1e-4, 5e-5, 1e-5, 1e-6], 2))


def test_the_cosine_falls_from_one_to_zero():
    factor = CosineSchedule(120)
    found = [factor(iteration) for iteration in (0, 40, 60, 80, 120)]
    np.testing.assert_allclose(found, [1, 0.75, 0.5, 0.25, 0], atol=1e-12)


@pytest.fixture
def steps(monkeypatch) -> list[dict]:
    """Settings of the optimiser, and norm of the gradient, at each of its steps."""
    seen: list[dict] = []
    step = torch.optim.Adam.step

    def watched(optimiser, closure=None):
        found = step(optimiser, closure)
        (group,) = optimiser.param_groups
        squares = [p.grad.square().sum() for p in group["params"] if p.grad is not None]
        seen.append({**group, "norm": float(torch.stack(squares).sum().sqrt())})
        return found

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    return seen


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("step", [1, 0.5, 0.1, 0.1, 0.01, 0.01]),
        ("cosine", 0.5 + 0.5 * np.cos(np.pi * np.arange(6) / 6)),
        ("constant", np.ones(6)),
    ],
)
def test_every_step_has_its_learning_rate(schedule, factors, steps, cohort):
    quick(schedule=schedule).fit(cohort, cohort.outcome)
    np.testing.assert_allclose([step["lr"] for step in steps], 1e-2 * np.array(factors))


def test_the_optimiser_is_adam_with_keras_constants(steps, cohort):
    quick(n_iterations=1).fit(cohort, cohort.outcome)
    (step,) = steps
    assert step["betas"] == (0.9, 0.999)
    assert step["eps"] == 1e-7
    assert step["weight_decay"] == 0


def test_longer_gradients_are_cut_to_the_norm_given(steps, cohort):
    quick().fit(cohort, cohort.outcome)
    free = [step["norm"] for step in steps]
    steps.clear()
    quick(gradient_clip=0.5 * min(free)).fit(cohort, cohort.outcome)
    clipped = [step["norm"] for step in steps]
    assert clipped[0] == pytest.approx(0.5 * min(free), rel=1e-4)
    assert max(clipped) <= 0.5 * min(free) * 1.0001

# ---------------------------------------------------------------- who is in a batch

EVENT = np.array([True] * 3 + [False] * 17)


def sampler(event=EVENT, *, size: int = 8, balanced=True) -> BatchSampler:
    return BatchSampler(event, size, balanced, np.random.default_rng(0))


@pytest.mark.parametrize("balanced", [True, "weighted"])
@pytest.mark.parametrize(("size", "n_events"), [(8, 4), (5, 3), (2, 1)])
def test_balanced_batches_hold_as_many_events_as_censored(size, n_events, balanced):
    batches = sampler(size=size, balanced=balanced)
    for _ in range(20):
        drawn = batches.draw()
        assert len(drawn) == size
        assert EVENT[drawn].sum() == n_events


def test_within_either_kind_all_patients_are_drawn_equally_often():
    batches = sampler()
    counts = np.bincount(np.concatenate([batches.draw() for _ in range(2000)]), minlength=20)
    for kind in (EVENT, ~EVENT):
        expected = 8000 / kind.sum()
        assert (np.abs(counts[kind] - expected) < 5 * np.sqrt(expected)).all()


def test_other_batches_hold_nobody_twice_and_everybody_as_often():
    batches = sampler(balanced=False)
    drawn = [batches.draw() for _ in range(1000)]
    assert all(len(set(batch)) == 8 for batch in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=20)
    assert (np.abs(counts - 400) < 5 * np.sqrt(400)).all()
    assert sorted(sampler(balanced=False, size=50).draw()) == list(range(20))


def test_where_all_are_of_one_kind_batches_are_of_that_kind():
    assert len(sampler(np.ones(5, bool)).draw()) == 8
    assert sorted(sampler(np.zeros(5, bool)).draw()) == list(range(5))


@pytest.mark.parametrize("size", [6, 7, 8])
def test_classes_are_balanced_and_weighted_too(size):
    classes = np.repeat([0, 1, 2], [2, 6, 4])
    batches = sampler(classes, size=size, balanced="weighted")
    drawn = np.concatenate([batches.draw() for _ in range(200)])
    counts = np.bincount(classes[drawn]) / 200
    assert counts.sum() == size
    assert (np.abs(counts - size / 3) < 1).all()
    weighted = np.bincount(classes[drawn], batches.weights[drawn]) / len(drawn)
    np.testing.assert_allclose(weighted, [2 / 12, 6 / 12, 4 / 12], rtol=1e-6)


@pytest.mark.parametrize(("size", "n_events"), [(8, 4), (5, 3), (64, 32)])
def test_weighted_patients_count_alike_and_events_as_often_as_they_are(size, n_events):
    batches = sampler(size=size, balanced="weighted")
    draws = np.where(EVENT, n_events / 3, (size - n_events) / 17)  # of a patient, on average
    np.testing.assert_allclose(draws * batches.weights, size / 20, rtol=1e-6)
    assert batches.n_events == pytest.approx(size * 3 / 20)
    assert batches.weights[batches.draw()][:n_events].sum() == pytest.approx(size * 3 / 20)


def test_only_batches_that_are_not_weighted_need_the_expected_number_of_events():
    assert sampler().n_events is None
    assert sampler().weights is None
    uniform = sampler(balanced=False)
    assert uniform.weights is None
    assert uniform.n_events == pytest.approx(
        np.mean([EVENT[uniform.draw()].sum() for _ in range(9000)]), rel=0.05
    )
    assert sampler(balanced=False, size=50).n_events == pytest.approx(3)
    assert sampler(np.zeros(5, bool), balanced="weighted").n_events is None
    everyone = sampler(np.ones(5, bool), balanced="weighted")
    assert everyone.weights is None
    assert everyone.n_events == 8


@pytest.mark.parametrize(("rate", "size"), [(0.2, 64), (0.7, 64), (0.5, 8)])
def test_weights_keep_a_covariate_of_censoring_alone_out_of_the_hazard(rate, size):
    """The mean gradient at the true coefficients: that of the whole cohort without bias."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    death, end = rng.exponential(np.exp(-x[:, 0])), rng.exponential(np.exp(x[:, 1]))
    end *= np.quantile(death / end, rate)
    time, event = torch.from_numpy(np.minimum(death, end)), torch.from_numpy(death <= end)

    def slope(drawn, **sampling):
        beta = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
        loss = cox_loss(torch.from_numpy(x[drawn]) @ beta, time[drawn], event[drawn], **sampling)
        return torch.autograd.grad(loss, beta)[0][1].item()

    def bias(balanced, n_batches=400):
        batches = sampler(event.numpy(), size=size, balanced=balanced)
        slopes = []
        for _ in range(n_batches):
            drawn = batches.draw()
            weight = None if batches.weights is None else torch.from_numpy(batches.weights[drawn])
            slopes.append(slope(drawn, sample_weight=weight, n_events=batches.n_events))
        return abs(np.mean(slopes) - slope(np.arange(4000))), np.std(slopes) / np.sqrt(n_batches)

    (balanced, error), (weighted, weighted_error) = bias(True), bias("weighted")
    if rate == 0.5:  # both are the same where half of the patients have the event
        assert balanced == pytest.approx(weighted)
    else:
        assert weighted < 0.02 + 4 * weighted_error
        assert balanced > 0.04 + 4 * error


@pytest.mark.parametrize("model", [CNNSurvival, DeepMTS, SingleTaskSurvival])
def test_weights_reach_the_loss_of_a_fit(model, cohort):
    rare = cohort.outcome.copy()
    rare["event"] = np.arange(12) < 3
    small = {"width": 4, "hidden": 8} if model is CNNSurvival else {}
    plain = {**STEPS, "n_iterations": 2, **small}
    risks = {
        balanced: model(**plain, balanced=balanced).fit(cohort, rare).predict(cohort)
        for balanced in (True, "weighted", False)
    }
    assert not np.allclose(risks[True], risks["weighted"], rtol=1e-6)
    assert not np.allclose(risks["weighted"], risks[False], rtol=1e-6)
    even = cohort.outcome.copy()
    even["event"] = np.arange(12) % 2 == 0
    same = [
        model(**plain, balanced=balanced).fit(cohort, even).predict(cohort)
        for balanced in (True, "weighted")
    ]
    np.testing.assert_allclose(*same, rtol=1e-5)


def test_other_words_for_balanced_are_refused(cohort):
    with pytest.raises(ValueError, match="'balanced' parameter"):
        quick(balanced="uniform").fit(cohort, cohort.outcome)
    with pytest.raises(ValueError, match="'balanced' parameter"):  # a Dice loss has no use for it
        TumourSegmenter(**STEPS, balanced="weighted").fit(cohort)


@pytest.mark.parametrize("balanced", [True, False])
def test_a_fit_draws_its_batches_so(balanced, cohort, monkeypatch):
    shares = []
    draw = PatientBatches.draw

    def watched(self):
        inputs, targets = draw(self)
        shares.append(int(targets.event.sum()))
        return inputs, targets

    monkeypatch.setattr(PatientBatches, "draw", watched)
    quick(balanced=balanced).fit(cohort, cohort.outcome)
    assert (set(shares) == {2}) == balanced

# ---------------------------------------------------------------- augmentation


@pytest.mark.parametrize(
    "kind", [DeepMTS, TumourSegmenter, SingleTaskSurvival, CNNSurvival, MDSN, DLPM]
)
def test_the_default_does_not_interpolate_and_the_published_recipe_does(kind):
    assert kind().augmentation == "nearest"
    assert kind.published().augmentation == "uniform"


@pytest.mark.parametrize("kind", [DeepMTS, SingleTaskSurvival])
def test_averaged_features_are_not_dropped_by_default_but_are_in_the_published_recipe(kind):
    assert (kind().dropout, kind.published().dropout) == (0.0, 0.5)


@pytest.mark.parametrize("recipe", ["nearest", "uniform", "fixed"])
@pytest.mark.parametrize("kind", [DLPM, CNNSurvival])
def test_shifts_are_fractions_of_the_axes_and_slices_stay_in_their_plane(
    kind, recipe, cohort, monkeypatch
):
    seen = []

    def watched(*arguments, **options):
        seen.append(draw_transforms(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(survimg.training.augment, "draw_transforms", watched)
    kind(
        **{**STEPS, "n_iterations": 20, "batch_size": 2} if kind is CNNSurvival else {**STEPS},
        augmentation=recipe, max_translation=0.25, max_rotation=8,
    ).fit(cohort, cohort.outcome)  # fmt: skip
    shifts = torch.cat([drawn.translation for drawn in seen]).abs().amax(dim=0)
    angles = torch.cat([drawn.rotation for drawn in seen]).abs().amax(dim=0)
    largest_shift, largest_angle = torch.tensor([4.0, 4.5, 5.0]), torch.full((3,), 8.0)
    if kind is CNNSurvival:
        largest_shift[0] = largest_angle[1] = largest_angle[2] = 0
    for found, largest in ((shifts, largest_shift), (angles, largest_angle)):
        assert (found <= largest).all()
        assert (found >= 0.5 * largest).all()
    if recipe == "fixed":
        torch.testing.assert_close(shifts, largest_shift.double())


@pytest.mark.parametrize(
    ("recipe", "level", "least"),
    [("nearest", 0.5, 1.0), ("uniform", 0.5, 0.75), ("fixed", 0.2, 1.0)],
)
def test_masks_move_with_the_images_in_training(recipe, level, least, cohort, monkeypatch):
    """Volumes that are their own masks still are, once they have been moved."""
    masks = np.stack([cohort.mask(i) for i in range(len(cohort))])
    seen = []
    draw = PatientBatches.draw

    def watched(self):
        inputs, targets = draw(self)
        seen.append((inputs["volumes"][:, 0] > level, targets.masks > 0.5))
        return inputs, targets

    monkeypatch.setattr(PatientBatches, "draw", watched)
    DeepMTS(
        **{**STEPS, "n_iterations": 2}, variant="mt-hs", backbone="unet", augmentation=recipe,
        max_translation=0.2,
    ).fit(Cohort(masks.astype(np.float32)[:, np.newaxis], masks=masks), cohort.outcome)  # fmt: skip
    originals = torch.from_numpy(masks > 0)
    for images, moved in seen:
        # The paper's masks are nearest neighbours: small tumours differ at their border.
        assert 2 * (images & moved).sum() / (images.sum() + moved.sum()) >= least
        assert not any(torch.equal(mask, original) for mask in moved for original in originals)


def test_parts_of_a_batch_hold_both_kinds():
    """Batch normalisation over patients with the event alone would level what they share."""
    event = np.arange(20) < 8
    drawn = BatchSampler(event, 8, True, np.random.default_rng(0)).draw()
    for parts in (parts_of(8, 4), parts_of(8, 3)):
        assert all(event[drawn[part]].any() and not event[drawn[part]].all() for part in parts)
        assert sorted(np.concatenate([np.arange(8)[part] for part in parts])) == list(range(8))
