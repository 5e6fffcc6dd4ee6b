"""The folder that holds a prepared cohort: its format, its writer and its checks.

A prepared cohort is a folder with

``volumes.npy``
    float32, C order, axes ``(case, channel, z, y, x)``; read as a memory map.
``masks.npy``
    uint8, axes ``(case, z, y, x)``; only where at least one patient has a mask.
``finer/<position>.npz``
    ``volume``, float32, axes ``(channel, z, y, x)``, and ``mask``, uint8: the patient's block
    around the tumour in SUV and HU; only where the preparation keeps one (`features_spacing`).
``table.csv``
    One row per patient: ``patient_id``, ``event``, ``time``, ``group``, ``has_mask``,
    ``present_<channel>``, and the clinical columns under the prefix ``clinical:``.
``cohort.json``
    Format, version, shape, channel names, time unit, spacing, settings, versions, the types of the
    clinical columns, where each volume lies in its patient, and checksums: of the table, of each
    patient's volume and mask, and of itself. Finer blocks have those of their archives.

Everything is written to ``<folder>.partial`` and renamed at the end, ``cohort.json`` last: a folder
that has a ``cohort.json`` under its final name is complete. While it grows, ``<folder>.partial``
also holds one small record per finished patient, so that an interrupted run can continue, and a
lock that the operating system releases when the writer dies.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from survimg.files import (
    allocate_npy,
    lock_folder,
    make_folder,
    read_json,
    remove_empty,
    remove_temporaries,
    unlock,
    write_atomically,
    write_json,
    write_npy_row,
)
from survimg.io.patients import PatientTable
from survimg.io.store.reader import (
    FORMAT,
    VERSION,
    StoredCohort,
    StoreHeader,
    read_store,
    read_store_header,
)
from survimg.io.store.table import table_frame

__all__ = [
    "StoreHeader", "StoreWriter", "StoredCohort", "read_store", "read_store_header", "write_row"
]


class StoreWriter:
    """Write a prepared cohort, one patient at a time, in constant memory.

    Parameters
    ----------
    folder : path
        The final folder. It appears, complete, when `finish` returns.
    n : int
        Number of patients.
    shape : tuple of int
        ``(channels, z, y, x)`` of every patient.
    channel_names : sequence of str
        One name per channel.
    masks : bool, default=False
        Whether patients may have masks.
    key : dict, optional
        What the content depends on (settings, patients). A half-written folder is continued only
        by a writer with an equal key.
    resume : bool, default=False
        Continue a half-written folder. Otherwise one that is in the way is an error.
    overwrite : bool, default=False
        Replace a finished cohort of that name; it stays in place until the new one is complete.

    Raises
    ------
    FileExistsError
        Something is at `folder` and is not to be replaced.
    ValueError
        The half-written folder was begun with another key; the message names the difference.
    BlockingIOError
        Another process is writing to the same folder.

    Notes
    -----
    As a context manager, leaving with an error deletes what is half-written, except that with
    `resume` it is kept if an earlier run began it, if this run was interrupted (KeyboardInterrupt),
    if the disk failed (OSError), or if the attribute `keep_partial` has been set: then there is
    work to come back to.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        n: int,
        shape: Sequence[int],
        *,
        channel_names: Sequence[str],
        masks: bool = False,
        key: Mapping[str, Any] | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        if n < 1 or len(shape) != 4 or min(shape) < 1:
            raise ValueError(
                "A store needs at least one patient and a shape (channels, z, y, x) of positive "
                f"sizes; got n={n}, shape={tuple(shape)}."
            )
        if len(channel_names) != shape[0] or len(set(channel_names)) != shape[0]:
            raise ValueError(
                f"{shape[0]} different channel names are needed; got {list(channel_names)}."
            )
        self.folder = Path(folder)
        self.partial = self.folder.with_name(self.folder.name + ".partial")
        self.shape = (int(n), *(int(size) for size in shape))
        self.channel_names = [str(name) for name in channel_names]
        self.masks = bool(masks)
        self.overwrite = overwrite
        _check_free(self.folder, overwrite)
        self.resume = resume
        self.keep_partial = False
        self.resumed = (self.partial / "begun.json").exists()
        self._made = make_folder(self.partial)
        self._lock = lock_folder(self.partial)
        begun = {
            "shape": list(self.shape), "channel_names": self.channel_names, "masks": self.masks,
            "resume": resume, "key": dict(key or {}),
        }
        try:
            self._begin(json.loads(json.dumps(begun, allow_nan=False)))
        except BaseException:
            self.close(keep=self.resumed)
            raise

    def _begin(self, begun: dict[str, Any]) -> None:
        record = self.partial / "begun.json"
        if self.resumed and not self.resume:
            if _begun(record).get("resume"):
                raise FileExistsError(
                    f"{self.partial} is left from an interrupted `survimg prepare`. Continue that "
                    "run with the same settings, or delete it."
                )
            record.unlink()  # nobody can continue it, and its writer is dead: we hold the lock
            shutil.rmtree(self.partial / "done")
            self.resumed = False
        if self.resumed:
            difference = _first_difference(_begun(record), begun)
            if difference is not None:
                name, before, now = difference
                raise ValueError(
                    f"{self.partial} was begun with {name} = {_short(before)}, and this run has "
                    f"{name} = {_short(now)}. Use the same settings to continue it, delete it, or "
                    "choose another output folder."
                )
            return
        remove_temporaries(self.partial.glob("*"))  # of a process killed before it had begun
        (self.partial / "done").mkdir(exist_ok=True)
        allocate_npy(self.partial / "volumes.npy", self.shape, np.dtype("<f4"))
        if self.masks:
            mask_shape = (self.shape[0], *self.shape[2:])
            allocate_npy(self.partial / "masks.npy", mask_shape, np.dtype("u1"))
        write_json(record, begun)

    def done(self) -> dict[int, dict[str, Any]]:
        """Return the records of the patients that are finished, by position."""
        records = {}
        for path in sorted((self.partial / "done").glob("*.json")):
            try:
                records[int(path.stem)] = read_json(path)
            except ValueError as error:
                warnings.warn(
                    f"A damaged record counts as none, and its patient is prepared again: {error}",
                    UserWarning, stacklevel=2,
                )  # fmt: skip
        return records

    def write_case(
        self,
        i: int,
        volume: npt.ArrayLike,
        mask: npt.ArrayLike | None = None,
        *,
        record: Mapping[str, Any] | None = None,
        patient: str | None = None,
        finer: tuple[np.ndarray, np.ndarray, Mapping[str, Any]] | None = None,
    ) -> None:
        """Write one patient's volume and mask, then the record that marks it as finished.

        Parameters
        ----------
        i : int
            Position of the patient in the cohort.
        volume : array-like of shape (channels, z, y, x)
            Written as float32.
        mask : array-like of shape (z, y, x), optional
            1 is tumour, 2 an organ that shells leave out; None where this patient has no mask.
        record : dict, optional
            JSON-serialisable facts to keep about this patient.
        patient : str, optional
            Identifier to use in error messages.
        finer : tuple, optional
            Volume and mask of the patient's finer block, and where it lies (``spacing``,
            ``origin``, ``direction``).

        Raises
        ------
        ValueError
            Another shape, values that are not finite (also after conversion to float32), or a mask
            in a store without masks.
        """
        write_row(
            self.partial, self.shape, i, volume, mask, record=record, patient=patient, finer=finer
        )

    def finish(
        self, table: PatientTable, *, settings: Mapping[str, Any] | None = None
    ) -> StoreHeader:
        """Write the table and ``cohort.json``, and give the folder its final name.

        Parameters
        ----------
        table : PatientTable
            Of all patients of the store. Which of them have a mask is known from what was written.
        settings : dict, optional
            Settings of the preparation.

        Returns
        -------
        StoreHeader

        Raises
        ------
        ValueError
            A patient has not been written, or the table does not fit the store.
        """
        n = self.shape[0]
        if len(table) != n or list(table.channel_names) != self.channel_names:
            raise ValueError(
                f"The table holds {len(table)} patients with {list(table.channel_names)}; the "
                f"store {n} with {self.channel_names}."
            )
        done = self.done()
        missing = [table.ids[i] for i in range(n) if i not in done]
        if missing:
            raise ValueError(
                f"{len(missing)} of {n} patients have not been written: {missing[:5]}."
            )
        has_mask = np.array([done[i]["has_mask"] for i in range(n)])
        frame, dtypes = table_frame(replace(table, has_mask=has_mask))
        table_bytes = frame.to_csv(index=False, lineterminator="\n").encode()
        header = {
            "format": FORMAT,
            "version": VERSION,
            "shape": list(self.shape),
            "channel_names": self.channel_names,
            "masks": bool(has_mask.any()),
            "time_unit": table.time_unit,
            "spacing": None if table.spacing is None else table.spacing.tolist(),
            "settings": dict(settings or {}),
            "versions": _versions(),
            "geometry": None if table.geometry is None else list(table.geometry),
            "clinical_dtypes": dtypes,
            "finer": _finer_places([done[i].get("finer") for i in range(n)]),
            "table_sha256": hashlib.sha256(table_bytes).hexdigest(),
            "volume_crc32": [done[i].get("volume_crc32") for i in range(n)],
            "mask_crc32": [done[i].get("mask_crc32") for i in range(n)],
        }
        json.dumps(header, allow_nan=False)  # a header that cannot be written must not cost the run
        write_atomically(self.partial / "table.csv", table_bytes)
        write_json(self.partial / "cohort.json", header)
        if self.masks and not header["masks"]:
            (self.partial / "masks.npy").unlink()
        self._publish()
        return read_store_header(self.folder)

    def _publish(self) -> None:
        # there already if a process died between the two renames, or before it was removed
        replaced = self.folder.with_name(self.folder.name + ".replaced")
        if self.folder.exists():
            _check_free(self.folder, self.overwrite)
            _remove_replaced(replaced)
            self.folder.rename(replaced)
        if os.name == "nt":  # Windows renames no folder in which a file is open
            unlock(self._lock)
        self.partial.rename(self.folder)
        # the records go last: a process that dies before this line leaves a complete store
        shutil.rmtree(self.folder / "done")
        for rest in (self.folder / "begun.json", self.folder / "lock"):
            rest.unlink(missing_ok=True)
        remove_temporaries(self.folder.rglob("*"))
        _remove_replaced(replaced)

    def close(self, *, keep: bool) -> None:
        """Release the lock, and delete what is half-written unless it is to be kept.

        With it go the folders above that the writer made and that hold nothing else.
        """
        unlock(self._lock)
        if keep:
            return
        if self.partial.exists():
            shutil.rmtree(self.partial)
        remove_empty(self._made)

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failed = kind is not None and (
            not issubclass(kind, Exception) or issubclass(kind, OSError)
        )
        self.close(keep=self.resume and (self.resumed or self.keep_partial or failed))


def write_row(
    partial: Path,
    shape: Sequence[int],
    i: int,
    volume: npt.ArrayLike,
    mask: npt.ArrayLike | None,
    *,
    record: Mapping[str, Any] | None = None,
    patient: str | None = None,
    finer: tuple[np.ndarray, np.ndarray, Mapping[str, Any]] | None = None,
) -> None:
    """Write one patient into a half-written store; see `StoreWriter.write_case`.

    A function of paths and numbers, so that worker processes can call it: two processes may write
    different patients of one store at the same time.
    """
    name = f"Patient {patient!r}" if patient is not None else f"Patient at position {i}"
    if not 0 <= i < shape[0]:
        raise ValueError(f"{name}: the store has {shape[0]} patients.")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(volume, dtype="<f4")
    if values.shape != tuple(shape[1:]):
        raise ValueError(
            f"{name}: the volume has shape {values.shape}; this store holds {tuple(shape[1:])} "
            "(channels, z, y, x) for every patient."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: the volume holds values that are not finite in float32.")
    mask_values = None if mask is None else _as_mask(mask, tuple(shape[2:]), partial, name)
    facts = {"has_mask": mask is not None, **(record or {})}
    write_npy_row(partial / "volumes.npy", i, values)
    facts["volume_crc32"] = zlib.crc32(values.data)
    if mask_values is not None:
        write_npy_row(partial / "masks.npy", i, mask_values)
        facts["mask_crc32"] = zlib.crc32(mask_values.data)
    if finer is not None:
        facts["finer"] = _write_finer(partial, i, *finer, name)
    write_json(partial / "done" / f"{i}.json", facts)


def _write_finer(
    partial: Path, i: int, volume: np.ndarray, mask: np.ndarray, place: Mapping[str, Any], name: str
) -> dict[str, Any]:
    block = np.ascontiguousarray(volume, dtype="<f4")
    if not np.isfinite(block).all():
        raise ValueError(f"{name}: the finer block holds values that are not finite in float32.")
    (partial / "finer").mkdir(exist_ok=True)
    content = io.BytesIO()
    np.savez_compressed(content, volume=block, mask=np.asarray(mask, dtype=np.uint8))
    write_atomically(partial / "finer" / f"{i}.npz", content.getbuffer())
    names = ("spacing", "origin", "direction")
    return {"shape": list(block.shape), **{name: list(place[name]) for name in names}}


def _as_mask(mask: npt.ArrayLike, shape: tuple[int, ...], partial: Path, name: str) -> np.ndarray:
    values = np.ascontiguousarray(mask, dtype=np.uint8)
    if values.max(initial=0) > 2:
        raise ValueError(f"{name}: the mask holds {values.max()}; 0, 1 (tumour), 2 (organs) exist.")
    if values.shape != shape:
        raise ValueError(f"{name}: the mask has shape {values.shape}; the volume has {shape}.")
    if not (partial / "masks.npy").is_file():
        raise ValueError(f"{name}: there is a mask, but this store was begun without masks.")
    return values


def _begun(record: Path) -> dict[str, Any]:
    try:
        return read_json(record)
    except ValueError as error:
        raise ValueError(f"{error} Delete the folder {record.parent}.") from None


def _finer_places(places: list[Any]) -> list[Any] | None:
    return places if any(place is not None for place in places) else None


def _check_free(folder: Path, overwrite: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if overwrite and (folder / "cohort.json").is_file():
        return
    if (folder / "cohort.json").is_file():
        raise FileExistsError(
            f"{folder} already holds a prepared cohort; pass overwrite=True (--overwrite) to "
            "replace it, or choose another output folder."
        )
    raise FileExistsError(f"{folder} already holds something else; choose another output folder.")


def _remove_replaced(folder: Path) -> None:
    """Remove a cohort, or an empty folder, that another took the place of; nothing else."""
    if (folder / "cohort.json").is_file():
        shutil.rmtree(folder)
    remove_empty([folder])


def _first_difference(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> tuple[str, Any, Any] | None:
    for name in sorted(set(before) | set(now)):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            nested = _first_difference(old, new, f"{prefix}{name}.")
            if nested is not None:
                return nested
        elif old != new:
            return f"{prefix}{name}".removeprefix("key."), old, new
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _versions() -> dict[str, str]:
    versions = {}
    for package in ("survimg", "numpy", "SimpleITK"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed as a package"
    return versions
