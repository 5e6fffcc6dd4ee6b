"""Clinical columns that enter a network only if they are significant alone in the training part."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import survimg
from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS, FusionSurvival, SingleTaskSurvival
from survimg.features.univariate import clinical_p_values

QUICK = {
    "n_iterations": 1, "batch_size": 4, "batch_norm_batches": 1, "n_threads": 1,
    "random_state": 0, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort():
    """Patients with a column that tells the time of the event, and one that tells nothing."""
    cohort = make_phantom_cohort(n=30, shape=(16, 16, 16), random_state=0).cohort
    rng = np.random.default_rng(1)
    noise = rng.normal(size=30)
    telling = -np.log(cohort.outcome["time"]) + rng.normal(size=30)
    cohort = cohort.without_clinical(["stage"])
    return cohort.with_clinical(pd.DataFrame({"noise": noise, "telling": telling}))


def test_only_significant_columns_enter(cohort, tmp_path):
    model = SingleTaskSurvival(**QUICK, significance=0.05).fit(cohort, cohort.outcome)
    expected = clinical_p_values(cohort, None, cohort.outcome["event"], cohort.outcome["time"])
    assert model.clinical_p_values_ == expected
    assert expected["telling"] < 0.05 < expected["noise"]
    assert model.clinical_names_in_ == ("telling",)
    alone = SingleTaskSurvival(**QUICK, clinical_columns=["telling"]).fit(cohort, cohort.outcome)
    np.testing.assert_array_equal(model.predict(cohort), alone.predict(cohort))
    without = cohort.without_clinical(["noise"])
    np.testing.assert_array_equal(model.predict(without), model.predict(cohort))
    survimg.save(model, tmp_path / "model")
    loaded = survimg.load(tmp_path / "model")
    assert loaded.clinical_p_values_ == expected
    np.testing.assert_array_equal(loaded.predict(cohort), model.predict(cohort))


def test_held_out_patients_choose_nothing(cohort):
    model = DeepMTS(**QUICK, significance=1.0, validation_fraction=0.3)
    model.fit(cohort, cohort.outcome)
    y = cohort.outcome
    of_all = clinical_p_values(cohort, None, y["event"], y["time"])
    assert model.clinical_p_values_["telling"] != of_all["telling"]


def test_without_a_significant_column_there_is_none(cohort):
    model = SingleTaskSurvival(**QUICK, significance=0.05, clinical_columns=["noise"])
    with pytest.warns(UserWarning, match=r"below 0\.05 \(noise: 0\.\d+\): this SingleTask"):
        model.fit(cohort, cohort.outcome)
    assert model.clinical_names_in_ == ()
    assert np.isfinite(model.predict(cohort)).all()
    again = model.set_params(significance=None).fit(cohort, cohort.outcome)
    assert not hasattr(again, "clinical_p_values_")


def test_the_fusion_network_chooses_too(cohort):
    model = FusionSurvival(**QUICK, branches=("tumour", "clinical"), significance=0.05)
    assert model.fit(cohort, cohort.outcome).table_names_in_ == ("telling",)
    model.set_params(clinical_columns=["noise"])
    with pytest.warns(UserWarning, match="this FusionSurvival goes without"):
        model.fit(cohort, cohort.outcome)
    assert model.table_names_in_ == ()
    assert np.isfinite(model.predict(cohort)).all()
