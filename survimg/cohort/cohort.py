"""Volumes, masks, clinical columns and outcome of the same patients, sliced together."""

from __future__ import annotations

import copy
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import EllipsisType
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib.hashing import Hasher

from survimg.cohort.checks import as_positions
from survimg.cohort.finer_voxels import BlockStore, finer_settings, finer_table
from survimg.cohort.html import cohort_html
from survimg.cohort.stores import ImageFileStore, MaskFileStore, MemmapStore
from survimg.cohort.tables import (
    default_columns,
    parts_of_frame,
    table_of_dicts,
    without_odd_entries,
)
from survimg.cohort.torch_dataset import TorchCohort
from survimg.cohort.voxels import PatientVoxels
from survimg.io.images.masks import Label
from survimg.io.manifest import Manifest, read_manifest
from survimg.io.patients import aligned
from survimg.io.store.store import StoreWriter, read_store

__all__ = ["Cohort"]

PatientIndex: TypeAlias = (
    "int | np.integer | slice | Sequence[int] | np.ndarray | str | Sequence[str]"
)


class Cohort(PatientVoxels):
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
    clinical : DataFrame, dict of columns, or array-like of shape (n, k), optional
        Clinical columns: numbers, text, booleans or categories. What a cell means, and how it is
        encoded, estimators learn in `fit` (`survimg.columns`).
    outcome : structured array of shape (n,), DataFrame or dict, optional
        (event, time), or a table with columns of these names; see `survimg.target.make_outcome`.
    ids : sequence of str, optional
        Unique patient identifiers; by default the index of `clinical` or `outcome` where it holds
        names, else ``"case-0000"`` and so on. Parts with an index are put into the order of ids.
    groups : sequence, optional
        Centre (or any group) of each patient, for group-aware splitters; kept as text.
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
    kinds : mapping of str to str, optional
        Clinical columns that are ``"numeric"``, ``"categorical"`` or ``"boolean"`` whatever they
        look like, such as ``{"grade": "categorical"}`` for grades 1 to 3.

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
        store = read_store(folder)
        header = store.header
        masks = None if store.masks is None else MemmapStore(store.masks, header.mask_crc32)
        volumes = MemmapStore(store.volumes, header.volume_crc32)
        cohort = cls.from_table(store, volumes, masks, settings=store.settings)
        places = store.header.finer
        if places is None:
            return cohort
        shapes = [None if place is None else place["shape"] for place in places]
        blocks, mask_blocks = (
            BlockStore(store.header.finer_path, shapes, masks=masks) for masks in (False, True)
        )
        settings = finer_settings(store.settings)
        return cohort.with_finer(
            cls.from_table(finer_table(store, places), blocks, mask_blocks, settings=settings)
        )

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
        if not self.read_sizes():
            raise ValueError(
                "A raw cohort holds volumes of different sizes and cannot be saved as one array; "
                "prepare it first (survimg.preprocessing.prepare, or `survimg prepare`)."
            )
        names, masks = self.channel_names, bool(self.has_masks.any())
        with StoreWriter(
            folder, len(self), self.shape[1:], channel_names=names, masks=masks
        ) as writer:
            for i, patient in enumerate(self.ids):
                mask = self.marks(i) if self.has_masks[i] else None
                writer.write_case(
                    i, self.volume(i), mask, patient=patient, finer=self._finer_block(i)
                )
            writer.finish(self.table, settings=self.settings)
        return Cohort.load(folder)

    @classmethod
    def from_manifest(
        cls,
        csv: str | os.PathLike[str],
        modalities: Sequence[str] | None = None,
        *,
        label: Label = None,
        time_unit: str | None = None,
        allow_outside: bool = False,
        na_values: Sequence[str] = (),
        kinds: Mapping[str, str] | None = None,
    ) -> Cohort:
        """Build a raw cohort from a manifest; images are read when they are asked for.

        Parameters
        ----------
        csv : path-like
            Table with one row per patient; see `survimg.io.read_manifest` for its columns.
        modalities : sequence of str, optional
            Names of the image columns; by default every column that holds image paths.
        label : int, str or sequence of these, optional
            Label that marks the tumour in masks with several labels, or name of the RTSTRUCT
            contour; several are merged.
        time_unit : str, optional
            Unit of the column ``time``.
        allow_outside : bool, default=False
            Accept files outside the manifest's folder.
        na_values, kinds
            See `survimg.io.read_manifest`.
        """
        manifest = read_manifest(
            csv, modalities, allow_outside=allow_outside, na_values=na_values, kinds=kinds
        )
        return cls.of_manifest(manifest, label, time_unit)

    @classmethod
    def of_manifest(cls, manifest: Manifest, label: Label, time_unit: str | None) -> Cohort:
        """Build a raw cohort from a manifest that is read already; see `from_manifest`."""
        rows = list(zip(*manifest.images.values(), strict=True))
        images = ImageFileStore(rows, manifest.root)
        masks = None
        if manifest.has_mask.any():
            masks = MaskFileStore(manifest.masks, images, label, manifest.organs)
        return cls.from_table(replace(manifest, time_unit=time_unit), images, masks)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        images: str | Sequence[str] | Mapping[str, Sequence[Any]],
        *,
        mask: str | Sequence[Any] | None = None,
        time: str | None = None,
        event: str | None = None,
        patient_id: str | None = None,
        group: str | None = None,
        clinical: Sequence[str] | None = None,
        kinds: Mapping[str, str] | None = None,
        spacing: float | npt.ArrayLike | None = None,
        label: Label = None,
        time_unit: str | None = None,
        folder: str | os.PathLike[str] = ".",
    ) -> Cohort:
        """Build a cohort from a table with one row per patient.

        Parameters
        ----------
        frame : DataFrame
            One row for each patient.
        images : str, sequence of str, or mapping of name to sequence
            Columns with the images, in the order of the channels; or the images themselves. An
            image is a path, an array (z, y, x) or (channel, z, y, x), or an image of nibabel,
            SimpleITK or TorchIO. None or an empty cell: the patient lacks it. Files are read when
            they are asked for.
        mask : str or sequence, optional
            Column with the tumour masks, or these; in the form of the images.
        time, event, patient_id, group : str, optional
            Columns; by default those of these names, where there are such. Without ``patient_id``
            the index names the patients, where it holds names.
        clinical : sequence of str, optional
            Clinical columns; by default all that are left.
        kinds : mapping of str to str, optional
            As in the constructor.
        spacing : float, triple or array-like of shape (n, 3), optional
            Voxel size (z, y, x) in mm, of arrays only; images say it themselves.
        label : int, str or sequence of these, optional
            Label that marks the tumour in masks with several labels, or several that are merged.
        time_unit : str, optional
            Unit of the times, for example ``"months"``.
        folder : path-like, default="."
            Where relative paths begin.

        Raises
        ------
        ValueError, TypeError
            Columns that are not there, patients without images, cells that are no images; the
            message names patient and column.
        FileNotFoundError
            A path leads nowhere.
        """
        return cls.from_table(
            *parts_of_frame(
                frame, images=images, mask=mask, time=time, event=event, patient_id=patient_id,
                group=group, clinical=clinical, kinds=kinds, spacing=spacing, label=label,
                time_unit=time_unit, folder=Path(folder),
            )
        )

    @classmethod
    def from_dicts(
        cls,
        dicts: Iterable[Mapping[str, Any]],
        images: str | Sequence[str] | None = None,
        *,
        mask: str | None = None,
        time: str | None = None,
        event: str | None = None,
        patient_id: str | None = None,
        group: str | None = None,
        clinical: Sequence[str] | None = None,
        kinds: Mapping[str, str] | None = None,
        spacing: float | npt.ArrayLike | None = None,
        label: Label = None,
        time_unit: str | None = None,
        folder: str | os.PathLike[str] = ".",
    ) -> Cohort:
        """Build a cohort from one dict per patient: MONAI's lists and datasets, TorchIO's subjects.

        Parameters
        ----------
        dicts : iterable of mapping
            One for each patient, with images, mask, outcome and clinical values.
        images : str or sequence of str, optional
            Keys of the images; by default ``image``, or every `ScalarImage` of TorchIO. A list of
            paths under one key is one channel each.
        mask : str, optional
            Key of the tumour mask; by default ``mask``, ``label`` or ``seg``, or TorchIO's
            `LabelMap`.
        patient_id : str, optional
            Key of the identifiers; by default ``patient_id``, ``subject_id`` or ``id``.
        clinical : sequence of str, optional
            Keys of clinical values; by default all that are left and hold single values.
        time, event, group, kinds, spacing, label, time_unit, folder
            As in `from_frame`, which also says what images may be.
        """
        frame = table_of_dicts(dicts)
        image_names, mask_name, id_name = default_columns(frame, images)
        mask, patient_id = mask or mask_name, patient_id or id_name
        return cls.from_frame(
            without_odd_entries(frame, [*image_names, mask]), image_names, mask=mask, time=time,
            event=event, patient_id=patient_id, group=group, clinical=clinical, kinds=kinds,
            spacing=spacing, label=label, time_unit=time_unit, folder=folder,
        )

    def to_torch_dataset(self, clinical: pd.DataFrame | npt.ArrayLike | None = None) -> TorchCohort:
        """Return the patients as a dataset of torch, for a ``DataLoader`` and a loop of your own.

        Parameters
        ----------
        clinical : DataFrame or array-like of shape (n, k), optional
            Encoded clinical columns, such as ``ClinicalFeatures().fit(train).transform(cohort)``;
            by default the cohort's own, if all of them are numbers.

        Returns
        -------
        TorchCohort
            One dict of tensors per patient: ``volume`` (channels, z, y, x); ``mask`` (1, z, y, x)
            and ``has_mask``; ``clinical`` (k,); ``time`` and ``event``; each where the cohort has
            it.
        """
        return TorchCohort(self, clinical)

    # ------------------------------------------------------------------ what scikit-learn uses

    def __getitem__(self, key: PatientIndex | tuple[PatientIndex, EllipsisType]) -> Any:
        """Select patients: an int gives one volume, everything else a cohort.

        Parameters
        ----------
        key : int, slice, integer array, boolean array, str, sequence of str, or (key, Ellipsis)
            Names are identifiers of patients; a single one gives a cohort of one patient. A Series
            of booleans that names the patients is put into their order. The tuple form is what
            scikit-learn 1.9 uses for arrays of any dimension.

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
        if isinstance(key, str) or (
            isinstance(key, list | tuple | np.ndarray) and len(key) and isinstance(key[0], str)
        ):
            key = self._positions_of([key] if isinstance(key, str) else [str(n) for n in key])
        if isinstance(key, pd.Series) and key.dtype.kind == "b":
            key = aligned(key, "the index", self.ids)
        selection = copy.copy(self)
        selection._index = self._index[as_positions(key, len(self))]
        return selection

    def take(self, indices: npt.ArrayLike, axis: int = 0) -> Cohort:
        """Return the patients at the given positions.

        Parameters
        ----------
        indices : array-like of shape (m,), int
            In the order of the result; negative ones count from the end.
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
        shell = object.__sizeof__(self) + sys.getsizeof(self._index)
        finer = 0 if self._finer is None else self._finer.__sizeof__()
        stores = (self._volumes, self._masks)
        return shell + finer + sum(s.nbytes_in_memory for s in stores if s is not None)

    def __repr__(self) -> str:
        size = "x".join("?" if s is None else str(s) for s in self.shape[2:])
        parts = [f"n={len(self)}", f"channels={'+'.join(self.channel_names)}", f"size={size}"]
        parts.append(f"masks={int(self.has_masks.sum())}")
        if self._finer is not None:
            parts.append("finer=yes")
        if self._table.clinical is not None:
            parts.append(f"clinical={list(self._table.clinical.columns)}")
        if self.outcome is not None:
            parts.append(f"events={int(self.outcome['event'].sum())}")
        return f"Cohort({', '.join(parts)})"

    def _repr_html_(self) -> str:
        # The table knows no spacing of image files, which would have to be read for it.
        in_files = isinstance(self._volumes, ImageFileStore)
        return cohort_html(
            self.table, self.shape[2:], in_files=in_files, volume=self.volume, mask=self.mask
        )

    # ------------------------------------------------------------------ data of the patients

    # ------------------------------------------------------------------ identity

    def fingerprint(self) -> str:
        """Return a digest of everything the cohort holds, without reading memory-mapped voxels."""
        digest = hashlib.sha256(repr((self.channel_names, self.time_unit)).encode())
        for i in range(len(self)):
            digest.update(self.case_key(i).encode())
        digest.update("\n".join(self.ids.tolist()).encode())
        for array in (self.outcome, self.groups):
            digest.update(b"none" if array is None else repr(array.tolist()).encode())
        digest.update(b"" if self.finer is None else self.finer.fingerprint().encode())
        if (frame := self.clinical) is not None:
            # The text of a table does not tell 1 from "1", nor the order of categories.
            types = [getattr(dtype, "categories", dtype) for dtype in frame.dtypes]
            digest.update(repr([list(t) if isinstance(t, pd.Index) else t for t in types]).encode())
            digest.update(frame.to_csv(index=False).encode())
        return digest.hexdigest()


def _save_fingerprint(hasher: Hasher, cohort: Cohort) -> None:
    hasher.save(("survimg.Cohort", cohort.fingerprint()))


# joblib.hash (and with it Memory and Pipeline(memory=...)) would read every voxel at every call.
Hasher.dispatch[Cohort] = _save_fingerprint
