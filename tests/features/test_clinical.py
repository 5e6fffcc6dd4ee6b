"""Encoding of clinical columns and tumour volume."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import FeatureUnion

from survimg import Cohort
from survimg.features import ClinicalFeatures, TumourVolume


def make_cohort(clinical: pd.DataFrame | None, n: int | None = None) -> Cohort:
    n = len(clinical) if n is None else n
    return Cohort(
        np.zeros((n, 1, 4, 4, 4), dtype=np.float32),
        clinical=clinical,
        ids=[f"P{i}" for i in range(n)],
    )


CLINICAL = pd.DataFrame(
    {
        "age": [50.0, np.nan, 70.0, 60.0],
        "stage": pd.Categorical(["II", "I", "III", "II"], ["I", "II", "III", "IV"], ordered=True),
        "sex": ["M", "F", None, "M"],
        "smoker": pd.array([True, False, None, True], dtype="boolean"),
        "centre": "A",
        "lesions": pd.array([1, None, 3, 2], dtype="Int64"),
    }
)


def test_encoding_follows_the_documented_rules():
    encoder = ClinicalFeatures()
    table = encoder.fit_transform(make_cohort(CLINICAL))
    expected = pd.DataFrame(
        {
            "age": [50.0, 60.0, 70.0, 60.0],
            "lesions": [1.0, 2.0, 3.0, 2.0],
            "missingindicator_age": [0.0, 1.0, 0.0, 0.0],
            "missingindicator_lesions": [0.0, 1.0, 0.0, 0.0],
            "stage_II": [1.0, 0.0, 0.0, 1.0],
            "stage_III": [0.0, 0.0, 1.0, 0.0],
            "sex_M": [1.0, 0.0, 1.0, 1.0],
            "smoker_True": [1.0, 0.0, 1.0, 1.0],
        }
    )
    pd.testing.assert_frame_equal(table, expected)  # constant `centre` has gone
    assert encoder.references_ == {"stage": "I", "sex": "F", "smoker": "False", "centre": "A"}
    assert list(encoder.get_feature_names_out()) == list(expected)


def test_statistics_are_those_of_the_training_patients():
    cohort = make_cohort(CLINICAL)
    encoder = ClinicalFeatures(clinical_columns=["age", "stage"]).fit(cohort[[0, 2]])
    assert list(encoder.get_feature_names_out()) == ["age", "stage_III"]
    with pytest.warns(UserWarning, match=r"'stage'.*\['I'\].*P1.*reference level 'II'"):
        table = encoder.transform(cohort[[1, 3]])
    assert table["age"].tolist() == [60.0, 60.0]  # the training median, no indicator
    assert table["stage_III"].tolist() == [0.0, 0.0]


def test_a_table_encodes_like_the_cohort_that_holds_it():
    pd.testing.assert_frame_equal(
        ClinicalFeatures().fit_transform(CLINICAL),
        ClinicalFeatures().fit_transform(make_cohort(CLINICAL)),
    )


def test_fully_missing_and_constant_columns_do_not_reach_the_model():
    table = pd.DataFrame({"a": [np.nan] * 3, "b": [None] * 3, "c": [1, 2, 4], "d": [3, 3, 3]})
    assert list(ClinicalFeatures().fit_transform(table)) == ["c"]
    with pytest.warns(UserWarning, match="constant over the 3 training patients"):
        empty = ClinicalFeatures(clinical_columns=["a", "d"]).fit_transform(table)
    assert empty.shape == (3, 0)


def test_joins_other_features_by_position_in_a_fold():
    cohort = make_cohort(CLINICAL)
    first = ClinicalFeatures(clinical_columns=["age"])
    union = FeatureUnion([("clinical", first), ("again", ClinicalFeatures())])
    joined = union.set_output(transform="pandas").fit(cohort).transform(cohort[[2, 0]])
    assert not joined.isna().any().any()
    assert joined["clinical__age"].tolist() == [70.0, 50.0]


def test_clear_errors():
    cohort = make_cohort(CLINICAL)
    with pytest.raises(ValueError, match="no clinical columns"):
        ClinicalFeatures().fit(make_cohort(None, n=3))
    with pytest.raises(ValueError, match=r"'grade'.*'age', 'stage'"):
        ClinicalFeatures(clinical_columns=["age", "grade"]).fit(cohort)
    with pytest.raises(ValueError, match="more than once"):
        ClinicalFeatures(clinical_columns=["age", "age"]).fit(cohort)
    with pytest.raises(TypeError, match="sequence of names"):
        ClinicalFeatures(clinical_columns="age").fit(cohort)
    with pytest.raises(TypeError, match="ndarray"):
        ClinicalFeatures().fit(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="'seen' holds dates"):
        ClinicalFeatures().fit(pd.DataFrame({"seen": pd.date_range("2020-01-01", periods=3)}))
    with pytest.raises(ValueError, match="'age' is infinite for patients P1"):
        ClinicalFeatures().fit(make_cohort(pd.DataFrame({"age": [1.0, np.inf]})))
    fitted = ClinicalFeatures(clinical_columns=["age"]).fit(cohort)
    with pytest.raises(ValueError, match="'age' was numeric in training.*'old'"):
        fitted.transform(pd.DataFrame({"age": ["old"]}))
    with pytest.raises(ValueError, match="No clinical column named 'age'"):
        fitted.transform(CLINICAL.drop(columns="age"))


def volume_cohort(**kwargs) -> Cohort:
    masks = np.zeros((3, 4, 4, 4), dtype=np.uint8)
    masks[0, 0, 0, 0], masks[1, :2], masks[2] = 1, 1, 1
    return Cohort(np.zeros((3, 1, 4, 4, 4), np.float32), masks=masks, ids=["A", "B", "C"], **kwargs)


def test_tumour_volume_in_millilitres_and_voxels():
    cohort = volume_cohort(spacing=[[10, 10, 10], [5, 2, 2], [1, 1, 1]])
    volume = TumourVolume(log=False).fit_transform(cohort)
    assert list(volume) == ["tumour_volume_ml"]
    np.testing.assert_allclose(volume["tumour_volume_ml"], [1.0, 32 * 0.02, 64 * 0.001])
    np.testing.assert_allclose(
        TumourVolume().fit_transform(cohort)["log_tumour_volume_ml"], np.log(volume.iloc[:, 0])
    )
    voxels = TumourVolume(unit="voxels", log=False).fit_transform(volume_cohort())
    assert voxels["tumour_volume_voxels"].tolist() == [1, 32, 64]
    assert clone(TumourVolume(unit="voxels")).get_feature_names_out() == "log_tumour_volume_voxels"


def test_tumour_volume_errors_name_the_patient():
    with pytest.raises(ValueError, match="no spacing"):
        TumourVolume().fit_transform(volume_cohort())
    masks = np.zeros((2, 4, 4, 4), dtype=np.uint8)
    masks[0, 1] = 1
    empty = Cohort(np.zeros((2, 1, 4, 4, 4), np.float32), masks=masks, ids=["A", "B"], spacing=1.0)
    with pytest.raises(ValueError, match="empty: B"):
        TumourVolume().fit_transform(empty)
    absent = Cohort(
        np.zeros((2, 1, 4, 4, 4), np.float32), masks=[masks[0], None], ids=["A", "B"], spacing=1.0
    )
    with pytest.raises(LookupError, match="'B'"):
        TumourVolume().fit_transform(absent)
    with pytest.raises(TypeError, match="Cohort"):
        TumourVolume().fit(np.zeros((2, 4, 4, 4)))
    with pytest.raises(ValueError, match="unit"):
        TumourVolume(unit="litres").fit(volume_cohort())
