"""The patients' table: what manifest, store and cohort know of the patients beside the voxels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from survimg.target import OUTCOME_DTYPE, check_outcome

__all__ = ["PatientTable", "listed"]

_MAX_NAMED = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class PatientTable:
    """One row per patient; checked when it is made, so that whoever holds one can rely on it.

    Attributes
    ----------
    ids : ndarray of shape (n,), str
        Different and not empty.
    channel_names : tuple of str
        The images that a patient may have.
    outcome : structured ndarray of shape (n,), or None
        Fields ``event`` (bool) and ``time`` (float64).
    time_unit : str or None
        Unit of the times.
    groups : ndarray of shape (n,), or None
        Centre (or any group) of each patient.
    clinical : DataFrame of n rows with a RangeIndex, or None
    has_mask : ndarray of shape (n,), bool
        Which patients have a tumour mask; nobody by default.
    present : ndarray of shape (n, channels), bool
        Which images each patient has; all by default.
    spacing : ndarray of shape (n, 3), float64, or None
        Voxel size in mm, in the order (z, y, x).
    geometry : tuple of dict, or None
        Where each prepared volume lies in its patient; see `survimg.io.StoreHeader`.

    Raises
    ------
    ValueError
        Parts of unequal length, duplicate or empty identifiers, an invalid outcome, spacing that
        is not positive.
    """

    ids: np.ndarray
    channel_names: tuple[str, ...]
    outcome: np.ndarray | None = None
    time_unit: str | None = None
    groups: np.ndarray | None = None
    clinical: pd.DataFrame | None = None
    has_mask: np.ndarray = None  # type: ignore[assignment]  # made in __post_init__
    present: np.ndarray = None  # type: ignore[assignment]
    spacing: np.ndarray | None = None
    geometry: tuple[dict[str, Any], ...] | None = None

    def __post_init__(self) -> None:
        ids = check_ids(self.ids)
        n, names = len(ids), check_channel_names(self.channel_names)
        has_mask = np.zeros(n, bool) if self.has_mask is None else self.has_mask
        parts = {
            "ids": ids,
            "channel_names": names,
            "outcome": _check_outcome(self.outcome, ids),
            "groups": None if self.groups is None else check_length("groups", self.groups, n),
            "clinical": check_clinical(self.clinical, n),
            "has_mask": check_length("has_mask", np.asarray(has_mask, dtype=bool), n),
            "present": _check_present(self.present, n, len(names)),
            "spacing": None if self.spacing is None else _check_spacing(self.spacing, n),
        }
        for name, value in parts.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Sequence[int] | np.ndarray | slice) -> Self:
        """Return the table of some of the patients.

        Parameters
        ----------
        positions : slice, or array-like of shape (m,) of int or bool
        """
        rows = np.arange(len(self))[positions]
        parts: dict[str, Any] = {
            name: None if values is None else values[rows]
            for name in ("ids", "outcome", "groups", "has_mask", "present", "spacing")
            for values in (getattr(self, name),)
        }
        if self.clinical is not None:
            parts["clinical"] = self.clinical.iloc[rows].reset_index(drop=True)
        if self.geometry is not None:
            parts["geometry"] = tuple(self.geometry[i] for i in rows)
        return self._with(**parts)

    def _with(self, **parts: Any) -> Self:
        """Return the table with other parts, which are right already.

        `dataclasses.replace` would check them again, and refuse the rows of a bootstrap sample,
        in which a patient may stand twice.
        """
        changed = copy.copy(self)
        for name, values in parts.items():
            object.__setattr__(changed, name, values)
        return changed


def check_length(name: str, values: Any, n: int) -> np.ndarray:
    """Refuse a column whose length is not the number of patients."""
    array = np.asarray(values)
    if array.ndim != 1 or len(array) != n:
        raise ValueError(f"{name} has shape {array.shape}; there are {n} patients.")
    return array


def check_ids(ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Take names of patients as text, all different and none of them empty."""
    # Python strings: the repr of NumPy's own would put np.str_(...) into every error message.
    names = np.array([str(name) for name in ids], dtype=object)
    unique, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"Duplicate patient ids: {unique[counts > 1][:5].tolist()}.")
    if (unique == "").any():
        raise ValueError("Patient ids must not be empty.")
    return names


def check_channel_names(names: Sequence[str]) -> tuple[str, ...]:
    """Take names of channels as text, all of them different."""
    if len(set(names)) != len(names):
        raise ValueError(
            f"channel_names must be {len(names)} different names, one per channel; got "
            f"{list(names)}."
        )
    return tuple(str(name) for name in names)


def check_clinical(clinical: pd.DataFrame | npt.ArrayLike | None, n: int) -> pd.DataFrame | None:
    """Take clinical columns as a frame with a RangeIndex and names of type str."""
    if clinical is None:
        return None
    if not isinstance(clinical, pd.DataFrame):
        values = np.asarray(clinical)
        values = values[:, np.newaxis] if values.ndim == 1 else values
        clinical = pd.DataFrame(values, columns=[f"clinical{j}" for j in range(values.shape[1])])
    if len(clinical) != n:
        raise ValueError(f"clinical has {len(clinical)} rows; there are {n} patients.")
    frame = clinical.reset_index(drop=True)
    frame.columns = [str(column) for column in frame.columns]
    return frame


def _check_outcome(outcome: np.ndarray | None, ids: np.ndarray) -> np.ndarray | None:
    """Check the outcome and copy it under the standard field names."""
    if outcome is None:
        return None
    event, time = check_outcome(outcome, n_patients=len(ids), ids=ids.tolist())
    checked = np.empty(len(ids), dtype=OUTCOME_DTYPE)
    checked["event"], checked["time"] = event, time
    return checked


def _check_spacing(spacing: float | npt.ArrayLike, n: int) -> np.ndarray:
    """Broadcast the spacing to one triple (z, y, x) per patient."""
    try:
        values = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (n, 3)).copy()
    except ValueError:
        raise ValueError(
            f"spacing must be one size, a triple (z, y, x) or shape ({n}, 3), in mm; got shape "
            f"{np.shape(spacing)}."
        ) from None
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError("spacing must be positive and finite, in mm.")
    return values


def _check_present(present: npt.ArrayLike | None, n: int, n_channels: int) -> np.ndarray:
    """Check which modality each patient has; all by default."""
    if present is None:
        return np.ones((n, n_channels), dtype=bool)
    values = np.asarray(present, dtype=bool)
    if values.shape != (n, n_channels):
        raise ValueError(f"present must have shape ({n}, {n_channels}); got {values.shape}.")
    return values


def listed(names: Sequence[str]) -> str:
    """Return the first few names, quoted, and the number of the others."""
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(repr(name) for name in names[:_MAX_NAMED]) + more
