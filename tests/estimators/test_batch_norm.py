"""Statistics of batch normalisation: over what they are taken, and where there are none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from survimg.datasets import make_phantom_cohort
from survimg.estimators import MDSN, CNNSurvival
from survimg.estimators.runtime import isolated_torch


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=12, shape=(18, 18, 18), random_state=0).cohort


def first_statistics(model) -> torch.Tensor:
    norms = (m for m in model.net_.module_.modules() if isinstance(m, nn.BatchNorm2d))
    return next(norms).running_var


def test_statistics_are_those_of_images_that_are_not_augmented(cohort):
    # The weights hardly move, so that only what is averaged over can differ.
    settings = {
        "n_iterations": 3, "batch_size": 12, "balanced": False, "learning_rate": 1e-12,
        "width": 4, "hidden": 8, "n_threads": 1, "random_state": 0,
    }  # fmt: skip
    plain = CNNSurvival(**settings, augmentation=None).fit(cohort, cohort.outcome)
    moved = CNNSurvival(**settings, max_translation=0.3, max_rotation=45.0)
    moved.fit(cohort, cohort.outcome)
    torch.testing.assert_close(first_statistics(moved), first_statistics(plain))


def test_a_single_value_per_channel_is_named(cohort):
    model = MDSN(n_iterations=1, batch_size=4, micro_batch_size=1, n_threads=1, random_state=0)
    with pytest.raises(ValueError, match=r"1 patient\(s\) of 18 x 18 x 18.*micro_batch"):
        model.fit(cohort, cohort.outcome)


def test_a_fit_on_the_cpu_leaves_the_streams_of_gpus_alone(monkeypatch):
    def refuse(_seed: int) -> None:
        raise AssertionError("the GPUs were seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    with isolated_torch(torch.device("cpu"), None, 3):
        first = torch.rand(4)
    with isolated_torch(torch.device("cpu"), None, 3):
        assert torch.equal(torch.rand(4), first)
