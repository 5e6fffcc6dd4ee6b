"""Parts that carry names of patients are put in order by them, or refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from survimg import Cohort
from survimg.estimators import ClinicalVolumeCox, LassoCox, RandomSurvivalForest
from survimg.evaluation import (
    brier_score,
    concordance_index,
    fit_cox,
    hazard_ratio,
    logrank_test,
)
from survimg.features import ForestSelector, SpearmanFilter
from survimg.target import check_outcome, make_outcome

V = np.zeros((3, 1, 4, 4, 4), "float32")
AGES = pd.DataFrame({"age": [70, 60, 50]}, index=list("cba"))


def test_clinical_rows_are_put_in_the_order_of_the_ids():
    cohort = Cohort(V, ids=list("abc"), clinical=AGES)
    assert dict(zip(cohort.ids, cohort.clinical["age"], strict=True)) == {"a": 50, "b": 60, "c": 70}
    assert cohort.clinical.index.equals(pd.RangeIndex(3))


def test_every_part_with_an_index_is():
    back = pd.Index(list("cba"))
    cohort = Cohort(
        V,
        ids=list("abc"),
        masks=np.zeros((3, 4, 4, 4)),
        outcome=pd.DataFrame({"time": [3.0, 2.0, 1.0], "event": [1, 0, 1]}, index=back),
        groups=pd.Series(["C", "B", "A"], index=back),
        has_mask=pd.Series([False, True, True], index=back),
        present=pd.DataFrame({"CT": [True, True, True]}, index=back),
        spacing=pd.DataFrame({"z": [3, 2, 1], "y": 1, "x": 1}, index=back),
    )
    assert cohort.outcome["time"].tolist() == [1.0, 2.0, 3.0]
    assert cohort.groups.tolist() == ["A", "B", "C"]
    assert cohort.has_masks.tolist() == [True, True, False]
    assert cohort.spacing[:, 0].tolist() == [1.0, 2.0, 3.0]


def test_an_index_of_names_names_the_patients():
    outcome = pd.DataFrame({"time": [1, 2, 3], "event": [1, 1, 0]}, index=list("abc"))
    cohort = Cohort(V, clinical=AGES, outcome=outcome)
    assert cohort.ids.tolist() == ["c", "b", "a"]
    assert cohort.outcome["time"].tolist() == [3.0, 2.0, 1.0]


def test_other_names_are_refused():
    with pytest.raises(ValueError, match=r"index of clinical \('c', 'b', 'a'\).*reset_index"):
        Cohort(V, ids=["a", "b", "d"], clinical=AGES)
    with pytest.raises(ValueError, match="index of groups"):
        Cohort(V, ids=list("abc"), groups=pd.Series([1, 2, 3], index=[5, 6, 7]))
    with pytest.raises(ValueError, match="index of clinical"):
        Cohort(V, ids=list("abc"), clinical=AGES.set_axis(["a", "a", "b"], axis=0))


def test_rows_of_one_split_stay_together_and_rows_of_two_are_refused():
    shuffled = pd.DataFrame({"age": [1, 2, 3]}, index=[2, 0, 1])
    cohort = Cohort(V, clinical=shuffled)  # train_test_split has cut volumes and table alike
    assert cohort.clinical["age"].tolist() == [1, 2, 3]
    outcome = pd.DataFrame({"time": [1, 2, 3], "event": [1, 1, 0]}, index=[0, 1, 2])
    with pytest.raises(ValueError, match="same numbers in another order"):
        Cohort(V, clinical=shuffled, outcome=outcome)


def test_series_of_an_outcome_are_put_together_by_name():
    event = pd.Series([1, 0, 1], index=list("abc"))
    outcome = make_outcome(event, pd.Series([30.0, 20.0, 10.0], index=list("cba")))
    assert outcome["time"].tolist() == [10.0, 20.0, 30.0]
    with pytest.raises(ValueError, match="different patients by their indexes"):
        make_outcome(event, pd.Series([30.0, 20.0, 10.0], index=list("xyz")))


def test_an_outcome_with_names_is_put_in_the_order_of_the_patients():
    table = pd.DataFrame({"time": [3.0, 1.0, 2.0], "event": [1, 0, 1]}, index=list("cab"))
    _, time = check_outcome(table, ids=list("abc"))
    assert time.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="y has the index"):
        check_outcome(table, ids=list("xyz"))


def test_a_model_fits_an_outcome_in_the_order_of_its_names():
    rng = np.random.default_rng(0)
    masks = np.zeros((12, 6, 6, 6), np.uint8)
    for i in range(12):
        masks[i].flat[: 10 + 9 * i] = 1
    ids = [f"P{i}" for i in range(12)]
    cohort = Cohort(np.zeros((12, 1, 6, 6, 6), "float32"), masks=masks, ids=ids, spacing=1.0)
    y = pd.DataFrame({"time": rng.uniform(1, 9, 12), "event": [1, 1, 0] * 4}, index=ids)
    first = ClinicalVolumeCox(clinical_columns=[]).fit(cohort, y).predict(cohort)
    second = ClinicalVolumeCox(clinical_columns=[]).fit(cohort, y.iloc[::-1]).predict(cohort)
    np.testing.assert_array_equal(first, second)


def test_a_choice_that_names_the_patients_is_put_into_their_order():
    cohort = Cohort(V, ids=list("abc"), clinical=AGES)
    older = AGES["age"] > 55  # c and b, in the order of the table
    assert cohort[older].ids.tolist() == ["b", "c"]
    assert cohort[older.reset_index(drop=True)].ids.tolist() == ["a", "b"]  # by position
    with pytest.raises(ValueError, match="holds other names"):
        cohort[older.set_axis(list("xyz"))]


def test_an_index_that_counts_rows_names_nobody():
    table = pd.DataFrame({"time": [3.0, 1.0, 2.0], "event": [1, 0, 1]})
    for ids in (["2", "0", "1"], ["0", "1", "2"], ["a", "b", "c"]):
        assert check_outcome(table, ids=ids)[1].tolist() == [3.0, 1.0, 2.0]
    two = pd.MultiIndex.from_tuples([("x", "c"), ("x", "a"), ("x", "b")])
    with pytest.raises(ValueError, match="y has the index"):
        check_outcome(table.set_axis(two), ids=list("abc"))


@pytest.mark.parametrize("model", [
    LassoCox(), RandomSurvivalForest(n_estimators=2, random_state=0),
    SpearmanFilter(0.9, keep="univariate"), ForestSelector(k=1, n_estimators=2, random_state=0),
])  # fmt: skip
def test_features_and_outcomes_are_paired_by_their_names_or_refused(model):
    rng = np.random.default_rng(0)
    names = [f"P{i}" for i in range(40)]
    features = pd.DataFrame(rng.normal(size=(40, 2)), index=names, columns=["a", "b"])
    time = np.exp(features["a"] + 0.1 * rng.normal(size=40))
    y = pd.DataFrame({"time": time, "event": [1] * 40}, index=names)
    # the shuffled outcome is brought to the features
    first, second = (clone(model).fit(features, of) for of in (y, y.sample(frac=1, random_state=1)))
    same = "predict" if hasattr(model, "predict") else "get_support"
    given = (features,) if same == "predict" else ()
    np.testing.assert_array_equal(getattr(first, same)(*given), getattr(second, same)(*given))
    for unnamed in (features.to_numpy(), features.reset_index(drop=True)):
        with pytest.raises(ValueError, match="y names its rows"):
            clone(model).fit(unnamed, y)
        clone(model).fit(unnamed, y.reset_index(drop=True))
    with pytest.raises(ValueError, match="y has the index"):
        clone(model).fit(features, y.rename(index=lambda name: f"{name}x"))


def test_metrics_pair_outcomes_and_predictions_by_their_names():
    rng = np.random.default_rng(1)
    names = [f"P{i}" for i in range(30)]
    y = pd.DataFrame({"time": rng.permutation(30) + 1.0, "event": [1, 1, 0] * 10}, index=names)
    shuffled = y.sample(frac=1, random_state=2)
    risk = -y["time"] + rng.normal(scale=10, size=30)
    weight = pd.Series(rng.uniform(1, 2, 30), names)
    curves = pd.DataFrame(rng.uniform(0.2, 0.9, (30, 1)), index=names)
    group = pd.Series(risk > risk.median(), names)
    for metric, parts in (
        (concordance_index, (risk,)), (concordance_index, (risk, weight)),
        (lambda y, s: brier_score(y, y, s, [10.0]), (curves,)),
        (lambda y, r: fit_cox(y, r).coefficients, (risk,)),
        (lambda y, g: logrank_test(y, g).statistic, (group,)),
        (lambda y, g: hazard_ratio(y, g).value, (group,)),
    ):
        np.testing.assert_allclose(metric(y, *parts), metric(shuffled, *parts))
        with pytest.raises(ValueError, match="different patients"):
            metric(y, *(part.set_axis([f"{name}x" for name in names]) for part in parts))
