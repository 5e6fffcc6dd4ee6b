"""Fits that follow another: what they may take from it, and what must not stay."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from quick_networks import quick
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival, DeepMTS, DeepSurv, FusionSurvival, deepmts_variant
from survimg.training.batches import PatientBatches
from survimg.training.checkpoints import fit_key

N = 12


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return make_phantom_cohort(n=N, shape=(16, 20, 20), random_state=0).cohort


def masks_of(cohort: Cohort) -> np.ndarray:
    return np.stack([cohort.mask(i) for i in range(len(cohort))])


def with_columns(cohort: Cohort, **columns) -> Cohort:
    return Cohort(
        cohort.to_numpy(), masks=masks_of(cohort), clinical=pd.DataFrame(columns),
        channel_names=cohort.channel_names, time_unit=cohort.time_unit,
    )  # fmt: skip


# ---------------------------------------------------------------- what must not stay


def test_attributes_of_another_fit_do_not_stay(cohort, tmp_path):
    path = tmp_path / "weights.pt"
    model = quick(validation_fraction=0.4).fit(cohort, cohort.outcome)
    assert hasattr(model, "best_epoch_")
    torch.save(model.net_.module_.state_dict(), path)
    model.set_params(validation_fraction=None, initial_weights=path).fit(cohort, cohort.outcome)
    assert not hasattr(model, "best_epoch_")
    assert hasattr(model, "load_report_")
    model.set_params(initial_weights=None).fit(cohort, cohort.outcome)
    assert not hasattr(model, "load_report_")


def test_a_refit_of_deepsurv_that_diverges_leaves_the_model_as_it_was(cohort):
    X = np.random.default_rng(0).normal(size=(N, 3))
    model = DeepSurv(n_iterations=5, random_state=0).fit(X, cohort.outcome)
    before = model.predict(X)
    model.set_params(learning_rate=1e200, n_iterations=20)
    with pytest.raises(FloatingPointError, match="diverged"):
        model.fit(100 * X[:, :2] + 5, cohort.outcome)
    np.testing.assert_array_equal(model.predict(X), before)


# ---------------------------------------------------------------- warm start


def test_weights_that_do_not_fit_are_refused_with_what_to_change(cohort):
    model = quick(warm_start=True).fit(cohort, cohort.outcome)
    with pytest.raises(ValueError, match=r"(?s)warm_start=False.*mismatched: stages") as refusal:
        model.set_params(width=5).fit(cohort, cohort.outcome)
    assert "strict" not in str(refusal.value)  # no parameter of the estimator


def test_a_warm_start_on_other_channels_is_refused(cohort):
    model = quick(warm_start=True, clinical_columns=[]).fit(cohort, cohort.outcome)
    swapped = Cohort(
        cohort.to_numpy()[:, ::-1], masks=masks_of(cohort),
        channel_names=cohort.channel_names[::-1], time_unit=cohort.time_unit,
    )  # fmt: skip
    with pytest.raises(ValueError, match="X has the channels"):
        model.fit(swapped, cohort.outcome)
    model.set_params(warm_start=False).fit(swapped, cohort.outcome)


def test_a_warm_start_on_other_clinical_columns_is_refused(cohort):
    two = with_columns(cohort, age=np.arange(40.0, 52.0), dose=np.arange(12.0) ** 2)
    model = quick(warm_start=True, clinical_columns=["age"]).fit(two, cohort.outcome)
    with pytest.raises(ValueError, match=r"are \('dose',\) now and were \('age',\)"):
        model.set_params(clinical_columns=["dose"]).fit(two, cohort.outcome)
    assert model.clinical_names_in_ == ("age",)
    model.set_params(clinical_columns=["age"]).fit(two, cohort.outcome)


# ---------------------------------------------------------------- checkpoints


class Killed(BaseException):
    pass


def interrupt(model: CNNSurvival, cohort: Cohort) -> None:
    draw, count = PatientBatches.draw, []

    def draw_or_die(self):
        count.append(1)
        if len(count) > 3:
            raise Killed
        return draw(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PatientBatches, "draw", draw_or_die)
        with pytest.raises(Killed):
            model.fit(cohort, cohort.outcome)


def test_a_first_fit_does_not_continue_a_warm_one(cohort, tmp_path):
    plan = {"warm_start": True, "checkpoint_folder": tmp_path}
    first = quick(**plan).fit(cohort, cohort.outcome)
    expected = first.predict(cohort)
    interrupt(first, cohort)
    fresh = quick(**plan).fit(cohort, cohort.outcome)
    np.testing.assert_array_equal(fresh.predict(cohort), expected)
    whole = quick(warm_start=True).fit(cohort, cohort.outcome).fit(cohort, cohort.outcome)
    np.testing.assert_array_equal(
        first.fit(cohort, cohort.outcome).predict(cohort), whole.predict(cohort)
    )
    assert not list(tmp_path.iterdir())


class Long(BaseEstimator):
    def __init__(self, names):
        self.names = names


def test_parameters_count_in_full(cohort):
    names = [f"feature-{k}" for k in range(200)]
    lists = names, [*names[:100], "another", *names[101:]]
    assert repr(Long(lists[0])) == repr(Long(lists[1]))
    outcome = cohort.outcome
    keys = {
        fit_key(FusionSurvival(extractor=Long(given)), cohort, outcome["event"], outcome["time"])
        for given in (*lists, list(names))
    }
    assert len(keys) == 2


def test_a_fit_does_not_continue_one_from_other_initial_weights(cohort, tmp_path):
    path = tmp_path / "weights.pt"
    plan = {"initial_weights": path, "checkpoint_folder": tmp_path / "checkpoints"}
    for seed in (1, 2):
        source = quick(random_state=seed, n_iterations=1).fit(cohort, cohort.outcome)
        torch.save(source.net_.module_.state_dict(), path)
        if seed == 1:
            interrupt(quick(**plan), cohort)
    expected = quick(initial_weights=path).fit(cohort, cohort.outcome).predict(cohort)
    found = quick(**plan).fit(cohort, cohort.outcome).predict(cohort)
    np.testing.assert_array_equal(found, expected)


# ---------------------------------------------------------------- plain arrays


def test_fit_transform_takes_what_fit_takes(cohort):
    own = {"masks": masks_of(cohort), "clinical": cohort.clinical}
    found = quick().fit_transform(cohort.to_numpy(), cohort.outcome, **own)
    fitted = quick().fit(cohort.to_numpy(), cohort.outcome, **own)
    np.testing.assert_array_equal(found, fitted.transform(cohort.to_numpy(), **own))
    named = quick().set_output(transform="pandas")
    frame = named.fit_transform(cohort.to_numpy(), cohort.outcome, **own)
    assert list(frame.columns) == list(named.get_feature_names_out())


def test_with_metadata_routing_a_pipeline_trains_on_features_of_arrays(cohort):
    own = {"masks": masks_of(cohort), "clinical": cohort.clinical}
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(quick(hidden=2), StandardScaler(), CoxPHSurvivalAnalysis(alpha=1.0))
        model.fit(cohort.to_numpy(), cohort.outcome, **own)
    assert model[-1].coef_.shape == (2,)


def test_the_layout_of_arrays_in_memory_does_not_matter(cohort):
    own = {"masks": masks_of(cohort), "clinical": cohort.clinical}
    volumes, y = cohort.to_numpy(), cohort.outcome
    expected = quick().fit(volumes, y, **own).predict(volumes, **own)
    for changed in (np.asfortranarray(volumes), volumes.astype(np.float64)):
        changed.flags.writeable = False
        found = quick().fit(changed, y, **own).predict(changed, **own)
        np.testing.assert_array_equal(found, expected)


# ---------------------------------------------------------------- edges


def test_masks_of_held_out_patients_train_no_segmentation(monkeypatch):
    small = make_phantom_cohort(n=N, shape=(16, 16, 16), random_state=0).cohort
    held_out = np.arange(N) < 5
    monkeypatch.setattr(
        "survimg.estimators.deep.volume_estimator.split_by_event",
        lambda *_: (np.flatnonzero(~held_out), np.flatnonzero(held_out)),
    )
    partly = Cohort(small.to_numpy(), masks=masks_of(small), has_mask=held_out)
    model = DeepMTS(
        n_iterations=1, batch_size=4, batch_norm_batches=1, n_threads=1, random_state=0,
        validation_fraction=0.4, precision="float32",
    )  # fmt: skip
    with pytest.warns(UserWarning, match="No patient of the training set has a tumour mask"):
        model.fit(partly, small.outcome)
    assert not model.trained_with_masks_
    assert not hasattr(model, "predict_mask")


def test_clinical_values_of_held_out_patients_teach_no_encoding(cohort, monkeypatch):
    held_out = np.arange(N) < 5
    monkeypatch.setattr(
        "survimg.estimators.deep.volume_estimator.split_by_event",
        lambda *_: (np.flatnonzero(~held_out), np.flatnonzero(held_out)),
    )
    age = np.arange(40.0, 40.0 + N)
    new = quick().fit(with_columns(cohort, age=age), cohort.outcome)  # nobody is held out

    def trained_with(age):
        return quick(validation_fraction=0.4).fit(with_columns(cohort, age=age), cohort.outcome)

    learned = [
        (model._clinical_mean["age"], model._clinical_scale["age"])
        for model in (trained_with(age), trained_with(np.where(held_out, 1000.0, age)), new)
    ]
    assert learned[0] == learned[1] == (age[~held_out].mean(), age[~held_out].std())
    assert learned[2] == (age.mean(), age.std())


def test_an_empty_mask_leaves_nothing_of_a_masked_image(cohort):
    masks = masks_of(cohort)
    masks[3] = 0
    model = deepmts_variant("sur-casnet").set_params(
        masked_input=True, n_iterations=1, batch_size=N, balanced=False, n_threads=1
    )
    with pytest.raises(ValueError, match="mask of patient 'case-0003' is empty"):
        model.fit(Cohort(cohort.to_numpy(), masks=masks), cohort.outcome)


@pytest.mark.parametrize("columns", [None, []])
def test_nobody_to_predict_is_said(cohort, columns):
    model = quick(clinical_columns=columns).fit(cohort, cohort.outcome)
    with pytest.raises(ValueError, match="X holds no patient"):
        model.predict(cohort[[]])


def test_a_device_that_does_not_exist_is_refused_by_its_parameter(cohort):
    with pytest.raises(ValueError, match="device='gpu' is no device"):
        quick(device="gpu").fit(cohort, cohort.outcome)


def test_cuts_end_at_a_finite_time(cohort):
    with pytest.raises(ValueError, match="be finite"):
        quick(time_cuts=[12, np.inf]).fit(cohort, cohort.outcome)
