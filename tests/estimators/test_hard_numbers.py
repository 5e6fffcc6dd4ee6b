"""Outcomes and images at the edge of what is defined; diverging trainings; bad checkpoints."""

from __future__ import annotations

import resource
import warnings

import numpy as np
import pytest
import torch
from quick_networks import quick
from sklearn.exceptions import ConvergenceWarning

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import (
    ICARE,
    ClinicalVolumeCox,
    CNNSurvival,
    LassoCox,
    RandomSurvivalForest,
)
from survimg.evaluation import concordance_index, kaplan_meier
from survimg.model_selection import EventStratifiedKFold
from survimg.radiomics import RadiomicsFeatures
from survimg.target import make_outcome
from survimg.training.checkpoints import Checkpoint

N = 16


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return make_phantom_cohort(n=N, shape=(16, 20, 20), random_state=0).cohort


# ---------------------------------------------------------------- outcomes

_TIME = np.arange(1.0, N + 1)
OUTCOMES = {
    "all events": make_outcome(np.ones(N), _TIME),
    "one event": make_outcome(np.arange(N) == 3, _TIME),
    "tied times": make_outcome(np.arange(N) % 2, np.repeat([2.0, 5.0], N // 2)),
    "all at one time": make_outcome(np.arange(N) % 2, np.full(N, 4.0)),
    "events at time 0": make_outcome(np.arange(N) % 2, np.maximum(_TIME - 4, 0)),
}

#: What cannot be fitted is refused for a reason.
REFUSED = {
    ("LassoCox", "one event"): r"LassoCox .*\(cv=2\), which needs 2 events .*is 1\. More",
    ("RandomSurvivalForest", "all at one time"): "All 16 patients have the same time, 4",
}


@pytest.mark.parametrize("name", OUTCOMES)
@pytest.mark.parametrize(
    "estimator",
    [
        ClinicalVolumeCox(),
        quick(),
        ICARE(n_estimators=5, random_state=0),
        LassoCox(cv=2, random_state=0),
        RandomSurvivalForest(n_estimators=5, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_hard_outcomes_give_finite_risks_or_a_reason(cohort, estimator, name):
    y = OUTCOMES[name]
    tabular = isinstance(estimator, ICARE | LassoCox | RandomSurvivalForest)
    X = np.random.default_rng(0).normal(size=(N, 3)) if tabular else cohort
    reason = REFUSED.get((type(estimator).__name__, name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if reason is not None:
            with pytest.raises(ValueError, match=reason):
                estimator.fit(X, y)
            return
        fitted = estimator.fit(X, y)
    risk = fitted.predict(X)
    assert risk.dtype == np.float64
    assert np.isfinite(risk).all()
    curves = fitted.predict_survival_function(X, return_array=True)
    assert ((curves >= -1e-12) & (curves <= 1 + 1e-12)).all()
    assert (np.diff(curves, axis=1) <= 1e-12).all()


def test_kaplan_meier_with_events_at_time_0_and_ties():
    curve = kaplan_meier(make_outcome([1, 1, 0, 1], [0.0, 2.0, 2.0, 2.0]))
    values = dict(zip(curve.time.tolist(), curve.survival.tolist(), strict=True))
    assert values[0.0] == pytest.approx(0.75)
    assert values[2.0] == pytest.approx(0.75 / 3)


@pytest.mark.parametrize("name", ["all at one time", "one event"])
def test_concordance_counts_pairs_or_says_that_there_are_none(name):
    y = OUTCOMES[name]
    risk = np.linspace(1, 0, N)
    if name == "one event":
        assert concordance_index(y, risk) == 1.0
        return
    with pytest.raises(ValueError, match="pair"):
        concordance_index(make_outcome(np.ones(N), np.full(N, 4.0)), risk)


def test_folds_that_would_lack_an_event_are_refused():
    y = make_outcome(np.arange(9) < 2, np.arange(9) + 1.0)
    with pytest.raises(ValueError, match="need at least 3 events; there are 2"):
        list(EventStratifiedKFold(3).split(np.zeros((9, 1)), y))


# ---------------------------------------------------------------- images


def test_constant_images_give_finite_risks_and_refused_or_finite_features(cohort):
    volumes = np.ones((N, 1, 16, 20, 20), np.float32)
    masks = np.zeros((N, 16, 20, 20), np.uint8)
    masks[:, 4:9, 4:9, 4:9] = 1
    constant = Cohort(volumes, masks, spacing=2.0, ids=[f"p{i}" for i in range(N)])
    model = quick().fit(constant, cohort.outcome)
    assert np.isfinite(model.predict(constant)).all()
    features = RadiomicsFeatures(image_types=("original",)).fit_transform(constant[:2])
    assert features.shape[0] == 2
    assert np.isfinite(np.asarray(features, dtype=np.float64)).all()


def test_invalid_voxels_are_refused_by_name_wherever_they_lie(tmp_path):
    volumes = np.ones((3, 1, 4, 4, 4), np.float32)
    np.save(tmp_path / "volumes.npy", volumes)
    stored = Cohort(np.load(tmp_path / "volumes.npy", mmap_mode="r"), ids=["a", "b", "c"])
    volumes[1, 0, 2, 2, 2] = np.inf
    with pytest.raises(ValueError, match="patient 'b' holds 1 NaN or infinite"):
        Cohort(volumes, ids=["a", "b", "c"])
    assert len(stored) == 3  # nothing was read yet
    np.save(tmp_path / "spoilt.npy", volumes)
    spoilt = Cohort(np.load(tmp_path / "spoilt.npy", mmap_mode="r"), ids=["a", "b", "c"])
    np.testing.assert_array_equal(spoilt.volume(0), 1.0)
    with pytest.raises(ValueError, match="patient 'b' holds 1 NaN or infinite"):
        spoilt[1:].volume(0)


def test_invalid_voxels_are_filled_where_that_is_asked_for():
    volumes = np.ones((2, 2, 4, 4, 4), np.float32)
    volumes[0, 0, 0, 0, 0], volumes[0, 1, 0, 0, 0] = -1000.0, np.nan
    volumes[0, 0, 1, 1, 1] = np.inf
    filled = Cohort(volumes, ids=["a", "b"], on_invalid="fill")
    with pytest.warns(UserWarning, match="patient 'a' holds 2 NaN or infinite"):
        volume = filled.volume(0)
    assert volume[0, 1, 1, 1] == -1000.0  # the lowest of its channel, not of the patient
    assert volume[1, 0, 0, 0] == 1.0
    assert np.isinf(volumes).any()  # the array that was given is not written to
    np.testing.assert_array_equal(filled.volume(1), 1.0)
    volumes[1, 1] = np.nan
    with pytest.raises(ValueError, match="no other voxel"):
        filled.volume(1)
    with pytest.raises(ValueError, match="on_invalid must be"):
        Cohort(volumes, on_invalid="zero")


# ---------------------------------------------------------------- divergence


class DivergingObjective:
    needs_masks = False

    def __init__(self, whole, spoilt_from):
        self.whole = whole
        self.term_names = whole.term_names
        self.steps_left = spoilt_from

    def __call__(self, net, output, targets):
        self.steps_left -= 1
        terms = self.whole(net, output, targets)
        if self.steps_left > 0:
            return terms
        return {name: value * torch.nan for name, value in terms.items()}


class Diverging(CNNSurvival):
    """Its loss is NaN from a batch on."""

    spoilt_from = 7

    def _make_objective(self, cohort):
        return DivergingObjective(super()._make_objective(cohort), self.spoilt_from)


def test_a_diverged_training_ends_with_its_last_good_state_and_says_when(cohort):
    plan = {"n_iterations": 12, "schedule": "constant"}
    model = Diverging(**{**quick().get_params(), **plan})
    with pytest.warns(ConvergenceWarning, match="diverged in epoch 4.* network of epoch 2 is used"):
        model.fit(cohort, cohort.outcome)
    assert model.history_["epoch"].tolist() == [1, 2]
    assert np.isfinite(model.predict(cohort)).all()
    shorter = quick(n_iterations=4, schedule="constant").fit(cohort, cohort.outcome)
    expected = dict(shorter.net_.module_.named_parameters())
    for name, value in model.net_.module_.named_parameters():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_with_held_out_patients_the_best_epoch_is_kept(cohort):
    plan = {"n_iterations": 12, "validation_fraction": 0.4}
    model = Diverging(**{**quick().get_params(), **plan})
    with pytest.warns(ConvergenceWarning, match="diverged in epoch 4"):
        model.fit(cohort, cohort.outcome)
    assert 1 <= model.best_epoch_ <= 3
    assert np.isfinite(model.predict(cohort)).all()


def test_a_training_that_was_never_good_is_an_error(cohort):
    model = Diverging(**quick().get_params())
    model.spoilt_from = 3  # the second epoch: nothing shows that the first left good weights
    with pytest.raises(FloatingPointError, match="diverged in epoch 2"):
        model.fit(cohort, cohort.outcome)


# ---------------------------------------------------------------- checkpoints


def _interrupted(cohort, folder, monkeypatch):
    from survimg.training.batches import PatientBatches

    draw, seen = PatientBatches.draw, []

    def dies(batches):
        seen.append(1)
        if len(seen) > 3:
            raise KeyboardInterrupt
        return draw(batches)

    with monkeypatch.context() as patch:
        patch.setattr(PatientBatches, "draw", dies)
        with pytest.raises(KeyboardInterrupt):
            quick(checkpoint_folder=folder).fit(cohort, cohort.outcome)
    return next(folder.glob("*.pt"))


def test_a_damaged_checkpoint_is_named(cohort, tmp_path, monkeypatch):
    path = _interrupted(cohort, tmp_path, monkeypatch)
    content = path.read_bytes()
    for damaged in (content[:-100], b"", b"not a checkpoint", content[:50]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"checkpoint .*\.pt is damaged.*Delete it"):
            quick(checkpoint_folder=tmp_path).fit(cohort, cohort.outcome)
    assert path.exists()


def test_a_full_disk_leaves_the_checkpoint_as_it_was(cohort, tmp_path, monkeypatch):
    path = _interrupted(cohort, tmp_path, monkeypatch)
    (tmp_path / f"{path.name}.99999.survimg-tmp").write_bytes(b"of a killed process")
    content = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            quick(checkpoint_folder=tmp_path).fit(cohort, cohort.outcome)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert Checkpoint(path).seed is not None
    whole = quick().fit(cohort, cohort.outcome).predict(cohort)
    resumed = quick(checkpoint_folder=tmp_path).fit(cohort, cohort.outcome)
    np.testing.assert_array_equal(resumed.predict(cohort), whole)
    assert not list(tmp_path.iterdir())
