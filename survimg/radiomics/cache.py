"""Records of extracted cases on disk: one small file per case, data only, written atomically."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from survimg.files import write_atomically
from survimg.npz import pack_arrays, unpack_arrays
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

    Records are uncompressed ``.npz`` files without pickles: reading one runs no code, and takes no
    more memory than the file has bytes. A record appears when it is whole, so that processes that
    compute the same case at the same time do not disturb each other.

    Several users may share a folder of a group (``chgrp``, ``chmod g+ws``) under umask 002. A
    record that cannot be read counts as none, and where one cannot be written nothing is stored;
    the first of each is told with a warning.

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
        self._told: set[str] = set()

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
            arrays = unpack_arrays(self._path(key).read_bytes())
            return _checked(arrays, key, n_values)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._tell("A record that cannot be used counts as none", f"{self._path(key)}: {error}")
            return None

    def put(self, key: str, found: CaseFeatures) -> None:
        """Store a record; does nothing without a folder."""
        if self.folder is None:
            return
        arrays = {"key": np.array(key), "values": found.values, "n_levels": found.n_levels}
        try:
            write_atomically(self._path(key), pack_arrays(arrays))
        except PermissionError as error:
            self._tell(
                "What is measured is not stored, because this user may not write here; give a "
                "folder of a group, or one of your own", str(error),
            )  # fmt: skip

    def _tell(self, what: str, detail: str) -> None:
        if what not in self._told:
            self._told.add(what)
            warnings.warn(f"{what} ({detail}).", UserWarning, stacklevel=4)

    def _path(self, key: str) -> Path:
        if self.folder is None:
            raise RuntimeError("A cache without a folder has no paths.")
        return self.folder / key[:2] / f"{key}.npz"


def _checked(arrays: Mapping[str, np.ndarray], key: str, n_values: int) -> CaseFeatures:
    """Return the features of a record, which is the one of `key` and as it was written."""
    if str(arrays.get("key", key)) != key:  # records of old had none
        raise ValueError("it is the record of another case")
    for name, kind in (("values", "f"), ("n_levels", "i")):
        if name not in arrays or arrays[name].dtype.kind != kind:
            raise ValueError(f"it has no usable {name}")
    values, n_levels = arrays["values"], arrays["n_levels"]
    if values.shape != (n_values,) or n_levels.ndim != 2 or (n_levels < 0).any():
        raise ValueError("it is of other features")
    return CaseFeatures(values.astype(np.float64), n_levels.astype(np.int64))
