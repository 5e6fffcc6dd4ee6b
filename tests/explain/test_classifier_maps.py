"""Maps of classifiers add up to the log-odds, and lie where the network looks."""

from __future__ import annotations

import numpy as np
import pytest

from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTSClassifier, FusionClassifier
from survimg.explain import IntegratedGradients, name_of_score, saliency

QUICK = {
    "n_iterations": 2, "batch_size": 4, "batch_norm_batches": 1, "n_threads": 1, "random_state": 0,
    "precision": "float32",
}  # fmt: skip
FUSION = {
    "branches": ("tumour", "peritumoral"), "embed_dim": 6, "depths": (1, 1), "heads": (1, 2),
    "hidden": 4, "image_features": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=8, shape=(16, 16, 16), random_state=0).cohort


@pytest.fixture(scope="module")
def labels():
    return np.arange(8) % 2 == 1


def test_the_map_of_the_fusion_lies_in_its_regions(cohort, labels):
    model = FusionClassifier(**QUICK, **FUSION).fit(cohort, labels)
    maps = saliency(model, cohort[:1])
    assert maps.any()
    spacing = np.asarray(cohort.spacing[0])
    away = np.ones(cohort.shape[2:], dtype=bool)
    reach = np.ceil(model.shell_width / spacing).astype(int) + 1
    for z, y, x in np.argwhere(cohort.mask(0) > 0):
        near = tuple(
            slice(max(0, k - r), k + r + 1) for k, r in zip((z, y, x), reach, strict=True)
        )
        away[near] = False
    assert not maps[0][..., away].any()


@pytest.mark.filterwarnings("ignore:A map of integrated gradients")
def test_other_labels_of_two_are_explained_and_more_refused(cohort, labels):
    model = DeepMTSClassifier(**QUICK).fit(cohort, labels)
    maps = saliency(model, cohort[:1], method=IntegratedGradients(n_steps=4))
    assert np.isfinite(maps).all()
    assert name_of_score(model) == "log-odds of True"
    with pytest.raises(ValueError, match="predicts labels, no survival"):
        saliency(model, cohort[:1], horizon=12.0)
    three = DeepMTSClassifier(**{**QUICK, "batch_size": 6}).fit(cohort, np.arange(8) % 3)
    with pytest.raises(TypeError, match="has 3 classes"):
        saliency(three, cohort[:1])
