"""Reading the folder of a prepared cohort, with every check that needs no voxel."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from survimg.files import check_npy, read_json
from survimg.io.images.image import Image
from survimg.io.patients import PatientTable
from survimg.io.store.table import read_table

__all__ = ["FORMAT", "VERSION", "StoreHeader", "StoredCohort", "read_store", "read_store_header"]

FORMAT = "survimg-cohort"
VERSION = 1


@dataclass(frozen=True)
class StoreHeader:
    """What ``cohort.json`` says, checked against the files beside it.

    Attributes
    ----------
    folder : Path
    shape : tuple of int
        ``(n, channels, z, y, x)``.
    channel_names : tuple of str
    has_masks : bool
        Whether there is a ``masks.npy``; which patients have a mask is in the table.
    time_unit : str or None
    spacing : ndarray of shape (n, 3), float64, or None
        mm, in ``(z, y, x)`` order.
    settings : dict
        Settings of the preparation; empty where volumes were stored as given.
    versions : dict of str to str
        Versions of the libraries that wrote the folder.
    geometry : tuple of dict, or None
        Per patient: ``origin`` (x, y, z) and ``direction`` (9 numbers, row-major) of the stored
        grid in world coordinates (LPS, mm), from which a mask or a saliency map is carried back
        into the patient's own image.
    clinical_dtypes : dict
        Types of the clinical columns, as `survimg.io.store.table` writes them.
    finer : tuple of (dict or None), or None
        Per patient ``shape``, ``spacing``, ``origin`` and ``direction`` of the block in ``finer/``;
        None where the patient has none, or nobody has.
    table_sha256 : str or None
        Checksum of ``table.csv``; None in cohorts of survimg's first days.
    volume_crc32, mask_crc32 : tuple of (int or None)
        Checksum of each patient's volume and mask, compared when they are first read; empty in
        cohorts of survimg's first days.
    """

    folder: Path
    shape: tuple[int, int, int, int, int]
    channel_names: tuple[str, ...]
    has_masks: bool
    time_unit: str | None
    spacing: np.ndarray | None
    settings: dict[str, Any]
    versions: dict[str, str]
    geometry: tuple[dict[str, Any], ...] | None
    clinical_dtypes: dict[str, dict[str, Any]]
    finer: tuple[dict[str, Any] | None, ...] | None = None
    table_sha256: str | None = None
    volume_crc32: tuple[int | None, ...] = ()
    mask_crc32: tuple[int | None, ...] = ()

    @property
    def finer_path(self) -> Path:
        """Folder of the finer blocks."""
        return self.folder / "finer"

    @property
    def volumes_path(self) -> Path:
        """Path of the volumes."""
        return self.folder / "volumes.npy"

    @property
    def masks_path(self) -> Path | None:
        """Path of the masks, or None where there are none."""
        return self.folder / "masks.npy" if self.has_masks else None

    def image(self, i: int, array: np.ndarray) -> Image:
        """Put a map over one patient's stored volume back into world coordinates.

        Parameters
        ----------
        i : int
            Position of the patient.
        array : ndarray of shape (z, y, x)
            On the stored grid: a predicted mask, a saliency map.

        Returns
        -------
        Image
            `survimg.io.resample_like` carries it onto the patient's own image.

        Raises
        ------
        ValueError
            The store has no geometry, or `array` has another shape.
        """
        if self.geometry is None or self.spacing is None:
            raise ValueError(f"{self.folder} does not record where its volumes lie.")
        if array.shape != self.shape[2:]:
            raise ValueError(f"array has shape {array.shape}; the stored grid {self.shape[2:]}.")
        z, y, x = self.spacing[i].tolist()
        place = self.geometry[i]
        return Image(array, (z, y, x), tuple(place["origin"]), tuple(place["direction"]))


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredCohort(PatientTable):
    """A prepared cohort as it lies on disk: the patients' table, and where their voxels are.

    Attributes
    ----------
    header : StoreHeader
    """

    header: StoreHeader

    @property
    def volumes(self) -> Path:
        """``volumes.npy``."""
        return self.header.volumes_path

    @property
    def masks(self) -> Path | None:
        """``masks.npy``, or None where no patient has a mask."""
        return self.header.masks_path

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the preparation."""
        return self.header.settings


def read_store(folder: str | os.PathLike[str]) -> StoredCohort:
    """Read a prepared cohort: header and table, without touching the voxels.

    Parameters
    ----------
    folder : path

    Returns
    -------
    StoredCohort

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_store_header`; also where the table is damaged or does not fit the header.
    """
    header = read_store_header(folder)
    path, names = header.folder / "table.csv", header.channel_names
    n_rows, dtypes = header.shape[0], header.clinical_dtypes
    parts = read_table(path, n_rows, names, dtypes, header.table_sha256)
    try:
        return StoredCohort(
            header=header, channel_names=names, time_unit=header.time_unit,
            spacing=header.spacing, geometry=header.geometry, **parts,
        )
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def read_store_header(folder: str | os.PathLike[str]) -> StoreHeader:
    """Read and check the header of a prepared cohort.

    Parameters
    ----------
    folder : path

    Returns
    -------
    StoreHeader

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        No such folder.
    ValueError
        Not a survimg cohort, half-written, written by a newer survimg, or files that are missing,
        truncated or of another shape than the header says.
    """
    folder = Path(folder)
    if folder.is_file():
        raise NotADirectoryError(
            f"{folder} is a file; a prepared cohort is a folder. Prepare a manifest first (survimg "
            "prepare, survimg.preprocessing.prepare), or read its images with Cohort.from_manifest."
        )
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    content = _read_header_json(folder)
    try:
        shape = tuple(int(size) for size in content["shape"])
        spacing = content["spacing"]
        geometry = content["geometry"]
        header = StoreHeader(
            folder=folder,
            shape=shape,  # type: ignore[arg-type]  # its length is checked below
            channel_names=tuple(str(name) for name in content["channel_names"]),
            has_masks=bool(content["masks"]),
            time_unit=content["time_unit"],
            spacing=None if spacing is None else np.asarray(spacing, dtype=np.float64),
            settings=dict(content["settings"]),
            versions=dict(content["versions"]),
            geometry=None if geometry is None else tuple(dict(entry) for entry in geometry),
            clinical_dtypes=dict(content["clinical_dtypes"]),
            finer=_finer(content.get("finer")),
            table_sha256=content.get("table_sha256"),
            volume_crc32=tuple(content.get("volume_crc32", ())),
            mask_crc32=tuple(content.get("mask_crc32", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'cohort.json'} is damaged ({error!r}).") from None
    if len(shape) != 5 or min(shape) < 1 or len(header.channel_names) != shape[1]:
        raise ValueError(
            f"{folder / 'cohort.json'} is damaged: shape {list(shape)} and channels "
            f"{list(header.channel_names)} do not fit."
        )
    if header.spacing is not None and header.spacing.shape != (shape[0], 3):
        raise ValueError(f"{folder / 'cohort.json'} is damaged: spacing is not {shape[0]} x 3.")
    check_npy(header.volumes_path, shape, np.dtype("<f4"))
    if header.masks_path is not None:
        check_npy(header.masks_path, (shape[0], *shape[2:]), np.dtype("u1"))
    if header.finer is not None:
        _check_finer(header, header.finer)
    return header


def _finer(places: list[Any] | None) -> tuple[dict[str, Any] | None, ...] | None:
    if places is None:
        return None
    return tuple(None if place is None else dict(place) for place in places)


def _check_finer(header: StoreHeader, places: Sequence[Mapping[str, Any] | None]) -> None:
    n, channels = header.shape[:2]
    for place in places:
        if place is not None and (len(place["shape"]) != 4 or place["shape"][0] != channels):
            places = ()
    if len(places) != n:
        raise ValueError(f"{header.folder / 'cohort.json'} is damaged: finer is not of {n} blocks.")
    for i, place in enumerate(places):
        path = header.finer_path / f"{i}.npz"
        if place is not None and not path.is_file():
            raise ValueError(f"{header.folder} is damaged: {path} is missing.")


def _read_header_json(folder: Path) -> dict[str, Any]:
    path = folder / "cohort.json"
    if not path.is_file():
        state = (
            "it is half-written: continue the run that began it"
            if (folder / "begun.json").exists()
            else "it has no cohort.json"
        )
        raise ValueError(f"{folder} is not a prepared survimg cohort: {state}.")
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"{error} Prepare the cohort again.") from None
    if content.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe a survimg cohort (format {FORMAT!r}).")
    version = content.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise ValueError(
            f"{path} has version {version!r}; this survimg reads versions 1 to {VERSION}. "
            "Update survimg, or prepare the cohort again."
        )
    return content
