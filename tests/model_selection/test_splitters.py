from __future__ import annotations

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GridSearchCV, check_cv, cross_val_score
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.model_selection import (
    EventStratifiedGroupKFold,
    EventStratifiedKFold,
    LeaveOneCentreOut,
    RepeatedEventStratifiedGroupKFold,
    RepeatedEventStratifiedKFold,
)
from survimg.target import event_labels, make_outcome


def outcome(seed: int, n: int, share: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return make_outcome(rng.random(n) < share, rng.exponential(size=n).round(1))


def partition(folds, n: int) -> np.ndarray:
    """Check that the test sets partition the patients; return the fold of each."""
    fold = np.full(n, -1)
    for k, (train, test) in enumerate(folds):
        assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(n))
        assert (fold[test] == -1).all()
        fold[test] = k
    assert (fold >= 0).all()
    return fold


@given(
    st.integers(0, 10_000),
    st.integers(12, 80),
    st.floats(0.1, 1.0),
    st.integers(2, 6),
    st.integers(1, 4),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_folds_balance_events_patients_and_times(seed, n, share, n_splits, n_bins, shuffle):
    y = outcome(seed, n, share)
    cv = EventStratifiedKFold(
        n_splits, shuffle=shuffle, random_state=seed if shuffle else None, n_time_bins=n_bins
    )
    if y["event"].sum() < n_splits:
        # Two folds are the least.
        remedy = "Use fewer folds" if y["event"].sum() > 1 else "More events are needed"
        with pytest.raises(ValueError, match=remedy):
            list(cv.split(np.zeros(n), y))
        return
    fold = partition(cv.split(np.zeros(n), y), n)
    labels = event_labels(y["event"], y["time"], n_bins)
    for chosen in (np.ones(n, bool), y["event"], *(labels == k for k in np.unique(labels))):
        sizes = np.bincount(fold[chosen], minlength=n_splits)
        assert np.ptp(sizes) <= 1


def test_shuffling_is_seeded_and_the_global_state_is_left_alone():
    y, X = outcome(0, 60, 0.5), np.zeros((60, 1))

    def folds(**options):
        return partition(EventStratifiedKFold(4, **options).split(X, y), 60)

    first = folds(shuffle=True, random_state=1)
    assert np.array_equal(first, folds(shuffle=True, random_state=1))
    assert not np.array_equal(first, folds(shuffle=True, random_state=2))
    assert np.array_equal(folds(), folds())
    assert not np.array_equal(first, folds())
    with pytest.raises(ValueError, match="no effect"):
        folds(random_state=1)


@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(5, 25), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_groups_stay_whole_and_every_fold_has_an_event(seed, n_splits, n_groups, n_bins):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n_groups, size=60)
    y = outcome(seed, 60, 0.2)
    cv = EventStratifiedGroupKFold(n_splits, shuffle=True, random_state=seed, n_time_bins=n_bins)
    if np.unique(groups[y["event"]]).size < n_splits:
        with pytest.raises(ValueError, match="groups with an event"):
            list(cv.split(np.zeros(60), y, groups))
        return
    fold = partition(cv.split(np.zeros(60), y, groups), 60)
    for g in np.unique(groups):
        assert np.unique(fold[groups == g]).size == 1
    assert (np.bincount(fold[y["event"]], minlength=n_splits) > 0).all()


def test_many_small_groups_are_spread_evenly():
    y = outcome(3, 400, 0.4)
    groups = np.arange(400) // 2
    for n_bins in (1, 3):
        cv = EventStratifiedGroupKFold(5, n_time_bins=n_bins)
        fold = partition(cv.split(np.zeros(400), y, groups), 400)
        assert np.ptp(np.bincount(fold[y["event"]])) <= 4
        assert np.ptp(np.bincount(fold)) <= 8
    seeds = [
        partition(
            EventStratifiedGroupKFold(5, shuffle=True, random_state=s).split(y, y, groups), 400
        )
        for s in (0, 0, 1)
    ]
    assert np.array_equal(seeds[0], seeds[1])
    assert not np.array_equal(seeds[0], seeds[2])


def test_repeats_differ_and_the_whole_is_seeded():
    y, X = outcome(4, 40, 0.5), np.zeros(40)
    groups = np.arange(40) // 2
    for cls in (RepeatedEventStratifiedKFold, RepeatedEventStratifiedGroupKFold):
        cv = cls(4, n_repeats=3, random_state=0, n_time_bins=2)
        given_groups = groups if cls is RepeatedEventStratifiedGroupKFold else None
        splits = list(cv.split(X, y, given_groups))
        assert len(splits) == cv.get_n_splits() == 12
        folds = [partition(splits[k : k + 4], 40) for k in (0, 4, 8)]
        assert not np.array_equal(folds[0], folds[1])
        again = list(cv.split(X, y, given_groups))
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(splits, again, strict=True))
    with pytest.raises(ValueError, match="n_repeats"):
        list(RepeatedEventStratifiedKFold(4, n_repeats=0).split(X, y))


def test_every_centre_is_left_out_once():
    y = make_outcome([1, 0, 1, 0, 1, 0], np.arange(1, 7))
    centre = np.array(["b", "b", "a", "a", "c", "c"])
    cv = LeaveOneCentreOut()
    splits = list(cv.split(y, y, centre))
    assert cv.get_n_splits(groups=centre) == 3
    assert [set(centre[test]) for _, test in splits] == [{"a"}, {"b"}, {"c"}]
    partition(splits, 6)
    lonely = make_outcome([1, 0, 0, 0, 1, 0], np.arange(1, 7))
    with pytest.raises(ValueError, match="'a' holds no event"):
        list(cv.split(y, lonely, centre))
    with pytest.raises(ValueError, match="'a' holds every event"):
        list(cv.split(y[2:4], y[2:4], np.array(["a", "b"])))


def test_groups_that_cannot_serve_are_refused():
    y = outcome(5, 10, 0.9)
    for cv in (LeaveOneCentreOut(), EventStratifiedGroupKFold(2)):
        for groups, message in (
            (None, "needs the groups argument"),
            (np.ones(10), "at least two groups"),
            (np.arange(9), r"shape \(10,\)"),
            (np.array([np.nan, *range(9)]), "missing values"),
            (np.array([None, *"abcabcabc"], dtype=object), "missing values"),
        ):
            with pytest.raises(ValueError, match=message):
                list(cv.split(np.zeros(10), y, groups))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n_splits": 1}, "n_splits"), ({"n_time_bins": 0}, "n_time_bins")],
)
def test_invalid_parameters_raise_on_split(options, message):
    y = outcome(6, 20, 0.5)
    for cls in (EventStratifiedKFold, EventStratifiedGroupKFold):
        with pytest.raises(ValueError, match=message):
            list(cls(**options).split(y, y, np.arange(20) if "Group" in cls.__name__ else None))


def test_outcomes_are_checked():
    cv = EventStratifiedKFold(2)
    with pytest.raises(ValueError, match="needs y"):
        list(cv.split(np.zeros(4)))
    with pytest.raises(ValueError, match="structured array"):
        list(cv.split(np.zeros(4), np.ones(4)))
    with pytest.raises(ValueError, match="same length"):
        list(cv.split(np.zeros(5), outcome(0, 4, 1.0)))
    with pytest.warns(UserWarning, match="groups parameter is ignored"):
        list(cv.split(np.zeros(4), outcome(0, 4, 1.0), np.arange(4)))


def test_only_the_length_of_x_is_used():
    class Patients:
        def __len__(self):
            return 12

        @property
        def groups(self):
            raise AssertionError("groups must not be read implicitly")

    y = outcome(7, 12, 1.0)
    partition(EventStratifiedKFold(3).split(Patients(), y), 12)
    with pytest.raises(ValueError, match="needs the groups argument"):
        list(EventStratifiedGroupKFold(3).split(Patients(), y))


def test_scikit_learn_takes_them():
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(80, 2)), outcome(8, 80, 0.6)
    y["time"] += 0.1
    groups = np.arange(80) // 4
    model = CoxPHSurvivalAnalysis(alpha=1.0)
    for cv in (EventStratifiedKFold(3), EventStratifiedGroupKFold(3), LeaveOneCentreOut()):
        assert check_cv(cv) is cv
        given_groups = None if isinstance(cv, EventStratifiedKFold) else groups // 5
        scores = cross_val_score(model, X, y, cv=cv, groups=given_groups)
        assert np.isfinite(scores).all()
        assert len(scores) == cv.get_n_splits(X, y, given_groups)
        search = GridSearchCV(model, {"alpha": [1.0, 2.0]}, cv=cv)
        search.fit(X, y, **({} if given_groups is None else {"groups": given_groups}))
    assert "n_splits=3, n_time_bins=2" in repr(EventStratifiedKFold(3, n_time_bins=2))


def test_groups_are_routed_as_metadata():
    rng = np.random.default_rng(9)
    X, y = rng.normal(size=(60, 2)), outcome(9, 60, 0.7)
    y["time"] += 0.1
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_val_score(
            CoxPHSurvivalAnalysis(alpha=1.0),
            X,
            y,
            cv=EventStratifiedGroupKFold(3),
            params={"groups": np.arange(60) // 3},
        )
    assert np.isfinite(scores).all()
