"""Outcome arrays are checked once, here, and errors name the patient."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sksurv.util import Surv

from survimg.evaluation import (
    brier_score,
    concordance_index,
    cumulative_dynamic_auc,
    kaplan_meier,
)
from survimg.target import check_outcome, event_labels, event_quantiles, make_outcome


def test_same_array_as_scikit_survival():
    event, time = [True, False, True], [1.0, 2.5, 0.0]
    ours = make_outcome(event, time)
    theirs = Surv.from_arrays(event, time)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("event", [[1, 0], [1.0, 0.0], np.array([True, False]), ["1", "0"]])
def test_event_indicators_in_any_form(event):
    assert make_outcome(event, [1, 2])["event"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("event", "time", "message"),
    [
        ([1, 2], [1, 2], r"got \[2\] at positions \[1\]"),
        ([1, np.nan], [1, 2], "1/0"),
        (["dead", "alive"], [1, 2], "dead"),
        ([1, 0], [1, -2], "position 1: -2.0"),
        ([1, 0], [np.nan, 2], "position 0: nan"),
        ([1, 0], [1, np.inf], "position 1: inf"),
        ([1, 0, 1], [1, 2], "equal length"),
    ],
)
def test_bad_values_are_refused(event, time, message):
    with pytest.raises(ValueError, match=message):
        make_outcome(event, time)


def test_check_outcome_returns_fresh_arrays():
    y = make_outcome([1, 0], [1, 2])
    event, time = check_outcome(y)
    time[0] = 99
    event[0] = False
    assert y["time"][0] == 1
    assert y["event"][0]


def test_check_outcome_accepts_other_field_names():
    y = np.array([(True, 3.0)], dtype=[("relapse", bool), ("months", "f4")])
    event, time = check_outcome(y)
    assert event.dtype == bool
    assert time.dtype == np.float64


@pytest.mark.parametrize(
    "y",
    [
        np.array([1.0, 2.0]),
        np.array([(1.0, True)], dtype=[("time", float), ("event", bool)]),
        np.array([(1, 2.0)], dtype=[("event", int), ("time", float)]),
        np.zeros((2, 2), dtype=[("event", bool), ("time", float)]),
    ],
    ids=["floats", "wrong order", "integer event", "two axes"],
)
def test_other_arrays_are_refused(y):
    with pytest.raises(ValueError, match="structured array"):
        check_outcome(y)


def test_errors_name_the_patient_and_the_lengths():
    y = make_outcome([1, 0], [1, 2])
    y["time"][1] = -1
    with pytest.raises(ValueError, match="patient 'b': -1.0"):
        check_outcome(y, ids=["a", "b"])
    with pytest.raises(ValueError, match="holds 3 patients but y has 2"):
        check_outcome(make_outcome([1, 0], [1, 2]), n_patients=3)
    with pytest.raises(ValueError, match="All 2 patients are censored"):
        check_outcome(make_outcome([0, 0], [1, 2]), require_event=True)


def test_event_labels_separate_early_from_late_events():
    event = np.array([1, 1, 1, 1, 0, 0], dtype=bool)
    time = np.array([1.0, 2.0, 3.0, 4.0, 1.0, 9.0])
    assert event_labels(event, time).tolist() == [1, 1, 1, 1, 0, 0]
    assert event_labels(event, time, n_time_bins=2).tolist() == [1, 1, 2, 2, 0, 0]


def test_event_quantiles_share_events_evenly_and_reach_everyone():
    rng = np.random.default_rng(0)
    time = rng.exponential(10, 400)
    event = rng.random(400) < 0.6
    cuts = event_quantiles(event, time, 6)
    assert cuts[-1] == time.max()
    assert (np.diff(cuts) > 0).all()
    counts = np.histogram(time[event], np.concatenate([[0], cuts]))[0]
    assert counts.max() - counts.min() <= 2
    with pytest.raises(ValueError, match="All times are 0"):
        event_quantiles(np.ones(3, dtype=bool), np.zeros(3), 2)
    with pytest.raises(ValueError, match="at least one event"):
        event_quantiles(np.zeros(3, dtype=bool), np.ones(3), 2)


DAYS = pd.Series(pd.to_datetime(["2020-01-01", "2021-06-01", "2019-01-05"]))


@pytest.mark.parametrize(
    "time",
    [
        DAYS,
        DAYS - pd.Timestamp("2018-01-01"),
        (DAYS - pd.Timestamp("2018-01-01")).mask([True, False, False]),
        DAYS.to_numpy(),
        DAYS.dt.date.tolist(),
        pd.PeriodIndex(DAYS, freq="D"),
        [pd.Timedelta(days=3)] * 3,
    ],
)
def test_dates_and_durations_are_no_times(time):
    with pytest.raises(ValueError, match="dates or durations.*give a number in the cohort's unit"):
        make_outcome([1, 0, 1], time)


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ([1, 2, 3 + 1j], "complex"),
        ([True, False, True], "true/false"),
        (np.ma.array([1.0, 2, 3], mask=[0, 1, 0]), "masked"),
        (np.array([1, 2, 3 + 1j], dtype=object), "complex"),
        (["1", "2", "2020-01-01"], "must be numbers in the cohort's unit"),
        (["1", "2", "1_000"], "text that is no number"),
        ([1, 2, None], "finite and non-negative"),
        (pd.Series([1, 2, None], dtype="Int64"), "masked|finite"),
        ([1, 2, -0.5], "position 2: -0.5"),
    ],
)
def test_what_only_looks_like_times_is_refused(time, message):
    with pytest.raises(ValueError, match=message):
        make_outcome([1, 0, 1], time)


@pytest.mark.parametrize(
    "event",
    [
        [True, False, True], [1, 0, 1.0], ["1", "0", "1.0"], ["yes", "No", "YES"],
        ["true", "False", "TRUE"], pd.Series([True, False, True], dtype="boolean"),
        np.array([True, 0, "yes"], dtype=object),
    ],
)
def test_events_have_many_spellings(event):
    assert make_outcome(event, [3, 2, 1])["event"].tolist() == [True, False, True]


@pytest.mark.parametrize("event", [
    ["dead", "alive"], [1, 2], [None, 1], [1 + 1j, 0], np.array([0, 1], "m8[D]"),
])  # fmt: skip
def test_what_does_not_say_whether_it_happened_is_refused(event):
    with pytest.raises(ValueError, match="True/False or 1/0"):
        make_outcome(event, [1, 2])


def test_a_masked_event_is_refused():
    for event in (np.ma.array([1, 0], mask=[0, 1]), pd.array([True, None], dtype="boolean")):
        with pytest.raises(ValueError, match="event holds masked or missing"):
            make_outcome(event, [1, 2])


TABLE = {"time": [3.0, 1.0, 2.0], "event": [1, 0, 1]}


@pytest.mark.parametrize("y", [TABLE, pd.DataFrame(TABLE), pd.DataFrame(TABLE).assign(age=1)])
def test_tables_with_named_columns_are_outcomes(y):
    event, time = check_outcome(y)
    assert event.tolist() == [True, False, True]
    assert time.tolist() == [3.0, 1.0, 2.0]
    np.testing.assert_array_equal(make_outcome(y), make_outcome(event, time))
    assert concordance_index(y, [1, 3, 2]) == concordance_index(make_outcome(y), [1, 3, 2])


def test_columns_of_other_names_are_named():
    table = pd.DataFrame({"relapse": ["yes", "no"], "months": [8, 24]})
    assert make_outcome("relapse", "months", data=table)["time"].tolist() == [8.0, 24.0]
    with pytest.raises(ValueError, match="one column 'event'; the columns are .*make_outcome"):
        check_outcome(table)
    with pytest.raises(ValueError, match="one column 'dead'"):
        make_outcome("dead", "months", data=table)


@pytest.mark.parametrize(
    "y", [([1, 0], [1.0, 2.0]), np.array([[1, 1.0], [0, 2.0]]), [1, 0], "event"]
)
def test_what_does_not_say_which_is_which_is_refused(y):
    with pytest.raises(ValueError, match=r"make_outcome\(event=\.\.\., time=\.\.\.\)"):
        check_outcome(y)


@pytest.mark.parametrize("grid", [DAYS, DAYS - pd.Timestamp("2018-01-01"), [True, False]])
def test_grids_of_dates_are_refused_like_times(grid):
    y = make_outcome([1, 0, 1], [1.0, 2, 3])
    curves = np.full((3, len(grid)), 0.5)
    for asked in (
        lambda: kaplan_meier(y).at(grid),
        lambda: brier_score(y, y, curves, grid),
        lambda: cumulative_dynamic_auc(y, y, [1.0, 2, 3], grid),
    ):
        with pytest.raises(ValueError, match="times holds (dates or durations|true/false)"):
            asked()
