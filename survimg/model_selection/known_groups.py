"""Folds inside a training set that keep the images of a patient, or other groups, together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import BaseCrossValidator

__all__ = ["KnownGroups"]


class KnownGroups(BaseCrossValidator):
    """A group-aware splitter that looks the groups up by patient identifier.

    A search or an ensemble inside a pipeline splits its training set without being given groups.
    This splitter knows them beforehand, for any subset of the patients.

    Parameters
    ----------
    splitter : splitter
        Group-aware, such as `EventStratifiedGroupKFold`.
    ids : sequence of str
        Identifiers of all patients.
    groups : sequence
        Group of each of them.

    Examples
    --------
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.model_selection import EventStratifiedGroupKFold
    >>> X = make_phantom_cohort(n=24, shape=(16, 16, 16), random_state=0).cohort
    >>> inner = KnownGroups(EventStratifiedGroupKFold(2), X.ids, [i // 2 for i in range(24)])
    >>> [len(test) for _, test in inner.split(X[:12], X.outcome[:12])]
    [6, 6]
    """

    def __init__(self, splitter: Any, ids: Sequence[str], groups: npt.ArrayLike) -> None:
        self.splitter = splitter
        self.ids = ids
        self.groups = groups

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        del X, y, groups
        return int(self.splitter.get_n_splits())

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the training and test positions of each fold.

        Parameters
        ----------
        X : Cohort
            Any of the known patients.
        y : structured array of shape (n,)
        groups : ignored
            The groups are those given at construction.

        Yields
        ------
        train, test : ndarray of shape (n_train,) and (n_test,), int

        Raises
        ------
        ValueError
            `X` has no identifiers, or a patient whose group is not known.
        """
        del groups
        if not hasattr(X, "ids"):
            raise ValueError(
                f"{type(X).__name__} has no patient identifiers to look groups up by; give a "
                "Cohort."
            )
        group_of = dict(zip(map(str, self.ids), np.asarray(self.groups).tolist(), strict=True))
        unknown = [str(name) for name in X.ids if str(name) not in group_of]
        if unknown:
            raise ValueError(f"The group of patient {unknown[0]!r} is not known.")
        yield from self.splitter.split(X, y, groups=[group_of[str(name)] for name in X.ids])
