"""Cross-validation splitters for survival outcomes.

scikit-learn's ``StratifiedKFold`` refuses a structured y, and plain ``KFold`` can leave a fold
without a single event, on which no survival model can be trained or scored. The splitters here
put events into every fold, or raise and say why that is impossible.

All of them follow scikit-learn's protocol: ``split(X, y, groups)`` yields index arrays, so they fit
``cross_validate``, ``GridSearchCV`` and scikit-survival alike. Of X only the length is used; groups
are taken from the `groups` argument and never read from a ``Cohort`` implicitly.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from survimg.survival import labels_of, outcome_of_labels
from survimg.survival.stratified_folds import deal
from survimg.target import check_outcome, event_labels

__all__ = [
    "EventStratifiedGroupKFold",
    "EventStratifiedKFold",
    "LeaveOneCentreOut",
    "RepeatedEventStratifiedGroupKFold",
    "RepeatedEventStratifiedKFold",
]

RandomState = int | np.random.RandomState | None
Split = tuple[np.ndarray, np.ndarray]


class _EventStratified(BaseCrossValidator):
    """Parameters of K folds that are stratified by event."""

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        random_state: RandomState = None,
        n_time_bins: int = 1,
    ) -> None:
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state
        self.n_time_bins = n_time_bins

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Return the number of folds; the arguments exist for scikit-learn's protocol."""
        return self.n_splits


class EventStratifiedKFold(_EventStratified):
    """K folds with equal numbers of events, and events spread evenly over time.

    Patients are distributed over the folds in turn, by stratum: the numbers of events in any
    two folds differ by at most one, and so do the numbers of patients.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Shuffle the patients within each stratum first.
    random_state : int, RandomState or None, default=None
        Seed of the permutation; only with ``shuffle=True``.
    n_time_bins : int, default=1
        Number of quantile bins of the event times that are stratified as well, so that each fold
        holds early and late events. 1 stratifies by event alone.

    Examples
    --------
    >>> import numpy as np
    >>> from survimg.target import make_outcome
    >>> y = make_outcome([1, 0, 1, 0, 0, 0], [1, 2, 3, 4, 5, 6])
    >>> for train, test in EventStratifiedKFold(2).split(np.zeros((6, 1)), y):
    ...     print(train, test, y["event"][test].sum())
    [2 3 5] [0 1 4] 1
    [0 1 4] [2 3 5] 1
    """

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Yield the training and test indices of each fold.

        Parameters
        ----------
        X : Cohort, array or frame of n patients
        y : structured array of shape (n,), or labels of shape (n,)
        groups : ignored
            Given groups are ignored with a warning, as by scikit-learn's StratifiedKFold.

        Yields
        ------
        train, test : ndarray of shape (n_train,) and (n_test,), int

        Raises
        ------
        ValueError
            Fewer events than folds, fewer patients than folds, invalid parameters or outcome.
        """
        _check_parameters(self.n_splits, self.shuffle, self.random_state, self.n_time_bins)
        if groups is not None:
            warnings.warn(
                f"The groups parameter is ignored by {type(self).__name__}; "
                "EventStratifiedGroupKFold keeps groups together.",
                UserWarning,
                stacklevel=2,
            )
        event, time = _outcome(X, y)
        _require_events(int(event.sum()), self.n_splits, "events")
        labels = event_labels(event, time, self.n_time_bins)
        order = np.arange(labels.size)
        if self.shuffle:
            order = check_random_state(self.random_state).permutation(labels.size)
        yield from _folds(deal(labels, self.n_splits, order), self.n_splits)


class EventStratifiedGroupKFold(_EventStratified):
    """K folds that keep groups (patients with several scans, centres) whole and balance events.

    The groups richest in events are placed first, one into each fold, so every fold has an event
    whenever at least `n_splits` groups have one. Each further group goes where it keeps the shares
    of events and of censored patients most even.

    Parameters
    ----------
    n_splits : int, default=5
    shuffle : bool, default=False
        Break ties between equally rich groups at random.
    random_state : int, RandomState or None, default=None
        Only with ``shuffle=True``.
    n_time_bins : int, default=1
        As in `EventStratifiedKFold`.
    """

    __metadata_request__split: ClassVar[dict[str, bool]] = {"groups": True}

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Yield the training and test indices of each fold.

        Parameters
        ----------
        X : Cohort, array or frame of n patients
        y : structured array of shape (n,), or labels of shape (n,)
        groups : array-like of shape (n,)
            No group is in the training and the test part of one fold.

        Yields
        ------
        train, test : ndarray of shape (n_train,) and (n_test,), int

        Raises
        ------
        ValueError
            No groups given, or fewer groups with an event than folds.
        """
        _check_parameters(self.n_splits, self.shuffle, self.random_state, self.n_time_bins)
        event, time = _outcome(X, y)
        _, member = _groups(groups, event.size, type(self).__name__)
        labels = event_labels(event, time, self.n_time_bins)
        counts = np.zeros((member.max() + 1, labels.max() + 1))
        np.add.at(counts, (member, labels), 1)
        n_with_event = int(np.count_nonzero(counts[:, 1:].sum(axis=1)))
        _require_events(n_with_event, self.n_splits, "groups with an event")
        order = np.arange(counts.shape[0])
        if self.shuffle:
            order = check_random_state(self.random_state).permutation(order)
        events, sizes = counts[:, 1:].sum(axis=1), counts.sum(axis=1)
        order = order[np.lexsort((-sizes[order], -events[order]))]
        yield from _folds(_place_groups(counts[order], order, self.n_splits)[member], self.n_splits)


class LeaveOneCentreOut(BaseCrossValidator):
    """Each centre is the test set once; the other centres train.

    This estimates how well a model ranks the patients of a new centre. Centres are given as
    `groups`.
    """

    __metadata_request__split: ClassVar[dict[str, bool]] = {"groups": True}

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Return the number of centres in `groups`.

        Raises
        ------
        ValueError
            No groups given, or only one centre.
        """
        n_patients = 0 if groups is None else len(groups)
        return len(_groups(groups, n_patients, type(self).__name__)[0])

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Yield the training and test indices, centre by centre in sorted order.

        Parameters
        ----------
        X : Cohort, array or frame of n patients
        y : structured array of shape (n,), or labels of shape (n,)
        groups : array-like of shape (n,)
            Centre of each patient.

        Yields
        ------
        train, test : ndarray of shape (n_train,) and (n_test,), int

        Raises
        ------
        ValueError
            No groups, a single centre, or a centre without events (it could not be scored) or with
            all of them (nothing to train on); the message names it.
        """
        event, _ = _outcome(X, y)
        centres, member = _groups(groups, event.size, type(self).__name__)
        for index, centre in enumerate(centres.tolist()):
            test_events = int(event[member == index].sum())
            if test_events in (0, int(event.sum())):
                amount = "no event" if test_events == 0 else "every event"
                raise ValueError(
                    f"Centre {centre!r} holds {amount}, so it cannot be left out: "
                    "training and test set both need one. Merge it with another centre or leave "
                    "its patients out."
                )
        yield from _folds(member, len(centres))


class _Repeated(BaseCrossValidator):
    """Run a splitter several times, each with its own shuffle."""

    _splitter: ClassVar[type]

    def __init__(
        self,
        n_splits: int = 5,
        *,
        n_repeats: int = 10,
        random_state: RandomState = None,
        n_time_bins: int = 1,
    ) -> None:
        self.n_splits = n_splits
        self.n_repeats = n_repeats
        self.random_state = random_state
        self.n_time_bins = n_time_bins

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Return ``n_splits * n_repeats``."""
        return self.n_splits * self.n_repeats

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Split]:
        """Yield the training and test indices of each fold of each repeat.

        Parameters, yields and raises as in the splitter that is repeated.
        """
        if self.n_repeats < 1:
            raise ValueError(f"n_repeats must be at least 1; got {self.n_repeats}.")
        rng = check_random_state(self.random_state)
        for _ in range(self.n_repeats):
            splitter = self._splitter(
                self.n_splits,
                shuffle=True,
                random_state=rng.randint(np.iinfo(np.int32).max),
                n_time_bins=self.n_time_bins,
            )
            yield from splitter.split(X, y, groups)


class RepeatedEventStratifiedKFold(_Repeated):
    """`EventStratifiedKFold`, shuffled again for each repeat.

    Parameters
    ----------
    n_splits : int, default=5
    n_repeats : int, default=10
    random_state : int, RandomState or None, default=None
    n_time_bins : int, default=1

    Notes
    -----
    The scores of overlapping folds are not independent: compare models with
    ``survimg.evaluation.corrected_resampled_t_test``.
    """

    _splitter = EventStratifiedKFold


class RepeatedEventStratifiedGroupKFold(_Repeated):
    """`EventStratifiedGroupKFold`, shuffled again for each repeat.

    Parameters
    ----------
    n_splits : int, default=5
    n_repeats : int, default=10
    random_state : int, RandomState or None, default=None
    n_time_bins : int, default=1
    """

    __metadata_request__split: ClassVar[dict[str, bool]] = {"groups": True}
    _splitter = EventStratifiedGroupKFold


def _place_groups(counts: np.ndarray, order: np.ndarray, n_splits: int) -> np.ndarray:
    """Assign groups (rows of `counts`, richest first) to folds; returns the fold of each group."""
    shares = counts / counts.sum(axis=0).clip(1)
    load = np.zeros((n_splits, counts.shape[1]))
    fold = np.empty(order.size, dtype=np.intp)
    for position, group in enumerate(order):
        # Adding c to loads l raises the sum of squares by 2 l.c + c.c: the least rise is most even.
        target = position if position < n_splits else int(np.argmin(load @ shares[position]))
        load[target] += shares[position]
        fold[group] = target
    return fold


def _folds(fold: np.ndarray, n_splits: int) -> Iterator[Split]:
    for k in range(n_splits):
        yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)


def _outcome(X: Any, y: Any) -> Split:
    if y is None:
        raise ValueError("Splitting by events needs y; pass the outcome (for a Cohort, X.outcome).")
    n_patients = X.shape[0] if hasattr(X, "shape") else len(X)
    labels = labels_of(y)
    y = y if labels is None else outcome_of_labels(labels)
    return check_outcome(y, n_patients=n_patients, ids=getattr(X, "ids", None))


def _groups(
    groups: npt.ArrayLike | None, n_patients: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
    if groups is None:
        raise ValueError(f"{name} needs the groups argument (for a Cohort, pass groups=X.groups).")
    values = np.asarray(groups)
    if values.shape != (n_patients,):
        raise ValueError(
            f"groups must have one entry per patient, shape ({n_patients},); got {values.shape}."
        )
    missing = np.flatnonzero(pd.isna(values))
    if missing.size:
        raise ValueError(f"groups has missing values, first at position {missing[0]}.")
    names, member = np.unique(values, return_inverse=True)
    if names.size < 2:
        raise ValueError(f"{name} needs at least two groups; all are in {names.tolist()}.")
    return names, member


def _check_parameters(
    n_splits: int, shuffle: bool, random_state: RandomState, n_time_bins: int
) -> None:
    if n_splits < 2:
        raise ValueError(f"n_splits must be at least 2; got {n_splits}.")
    if n_time_bins < 1:
        raise ValueError(f"n_time_bins must be at least 1; got {n_time_bins}.")
    if random_state is not None and not shuffle:
        raise ValueError(
            "random_state has no effect when shuffle is False; leave it None or set shuffle=True."
        )


def _require_events(available: int, n_splits: int, what: str) -> None:
    if available < n_splits:
        remedy = "Use fewer folds" if available > 1 else f"More {what} are needed"
        raise ValueError(
            f"{n_splits} folds with an event in each need at least {n_splits} {what}; there "
            f"{'is' if available == 1 else 'are'} {available}. {remedy}."
        )
