"""Every model of every suite is trained and predicts; the masks it reads are those it admits to."""

from __future__ import annotations

import numpy as np
import pytest

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.suites import (
    MASK_READERS,
    MODELS,
    ModelSettings,
    build_models,
    parameter_names,
)
from survimg.suites.mtdlr import MTDLR_MODELS

N = 12
#: Those of the MTDLR suite need more patients: tests/estimators/test_mtdlr.py.
NAMES = set(MODELS) - set(MTDLR_MODELS)
#: One of each kind: the others differ from these in options of the network or in the last step.
QUICK = {
    "clinical-volume-cox", "cnn-survival", "deep-features-rsf", "dlpm", "mdsn", "mt-hs",
    "radiomics-rsf", "seg-backbone-unet", "single-task", "sur-casnet-masked", "sur-hs-masked",
}  # fmt: skip
#: For 12 patients, of whom 6 have an event.
SMALL = {
    "batch_size": 4, "batch_norm_batches": 1, "precision": "float32", "n_estimators": 5,
    "n_iterations": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    # CNN-Survival pools slices down to an eighteenth.
    return make_phantom_cohort(n=N, shape=(16, 18, 18), random_state=0).cohort


@pytest.fixture(scope="module")
def without_masks(cohort) -> Cohort:
    return Cohort(
        cohort.to_numpy(), clinical=cohort.clinical, outcome=cohort.outcome, ids=cohort.ids,
        spacing=cohort.spacing, channel_names=cohort.channel_names, time_unit=cohort.time_unit,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def fitted(name, cohort, cache):
    settings = ModelSettings(
        n_iterations=2, device="cpu", n_threads=1, cache=cache, inner_folds=2
    )
    model = build_models([name], settings)[name]
    changes = {**SMALL, "random_state": 0}
    if name.endswith(("lasso-cox", "lasso-cox-in-sample")):
        changes["cv"] = 2
    if name.startswith("deep-features"):
        changes["variant"] = "sur-casnet"  # a part of DeepMTS that is quick to train
    for parameter, value in changes.items():
        names = [long for long in parameter_names(model, parameter) if "clinical" not in long]
        model.set_params(**dict.fromkeys(names, value))
    return model.fit(cohort, cohort.outcome)


@pytest.mark.filterwarnings("ignore:The best penalty", "ignore:LassoCox selected none")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in sorted(NAMES)
    ],
)
def test_it_learns_and_predicts(name, cohort, without_masks, cache):
    model = fitted(name, cohort, cache)
    if name.startswith("seg-"):
        assert not hasattr(model, "predict")
        assert model.predict_mask(cohort[:2]).shape == (2, *cohort.shape[2:])
        return
    risk = model.predict(cohort)
    assert risk.shape == (N,)
    assert np.isfinite(risk).all()
    assert hasattr(model, "predict_survival_function")
    if name in MASK_READERS:
        with pytest.raises((LookupError, ValueError), match="mask"):
            model.predict(without_masks[:2])
    else:
        # Matrix products round differently for other numbers of patients.
        np.testing.assert_allclose(model.predict(without_masks[:2]), risk[:2], rtol=1e-9)


def test_models_on_deep_features_share_their_networks(cohort, tmp_path):
    """Through the command line's settings too: three models, one set of trainings."""
    for head in ("rsf", "deepsurv"):
        fitted(f"deep-features-{head}", cohort, tmp_path)
        assert len(list((tmp_path / "survimg-fits").glob("DeepMTS-*/manifest.json"))) == 2 + 1
