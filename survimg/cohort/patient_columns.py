"""What a cohort knows of its patients beside their voxels, in the order of its slice."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd

from survimg.columns import as_frame, declare
from survimg.io.patients import PatientTable, listed
from survimg.target import OUTCOME_DTYPE, check_outcome

__all__ = ["PatientColumns"]


class PatientColumns:
    """The table of all patients, and the positions of those that a slice holds."""

    _table: PatientTable
    _index: np.ndarray

    def __len__(self) -> int:
        return len(self._index)

    @property
    def table(self) -> PatientTable:
        """All that is known of the patients but their voxels; no file is read for it."""
        return self._table.take(self._index)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels."""
        return self._table.channel_names

    @property
    def time_unit(self) -> str | None:
        """Unit of the outcome's times."""
        return self._table.time_unit

    @property
    def ids(self) -> np.ndarray:
        """Patient identifiers, shape (n,)."""
        return self._table.ids[self._index]

    @property
    def outcome(self) -> np.ndarray | None:
        """Structured array (event, time) of shape (n,), or None."""
        return self._of_slice(self._table.outcome)

    @property
    def groups(self) -> np.ndarray | None:
        """Centre of each patient, shape (n,), or None."""
        return self._of_slice(self._table.groups)

    @property
    def geometry(self) -> list[dict[str, Any]] | None:
        """Where each prepared volume lies in its patient; see `survimg.io.StoreHeader`."""
        geometry = self._table.geometry
        return None if geometry is None else [geometry[i] for i in self._index]

    @property
    def clinical(self) -> pd.DataFrame | None:
        """Clinical columns with a fresh RangeIndex, or None.

        A frame that kept the labels of a fold would be aligned by label, and so misaligned, when
        scikit-learn joins it to features of the same fold.
        """
        if self._table.clinical is None:
            return None
        return self._table.clinical.iloc[self._index].reset_index(drop=True)

    @property
    def has_masks(self) -> np.ndarray:
        """Which patients have a mask, shape (n,), bool."""
        return self._table.has_mask[self._index]

    @property
    def present(self) -> np.ndarray:
        """Which modalities each patient has, shape (n, channels), bool."""
        return self._table.present[self._index]

    def with_outcome(self, outcome: Any, time_unit: str | None = None) -> Self:
        """Return the same patients with another endpoint.

        Parameters
        ----------
        outcome : structured array of shape (n,), DataFrame or mapping
            See `survimg.target.make_outcome`.
        time_unit : str, optional
            Unit of the new times; by default that of this cohort.
        """
        event, time = check_outcome(outcome, n_patients=len(self), ids=list(self.ids))
        changed = copy.copy(self)
        # Patients outside this slice stay without an outcome; no index of `changed` reaches them.
        outcomes = np.zeros(len(self._table), dtype=OUTCOME_DTYPE)
        outcomes["event"][self._index], outcomes["time"][self._index] = event, time
        unit = self.time_unit if time_unit is None else time_unit
        changed._table = replace(self._table, outcome=outcomes, time_unit=unit)
        return changed

    def with_clinical(
        self,
        clinical: pd.DataFrame | Mapping[str, Any],
        *,
        kinds: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the same patients with further clinical columns.

        Parameters
        ----------
        clinical : DataFrame or mapping of name to column
            One row per patient; a DataFrame whose index holds identifiers is put into their order.
            A column that the cohort has already is replaced.
        kinds : mapping of str to str, optional
            As in `survimg.Cohort`.
        """
        more = declare(as_frame(clinical), kinds)
        added = replace(self.table, clinical=more).clinical  # checked, and in the order of ids
        assert added is not None
        before = self._table.clinical
        whole = pd.DataFrame(index=pd.RangeIndex(len(self._table))) if before is None else before
        rows = added.set_axis(self._index, axis=0).reindex(whole.index)
        rows = rows.astype(added.dtypes) if len(self) == len(whole) else rows
        changed = copy.copy(self)
        others = whole.drop(columns=[name for name in rows if name in whole])
        changed._table = replace(self._table, clinical=pd.concat([others, rows], axis=1))
        return changed

    def without_clinical(self, columns: Sequence[str]) -> Self:
        """Return the same patients without some clinical columns.

        Parameters
        ----------
        columns : sequence of str
            Names of those to leave out.

        Raises
        ------
        ValueError
            A column that the cohort does not have.
        """
        known = self._table.clinical
        names = [] if known is None else list(known.columns)
        absent = [name for name in columns if name not in names]
        if absent:
            raise ValueError(f"The cohort has no clinical column {absent[0]!r}; it has {names}.")
        changed = copy.copy(self)
        left = None if known is None else known.drop(columns=list(columns))
        changed._table = replace(
            self._table, clinical=None if left is None or left.empty else left
        )
        return changed

    def to_frame(self) -> pd.DataFrame:
        """Return outcome, groups and clinical columns in one table.

        Returns
        -------
        DataFrame
            Indexed by ``patient_id``; the columns ``time``, ``event`` and ``group`` where the
            cohort has them, then the clinical columns.

        Raises
        ------
        ValueError
            A clinical column has one of these names.
        """
        columns: dict[str, Any] = {}
        if self.outcome is not None:
            columns = {"time": self.outcome["time"], "event": self.outcome["event"]}
        if self.groups is not None:
            columns["group"] = self.groups
        clinical = pd.DataFrame() if self.clinical is None else self.clinical
        twice = [name for name in columns if name in clinical]
        if twice:
            raise ValueError(f"Clinical columns are named like outcome or groups: {twice}.")
        index = pd.Index(self.ids, name="patient_id")
        table = pd.DataFrame(columns, index=index)
        for name in clinical:
            table[name] = clinical[name].array
        return table

    def _positions_of(self, names: Sequence[str]) -> list[int]:
        """Return where patients stand in the slice.

        Raises
        ------
        IndexError
            No such patient.
        """
        positions = {name: i for i, name in enumerate(self.ids.tolist())}
        unknown = [name for name in names if name not in positions]
        if unknown:
            raise IndexError(
                f"There is no patient {unknown[0]!r} among {listed(self.ids.tolist())}."
            )
        return [positions[name] for name in names]

    def _of_slice(self, values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[self._index]
