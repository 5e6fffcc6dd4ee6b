"""Segmentation first, then survival: what each stage trains, and where interrupted fits go on."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS, DeepMTSClassifier
from survimg.suites import ModelSettings, build_models
from survimg.training import MTLR
from survimg.training.batches import PatientBatches

QUICK = {
    "n_iterations": 4, "iterations_per_epoch": 1, "batch_size": 4, "batch_norm_batches": 1,
    "n_threads": 1, "random_state": 0, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=10, shape=(16, 16, 16), random_state=0).cohort


class Steps(Callback):
    """Which parts of the network each step has changed."""

    def on_train_begin(self, net, **_):
        self.changed, self._weights = [], self._copy(net)

    def on_batch_end(self, net, **_):
        before, self._weights = self._weights, self._copy(net)
        self.changed.append(
            {name.split(".")[0] for name in before if (before[name] != self._weights[name]).any()}
        )

    def _copy(self, net):
        return {name: w.detach().clone() for name, w in net.module_.named_parameters()}


def changed_parts(cohort, **parameters):
    watch = Steps()
    DeepMTS(**{**QUICK, "callbacks": [watch], **parameters}).fit(cohort, cohort.outcome)
    return watch.changed


class Stop(Callback):
    """Ends the training after its first epoch."""

    def on_epoch_end(self, net, **_):
        net.stop_ = True


SEGMENTATION = {"encoder", "decoder"}
SURVIVAL = {"heads", "cascade", "fc", "fc_risk"}


def test_the_first_steps_train_the_segmentation_alone(cohort):
    assert changed_parts(cohort, segmentation_first=0.5) == [
        SEGMENTATION, SEGMENTATION, SEGMENTATION | SURVIVAL, SEGMENTATION | SURVIVAL,
    ]  # fmt: skip
    # Micro-batches send gradients back in another way.
    in_parts = changed_parts(cohort, segmentation_first=0.5, micro_batch_size=2)
    assert in_parts[:2] == [SEGMENTATION] * 2
    assert in_parts[2] == SEGMENTATION | SURVIVAL


def test_the_loss_is_that_of_the_stage_and_all_terms_are_recorded(cohort):
    for drop in (False, True):
        model = DeepMTS(**QUICK, segmentation_first=0.5, drop_segmentation=drop)
        history = model.fit(cohort, cohort.outcome).history_
        assert np.isfinite(history[["cox", "l2", "dice"]]).all().all()
        np.testing.assert_allclose(history["loss"][:2], history["dice"][:2], rtol=1e-6)
        second = history["cox"] + history["l2"] + (0 if drop else history["dice"])
        np.testing.assert_allclose(history["loss"][2:], second[2:], rtol=1e-5)
        assert model.predict_mask(cohort).shape == (10, 16, 16, 16)


def test_stages_change_the_network_and_none_is_the_default(cohort):
    def risks(**parameters):
        return DeepMTS(**QUICK, **parameters).fit(cohort, cohort.outcome).predict(cohort)

    joint = risks()
    np.testing.assert_array_equal(risks(segmentation_first=0.0), joint)
    first = risks(segmentation_first=0.5)
    assert (first != joint).any()
    assert (risks(segmentation_first=0.5, drop_segmentation=True) != first).any()


def test_other_losses_and_labels_have_stages_too(cohort):
    model = DeepMTS(**QUICK, segmentation_first=0.5, objective=MTLR())
    history = model.fit(cohort, cohort.outcome).history_
    np.testing.assert_allclose(history["loss"][:2], history["dice"][:2], rtol=1e-6)
    halved = DeepMTS(**QUICK, segmentation_first=0.5, segmentation_weight=0.5)
    history = halved.fit(cohort, cohort.outcome).history_
    np.testing.assert_allclose(history["loss"][:2], history["weighted_dice"][:2], rtol=1e-6)
    assert "dice" not in history  # which other networks have without a weight
    labels = cohort.outcome["event"]
    classifier = DeepMTSClassifier(**QUICK, segmentation_first=0.5, drop_segmentation=True)
    history = classifier.fit(cohort, labels).history_
    second = history["cross_entropy"] + history["l2"]
    np.testing.assert_allclose(history["loss"][2:], second[2:], rtol=1e-5)


def test_an_epoch_of_the_first_stage_is_never_the_best(cohort):
    model = DeepMTS(
        **QUICK, segmentation_first=0.7, validation_fraction=0.4, patience=1
    ).fit(cohort, cohort.outcome)
    assert model.best_epoch_ == 4  # three steps of segmentation, one epoch each
    assert len(model.history_) == 4
    assert model.history_["validation_c_index"].notna().all()


@pytest.mark.parametrize("after", [2, 3])
def test_an_interrupted_fit_goes_on_in_its_stage(cohort, tmp_path, monkeypatch, after):
    parameters = {**QUICK, "segmentation_first": 0.5, "validation_fraction": 0.4}
    whole = DeepMTS(**parameters).fit(cohort, cohort.outcome)
    draw, drawn = PatientBatches.draw, []

    def interrupt(self):
        drawn.append(1)
        if len(drawn) > 2 * after:  # one batch to train on, one to recalibrate
            raise KeyboardInterrupt
        return draw(self)

    with monkeypatch.context() as patch:
        patch.setattr(PatientBatches, "draw", interrupt)
        with pytest.raises(KeyboardInterrupt):
            DeepMTS(**parameters, checkpoint_folder=tmp_path).fit(cohort, cohort.outcome)
    assert len(list(tmp_path.glob("*.pt"))) == 1
    resumed = DeepMTS(**parameters, checkpoint_folder=tmp_path).fit(cohort, cohort.outcome)
    np.testing.assert_array_equal(resumed.predict(cohort), whole.predict(cohort))
    assert resumed.best_epoch_ == whole.best_epoch_ > 2


def test_a_training_that_ends_in_its_first_stage_is_warned_of(cohort):
    with pytest.warns(ConvergenceWarning, match="1 steps, in its first stage of 3: only dice"):
        DeepMTS(**QUICK, segmentation_first=0.75, callbacks=[Stop()]).fit(cohort, cohort.outcome)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"segmentation_first": 0.5, "variant": "sur-hs"}, "the variant is 'sur-hs'"),
        ({"segmentation_first": 0.5, "segmentation_weight": 0}, "segmentation_weight above 0"),
        ({"drop_segmentation": True}, "give segmentation_first, such as 0.5"),
        ({"segmentation_first": 1.0}, "segmentation_first"),
    ],
)
def test_stages_without_a_segmentation_are_refused(cohort, parameters, message):
    with pytest.raises(ValueError, match=message):
        DeepMTS(**QUICK, **parameters).fit(cohort, cohort.outcome)


def test_the_contestant_trains_in_the_order_of_adamss():
    settings = ModelSettings(n_iterations=7)
    model = build_models(["deepmts-two-stages"], settings)["deepmts-two-stages"]
    assert model.segmentation_first == 0.5
    assert model.drop_segmentation
    assert model.map_gradient
    assert model.n_iterations == 7
