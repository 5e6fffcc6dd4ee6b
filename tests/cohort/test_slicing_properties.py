"""Whatever a cohort is indexed with, and whatever is given as an outcome."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from survimg import Cohort
from survimg.target import check_outcome, make_outcome

N = 7
COHORT = Cohort(
    np.arange(N, dtype=np.float32)[:, None, None, None, None] * np.ones((1, 1, 2, 2, 2)),
    clinical=np.arange(N, dtype=float),
    outcome=make_outcome(np.arange(N) % 2, np.arange(N) + 1.0),
)
KEYS = st.one_of(
    st.slices(N),
    hnp.arrays(np.intp, st.integers(0, 12), elements=st.integers(-N, N - 1)),
    hnp.arrays(np.bool_, N),
    st.lists(st.integers(-N, N - 1), max_size=9),
)
ODD = st.one_of(
    st.none(), st.text(max_size=3), st.floats(), st.integers(-(10**9), 10**9),
    st.lists(st.one_of(st.integers(-20, 20), st.floats(), st.text(max_size=2)), max_size=4),
    hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(max_dims=2, max_side=3)),
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(KEYS, KEYS)
def test_slices_of_slices_are_those_of_an_array(first, second):
    rows = np.arange(N)[first if not isinstance(first, list) else np.array(first, dtype=int)]
    part = COHORT[first]
    assert part.ids.tolist() == COHORT.ids[rows].tolist()
    assert [float(v.max()) for v in part] == rows.tolist()
    assert part.clinical.index.tolist() == list(range(len(rows)))
    assert part.outcome["time"].tolist() == (rows + 1.0).tolist()
    try:
        expected = rows[second if not isinstance(second, list) else np.array(second, dtype=int)]
    except IndexError:
        with pytest.raises(IndexError):
            part[second]
        return
    assert part[second].clinical.iloc[:, 0].tolist() == expected.tolist()


@settings(max_examples=80, deadline=None)
@given(ODD)
def test_any_index_gives_patients_or_an_index_error(key):
    try:
        found = COHORT[key]
    except IndexError:
        return
    if isinstance(found, Cohort):
        assert set(found.ids) <= set(COHORT.ids)
    else:
        assert found.shape == (1, 2, 2, 2)


_COLUMN = hnp.arrays(
    st.sampled_from([np.dtype(np.bool_), np.dtype(np.int8), np.dtype(np.float64), np.dtype("U2")]),
    st.integers(0, 5),
)


@settings(max_examples=80, deadline=None)
@given(_COLUMN, _COLUMN)
def test_any_columns_give_an_outcome_or_a_value_error(event, time):
    try:
        y = make_outcome(event, time)
    except ValueError:
        return
    checked_event, checked_time = check_outcome(y)
    assert checked_event.dtype == np.bool_
    assert (checked_time >= 0).all()
    assert np.isfinite(checked_time).all()


_RECORD = st.one_of(
    hnp.arrays(hnp.array_dtypes(max_size=3), hnp.array_shapes(max_dims=2, max_side=3)),
    hnp.arrays(np.dtype([("event", "?"), ("time", "<f8")]), st.integers(0, 4)),
    st.lists(st.integers(), max_size=3),
    st.text(max_size=3),
)


@settings(max_examples=80, deadline=None)
@given(_RECORD)
def test_any_array_is_an_outcome_or_a_value_error(y):
    try:
        event, time = check_outcome(y)
    except ValueError:
        return
    assert event.dtype == np.bool_
    assert np.isfinite(time).all()
    assert (time >= 0).all()
