"""Records of extracted cases on disk: one small file per case, data only, written atomically."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Protocol

import numpy as np

from survimg.files import write_atomically
from survimg.radiomics.case import CaseFeatures

__all__ = ["CaseCache", "HasLocation", "digest"]


class HasLocation(Protocol):
    """Anything with a cache folder: `joblib.Memory`."""

    location: str | None


def digest(*parts: object) -> str:
    """Return a key made of the representations of `parts`."""
    return hashlib.sha256("\n".join(repr(part) for part in parts).encode()).hexdigest()


class CaseCache:
    """Features of cases, found again by content, settings and engine version.

    Records are ``.npz`` files read with ``allow_pickle=False``: reading one runs no code. A record
    is written to a temporary file and renamed, so that a reader never sees half of it, and
    processes that compute the same case at the same time do not disturb each other.

    Parameters
    ----------
    memory : path-like, joblib.Memory or None
        Folder of the records; None keeps nothing. Of a `joblib.Memory` the location is taken.
    """

    def __init__(self, memory: str | os.PathLike[str] | HasLocation | None) -> None:
        location = memory
        if memory is not None and not isinstance(memory, str | os.PathLike):
            location = memory.location
        self.folder = None if location is None else Path(str(location)) / "survimg-radiomics"

    def get(self, key: str, n_values: int) -> CaseFeatures | None:
        """Return the record of `key`, or None where there is none that can be used.

        Parameters
        ----------
        key : str
            From `digest`.
        n_values : int
            Number of features a whole record has; a damaged record counts as none.
        """
        if self.folder is None:
            return None
        try:
            with self._path(key).open("rb") as file, np.load(file, allow_pickle=False) as record:
                values = record["values"].astype(np.float64, copy=False)
                n_levels = record["n_levels"].astype(np.int64, copy=False)
        except (FileNotFoundError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            return None
        if values.shape != (n_values,) or n_levels.ndim != 2:
            return None
        return CaseFeatures(values, n_levels)

    def put(self, key: str, found: CaseFeatures) -> None:
        """Store a record; does nothing without a folder."""
        if self.folder is None:
            return
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, values=found.values, n_levels=found.n_levels)
        write_atomically(self._path(key), content.getbuffer())

    def _path(self, key: str) -> Path:
        if self.folder is None:
            raise RuntimeError("A cache without a folder has no paths.")
        return self.folder / key[:2] / f"{key}.npz"
