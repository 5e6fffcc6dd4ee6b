"""DeepMTS as a scikit-learn estimator: fit, predict, masks, features, reproducibility."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, learning_curve

from survimg import Cohort
from survimg.compute.devices import has_bfloat16
from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome
from survimg.training.batches import PatientBatches

SHAPE = (16, 16, 16)
N = 8


def small_model(**changes: object) -> DeepMTS:
    arguments: dict = {
        "n_iterations": 3,
        "batch_size": 4,
        "batch_norm_batches": 2,
        "iterations_per_epoch": 2,
        "max_translation": 0.1,
        "n_threads": 1,
        "random_state": 0, "precision": "float32",
    }
    return DeepMTS(**{**arguments, **changes})


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return make_phantom_cohort(n=N, shape=SHAPE, random_state=0).cohort


@pytest.fixture(scope="module")
def fitted(cohort: Cohort) -> DeepMTS:
    return small_model().fit(cohort, cohort.outcome)


def test_outputs_have_the_documented_shapes(fitted, cohort):
    n = len(cohort)
    risk = fitted.predict(cohort)
    assert risk.shape == (n,)
    assert risk.dtype == np.float64
    assert np.ptp(risk) > 0
    probabilities = fitted.predict_mask_proba(cohort)
    assert probabilities.shape == (n, *SHAPE)
    assert probabilities.dtype == np.float32
    assert 0 <= probabilities.min() <= probabilities.max() <= 1
    masks = fitted.predict_mask(cohort, threshold=0.3)
    assert masks.dtype == np.uint8
    np.testing.assert_array_equal(masks, probabilities > 0.3)
    features = fitted.transform(cohort)
    assert features.shape == (n, 236)
    assert features.dtype == np.float64
    assert len(set(fitted.get_feature_names_out())) == 236


def test_set_output_names_the_features(fitted, cohort):
    named = clone(fitted).set_output(transform="pandas").fit(cohort, cohort.outcome)
    frame = named.transform(cohort)
    assert list(frame.columns) == list(fitted.get_feature_names_out())
    np.testing.assert_array_equal(frame.to_numpy(), fitted.transform(cohort))


def test_curves_fall_from_one_and_order_patients_as_risk_does(fitted, cohort):
    survival = fitted.predict_survival_function(cohort, return_array=True)
    assert survival.shape == (len(cohort), len(fitted.unique_times_))
    assert (survival >= 0).all()
    assert (survival <= 1).all()
    assert (np.diff(survival, axis=1) <= 0).all()
    middle = survival[:, survival.shape[1] // 2]
    assert (np.diff(middle[np.argsort(fitted.predict(cohort))]) <= 1e-12).all()
    hazard = fitted.predict_cumulative_hazard_function(cohort, return_array=True)
    np.testing.assert_allclose(survival, np.exp(-hazard), rtol=1e-12)
    curve = fitted.predict_survival_function(cohort[:1])[0]
    assert curve(fitted.unique_times_[0]) == survival[0, 0]


def test_predictions_do_not_depend_on_company_or_order(fitted, cohort):
    risk = fitted.predict(cohort)
    np.testing.assert_array_equal(fitted.predict(cohort[::-1]), risk[::-1])
    np.testing.assert_array_equal(fitted.predict(cohort[[5]]), risk[[5]])
    masks = fitted.predict_mask_proba(cohort[[5, 2]])
    np.testing.assert_array_equal(masks, fitted.predict_mask_proba(cohort)[[5, 2]])


def test_same_seed_gives_bit_equal_results_and_leaves_the_global_stream_alone(fitted, cohort):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = small_model().fit(cohort, cohort.outcome)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    np.testing.assert_array_equal(again.predict(cohort), fitted.predict(cohort))
    other = small_model(random_state=1).fit(cohort, cohort.outcome)
    assert not np.allclose(other.predict(cohort), fitted.predict(cohort))


def test_fitting_twice_starts_anew_and_threads_are_restored(fitted, cohort):
    before = torch.get_num_threads()
    model = clone(fitted).fit(cohort, cohort.outcome).fit(cohort, cohort.outcome)
    np.testing.assert_array_equal(model.predict(cohort), fitted.predict(cohort))
    assert torch.get_num_threads() == before


CHANGES = {
    "backbone": "unet",
    "variant": "mt-hs",
    "masked_input": True,
    "squared_dice": False,
    "n_iterations": 2,
    "batch_size": 3,
    "learning_rate": 1e-3,
    "schedule": "constant",
    "balanced": False,
    "segmentation_weight": 0.5,
    "l2": 1.0,
    "dropout": 0.1,
    "map_gradient": True,
    "augmentation": "fixed",
    "max_translation": 0.05,
    "max_rotation": 30,
    "clinical_columns": [],
    "gradient_clip": 1e-3,
    "ema_decay": 0.9,
    "test_time_flip": True,
    "batch_norm_batches": 1,
    "random_state": 7,
}
OTHER_EFFECTS = {"iterations_per_epoch", "device", "precision", "n_threads", "verbose"}
ELSEWHERE = {
    "adapt_channels", "callbacks", "checkpoint_every", "checkpoint_folder", "clinical_start",
    "drop_segmentation", "frozen", "initial_weights", "micro_batch_size", "objective", "optimizer",
    "optimizer_params", "patience", "prediction_batch_size", "segmentation_first", "significance",
    "ties", "validation_fraction", "warm_start",
}  # fmt: skip
"""Tried in test_training.py, test_training_options.py, test_deepmts_objectives.py,
test_two_stages.py, test_significance.py, test_clinical_start.py."""


def test_every_parameter_is_tried():
    assert set(CHANGES) | OTHER_EFFECTS | ELSEWHERE == set(DeepMTS().get_params())


@pytest.mark.parametrize("name", CHANGES)
def test_every_parameter_changes_the_result(name, fitted, cohort):
    changed = small_model(**{name: CHANGES[name]}).fit(cohort, cohort.outcome)
    assert not np.array_equal(changed.predict(cohort[:1]), fitted.predict(cohort[:1]))


def test_the_other_parameters_change_what_they_say(cohort, capsys):
    model = small_model(iterations_per_epoch=3, verbose=1).fit(cohort, cohort.outcome)
    assert model.history_["iteration"].tolist() == [3]
    assert "DeepMTS" in capsys.readouterr().err
    on_cpu = small_model(n_iterations=1, device="cpu").fit(cohort, cohort.outcome)
    assert on_cpu.net_.device == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="nothing to refuse where there is a GPU")
def test_a_missing_gpu_is_refused(cohort):
    with pytest.raises(ValueError, match="no CUDA device"):
        small_model(device="cuda").fit(cohort, cohort.outcome)


@pytest.mark.any_precision
def test_bfloat16_is_used_where_the_hardware_has_it_and_refused_elsewhere(fitted, cohort):
    model = small_model(precision="bfloat16")
    if not has_bfloat16(torch.device("cpu")):
        with pytest.raises(ValueError, match="only emulates it"):
            model.set_params(device="cpu").fit(cohort, cohort.outcome)
        return
    full = small_model(precision="float32").fit(cohort, cohort.outcome)
    half = model.fit(cohort, cohort.outcome)
    assert not np.array_equal(half.predict(cohort), full.predict(cohort))


def test_threads_are_pinned_for_the_length_of_a_fit(cohort, monkeypatch):
    seen = []
    draw = PatientBatches.draw
    monkeypatch.setattr(
        PatientBatches,
        "draw",
        lambda self: (seen.append(torch.get_num_threads()), draw(self))[1],
    )
    before = torch.get_num_threads()
    small_model(n_threads=3).fit(cohort, cohort.outcome)
    assert set(seen) == {3}
    assert torch.get_num_threads() == before


def test_history_has_one_row_per_epoch(fitted):
    history = fitted.history_
    assert history["iteration"].tolist() == [2, 3]
    np.testing.assert_allclose(
        history["loss"], history[["cox", "l2", "dice"]].sum(axis=1), rtol=1e-5
    )
    assert (history["dice"] < 0).all()
    assert (history["seconds"] > 0).all()


def test_the_network_learns_what_it_is_shown():
    """Overfit eight patients: risk in the order of the events, and masks found."""
    cohort = make_phantom_cohort(n=8, shape=SHAPE, random_state=3, censoring=0.0).cohort
    model = DeepMTS(
        n_iterations=100, batch_size=8, learning_rate=2e-3, augmentation=None, l2=0.0, dropout=0.0,
        schedule="constant", n_threads=1, random_state=0, precision="float32",
    ).fit(cohort, cohort.outcome)  # fmt: skip
    assert model.score(cohort, cohort.outcome) > 0.9
    masks = np.stack([cohort.mask(i) for i in range(len(cohort))])
    predicted = model.predict_mask(cohort)
    assert 2 * (masks * predicted).sum() / (masks.sum() + predicted.sum()) > 0.5
    assert model.history_["loss"].iloc[-1] < model.history_["loss"].iloc[0]


# ---------------------------------------------------------------- inputs


def test_plain_arrays_give_what_the_cohort_gives(fitted, cohort):
    volumes = cohort.to_numpy()
    masks = np.stack([cohort.mask(i) for i in range(len(cohort))])
    model = small_model().fit(volumes, cohort.outcome, masks=masks, clinical=cohort.clinical)
    with pytest.raises(ValueError, match="clinical"):
        model.predict(volumes)
    risk = model.predict(volumes, clinical=cohort.clinical)
    np.testing.assert_array_equal(risk, fitted.predict(cohort))


def test_without_masks_it_says_so_and_trains_for_survival(cohort):
    plain = Cohort(cohort.to_numpy(), clinical=cohort.clinical)
    with pytest.warns(UserWarning, match="No patient of the training set has a tumour mask"):
        model = small_model().fit(plain, cohort.outcome)
    assert "dice" not in model.history_
    assert model.predict(plain).shape == (len(cohort),)
    assert not hasattr(model, "predict_mask")
    with pytest.raises(AttributeError) as caught:
        model.predict_mask(plain)
    assert "trained without tumour masks" in str(caught.value.__cause__)


def test_patients_without_a_mask_do_not_enter_the_dice_loss(cohort):
    has_mask = np.arange(N) % 2 == 1
    masks = np.stack([cohort.mask(i) for i in range(N)])
    other = np.where(has_mask[:, None, None, None], masks, 1 - masks)
    risks = [
        small_model()
        .fit(Cohort(cohort.to_numpy(), masks=m, has_mask=has_mask), cohort.outcome)
        .predict(cohort.to_numpy())
        for m in (masks, other)
    ]
    np.testing.assert_array_equal(*risks)


def test_an_empty_mask_names_the_patient(cohort):
    masks = np.stack([cohort.mask(i) for i in range(N)])
    masks[5] = 0
    with pytest.raises(ValueError, match=r"empty: case-0005 \(1 in all\)"):
        small_model().fit(Cohort(cohort.to_numpy(), masks=masks), cohort.outcome)


def test_an_absent_modality_enters_as_zeros(fitted, cohort):
    volumes = cohort.to_numpy()
    present = np.ones((N, 2), dtype=bool)
    present[2, 0] = False
    names = {"channel_names": cohort.channel_names, "clinical": cohort.clinical}
    absent = fitted.predict(Cohort(volumes, present=present, **names))
    volumes[2, 0] = 0
    np.testing.assert_array_equal(absent, fitted.predict(Cohort(volumes, **names)))
    assert absent[2] != fitted.predict(cohort)[2]


def test_volumes_of_any_size_from_16(fitted):
    cohort = make_phantom_cohort(n=2, shape=(17, 20, 25), random_state=1).cohort
    assert fitted.predict_mask(cohort).shape == (2, 17, 20, 25)
    with pytest.raises(ValueError, match="16"):
        fitted.predict(make_phantom_cohort(n=2, shape=(16, 16, 12), random_state=1).cohort)


def test_nan_voxels_name_the_patient(cohort):
    volumes = cohort.to_numpy()
    volumes[3, 0, 1, 1, 1] = np.nan
    model = small_model(segmentation_weight=0)
    with pytest.raises(ValueError, match="patient 'case-0003' holds 1 NaN"):
        model.fit(Cohort(volumes), cohort.outcome)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ("all", make_outcome([0] * N, [1.0] * N), "All 8 patients are censored"),
        ("all", make_outcome([1, 0], [1.0, 2.0]), "8 patients but y has 2"),
        ("all", np.arange(8.0), "structured array"),
        ("one", make_outcome([1], [1.0]), "at least two patients"),
    ],
)
def test_bad_outcomes_are_refused(cohort, X, y, message):
    with pytest.raises(ValueError, match=message):
        small_model().fit(cohort[:1] if X == "one" else cohort, y)


@pytest.mark.parametrize(
    "changes",
    [{"n_iterations": 0}, {"schedule": "linear"}, {"dropout": 1.0}, {"device": 3}],
)
def test_bad_parameters_are_refused(cohort, changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        small_model(**changes).fit(cohort, cohort.outcome)


def test_other_channels_than_in_fit_are_refused(fitted, cohort):
    other = Cohort(cohort.to_numpy(), clinical=cohort.clinical, channel_names=("CT", "PET"))
    with pytest.raises(ValueError, match=r"\['CT', 'PET'\]"):
        fitted.predict(other)


def test_raw_cohorts_and_unfitted_models_are_refused(cohort):
    raw = Cohort([np.zeros((2, 16, 16, 16)), np.zeros((2, 16, 16, 17))])
    with pytest.raises(ValueError, match="Prepare it"):
        small_model().fit(raw, make_outcome([1, 0], [1.0, 2.0]))
    with pytest.raises(NotFittedError):
        small_model().predict(cohort)
    with pytest.raises(NotFittedError):
        small_model().predict_survival_function(cohort)


def test_an_interruption_leaves_no_half_trained_model(cohort, monkeypatch):
    draw, drawn = PatientBatches.draw, []

    def interrupted(self):
        drawn.append(1)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return draw(self)

    monkeypatch.setattr(PatientBatches, "draw", interrupted)
    model = small_model()
    with pytest.raises(KeyboardInterrupt):
        model.fit(cohort, cohort.outcome)
    with pytest.raises(NotFittedError):
        model.predict(cohort)


def test_divergence_in_the_last_step_is_an_error_too(cohort):
    with pytest.raises(FloatingPointError, match="diverged"):
        small_model(learning_rate=1e30, n_iterations=1).fit(cohort, cohort.outcome)


def test_divergence_is_an_error_not_nan(cohort):
    with pytest.raises(FloatingPointError, match="Training diverged in epoch"):
        small_model(learning_rate=1e30, n_iterations=10).fit(cohort, cohort.outcome)


def test_clinical_columns_are_encoded_inside_the_training_set(cohort):
    frame = pd.DataFrame({"stage": ["II", "III"] * 3 + ["IV"] * 2, "age": np.arange(40.0, 48.0)})
    with_clinical = Cohort(cohort.to_numpy(), clinical=frame)
    model = small_model(clinical_columns=["stage", "age"], segmentation_weight=0)
    model.fit(with_clinical[:6], cohort.outcome[:6])
    assert model.clinical_names_in_ == ("age", "stage_III")
    assert model._clinical_mean["age"] == np.arange(40.0, 46.0).mean()
    with pytest.warns(UserWarning, match="IV"):
        model.predict(with_clinical[6:])
    with pytest.raises(ValueError, match="has no clinical columns"):
        small_model(clinical_columns=["stage"]).fit(Cohort(cohort.to_numpy()), cohort.outcome)


# ---------------------------------------------------------------- scikit-learn's tools


def test_pickle_is_small_and_predicts_the_same(fitted, cohort):
    content = pickle.dumps(fitted)
    weights = sum(p.numel() * 4 for p in fitted.net_.module_.parameters())
    assert len(content) < 1.2 * weights
    np.testing.assert_array_equal(pickle.loads(content).predict(cohort), fitted.predict(cohort))


def test_search_over_a_stored_cohort_in_two_processes_equals_one(tmp_path, cohort):
    stored = cohort.save(tmp_path / "store")
    folds = EventStratifiedKFold(2, shuffle=True, random_state=0)
    results = [
        GridSearchCV(small_model(), {"learning_rate": [1e-4, 1e-3]}, cv=folds, n_jobs=n_jobs)
        .fit(stored, stored.outcome)
        for n_jobs in (1, 2)
    ]  # fmt: skip
    for column in ("split0_test_score", "split1_test_score"):
        scores = [result.cv_results_[column] for result in results]
        np.testing.assert_array_equal(*scores)
    np.testing.assert_array_equal(results[0].predict(stored), results[1].predict(stored))


def test_cross_validation_and_learning_curve_run(cohort):
    folds = EventStratifiedKFold(2, shuffle=True, random_state=0)
    scores = cross_val_score(small_model(), cohort, cohort.outcome, cv=folds)
    assert np.isfinite(scores).all()
    sizes, _, test_scores = learning_curve(
        small_model(), cohort, cohort.outcome, cv=folds, train_sizes=[0.8, 1.0],
        shuffle=True, random_state=1,
    )  # fmt: skip
    assert test_scores.shape == (len(sizes), 2)
