"""Volumes, masks, clinical columns and outcome of the same patients, sliced together."""

from __future__ import annotations

import copy
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from types import EllipsisType
from typing import Any, Literal, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib.hashing import Hasher

from survimg.cohort.checks import (
    as_positions,
    check_channel_names,
    check_clinical,
    check_cohort_outcome,
    check_ids,
    check_length,
    check_on_invalid,
    check_present,
    check_spacing,
    check_voxels,
    finite_voxels,
    take_masks,
)
from survimg.cohort.html import cohort_html
from survimg.cohort.reading import manifest_arguments, stored_arguments
from survimg.cohort.saving import write_cohort
from survimg.cohort.stores import ArrayStore, ImageFileStore, Store, as_store
from survimg.io.store.store import read_store
from survimg.target import OUTCOME_DTYPE, check_outcome

__all__ = ["Cohort"]

PatientIndex: TypeAlias = "int | np.integer | slice | Sequence[int] | np.ndarray"


class Cohort:
    """Volumes, masks, clinical columns and outcome of n patients: the ``X`` of every estimator.

    Slicing selects patients and touches no voxel; volumes are read one case at a time when an
    estimator asks for them. scikit-learn's cross-validation, searches and pipelines slice a cohort
    as they slice an array.

    Parameters
    ----------
    volumes : array-like of shape (n, channels, z, y, x) or (n, z, y, x), sequence, or store
        float32 voxels. A sequence may hold volumes of different sizes (a raw cohort). A memory map
        of a whole ``.npy`` file with all five axes is kept as that file. Arrays are not copied:
        do not write to them afterwards.
    masks : array-like of shape (n, z, y, x), sequence of (array or None), or store, optional
        Tumour masks, 0 outside and 1 inside. None in a sequence marks a patient without a mask.
    clinical : DataFrame or array-like of shape (n, k), optional
        Clinical columns, numeric or categorical. Estimators learn the encoding in `fit`.
    outcome : structured array of shape (n,), optional
        (event, time); see `survimg.target.make_outcome`.
    ids : sequence of str, optional
        Unique patient identifiers; by default ``"case-0000"`` and so on.
    groups : sequence, optional
        Centre (or any group) of each patient, for group-aware splitters.
    spacing : float, triple or array-like of shape (n, 3), optional
        Voxel size in mm in the order (z, y, x).
    channel_names : sequence of str, optional
        For example ``("PET", "CT")``; by default ``"channel0"`` and so on.
    time_unit : str, optional
        Unit of the outcome's time, for example ``"months"``.
    has_mask : array-like of shape (n,), bool, optional
        Which patients have a mask, when `masks` is an array that has a row for everyone.
    present : array-like of shape (n, channels), bool, optional
        Which modalities each patient has. Networks see an absent one as zeros; radiomics gives NaN.
    on_invalid : {"raise", "fill"}, default="raise"
        What to do with voxels that are NaN or infinite: refuse the patient by name (arrays in
        memory at once, files when they are read), or replace them by the lowest finite value of
        their channel (air in CT, nothing in PET) with a warning that names the patient.

    Attributes
    ----------
    shape : tuple
        ``(n, channels, z, y, x)``; None for the axes that differ between the cases of a raw cohort.
    ndim : int
        Always 5.
    dtype : dtype
        Always float32.

    Raises
    ------
    ValueError
        Parts of unequal length, duplicate or empty identifiers, a mask whose shape differs from its
        volume, an invalid outcome (see `survimg.target.check_outcome`), voxels that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from survimg import Cohort
    >>> cohort = Cohort(np.zeros((4, 2, 16, 16, 16), dtype="float32"), channel_names=("PET", "CT"))
    >>> cohort[1:3].shape
    (2, 2, 16, 16, 16)
    """

    ndim = 5
    dtype = np.dtype(np.float32)

    def __init__(
        self,
        volumes: npt.ArrayLike | Sequence[np.ndarray] | Store,
        masks: npt.ArrayLike | Sequence[np.ndarray | None] | Store | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
        outcome: np.ndarray | None = None,
        ids: Sequence[str] | np.ndarray | None = None,
        groups: Sequence[Any] | np.ndarray | None = None,
        spacing: float | npt.ArrayLike | None = None,
        channel_names: Sequence[str] | None = None,
        time_unit: str | None = None,
        has_mask: npt.ArrayLike | None = None,
        present: npt.ArrayLike | None = None,
        on_invalid: Literal["raise", "fill"] = "raise",
    ) -> None:
        if isinstance(volumes, np.ndarray) and volumes.ndim == 4:
            volumes = volumes[:, np.newaxis]
        with np.errstate(over="ignore"):  # beyond float32: infinite, which is looked for below
            self._volumes = as_store(volumes, ndim=4, dtype=np.float32)
        n = len(self._volumes)
        self._index = np.arange(n)
        self._ids = check_ids(ids, n)
        self.on_invalid = check_on_invalid(on_invalid)
        if isinstance(self._volumes, ArrayStore) and on_invalid == "raise":
            check_voxels(self._volumes, self._ids)
        self._masks, self._has_mask = take_masks(masks, has_mask, self._volumes, self._ids)
        self._clinical = check_clinical(clinical, n)
        self._outcome = check_cohort_outcome(outcome, self._ids)
        self._groups = None if groups is None else check_length("groups", np.asarray(groups), n)
        self._spacing = None if spacing is None else check_spacing(spacing, n)
        self.channel_names = check_channel_names(channel_names, self._volumes.case_shape[0])
        self._present = check_present(present, n, len(self.channel_names))
        self.time_unit = time_unit
        #: What the store says of its making (preparation settings, versions); empty in memory.
        self.settings: dict[str, Any] = {}
        self._geometry: tuple[dict[str, Any], ...] | None = None

    # ------------------------------------------------------------------ reading and writing

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Cohort:
        """Open a prepared cohort; voxels stay on disk, memory-mapped.

        Parameters
        ----------
        folder : path-like
            Folder written by `Cohort.save` or ``survimg prepare``.

        Raises
        ------
        FileNotFoundError, ValueError
            The folder is no finished cohort, or its files do not fit together.
        """
        stored = read_store(folder)
        cohort = cls(**stored_arguments(stored))
        cohort.settings = stored.settings
        cohort._geometry = stored.header.geometry
        return cohort

    def save(self, folder: str | os.PathLike[str]) -> Cohort:
        """Write the cohort to a folder of memory-mapped files and open it from there.

        Parameters
        ----------
        folder : path-like
            A folder that does not exist yet, or is empty.

        Returns
        -------
        Cohort
            The same patients, backed by the folder.

        Raises
        ------
        ValueError
            The cohort is raw (cases of different sizes); prepare it first.
        FileExistsError
            The folder holds files already.
        """
        if None in self.shape:
            raise ValueError(
                "A raw cohort holds volumes of different sizes and cannot be saved as one array; "
                "prepare it first (survimg.preprocessing.prepare_cohort, or `survimg prepare`)."
            )
        write_cohort(self, folder)
        return Cohort.load(folder)

    @classmethod
    def from_manifest(
        cls,
        csv: str | os.PathLike[str],
        modalities: Sequence[str] | None = None,
        *,
        label: int | str | None = None,
        time_unit: str | None = None,
        allow_outside: bool = False,
    ) -> Cohort:
        """Build a raw cohort from a manifest; images are read when they are asked for.

        Parameters
        ----------
        csv : path-like
            Table with one row per patient; see `survimg.io.read_manifest` for its columns.
        modalities : sequence of str, optional
            Names of the image columns; by default every column that holds image paths.
        label : int or str, optional
            Label that marks the tumour in masks with several labels, or name of the RTSTRUCT
            contour.
        time_unit : str, optional
            Unit of the column ``time``.
        allow_outside : bool, default=False
            Accept image paths outside the manifest's folder.
        """
        found = manifest_arguments(csv, modalities, label, allow_outside)
        return cls(**found, time_unit=time_unit)

    # ------------------------------------------------------------------ what scikit-learn uses

    def __len__(self) -> int:
        return len(self._index)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, channels, z, y, x)``; None for axes that differ between raw cases."""
        return (len(self), *self._volumes.case_shape)  # type: ignore[arg-type]

    def __getitem__(self, key: PatientIndex | tuple[PatientIndex, EllipsisType]) -> Any:
        """Select patients: an int gives one volume, everything else a cohort.

        Parameters
        ----------
        key : int, slice, integer array, boolean array, or (key, Ellipsis)
            The tuple form is what scikit-learn 1.9 uses for arrays of any dimension.

        Returns
        -------
        ndarray of shape (channels, z, y, x), or Cohort
        """
        if isinstance(key, tuple):
            if len(key) != 2 or key[1] is not Ellipsis:
                raise IndexError(
                    f"A cohort is indexed by patients only, got {key!r}; use cohort.volume(i) for "
                    "the voxels of one patient."
                )
            key = key[0]
        if isinstance(key, int | np.integer):
            return self.volume(int(key))
        chosen = copy.copy(self)
        chosen._index = self._index[as_positions(key, len(self))]
        return chosen

    def take(self, indices: npt.ArrayLike, axis: int = 0) -> Cohort:
        """Return the patients at the given positions.

        Parameters
        ----------
        indices : array-like of shape (m,), int
        axis : int, default=0
            Only 0, the axis of the patients.
        """
        if axis != 0:
            raise IndexError(f"A cohort can be indexed along axis 0 (patients) only; got {axis}.")
        return self[np.asarray(indices, dtype=np.intp)]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.volume(i) for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError(
            f"{self!r} is not turned into one array implicitly: tabular estimators need features, "
            "so put an extractor before them (make_pipeline(RadiomicsFeatures(), ...), say); "
            "for the voxels themselves call cohort.to_numpy()."
        )

    def __sizeof__(self) -> int:
        # Dask decides by size whether to ship an object once or with every task.
        own = object.__sizeof__(self) + sys.getsizeof(self._index)
        return own + sum(s.nbytes_in_memory for s in (self._volumes, self._masks) if s is not None)

    def __repr__(self) -> str:
        size = "x".join("?" if s is None else str(s) for s in self.shape[2:])
        parts = [f"n={len(self)}", f"channels={'+'.join(self.channel_names)}", f"size={size}"]
        parts.append(f"masks={int(self.has_masks.sum())}")
        if self._clinical is not None:
            parts.append(f"clinical={list(self._clinical.columns)}")
        if self._outcome is not None:
            parts.append(f"events={int(self._outcome['event'][self._index].sum())}")
        return f"Cohort({', '.join(parts)})"

    _repr_html_ = cohort_html

    # ------------------------------------------------------------------ data of the patients

    @property
    def ids(self) -> np.ndarray:
        """Patient identifiers, shape (n,)."""
        return self._ids[self._index]

    @property
    def outcome(self) -> np.ndarray | None:
        """Structured array (event, time) of shape (n,), or None."""
        return None if self._outcome is None else self._outcome[self._index]

    @property
    def groups(self) -> np.ndarray | None:
        """Centre of each patient, shape (n,), or None."""
        return None if self._groups is None else self._groups[self._index]

    @property
    def spacing(self) -> np.ndarray | None:
        """Voxel size in mm, shape (n, 3) in the order (z, y, x), or None.

        Raw cohorts of image files read it from the files when it is first asked for.
        """
        if self._spacing is None and isinstance(self._volumes, ImageFileStore):
            return np.array([self._volumes.spacing(i) for i in self._index.tolist()])
        return None if self._spacing is None else self._spacing[self._index]

    @property
    def geometry(self) -> list[dict[str, Any]] | None:
        """Where each prepared volume lies in its patient; see `survimg.io.StoreHeader`."""
        return None if self._geometry is None else [self._geometry[i] for i in self._index]

    @property
    def clinical(self) -> pd.DataFrame | None:
        """Clinical columns with a fresh RangeIndex, or None.

        A frame that kept the labels of a fold would be aligned by label, and so misaligned, when
        scikit-learn joins it to features of the same fold.
        """
        if self._clinical is None:
            return None
        return self._clinical.iloc[self._index].reset_index(drop=True)

    @property
    def has_masks(self) -> np.ndarray:
        """Which patients have a mask, shape (n,), bool."""
        return self._has_mask[self._index]

    @property
    def present(self) -> np.ndarray:
        """Which modalities each patient has, shape (n, channels), bool."""
        return self._present[self._index]

    def volume(self, i: int) -> np.ndarray:
        """Return the voxels of patient `i`, float32, shape (channels, z, y, x)."""
        position = self._position(i)
        values = np.asarray(self._volumes.read(position), dtype=np.float32)
        return finite_voxels(values, self._ids[position], self.on_invalid)

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
        position = self._position(i)
        if self._masks is None or not self._has_mask[position]:
            raise LookupError(
                f"Patient {self._ids[position]!r} has no tumour mask. Give masks= to the Cohort "
                "(or a mask column in the manifest), or use a model that needs none."
            )
        mask = np.asarray(self._masks.read(position), dtype=np.uint8)
        if mask.max(initial=0) > 1:
            raise ValueError(
                f"The stored mask of patient {self._ids[position]!r} holds values other than 0 "
                f"and 1 (up to {mask.max()})."
            )
        return mask

    def to_numpy(self) -> np.ndarray:
        """Read all volumes into one array of shape (n, channels, z, y, x)."""
        if None in self.shape:
            raise ValueError("A raw cohort holds volumes of different sizes; prepare it first.")
        return np.stack([self.volume(i) for i in range(len(self))])

    def with_outcome(self, outcome: np.ndarray, time_unit: str | None = None) -> Cohort:
        """Return the same patients with another endpoint.

        Parameters
        ----------
        outcome : structured array of shape (n,)
        time_unit : str, optional
            Unit of the new times; by default that of this cohort.
        """
        event, time = check_outcome(outcome, n_patients=len(self), ids=list(self.ids))
        changed = copy.copy(self)
        # Patients outside this slice stay without an outcome; no index of `changed` reaches them.
        changed._outcome = np.zeros(len(self._ids), dtype=OUTCOME_DTYPE)
        changed._outcome["event"][self._index] = event
        changed._outcome["time"][self._index] = time
        changed.time_unit = self.time_unit if time_unit is None else time_unit
        return changed

    # ------------------------------------------------------------------ identity

    def case_key(self, i: int) -> str:
        """Return a key of patient `i`'s voxels, mask and spacing, for caches.

        The key does not depend on the slice the patient is in, and changes whenever one of the
        three changes.
        """
        position = self._position(i)
        parts = [self._volumes.case_key(position)]
        if self._masks is not None and self._has_mask[position]:
            parts.append(self._masks.case_key(position))
        if self._spacing is not None:
            parts.append(repr(self._spacing[position].tolist()))
        parts.append(repr(self._present[position].tolist()))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def fingerprint(self) -> str:
        """Return a digest of everything the cohort holds, without reading memory-mapped voxels."""
        digest = hashlib.sha256(repr((self.channel_names, self.time_unit)).encode())
        for i in range(len(self)):
            digest.update(self.case_key(i).encode())
        digest.update("\n".join(self.ids.tolist()).encode())
        for array in (self.outcome, self.groups):
            digest.update(b"none" if array is None else repr(array.tolist()).encode())
        if self._clinical is not None:
            frame = self._clinical.iloc[self._index]
            # The text of a table does not tell 1 from "1", nor the order of categories.
            types = [getattr(dtype, "categories", dtype) for dtype in frame.dtypes]
            digest.update(repr([list(t) if isinstance(t, pd.Index) else t for t in types]).encode())
            digest.update(frame.to_csv(index=False).encode())
        return digest.hexdigest()

    # ------------------------------------------------------------------ internal

    def _position(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise IndexError(f"Patient {i} is out of range for a cohort of {len(self)} patients.")
        return int(self._index[i])


def _save_fingerprint(hasher: Hasher, cohort: Cohort) -> None:
    hasher.save(("survimg.Cohort", cohort.fingerprint()))


# joblib.hash (and with it Memory and Pipeline(memory=...)) would read every voxel at every call.
Hasher.dispatch[Cohort] = _save_fingerprint
