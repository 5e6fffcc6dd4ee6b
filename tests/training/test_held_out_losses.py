"""Losses of held-out patients stand beside those of training, on the same scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS, DeepMTSClassifier, TumourSegmenter
from survimg.losses import cox_loss
from survimg.nets import RiskOutput
from survimg.training import Cox
from survimg.training.batches import Patients
from survimg.training.held_out_losses import HeldOutLosses

QUICK = {
    "n_iterations": 4, "iterations_per_epoch": 2, "batch_size": 4, "batch_norm_batches": 1,
    "n_threads": 1, "random_state": 0, "precision": "float32", "validation_fraction": 0.4,
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=20, shape=(16, 16, 16), random_state=0).cohort


def test_each_term_of_training_has_its_partner(cohort):
    history = DeepMTS(**QUICK).fit(cohort, cohort.outcome).history_
    assert len(history) == 2
    for term in ("cox", "dice", "l2"):
        assert np.isfinite(history[f"validation_{term}"]).all()
    assert (history["validation_dice"] <= 0).all()
    assert history["validation_cox"].nunique() == 2
    labels = DeepMTSClassifier(**QUICK).fit(cohort, cohort.outcome["event"]).history_
    assert {"validation_cross_entropy", "validation_auc"} <= set(labels)


def test_a_score_of_the_same_name_stays_the_score(cohort):
    history = TumourSegmenter(**QUICK).fit(cohort, cohort.outcome).history_
    assert (history["validation_dice"] >= 0).all()  # a coefficient, not a loss


def test_without_held_out_patients_there_are_none(cohort):
    history = DeepMTS(**{**QUICK, "validation_fraction": None}).fit(cohort, cohort.outcome).history_
    assert not [name for name in history if name.startswith("validation_")]


def test_the_mean_is_over_batches_as_those_of_training(cohort):
    n = len(cohort)
    y = cohort.outcome
    risk = torch.linspace(-1, 1, n)
    patients = Patients(cohort, np.zeros((n, 0), dtype=np.float32), y["time"], y["event"])
    losses = HeldOutLosses(patients, Cox(), 6, True, 3, "validation_c_index")
    outputs = [RiskOutput(risk[i : i + 1], torch.zeros(1, 1)) for i in range(n)]
    losses.measure(torch.nn.Identity(), outputs)
    sizes = {len(batch) for batch in losses._batches}
    assert sizes == {6}
    assert all(y["event"][batch].sum() == 3 for batch in losses._batches)
    expected = [
        float(cox_loss(risk[b], torch.tensor(y["time"][b].copy(), dtype=torch.float32),
                       torch.tensor(y["event"][b].copy())))
        for b in losses._batches
    ]  # fmt: skip
    assert losses._measured["validation_cox"] == pytest.approx(np.mean(expected), rel=1e-6)
