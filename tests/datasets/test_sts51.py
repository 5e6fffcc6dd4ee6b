"""The real cohort: counts, clinical columns, lazy images, errors."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pandas as pd
import pytest

from survimg.datasets import load_sts51


@pytest.fixture(scope="module")
def folder(shared_dir):
    return shared_dir / "data" / "sts51_petgrid"


@pytest.fixture(scope="module")
def by_endpoint(folder):
    return {name: load_sts51(folder, name) for name in ("dfs", "os", "lung_metastasis")}


@pytest.fixture(scope="module")
def cohort(by_endpoint):
    return by_endpoint["dfs"]


def test_disease_free_survival_is_the_default(folder, cohort):
    np.testing.assert_array_equal(load_sts51(folder).outcome, cohort.outcome)


@pytest.mark.parametrize(("endpoint", "events"), [("dfs", 27), ("os", 15), ("lung_metastasis", 19)])
def test_patients_and_events(by_endpoint, endpoint, events):
    cohort = by_endpoint[endpoint]
    assert len(cohort) == 51
    assert cohort.outcome["event"].sum() == events
    assert cohort.time_unit == "days"
    assert (cohort.outcome["time"] > 50).all()
    assert cohort.ids[0] == "STS_001"


def test_outcome_is_the_table_of_the_collection(folder, by_endpoint):
    table = pd.read_csv(folder / "clinical.csv")
    dfs, os, lung = (by_endpoint[name].outcome for name in ("dfs", "os", "lung_metastasis"))
    np.testing.assert_array_equal(dfs["event"], table["outcome"] != "--")
    days = pd.to_numeric(table["days_dx_to_outcome"], errors="coerce")
    np.testing.assert_array_equal(dfs["time"], days.fillna(table["days_dx_to_last_fu"]))
    np.testing.assert_array_equal(lung["event"], table["outcome"].str.contains("lungs"))
    np.testing.assert_array_equal(lung["time"], dfs["time"])
    np.testing.assert_array_equal(os["event"], table["status"] == "D")
    np.testing.assert_array_equal(os["time"], table["days_dx_to_last_fu"])


def test_clinical_columns_hold_nothing_learned_after_the_diagnosis(cohort):
    assert list(cohort.clinical.columns) == ["age", "sex", "mskcc_type", "grade"]
    assert cohort.clinical["grade"].isna().sum() == 3
    assert cohort.clinical["mskcc_type"].nunique() == 7
    assert cohort.clinical["age"].between(16, 83).all()


def test_images_are_pet_and_ct_on_one_grid_with_a_mask(cohort):
    assert cohort.channel_names == ("PET", "CT")
    assert cohort.shape == (51, 2, None, None, None)
    volume, mask = cohort.volume(0), cohort.mask(0)
    assert volume.shape == (2, 59, 43, 41)
    assert volume[0].min() >= 0
    assert volume[0].max() == pytest.approx(25.412, abs=1e-3)
    assert volume[1].min() == -1000
    assert mask.shape == (59, 43, 41)
    assert mask.sum() == 5095
    np.testing.assert_allclose(cohort.spacing[0], [3.27, 4.6875, 4.6875], atol=1e-6)


def test_images_are_read_only_when_asked_for(cohort):
    assert len(pickle.dumps(cohort)) < 100_000


def test_every_patient_has_a_tumour(cohort):
    for i in range(len(cohort)):
        assert cohort.mask(i).any(), cohort.ids[i]


def test_unknown_endpoint(folder):
    with pytest.raises(ValueError, match=r"'dfs', 'lung_metastasis', 'os'.*'pfs'"):
        load_sts51(folder, "pfs")


def test_wrong_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"clinical\.csv does not exist"):
        load_sts51(tmp_path)


def test_another_table(tmp_path):
    (tmp_path / "clinical.csv").write_text("patient_id,age\nA,50\n")
    with pytest.raises(FileNotFoundError, match="dfs_event"):
        load_sts51(tmp_path)


def test_missing_image_is_named(folder, tmp_path):
    shutil.copy(folder / "clinical.csv", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"STS_001.*STS_001_PET\.nii\.gz"):
        load_sts51(tmp_path)
