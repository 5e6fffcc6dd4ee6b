"""Trainings with held-out patients that diverge: what is kept, and what is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival
from survimg.training.holdout import HoldOut

QUICK: dict = {
    "n_iterations": 8, "iterations_per_epoch": 2, "batch_size": 4, "batch_norm_batches": 1,
    "width": 4, "hidden": 8, "learning_rate": 1e-2, "n_threads": 1, "random_state": 0,
    "validation_fraction": 0.4, "schedule": "constant", "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return make_phantom_cohort(n=16, shape=(16, 20, 20), random_state=0).cohort


class SpoiltObjective:
    needs_masks = False

    def __init__(self, whole, spoilt_in, shows):
        self.whole = whole
        self.term_names = whole.term_names
        self.steps_left = spoilt_in
        self.shows = shows

    def __call__(self, net, output, targets):
        self.steps_left -= 1
        terms = self.whole(net, output, targets)
        if self.steps_left != 0:
            return terms
        if self.shows:
            return {name: value * torch.nan for name, value in terms.items()}
        # The root's slope at 0 is infinite.
        return {name: value + (0 * value).sqrt() for name, value in terms.items()}


class Spoilt(CNNSurvival):
    """In step `spoilt_in` the gradient is NaN, and with `shows` the loss too; else it follows."""

    spoilt_in = 0
    shows = False

    def _make_objective(self, cohort):
        return SpoiltObjective(super()._make_objective(cohort), self.spoilt_in, self.shows)


def rising_scores(monkeypatch) -> None:
    """Let every epoch be the best so far."""
    scored = []

    def validation(_model, _patients):
        return "validation_c_index", lambda _module: scored.append(1) or len(scored) / 100

    monkeypatch.setattr(CNNSurvival, "_validation", validation)


@pytest.mark.parametrize(
    ("spoilt_in", "shows", "kept"),
    [(4, False, 1), (5, True, 2), (5, False, 2)],
    ids=["last step of epoch 2", "first loss of epoch 3", "first step of epoch 3"],
)
def test_the_best_scored_epoch_is_kept_and_stands_in_the_history(
    spoilt_in, shows, kept, cohort, monkeypatch
):
    rising_scores(monkeypatch)
    model = Spoilt(**QUICK)
    model.spoilt_in, model.shows = spoilt_in, shows
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.fit(cohort, cohort.outcome)
    assert model.best_epoch_ == kept == len(model.history_)
    best = model.history_.set_index("epoch").loc[model.best_epoch_]
    assert best["validation_c_index"] == model.history_["validation_c_index"].max()
    assert np.isfinite(model.predict(cohort)).all()


def test_a_network_that_was_never_scored_is_an_error_that_says_when(cohort):
    model = Spoilt(**QUICK)
    model.spoilt_in = 2
    with pytest.raises(FloatingPointError, match="diverged at the end of epoch 1.*learning_rate"):
        model.fit(cohort, cohort.outcome)


def test_a_network_with_infinite_weights_is_not_scored():
    module = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(module.weight, torch.inf)
    net = type("Net", (), {"module_": module, "history": [{}]})()
    hold_out = HoldOut("score", lambda _: pytest.fail("scored"), lambda _: None, patience=None)
    with pytest.raises(FloatingPointError, match="epoch 1"):
        hold_out.on_epoch_end(net)
