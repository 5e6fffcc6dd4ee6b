"""The voxels of a cohort's patients: volumes, masks, organs, and where they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from survimg.cohort.checks import finite_voxels
from survimg.cohort.patient import Patient
from survimg.cohort.patient_columns import PatientColumns
from survimg.cohort.stores import ImageFileStore, MaskFileStore, Store
from survimg.io.images.image import Image
from survimg.io.images.masks import Label

__all__ = ["PatientVoxels"]


class PatientVoxels(PatientColumns):
    """The stores of all patients, read for those that a slice holds."""

    _volumes: Store
    _masks: Store | None
    on_invalid: Literal["raise", "fill"]

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

    def volume(self, i: int) -> np.ndarray:
        """Return the voxels of patient `i`, float32, shape (channels, z, y, x)."""
        position = self._position(i)
        values = np.asarray(self._volumes.read(position), dtype=np.float32)
        return finite_voxels(values, self._table.ids[position], self.on_invalid)

    def mask(self, i: int) -> np.ndarray:
        """Return the tumour mask of patient `i`, uint8, shape (z, y, x).

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

    def organs(self, i: int) -> np.ndarray | None:
        """Return the organs of patient `i` that shells leave out, uint8, shape (z, y, x).

        Returns
        -------
        ndarray of shape (z, y, x), or None
            None where none are known (the manifest's column ``organs``), or without a tumour mask.
        """
        if not self.has_masks[i]:
            return None
        marks = self.marks(i)
        return (marks == 2).astype(np.uint8) if marks.max(initial=0) > 1 else None

    def marks(self, i: int) -> np.ndarray:
        """Return tumour (1) and organs (2) of patient `i` in one array; as `mask`."""
        position = self._position(i)
        patient = self._table.ids[position]
        if self._masks is None or not self._table.has_mask[position]:
            raise LookupError(
                f"Patient {patient!r} has no tumour mask. Give masks= to the Cohort (or a "
                "mask column in the manifest), or use a model that needs none."
            )
        mask = np.asarray(self._masks.read(position), dtype=np.uint8)
        if mask.max(initial=0) > 2:
            raise ValueError(
                f"The stored mask of patient {patient!r} holds values other than 0, 1 and 2 "
                f"(up to {mask.max()})."
            )
        return mask

    def patient(self, i: int) -> Patient:
        """Return patient `i` as files, or arrays, each modality on its own grid.

        What `survimg.preprocessing.prepare` starts from; picklable, for other processes.
        """
        position = self._position(i)
        table = self._table
        mask_source: Any = None
        organs: Path | None = None
        present = table.present[position]
        if isinstance(self._volumes, ImageFileStore):
            sources: Sequence[Any] = self._volumes.paths(position)
        else:
            z, y, x = (1.0,) * 3 if table.spacing is None else table.spacing[position].tolist()
            sources = [Image(channel, (z, y, x)) for channel in self.volume(i)]
        if isinstance(self._masks, MaskFileStore) and table.has_mask[position]:
            mask_source = self._masks.path(position)
            organs = self._masks.organs(position)
        elif table.has_mask[position]:
            mask_source = self.mask(i)
        return Patient(
            id=str(table.ids[position]),
            channel_names=table.channel_names,
            sources=tuple(s if there else None for s, there in zip(sources, present, strict=True)),
            mask_source=mask_source,
            organ_source=organs,
            label=self.label,
            root=self._volumes.root if isinstance(self._volumes, ImageFileStore) else None,
            images_key=self._volumes.case_key(position),
            key=self.case_key(i),
        )

    def stored_axes(self, i: int) -> tuple[int, ...]:
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

    @property
    def label(self) -> Label:
        """The tumour's label in the masks of a raw cohort of files."""
        return self._masks.label if isinstance(self._masks, MaskFileStore) else None

    def case_key(self, i: int) -> str:
        """Return a key of patient `i`'s voxels, mask and spacing, for caches.

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

    def _position(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise IndexError(f"Patient {i} is out of range for a cohort of {len(self)} patients.")
        return int(self._index[i])
