"""Tables keep their meaning through files, slices, pickles and other patients."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from generated_tables import by_both_roads, draw_table, features_of, write_manifest

from survimg import Cohort
from survimg.features import ClinicalFeatures
from survimg.io import read_manifest


def cohort_of(table) -> Cohort:
    return Cohort(np.zeros((len(table), 1, 2, 2, 2), np.float32), clinical=table)


def check_equal(first, second):
    if isinstance(first, str):
        assert first == second
    else:
        pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize("seed", range(20))
def test_a_manifest_prepared_and_loaded_gives_the_features_of_the_frame(seed, tmp_path):
    check_equal(*by_both_roads(seed, tmp_path))


@pytest.mark.parametrize("seed", range(20, 40))
def test_cohorts_pickles_and_slices_give_the_features_of_the_frame(seed):
    frame, _ = draw_table(seed)
    whole = features_of(frame)
    cohort = cohort_of(frame)
    check_equal(whole, features_of(cohort))
    check_equal(whole, features_of(pickle.loads(pickle.dumps(cohort))))
    rows = np.random.default_rng(seed).permutation(len(frame))[:6]
    check_equal(features_of(frame.iloc[rows].reset_index(drop=True)), features_of(cohort[rows]))


@pytest.mark.parametrize("seed", range(40, 60))
def test_a_patients_features_do_not_depend_on_who_else_is_in_the_file(seed, tmp_path):
    frame, rows = draw_table(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fitted = ClinicalFeatures().fit(cohort_of(frame))
        except ValueError:
            return  # refused at once, in every company
        whole = fitted.transform(frame).to_numpy()
        for i in range(len(frame)):
            path = write_manifest(tmp_path, [rows[0], rows[i + 1]], f"{i}.csv")
            alone = fitted.transform(read_manifest(path).clinical).to_numpy()
            np.testing.assert_array_equal(alone[0], whole[i], err_msg=f"patient {i}")
            np.testing.assert_array_equal(fitted.transform(frame.iloc[[i]]).to_numpy()[0], whole[i])


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([57, None, 60, 71], dtype=object),
        pd.Series(["", "x", "y", ""]),
        pd.Series([True, None, False, True], dtype=object),
        pd.Series([1, "4a", 2, 1], dtype=object),
        pd.Categorical([1, "a", None, 1]),
        pd.Series([0.1, 0.2, 0.3, 0.4], dtype=np.float32),
        pd.arrays.SparseArray([0, 0, 1, 2]),
        pd.Series(["a\nb", "c\r", "a b", "c"]),
        pd.Series(["\x00", "b", "b", "\x1f"]),
    ],
    ids=str,
)
def test_a_column_in_memory_is_the_column_after_saving(column, tmp_path):
    cohort = cohort_of(pd.DataFrame({"x": column}))
    check_equal(features_of(cohort), features_of(cohort.save(tmp_path / "store")))


def test_groups_are_the_same_after_saving(tmp_path):
    for k, groups in enumerate(([1, 2, 1], [1.0, 2.0, 1.0], ["1", "2", None], [True, False, True])):
        cohort = Cohort(np.zeros((3, 1, 2, 2, 2), np.float32), groups=groups)
        again = cohort.save(tmp_path / f"s{k}")
        assert again.groups.tolist() == cohort.groups.tolist()


def test_what_cannot_be_stored_is_not(tmp_path):
    cohort = cohort_of(pd.DataFrame({"day": pd.to_datetime(["2020-01-01"] * 3)}))
    with pytest.raises(ValueError, match="'day' has type datetime64"):
        cohort.save(tmp_path / "store")
    assert not (tmp_path / "store").exists()
