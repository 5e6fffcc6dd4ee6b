"""The voxels of a cohort's patients: stores, one patient at a time."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
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
from survimg.cohort.patient import Patient
from survimg.cohort.patient_columns import PatientColumns
from survimg.cohort.stores import ArrayStore, ImageFileStore, MaskFileStore, Store, as_store
from survimg.io.images.image import Image
from survimg.io.images.masks import Label
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
        self._finer: Self | None = None
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

    @property
    def has_spacing(self) -> bool:
        """Whether voxel sizes are known; reads no file."""
        return self._table.spacing is not None or isinstance(self._volumes, ImageFileStore)

    def volume(self, i: int | str) -> np.ndarray:
        """Return the voxels of a patient, float32, shape (channels, z, y, x).

        Parameters
        ----------
        i : int or str
            Position or identifier.
        """
        position = self._position(i)
        values = np.asarray(self._read(self._volumes, position), dtype=np.float32)
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
        marks = self.marks(i)
        return (marks == 1).astype(np.uint8) if marks.max(initial=0) > 1 else marks

    def organs(self, i: int | str) -> np.ndarray | None:
        """Return the organs of patient `i` that shells leave out, uint8, shape (z, y, x).

        Returns
        -------
        ndarray of shape (z, y, x), or None
            None where none are known (the manifest's column ``organs``), or without a tumour mask.
        """
        if not self._table.has_mask[self._position(i)]:
            return None
        marks = self.marks(i)
        return (marks == 2).astype(np.uint8) if marks.max(initial=0) > 1 else None

    def marks(self, i: int | str) -> np.ndarray:
        """Return tumour (1) and organs (2) of patient `i` in one array; as `mask`."""
        position = self._position(i)
        patient = self._table.ids[position]
        if self._masks is None or not self._table.has_mask[position]:
            raise LookupError(
                f"Patient {patient!r} has no tumour mask. Give masks= to the Cohort (or a "
                "mask column in the manifest), or use a model that needs none."
            )
        mask = np.asarray(self._read(self._masks, position), dtype=np.uint8)
        if mask.max(initial=0) > 2:
            raise ValueError(
                f"The stored mask of patient {patient!r} holds values other than 0, 1 and 2 "
                f"(up to {mask.max()})."
            )
        return mask

    def patient(self, i: int | str) -> Patient:
        """Return patient `i` as files, or arrays, each modality on its own grid.

        What `survimg.preprocessing.prepare` starts from; picklable, for other processes.
        """
        position = self._position(i)
        table = self._table
        mask_source: Any = None
        organs: Path | Image | None = None
        present = table.present[position]
        if isinstance(self._volumes, ImageFileStore):
            sources: Sequence[Any] = self._volumes.sources(position)
        else:
            z, y, x = (1.0,) * 3 if table.spacing is None else table.spacing[position].tolist()
            sources = [Image(channel, (z, y, x)) for channel in self.volume(i)]
        if isinstance(self._masks, MaskFileStore) and table.has_mask[position]:
            mask_source = self._masks.source(position)
            organs = self._masks.organs(position)
        elif table.has_mask[position]:
            mask_source = self.mask(i)
        return Patient(
            id=str(table.ids[position]),
            channel_names=table.channel_names,
            sources=tuple(s if there else None for s, there in zip(sources, present, strict=True)),
            mask_source=mask_source,
            organ_source=organs,
            label=self._label_of(position),
            root=self._volumes.root if isinstance(self._volumes, ImageFileStore) else None,
            images_key=self._volumes.case_key(position),
            key=self.case_key(i),
        )

    def stored_axes(self, i: int | str) -> tuple[int, ...]:
        """Return how the axes of patient `i`'s first file run; see `survimg.io.Image`.

        Raises
        ------
        ValueError
            The cohort does not know: it was made of arrays, registered, or prepared long ago.
        """
        position = self._position(i)
        if isinstance(self._volumes, ImageFileStore):
            return self._volumes.grid(position).stored
        geometry = self._table.geometry
        place = {} if geometry is None else geometry[position]
        if "registration" in place or "stored" not in place.get("image", {}):
            raise ValueError(
                f"Patient {self._table.ids[position]!r}: the cohort does not say how the axes of "
                "the patient's file run (it was made of arrays, registered to a template, or "
                "prepared by an earlier survimg)."
            )
        return tuple(place["image"]["stored"])

    def _label_of(self, position: int) -> Label:
        masks = self._masks
        return masks.label_of(position) if isinstance(masks, MaskFileStore) else None

    @property
    def label(self) -> Label:
        """The tumour's label in the masks of a raw cohort of files."""
        return self._masks.label if isinstance(self._masks, MaskFileStore) else None

    def with_finer(self, finer: Self) -> Self:
        """Return the cohort with finer voxels of the same patients; see `finer`.

        Parameters
        ----------
        finer : Cohort
            Volumes in SUV and HU around each tumour, of the same patients in the same order.

        Raises
        ------
        ValueError
            They are others, or in another order.
        """
        if self.ids.tolist() != finer.ids.tolist():
            raise ValueError("The finer voxels are of other patients, or in another order.")
        if len(self) != len(self._table):
            raise ValueError("Give finer voxels to the whole cohort, before it is sliced.")
        changed = copy.copy(self)
        changed._finer = finer
        return changed

    @property
    def finer(self) -> Self | None:
        """The same patients around their tumours, finer and in SUV and HU, or None.

        Kept by a preparation with `features_spacing`, for features: radiomics, PET parameters and
        tumour volumes are measured on it. Patients without a mask have no voxels there.
        """
        if self._finer is None:
            return None
        part = copy.copy(self._finer)
        part._index = self._finer._index[self._index]
        return part

    def _finer_block(self, i: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]] | None:
        finer = self.finer
        if finer is None or not finer.has_masks[i] or finer.geometry is None:
            return None
        return finer.volume(i), finer.marks(i), finer.geometry[i]

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

    def _read(self, store: Store, position: int) -> np.ndarray:
        try:
            return store.read(position)
        except ValueError as error:
            raise ValueError(f"Patient {self._table.ids[position]!r}: {error}") from error

    def _position(self, i: int | str) -> int:
        if isinstance(i, str):
            return int(self._index[self._positions_of([i])[0]])
        if not -len(self) <= i < len(self):
            raise IndexError(f"Patient {i} is out of range for a cohort of {len(self)} patients.")
        return int(self._index[i])
