"""The other networks as estimators: outputs, parameters, discrete time, variants, masks."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from torch import nn

import survimg
from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import (
    DLPM,
    MDSN,
    CNNSurvival,
    DeepMTS,
    SingleTaskSurvival,
    TumourSegmenter,
    deepmts_variant,
)
from survimg.estimators.deep import CoxVolumeEstimator
from survimg.estimators.deep.deepmts_variants import VARIANT_NAMES
from survimg.losses import discrete_survival_curve
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome
from survimg.training import MTLR, Cox, DiscreteTime, TrainingParameters
from survimg.training.objectives.intervals import PAPER_CUTS_MONTHS

SHAPE = (16, 18, 18)
N = 8
QUICK: dict = {
    "n_iterations": 1, "batch_size": 4, "batch_norm_batches": 1, "n_threads": 1, "random_state": 0,
    "learning_rate": 1e-2, "precision": "float32",
}  # fmt: skip
ESTIMATORS = [CNNSurvival, DLPM, MDSN, SingleTaskSurvival]
DISCRETE = [CNNSurvival, DLPM]


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    """Eight patients followed for ten years, whose tumours end in the middle slice."""
    phantom = make_phantom_cohort(n=N, shape=SHAPE, random_state=0).cohort
    volumes, masks = phantom.to_numpy(), np.stack([phantom.mask(i) for i in range(N)])
    for i, mask in enumerate(masks):
        shift = SHAPE[0] // 2 - int(np.flatnonzero(mask.any(axis=(1, 2)))[-1])
        volumes[i], masks[i] = np.roll(volumes[i], shift, axis=1), np.roll(mask, shift, axis=0)
    outcome = make_outcome(phantom.outcome["event"], 4 * phantom.outcome["time"])
    return Cohort(
        volumes, masks=masks, clinical=phantom.clinical, outcome=outcome, ids=phantom.ids,
        channel_names=phantom.channel_names, time_unit="months",
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(cohort: Cohort) -> dict:
    return {kind: kind(**QUICK).fit(cohort, cohort.outcome) for kind in ESTIMATORS}


# ---------------------------------------------------------------- parameters and outputs

CHANGES = {
    CNNSurvival: {
        "slice_choice": "central", "masked_input": False, "width": 5, "hidden": 0, "dropout": 0.1,
        "time_cuts": [10, 30, 90], "risk_horizon": 20.0, "clinical_columns": [],
        "objective": Cox(),
    },
    DLPM: {
        "dropout": 0.6, "l2": 1.0, "time_cuts": [10, 30, 90], "risk_horizon": 20.0,
        "clinical_columns": [], "objective": Cox(),
    },
    MDSN: {"stem": "isotropic", "dropout": 0.5, "clinical_columns": [], "objective": MTLR()},
    SingleTaskSurvival: {
        "l2": 10.0, "dropout": 0.1, "dense_dropout": 0.5, "clinical_columns": [],
        "objective": DiscreteTime(),
    },
}  # fmt: skip
COMMON = {field.name for field in fields(TrainingParameters)} | {"ties", "significance"}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_own_parameter_is_tried(kind):
    own = set(kind().get_params(deep=False)) - COMMON  # test_training.py, test_significance.py
    assert set(CHANGES[kind]) == own


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, changes in CHANGES.items() for name in changes]
)
def test_every_own_parameter_changes_the_result(kind, name, fitted, cohort):
    changed = kind(**{**QUICK, name: CHANGES[kind][name]}).fit(cohort, cohort.outcome)
    assert not np.array_equal(changed.predict(cohort[:2]), fitted[kind].predict(cohort[:2]))


def test_dlpm_takes_its_own_augmentation_too(fitted, cohort):
    tens = DLPM(**{**QUICK, "augmentation": "one-of-ten"})
    first, second = (clone(tens).fit(cohort, cohort.outcome).predict(cohort[:2]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, fitted[DLPM].predict(cohort[:2]))
    with pytest.raises(ValueError, match="augmentation"):
        MDSN(**{**QUICK, "augmentation": "one-of-ten"}).fit(cohort, cohort.outcome)


@pytest.mark.parametrize(
    ("kind", "n_features"), [(CNNSurvival, 64), (DLPM, 80), (MDSN, 272), (SingleTaskSurvival, 112)]
)
def test_outputs_have_the_documented_shapes(kind, n_features, fitted, cohort):
    model = fitted[kind]
    risk = model.predict(cohort)
    assert risk.shape == (N,)
    assert risk.dtype == np.float64
    assert np.ptp(risk) > 0
    features = model.transform(cohort)
    assert features.shape == (N, n_features)
    assert features.dtype == np.float64
    names = model.get_feature_names_out()
    assert len(set(names)) == n_features
    assert names[0] == f"{kind.__name__.lower()}_00"
    assert list(model.history_["epoch"]) == [1]
    assert not hasattr(model, "predict_mask")


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_signature_names_every_parameter_and_clone_keeps_it(kind):
    model = kind(n_iterations=7, device="cpu", frozen=["stem"])
    assert clone(model).get_params() == model.get_params()
    assert "n_iterations=7" in repr(model)
    with pytest.raises(TypeError, match="unexpected keyword"):
        kind(learn_rate=1.0)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_search_in_two_processes_gives_the_bits_of_one(kind, cohort):
    folds = EventStratifiedKFold(2)
    serial, parallel = (
        GridSearchCV(kind(**QUICK), {"learning_rate": [1e-2, 1e-3]}, cv=folds, n_jobs=n_jobs).fit(
            cohort, cohort.outcome
        )
        for n_jobs in (1, 2)
    )
    for key in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(serial.cv_results_[key], parallel.cv_results_[key])
    np.testing.assert_array_equal(serial.predict(cohort), parallel.predict(cohort))


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_bad_parameters_are_refused(kind, cohort):
    with pytest.raises(ValueError, match="dropout"):
        kind(dropout=1.5).fit(cohort, cohort.outcome)
    with pytest.raises(NotFittedError):
        kind().predict(cohort)
    with pytest.raises(NotFittedError):
        kind().transform(cohort)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_networks_learn_the_order_they_are_shown(kind):
    easy = make_phantom_cohort(n=6, shape=SHAPE, random_state=3).cohort
    y = make_outcome(np.ones(6), [30.0, 6.0, 72.0, 18.0, 100.0, 48.0])  # one per interval
    changes = {"dropout": 0.0, "augmentation": None, "schedule": "constant", "batch_size": 6}
    changes["balanced"] = False  # every batch holds everyone
    # A rate of 1e-2 fits six patients in training mode too closely for the last stages, whose
    # statistics rest on a few voxels: what evaluation mode then says was luck (seeds 0 to 2).
    changes["learning_rate"] = 3e-3
    if kind is SingleTaskSurvival:
        changes |= {"l2": 0.0, "dense_dropout": 0.0}
    model = kind(**{**QUICK, "n_iterations": 25, "iterations_per_epoch": 5, **changes})
    assert model.fit(easy, y).score(easy, y) > 0.75
    loss = model.history_["loss"]
    assert loss.iloc[-1] < 0.7 * loss.iloc[0]


# ---------------------------------------------------------------- discrete time


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_network_can_be_trained_for_any_objective(kind, cohort, tmp_path):
    objective = Cox(ties="efron") if kind in DISCRETE else MTLR(cuts=[24.0, 60.0])
    model = kind(**QUICK, objective=objective).fit(cohort, cohort.outcome)
    if kind in DISCRETE:
        assert not hasattr(model, "time_cuts_")
        times = model.baseline_.times
    else:
        assert model.time_cuts_.tolist() == [24.0, 60.0]
        times = [0.0, 24.0, 60.0]
    np.testing.assert_array_equal(model.unique_times_, times)
    survival = model.predict_survival_function(cohort, return_array=True)
    assert (np.diff(survival, axis=1) <= 0).all()
    assert np.ptp(survival[:, -1]) > 0
    survimg.save(model, tmp_path / "model")
    again = survimg.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(cohort), model.predict(cohort))


def test_objectives_that_do_not_fit_the_estimator_are_refused(cohort):
    y = cohort.outcome
    with pytest.raises(ValueError, match=r"time_cuts and risk_horizon .* MTLR\(\) is given"):
        CNNSurvival(**QUICK, time_cuts=[24], objective=MTLR()).fit(cohort, y)
    with pytest.raises(ValueError, match=r"time_cuts and risk_horizon .* MTLR\(\) is given"):
        CNNSurvival(**QUICK, time_cuts=np.array([24, 60]), objective=MTLR()).fit(cohort, y)
    with pytest.raises(ValueError, match=r"ties='efron' .* MTLR\(\) is given.*leave it out"):
        MDSN(**QUICK, ties="efron", objective=MTLR()).fit(cohort, y)
    with pytest.raises(ValueError, match="MDSNNet has no penalty.*weight_decay"):
        MDSN(**QUICK, objective=Cox(l2=0.1)).fit(cohort, y)
    with pytest.raises(ValueError, match=r"OneNumber gives one number .* 2 are needed.*n_outputs"):
        OneNumberSurvival(**QUICK, objective=MTLR(cuts=[24, 60])).fit(cohort, y)


class OneNumber(nn.Module):
    """A network of a user's that knows the Cox loss only."""

    def __init__(self, n_channels, n_clinical, generator):
        super().__init__()


@dataclass(kw_only=True, eq=False, repr=False)
class OneNumberSurvival(CoxVolumeEstimator):
    """Its estimator."""

    _net = OneNumber


@pytest.mark.parametrize("kind", DISCRETE)
def test_cuts_are_the_papers_in_months_and_event_quantiles_otherwise(kind, fitted, cohort):
    assert cohort.time_unit == "months"
    np.testing.assert_array_equal(fitted[kind].time_cuts_, PAPER_CUTS_MONTHS)
    assert fitted[kind].risk_horizon_ == 36
    in_days = cohort.with_outcome(cohort.outcome, time_unit="days")
    model = kind(**QUICK).fit(in_days, in_days.outcome)
    time, event = cohort.outcome["time"], cohort.outcome["event"]
    np.testing.assert_allclose(model.time_cuts_[-1], time.max(), rtol=1e-6)
    assert model.time_cuts_[-1] > time.max()
    shares = np.histogram(time[event], bins=np.concatenate([[0], model.time_cuts_]))[0]
    assert shares.sum() == event.sum()
    assert shares.max() - shares.min() <= 1


@pytest.mark.parametrize("kind", DISCRETE)
def test_curves_start_at_one_and_are_linear_between_cuts(kind, fitted, cohort):
    model = fitted[kind]
    times = model.unique_times_
    assert times[0] == 0
    survival = model.predict_survival_function(cohort, return_array=True)
    assert (survival[:, 0] == 1).all()
    curve = model.predict_survival_function(cohort)[3]
    np.testing.assert_allclose(curve(times), survival[3], rtol=1e-12)
    assert curve(30.0) == pytest.approx((survival[3, 2] + survival[3, 3]) / 2)
    hazard = model.predict_cumulative_hazard_function(cohort)[3]
    assert hazard(30.0) == pytest.approx(-np.log(curve(30.0)))
    assert curve.domain == (0.0, 120.0)
    with pytest.raises(ValueError, match="from 0 to 120"):
        curve([10.0, 121.0])


@pytest.mark.parametrize("kind", DISCRETE)
@pytest.mark.parametrize("horizon", [36.0, 50.0, 120.0, 3.0])
def test_risk_is_the_probability_of_the_event_by_the_horizon(kind, horizon, cohort):
    model = kind(**{**QUICK, "risk_horizon": horizon}).fit(cohort, cohort.outcome)
    assert model.risk_horizon_ == horizon
    survival = [curve(horizon) for curve in model.predict_survival_function(cohort)]
    np.testing.assert_allclose(model.predict(cohort), 1 - np.array(survival), atol=1e-12)


def test_survival_agrees_with_the_losses_curve(fitted, cohort):
    model = fitted[DLPM]
    outputs = list(model._outputs(model._patients(cohort)))
    logits = torch.cat([output.logits for output in outputs]).double()
    expected = discrete_survival_curve(logits, torch.as_tensor(model.time_cuts_))
    found = model.predict_survival_function(cohort, return_array=True)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("cuts", [[], [3, 3], [0, 5], [5, 4], [[1, 2]]])
def test_cuts_that_do_not_increase_are_refused(cuts, cohort):
    with pytest.raises(ValueError, match="increase from above 0"):
        CNNSurvival(time_cuts=cuts).fit(cohort, cohort.outcome)


def test_a_horizon_beyond_the_last_cut_is_refused(cohort):
    with pytest.raises(ValueError, match="beyond the last cut, 120"):
        CNNSurvival(risk_horizon=121.0).fit(cohort, cohort.outcome)


# ---------------------------------------------------------------- what the network sees


def watch_inputs(model, cohort: Cohort) -> list[torch.Tensor]:
    seen = []
    module = model.net_.module_
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.predict(cohort)
    handle.remove()
    return seen


def test_cnn_survival_sees_the_masked_slice_with_the_largest_mask_area(fitted, cohort):
    seen = watch_inputs(fitted[CNNSurvival], cohort[[4]])
    mask = cohort.mask(4)
    z = max(range(SHAPE[0]), key=lambda k: mask[k].sum())
    np.testing.assert_array_equal(seen[0][0].numpy(), cohort.volume(4)[:, z] * mask[z])


def test_central_slices_need_no_masks(cohort):
    plain = Cohort(cohort.to_numpy(), clinical=cohort.clinical)
    model = CNNSurvival(**QUICK, slice_choice="central", masked_input=False)
    model.fit(plain, cohort.outcome)
    seen = watch_inputs(model, plain[[4]])
    np.testing.assert_array_equal(seen[0][0].numpy(), cohort.volume(4)[:, SHAPE[0] // 2])


def test_a_masked_central_slice_that_the_tumour_misses_names_the_patient(cohort):
    masks = np.stack([cohort.mask(i) for i in range(N)])
    masks[5, SHAPE[0] // 2] = 0
    missed = Cohort(cohort.to_numpy(), masks=masks)
    assert missed.mask(5).any()
    model = CNNSurvival(**{**QUICK, "batch_size": N, "balanced": False}, slice_choice="central")
    with pytest.raises(ValueError, match="'case-0005' does not reach.*largest.*masked_input=False"):
        model.fit(missed, cohort.outcome)
    model.fit(missed[:5], cohort.outcome[:5])
    with pytest.raises(ValueError, match="'case-0005' does not reach"):
        model.predict(missed)
    seen = watch_inputs(model, missed[[4]])
    middle = SHAPE[0] // 2
    np.testing.assert_array_equal(
        seen[0][0].numpy(), missed.volume(4)[:, middle] * masks[4, middle]
    )
    model.set_params(masked_input=False).fit(missed, cohort.outcome)


def test_a_missing_or_empty_mask_names_the_patient(cohort):
    masks = [cohort.mask(i) for i in range(N)]
    masks[2] = None
    with pytest.raises(LookupError, match="case-0002"):
        CNNSurvival(**QUICK, balanced=False).fit(
            Cohort(cohort.to_numpy(), masks=masks), cohort.outcome
        )
    masks[2] = np.zeros(SHAPE, dtype=np.uint8)
    with pytest.raises(ValueError, match="'case-0002' is empty"):
        CNNSurvival(**{**QUICK, "batch_size": 8, "balanced": False}).fit(
            Cohort(cohort.to_numpy(), masks=masks), cohort.outcome
        )


def test_masked_input_is_multiplied_and_needed_for_predictions(cohort):
    model = deepmts_variant("sur-casnet").set_params(**QUICK, masked_input=True)
    model.fit(cohort, cohort.outcome)
    seen = watch_inputs(model, cohort[[4]])
    np.testing.assert_array_equal(seen[0][0].numpy(), cohort.volume(4) * cohort.mask(4))
    masks = np.stack([cohort.mask(i) for i in range(N)])
    arrays = clone(model).fit(
        cohort.to_numpy(), cohort.outcome, masks=masks, clinical=cohort.clinical
    )
    plain, clinical = cohort.to_numpy()[[4]], cohort.clinical[4:5]
    found = arrays.predict(plain, clinical=clinical, masks=masks[[4]])
    np.testing.assert_array_equal(found, model.predict(cohort[[4]]))
    with pytest.raises(LookupError, match="no tumour mask"):
        arrays.predict(plain, clinical=clinical)


# ---------------------------------------------------------------- variants of DeepMTS

COUNTS = {
    "deepmts": 3_709_672, "seg-backbone": 2_664_066, "sur-hs": 1_939_950,
    "sur-casnet": 1_025_610, "mt-hs": 2_683_416, "mt-hs-baseline": 2_680_068,
    "mt-casnet": 3_690_324, "deepmts-unet": 2_515_444, "seg-backbone-unet": 1_473_186,
    "sur-hs-unet": 900_930, "sur-casnet-unet": 1_025_610, "mt-hs-unet": 1_489_188,
    "mt-hs-baseline-unet": 1_489_188, "mt-casnet-unet": 2_499_444,
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANT_NAMES)
def test_variants_have_the_parameters_of_the_fact_sheet(name):
    model = deepmts_variant(name)
    n_clinical = 0 if isinstance(model, TumourSegmenter) else 1
    module = model._make_module(2, n_clinical, torch.Generator().manual_seed(0))
    assert sum(parameter.numel() for parameter in module.parameters()) == COUNTS[name]
    assert clone(model).get_params() == model.get_params()


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match=r"Unknown model 'sur-cas'; choose from seg-backbone"):
        deepmts_variant("sur-cas")


@pytest.mark.parametrize("name", ["sur-hs", "sur-casnet", "mt-hs-baseline", "mt-casnet-unet"])
def test_variants_train_and_predict_what_they_have(name, cohort):
    model = deepmts_variant(name).set_params(**QUICK).fit(cohort, cohort.outcome)
    assert np.ptp(model.predict(cohort)) > 0
    n_features = {"sur-hs": 124, "mt-hs-baseline": 248}.get(name, 112)
    assert model.transform(cohort[:1]).shape == (1, n_features)
    with_masks = name.startswith("mt-")
    assert ("dice" in model.history_) == with_masks
    assert hasattr(model, "predict_mask") == with_masks
    if with_masks:
        assert model.predict_mask(cohort[:2]).shape == (2, *SHAPE)
    else:
        with pytest.raises(AttributeError) as refusal:
            model.predict_mask(cohort)
        assert "no segmentation branch" in str(refusal.value.__cause__)


def test_survival_variants_do_not_ask_for_masks(cohort):
    plain = Cohort(cohort.to_numpy())
    deepmts_variant("sur-hs").set_params(**QUICK).fit(plain, cohort.outcome)  # warns of nothing


# ---------------------------------------------------------------- segmentation alone


def test_the_segmenter_finds_the_tumour_and_refuses_to_predict_risk():
    easy = make_phantom_cohort(n=4, shape=(16, 16, 16), random_state=3).cohort
    model = TumourSegmenter(
        n_iterations=40, batch_size=4, learning_rate=5e-3, schedule="constant", augmentation=None,
        n_threads=1, random_state=0, balanced=False, precision="float32",
    ).fit(easy)  # fmt: skip
    masks = np.stack([easy.mask(i) for i in range(4)])
    found = model.predict_mask(easy)
    assert found.dtype == np.uint8
    dice = [2 * (a * b).sum() / (a.sum() + b.sum()) for a, b in zip(masks, found, strict=True)]
    assert np.mean(dice) > 0.5
    assert model.score(easy) == pytest.approx(np.mean(dice), rel=1e-6)
    named = Cohort(easy.to_numpy(), masks=masks, channel_names=easy.channel_names)
    assert model.score(named) == model.score(easy)
    assert not hasattr(model, "predict")
    with pytest.raises(AttributeError) as refusal:
        model.predict(easy)
    assert "knows masks, not risks" in str(refusal.value.__cause__)
    with pytest.raises(ValueError, match="None of the patients has a tumour mask"):
        model.score(Cohort(easy.to_numpy(), channel_names=easy.channel_names))


def test_the_segmenter_trains_on_the_patients_with_masks(cohort):
    masks = [cohort.mask(i) if i in (1, 4, 6) else None for i in range(N)]
    partly = Cohort(cohort.to_numpy(), masks=masks)
    model = TumourSegmenter(**QUICK, validation_fraction=0.34).fit(partly)
    assert model.history_["validation_dice"].between(0, 1).all()
    assert model.predict_mask_proba(partly).shape == (N, *SHAPE)
    with pytest.raises(ValueError, match="1 of the 8 given"):
        TumourSegmenter().fit(Cohort(cohort.to_numpy(), masks=[masks[1], *[None] * 7]))


@pytest.mark.parametrize(
    "changes", [{"backbone": "unet"}, {"squared_dice": False}, {"balanced": False}]
)
def test_parameters_of_the_segmenter_change_the_result(changes, cohort):
    maps = [
        TumourSegmenter(**{**QUICK, **changed})
        .fit(cohort, cohort.outcome)
        .predict_mask_proba(cohort[:1])
        for changed in ({}, changes)
    ]
    assert not np.array_equal(*maps)


def test_a_segmenter_gives_deepmts_its_backbone(cohort, tmp_path):
    path = tmp_path / "backbone.pt"
    segmenter = TumourSegmenter(**QUICK).fit(cohort, cohort.outcome)
    torch.save(segmenter.net_.module_.state_dict(), path)
    model = DeepMTS(**QUICK, initial_weights=path, frozen=["encoder", "decoder"])
    model.fit(cohort, cohort.outcome)
    np.testing.assert_allclose(
        model.predict_mask_proba(cohort[:1]), segmenter.predict_mask_proba(cohort[:1]), atol=1e-6
    )
    assert any(name.startswith("cascade") for name in model.load_report_.missing)
