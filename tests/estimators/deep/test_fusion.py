"""Fusion of tumour, shell, radiomics and clinical variables: classifier and survival model."""

from __future__ import annotations

import pickle
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from sklearn.base import clone, is_classifier
from sklearn.model_selection import StratifiedKFold, cross_val_score

import survimg
from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import FusionClassifier, FusionSurvival
from survimg.radiomics import RadiomicsFeatures
from survimg.survival import status_at
from survimg.target import make_outcome
from survimg.testing import check_survival_estimator
from survimg.training import MTLR, Classification, Net, TrainingParameters
from survimg.training.views import RegionView
from tests.estimators.deep.networks_of_users import SmallNet

N = 12
LABELS = np.array(["no", "yes"])[np.arange(N) % 2]
EXTRACTOR = RadiomicsFeatures(
    features=("firstorder",), image_types=("original",), on_empty_mask="nan"
)
QUICK: dict = {
    "n_iterations": 1, "batch_size": 4, "n_threads": 1, "random_state": 0, "learning_rate": 1e-2,
    "extractor": EXTRACTOR, "n_trees": 5, "n_selected": 4, "embed_dim": 6, "depths": (1, 1),
    "heads": (2, 2), "image_features": 8, "hidden": 8, "shell_width": 16.0, "precision": "float32",
}  # fmt: skip
CHANGES = {
    "branches": ("tumour", "radiomics", "clinical"), "shell_width": 24.0,
    "extractor": RadiomicsFeatures(
        features=("glcm",), image_types=("original",), on_empty_mask="nan"
    ),
    "correlation_threshold": 0.3, "n_selected": 2, "n_trees": 1, "clinical_columns": [],
    "image_features": 4, "hidden": 4, "dropout": 0.1, "patch_size": 2, "window_size": 2,
    "embed_dim": 4, "depths": (1, 2), "heads": (1, 2), "mlp_ratio": 1.0, "drop_path": 0.9,
    "net": Net(SmallNet),
}  # fmt: skip
BRANCHES = ("tumour", "peritumoral", "radiomics", "clinical")
COMMON = {field.name for field in fields(TrainingParameters)} | {
    "ties", "objective", "significance",  # tried in test_significance.py
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return make_phantom_cohort(n=N, shape=(16, 16, 16), random_state=0).cohort


def target(kind: type, cohort: Cohort) -> np.ndarray:
    return LABELS if kind is FusionClassifier else cohort.outcome


def answer(model, cohort: Cohort) -> np.ndarray:
    if isinstance(model, FusionClassifier):
        return model.decision_function(cohort)
    return model.predict(cohort)


@pytest.fixture(scope="module")
def fitted(cohort: Cohort) -> dict:
    kinds = (FusionClassifier, FusionSurvival)
    return {kind: kind(**QUICK).fit(cohort, target(kind, cohort)) for kind in kinds}


@pytest.mark.parametrize("kind", [FusionClassifier, FusionSurvival])
def test_every_own_parameter_is_tried(kind):
    assert set(CHANGES) == set(kind().get_params(deep=False)) - COMMON


@pytest.mark.parametrize("kind", [FusionClassifier, FusionSurvival])
@pytest.mark.parametrize("name", list(CHANGES))
def test_every_own_parameter_changes_the_result(kind, name, fitted, cohort):
    model = kind(**{**QUICK, name: CHANGES[name]}).fit(cohort, target(kind, cohort))
    assert not np.array_equal(answer(model, cohort), answer(fitted[kind], cohort))


def test_both_take_another_objective(fitted, cohort, tmp_path):
    smoothed = FusionClassifier(**QUICK, objective=Classification(label_smoothing=0.5))
    smoothed.fit(cohort, LABELS)
    assert not np.array_equal(answer(smoothed, cohort), answer(fitted[FusionClassifier], cohort))
    model = FusionSurvival(**QUICK, objective=MTLR()).fit(cohort, cohort.outcome)
    curves = model.predict_survival_function(cohort, return_array=True)
    assert curves.shape == (N, len(model.time_cuts_) + 1)
    assert (np.diff(curves) <= 0).all()
    survimg.save(model, tmp_path / "model")
    again = survimg.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(cohort), model.predict(cohort))


@pytest.mark.parametrize("kind", [FusionClassifier, FusionSurvival])
def test_each_region_has_a_network_of_the_users(kind, cohort, tmp_path):
    model = kind(**QUICK, net=Net(SmallNet, width=3)).fit(cohort, target(kind, cohort))
    encoders = model.net_.module_.encoders
    assert list(encoders) == ["tumour", "peritumoral"]
    for encoder in encoders.values():
        assert isinstance(encoder.encoder, SmallNet)
        assert encoder.n_features == 3
    first, second = (encoder.encoder.blocks[0].weight for encoder in encoders.values())
    assert not torch.equal(first, second)
    survimg.save(model, tmp_path / "model", trusted=[SmallNet])
    again = survimg.load(tmp_path / "model", trusted=[SmallNet])
    np.testing.assert_array_equal(answer(again, cohort), answer(model, cohort))


@pytest.mark.parametrize("left_out", BRANCHES)
@pytest.mark.parametrize("kind", [FusionClassifier, FusionSurvival])
def test_every_branch_changes_the_result(kind, left_out, fitted, cohort):
    branches = [name for name in BRANCHES if name != left_out]
    model = kind(**QUICK, branches=branches).fit(cohort, target(kind, cohort))
    assert not np.array_equal(answer(model, cohort), answer(fitted[kind], cohort))


@pytest.fixture(scope="module")
def informative() -> Cohort:
    """Patients whose one clinical column, and not their image, tells who relapses early."""
    drawn = make_phantom_cohort(n=24, shape=(16, 16, 16), random_state=3).cohort
    marker = np.random.default_rng(0).normal(size=24)
    return Cohort(
        np.stack([drawn.volume(i) for i in range(24)]),
        clinical=pd.DataFrame({"marker": marker}),
        outcome=make_outcome(np.ones(24), np.exp(-marker)),
        spacing=drawn.spacing,
        channel_names=drawn.channel_names,
    )


TABLE_ONLY: dict = {
    "branches": ("clinical",), "n_iterations": 60, "batch_size": 8, "n_threads": 1,
    "random_state": 0, "learning_rate": 1e-2, "dropout": 0.0, "augmentation": None, "hidden": 8,
    "precision": "float32",
}  # fmt: skip


def test_weights_do_not_go_to_other_features(informative):
    model = FusionSurvival(**{**TABLE_ONLY, "n_iterations": 1}, warm_start=True)
    model.fit(informative, informative.outcome)
    renamed = Cohort(
        np.stack([informative.volume(i) for i in range(len(informative))]),
        clinical=informative.clinical.rename(columns={"marker": "another"}),
        outcome=informative.outcome,
        spacing=informative.spacing,
        channel_names=informative.channel_names,
    )
    with pytest.raises(ValueError, match="selected other table columns"):
        model.fit(renamed, renamed.outcome)


def test_who_failed_otherwise_first_has_a_known_label():
    outcome = make_outcome([1, 1, 0, 0, 0], [5.0, 20.0, 4.0, 4.0, 30.0])
    competing = np.array([False, False, True, False, False])
    labels, known = status_at(outcome, 12.0)
    assert labels.tolist() == [True, False, False, False, False]
    assert known.tolist() == [True, True, False, False, True]
    labels, known = status_at(outcome, 12.0, competing)
    assert labels.tolist() == [True, False, False, False, False]
    assert known.tolist() == [True, True, True, False, True]


def test_survival_learns_that_a_high_marker_means_an_early_event(informative):
    model = FusionSurvival(**TABLE_ONLY).fit(informative, informative.outcome)
    assert model.score(informative, informative.outcome) > 0.9
    risk = model.predict(informative)
    assert np.corrcoef(risk, informative.clinical["marker"])[0, 1] > 0.5


def test_the_classifier_learns_which_label_is_which(informative):
    labels = np.where(informative.clinical["marker"] > 0, "yes", "no")
    model = FusionClassifier(**TABLE_ONLY).fit(informative, labels)
    assert model.score(informative, labels) > 0.9
    assert ((model.predict_proba(informative)[:, 1] > 0.5) == (labels == "yes")).mean() > 0.9


def test_an_absent_modality_is_told_apart_from_a_dark_image(cohort, fitted):
    absent = np.ones((N, 2), dtype=bool)
    absent[3, 0] = False
    volumes = np.stack([cohort.volume(i) for i in range(N)])
    volumes[3, 0] = 0.0
    partial = Cohort(
        volumes,
        masks=np.stack([cohort.mask(i) for i in range(N)]),
        clinical=cohort.clinical,
        outcome=cohort.outcome,
        spacing=cohort.spacing,
        channel_names=cohort.channel_names,
        present=absent,
    )
    risk = fitted[FusionSurvival].predict(partial)
    whole = fitted[FusionSurvival].predict(cohort)
    assert np.isfinite(risk).all()
    np.testing.assert_array_equal(np.delete(risk, 3), np.delete(whole, 3))
    assert risk[3] != whole[3]


@pytest.mark.parametrize("kind", [FusionClassifier, FusionSurvival])
def test_the_same_seed_gives_the_same_bits(kind, fitted, cohort):
    again = clone(fitted[kind]).fit(cohort, target(kind, cohort))
    np.testing.assert_array_equal(answer(again, cohort), answer(fitted[kind], cohort))
    copied = pickle.loads(pickle.dumps(again))
    np.testing.assert_array_equal(answer(copied, cohort), answer(again, cohort))


def test_survival_passes_the_checks(cohort):
    model = FusionSurvival(**QUICK, branches=("tumour", "clinical"))
    check_survival_estimator(model, cohort, cohort.outcome)


def test_the_classifier_keeps_scikit_learns_conventions(fitted, cohort):
    model = fitted[FusionClassifier]
    assert is_classifier(model)
    assert model.classes_.tolist() == ["no", "yes"]
    proba = model.predict_proba(cohort)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(model.predict(cohort), model.classes_[proba.argmax(axis=1)])
    assert model.score(cohort, LABELS) == np.mean(model.predict(cohort) == LABELS)
    quick = clone(model).set_params(branches=("tumour", "clinical"))
    scores = cross_val_score(quick, cohort, LABELS, cv=StratifiedKFold(2), scoring="roc_auc")
    assert np.isfinite(scores).all()
    assert len(scores) == 2


def test_balanced_batches_leave_the_prevalence_in_the_probabilities(cohort):
    rare = np.arange(N) < 3
    branches = ("tumour", "peritumoral", "clinical")
    model = FusionClassifier(**QUICK, branches=branches).fit(cohort, rare)
    outputs = model._outputs(model._patients(cohort))
    learned = np.array([float(output.risk) for output in outputs])
    np.testing.assert_allclose(model.decision_function(cohort), learned + np.log(3 / 9), rtol=1e-6)


def test_weighted_batches_learn_the_prevalence_themselves(cohort):
    rare = np.arange(N) < 3
    model = FusionClassifier(**QUICK, branches=("tumour", "clinical"), balanced="weighted")
    outputs = (model := model.fit(cohort, rare))._outputs(model._patients(cohort))
    learned = [float(output.risk) for output in outputs]
    np.testing.assert_allclose(model.decision_function(cohort), learned, rtol=1e-6)
    plain = clone(model).set_params(balanced=True).fit(cohort, rare)
    assert not np.allclose(plain.decision_function(cohort), learned, rtol=1e-3)


@pytest.mark.parametrize("labels", [np.zeros(N), np.arange(N), LABELS[:-1]])
def test_labels_that_do_not_fit_are_refused(labels, cohort):
    with pytest.raises(ValueError, match=r"two classes|labels|all 12 classes"):
        FusionClassifier(**QUICK).fit(cohort, labels)


def test_outcomes_are_refused_by_the_classifier(cohort):
    with pytest.raises(ValueError, match="FusionSurvival"):
        FusionClassifier(**QUICK).fit(cohort, cohort.outcome)


def test_without_a_branch_nothing_is_fitted(cohort):
    for branches in ([], ["tumor"], ["tumour", "nodes"]):
        with pytest.raises(ValueError, match="needs at least one branch out of"):
            FusionClassifier(**QUICK, branches=branches).fit(cohort, LABELS)
    with pytest.raises(ValueError, match=r"clinical_columns=\[\].*needs clinical columns"):
        FusionClassifier(**QUICK, branches=["clinical"], clinical_columns=[]).fit(cohort, LABELS)


def test_the_shell_is_in_mm_and_leaves_the_tumour_out():
    mask = np.zeros((1, 15, 15, 15), dtype=np.uint8)
    mask[0, 7, 7, 7] = 1
    ones = np.ones((1, 1, 15, 15, 15), dtype=np.float32)
    sizes = (4.0, 2.0, 1.0)
    seen = RegionView(True, 4.0)(Cohort(ones, masks=mask, spacing=sizes), 0)
    distance = ndimage.distance_transform_edt(mask[0] == 0, sampling=sizes)
    np.testing.assert_array_equal(seen[0], mask[0])
    np.testing.assert_array_equal(seen[1], (distance > 0) & (distance <= 4))
    with pytest.raises(ValueError, match="no spacing"):
        RegionView(True, 4.0)(Cohort(ones, masks=mask), 0)
    with pytest.raises(ValueError, match="less than the voxel size"):
        RegionView(True, 0.5)(Cohort(ones, masks=mask, spacing=sizes), 0)


def test_missing_masks_and_values_are_filled_and_flagged(cohort):
    masks = [None if i == 2 else cohort.mask(i) for i in range(N)]
    clinical = pd.DataFrame({"age": np.linspace(40, 70, N), "grade": ["low", "high"] * (N // 2)})
    clinical.loc[3, "grade"] = None
    clinical.loc[4, "age"] = np.nan
    gaps = Cohort(
        cohort.to_numpy(), masks=masks, clinical=clinical, spacing=cohort.spacing,
        channel_names=cohort.channel_names,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="no tumour mask"):
        model = FusionClassifier(**QUICK).fit(gaps, LABELS)
    assert {"missingindicator_age", "missingindicator_grade"} <= set(model.table_names_in_)
    with pytest.warns(UserWarning, match="case-0002"):
        outputs = list(model._outputs(model._patients(gaps)))
    assert (outputs[2].features[0, :16] == 0).all()
    assert np.isfinite([float(output.risk) for output in outputs]).all()
    with pytest.raises(ValueError, match="None of the patients has a tumour mask"):
        FusionClassifier(**QUICK).fit(Cohort(cohort.to_numpy()), LABELS)


def test_held_out_patients_select_no_features(cohort):
    seen = []

    class Watched(FusionClassifier):
        def _selection_target(self, event, time):
            seen.append(len(event))
            return super()._selection_target(event, time)

    Watched(**QUICK, validation_fraction=0.34).fit(cohort, LABELS)
    assert seen == [7]


def _with_finer(cohort: Cohort) -> Cohort:
    """The same patients with voxels of half the size around, which only features see."""
    volumes = np.stack([cohort.volume(i) for i in range(N)]).repeat(2, 2).repeat(2, 3).repeat(2, 4)
    masks = np.stack([cohort.mask(i) for i in range(N)]).repeat(2, 1).repeat(2, 2).repeat(2, 3)
    rng = np.random.default_rng(3)
    finer = Cohort(
        volumes + rng.normal(size=volumes.shape).astype(np.float32), masks=masks,
        ids=cohort.ids, channel_names=cohort.channel_names, spacing=cohort.spacing / 2,
    )
    return cohort.with_finer(finer)


@pytest.mark.parametrize("kind", [FusionClassifier, FusionSurvival])
def test_radiomics_take_the_finer_voxels_and_images_the_networks_grid(kind, cohort):
    both = _with_finer(cohort)
    model = kind(**QUICK | {"branches": ("radiomics", "clinical")}).fit(both, target(kind, both))
    assert model.extractor_.measured_on_ == "finer voxels"
    np.testing.assert_array_equal(
        model.extractor_.transform(both), clone(EXTRACTOR).fit_transform(both.finer)
    )
    with pytest.raises(ValueError, match="fitted on the finer voxels"):
        answer(model, cohort)
    images = kind(**QUICK | {"branches": ("tumour", "peritumoral")})
    seen = [
        answer(clone(images).fit(X, target(kind, X)), X) for X in (cohort, both)
    ]
    np.testing.assert_array_equal(*seen)
