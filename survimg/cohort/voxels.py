"""The voxels of a cohort's patients: stores, one patient at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from survimg.cohort.checks import (
    check_on_invalid,
    check_voxels,
    clinical_columns,
    finite_voxels,
    name_channels,
    name_patients,
    take_masks,
)
from survimg.cohort.patient_columns import PatientColumns
from survimg.cohort.stores import ArrayStore, ImageFileStore, Store, as_store
from survimg.io.patients import PatientTable, aligned, check_ids, check_length

__all__ = ["PatientVoxels"]


class PatientVoxels(PatientColumns):
    """The patients' table with volumes and masks; see `survimg.Cohort`."""

    def __init__(
        self,
        volumes: npt.ArrayLike | Sequence[np.ndarray] | Store,
        masks: npt.ArrayLike | Sequence[np.ndarray | None] | Store | None = None,
        clinical: pd.DataFrame | Mapping[str, Any] | npt.ArrayLike | None = None,
        outcome: Any = None,
        ids: Sequence[str] | np.ndarray | None = None,
        groups: Sequence[Any] | np.ndarray | None = None,
        spacing: float | npt.ArrayLike | None = None,
        channel_names: Sequence[str] | None = None,
        time_unit: str | None = None,
        has_mask: npt.ArrayLike | None = None,
        present: npt.ArrayLike | None = None,
        on_invalid: Literal["raise", "fill"] = "raise",
        kinds: Mapping[str, str] | None = None,
    ) -> None:
        if isinstance(volumes, np.ndarray) and volumes.ndim == 4:
            volumes = volumes[:, np.newaxis]
        with np.errstate(over="ignore"):  # beyond float32: infinite, which is looked for below
            self._volumes = as_store(volumes, ndim=4, dtype=np.float32)
        n = len(self._volumes)
        if ids is None:
            parts = (clinical, outcome, groups, has_mask, present, spacing)
            ids, parts = name_patients(n, parts)
            clinical, outcome, groups, has_mask, present, spacing = parts
        names = check_length("ids", check_ids(ids), n)
        self.on_invalid = check_on_invalid(on_invalid)
        if isinstance(self._volumes, ArrayStore) and on_invalid == "raise":
            check_voxels(self._volumes, names)
        has_mask = aligned(has_mask, "has_mask", names)
        self._masks, available = take_masks(masks, has_mask, self._volumes, names)
        self._table = PatientTable(
            ids=names,
            channel_names=name_channels(channel_names, self._volumes.case_shape),
            outcome=outcome,
            time_unit=time_unit,
            groups=groups,  # type: ignore[arg-type]  # the table makes arrays of what it is given
            clinical=clinical_columns(clinical, kinds),
            has_mask=available,
            present=present,  # type: ignore[arg-type]
            spacing=spacing,  # type: ignore[arg-type]
        )
        self._index = np.arange(n)
        self._size: tuple[int, ...] | None = None  # of raw volumes, once `read_sizes` knows it
        #: What the store says of its making (preparation settings, versions); empty in memory.
        self.settings: dict[str, Any] = {}

    @classmethod
    def from_table(
        cls,
        table: PatientTable,
        volumes: npt.ArrayLike | Sequence[np.ndarray] | Store,
        masks: npt.ArrayLike | Sequence[np.ndarray | None] | Store | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Put voxels to a table of patients.

        Parameters
        ----------
        table : survimg.io.PatientTable
            Of a manifest, a store or another cohort.
        volumes, masks
            As in the constructor; the table says which patients have a mask.
        settings : mapping, optional
            How the volumes were prepared.
        """
        cohort = cls(
            volumes,
            masks=masks,
            has_mask=None if masks is None else table.has_mask,
            ids=table.ids,
            channel_names=table.channel_names,
        )
        shared = {f.name: getattr(table, f.name) for f in fields(PatientTable)}
        cohort._table = PatientTable(**{**shared, "has_mask": cohort._table.has_mask})
        cohort.settings = dict(settings or {})
        return cohort

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, channels, z, y, x)``; None for axes that differ, or may, between raw cases."""
        if self._size is not None:
            return (len(self), *self._size)
        return (len(self), *self._volumes.case_shape)  # type: ignore[arg-type]

    def read_sizes(self) -> bool:
        """Read every volume of a raw cohort once, and say in `shape` what all have in common.

        Returns
        -------
        bool
            Whether all volumes have one size, as networks and `save` need it.
        """
        if None in self.shape:
            sizes = {self.volume(i).shape for i in range(len(self))}
            if len(sizes) == 1:
                (self._size,) = sizes
        return None not in self.shape

    @property
    def spacing(self) -> np.ndarray | None:
        """Voxel size in mm, shape (n, 3) in the order (z, y, x), or None.

        Raw cohorts of image files read it from the files when it is first asked for.
        """
        if self._table.spacing is None and isinstance(self._volumes, ImageFileStore):
            return np.array([self._volumes.spacing(i) for i in self._index.tolist()])
        return self._of_slice(self._table.spacing)

    def volume(self, i: int | str) -> np.ndarray:
        """Return the voxels of a patient, float32, shape (channels, z, y, x).

        Parameters
        ----------
        i : int or str
            Position or identifier.
        """
        position = self._position(i)
        values = np.asarray(self._volumes.read(position), dtype=np.float32)
        return finite_voxels(values, self._table.ids[position], self.on_invalid)

    def mask(self, i: int | str) -> np.ndarray:
        """Return the tumour mask of a patient, uint8, shape (z, y, x).

        Parameters
        ----------
        i : int or str
            Position or identifier.

        Raises
        ------
        LookupError
            The patient has no mask.
        ValueError
            The mask holds values other than 0 and 1, or (in a raw cohort of files) lies elsewhere
            than the image.
        """
        position = self._position(i)
        patient = self._table.ids[position]
        if self._masks is None or not self._table.has_mask[position]:
            raise LookupError(
                f"Patient {patient!r} has no tumour mask. Give masks= to the Cohort (or a "
                "mask column in the manifest), or use a model that needs none."
            )
        mask = np.asarray(self._masks.read(position), dtype=np.uint8)
        if mask.max(initial=0) > 1:
            raise ValueError(
                f"The stored mask of patient {patient!r} holds values other than 0 and 1 "
                f"(up to {mask.max()})."
            )
        return mask

    def to_numpy(self) -> np.ndarray:
        """Read all volumes into one array of shape (n, channels, z, y, x)."""
        if not self.read_sizes():
            raise ValueError("A raw cohort holds volumes of different sizes; prepare it first.")
        return np.stack([self.volume(i) for i in range(len(self))])

    def case_key(self, i: int | str) -> str:
        """Return a key of a patient's voxels, mask and spacing, for caches.

        The key does not depend on the slice the patient is in, and changes whenever one of the
        three changes.
        """
        position = self._position(i)
        parts = [self._volumes.case_key(position)]
        if self._masks is not None and self._table.has_mask[position]:
            parts.append(self._masks.case_key(position))
        if self._table.spacing is not None:
            parts.append(repr(self._table.spacing[position].tolist()))
        parts.append(repr(self._table.present[position].tolist()))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _position(self, i: int | str) -> int:
        if isinstance(i, str):
            return int(self._index[self._positions_of([i])[0]])
        if not -len(self) <= i < len(self):
            raise IndexError(f"Patient {i} is out of range for a cohort of {len(self)} patients.")
        return int(self._index[i])
