"""The patients' table: what manifest, store and cohort know of the patients beside the voxels."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from survimg.columns import as_frame, formula, is_missing, level_of
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
    groups : ndarray of shape (n,), str, or None
        Centre (or any group) of each patient; 1, 1.0 and "1" are one.
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
        flags = np.zeros(n, bool) if self.has_mask is None else self.has_mask
        has_mask = aligned(flags, "has_mask", ids)
        parts = {
            "ids": ids,
            "channel_names": names,
            "outcome": _check_outcome(self.outcome, ids),
            "groups": _check_groups(aligned(self.groups, "groups", ids), n),
            "clinical": _check_clinical(self.clinical, ids),
            "has_mask": check_length("has_mask", np.asarray(has_mask, dtype=bool), n),
            "present": _check_present(aligned(self.present, "present", ids), n, len(names)),
            "spacing": _check_spacing(aligned(self.spacing, "spacing", ids), n),
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
    """Take names of patients as text, all different, none of them empty or a formula."""
    # Python strings: the repr of NumPy's own would put np.str_(...) into every error message.
    names = np.array([_name(name) for name in ids], dtype=object)
    repeated = [name for name, count in Counter(names.tolist()).items() if count > 1]
    if repeated:
        raise ValueError(f"Duplicate patient ids: {repeated[:5]}.")
    for i, name in enumerate(names):
        if not name:
            raise ValueError(f"Patient ids must not be empty; that at position {i} is.")
        if formula(name, strict=True):
            raise ValueError(f"{name!r} is no name of a patient: a spreadsheet would run it.")
    return names


def _name(value: Any) -> str:
    """Return the name of a patient or a group as text; 7 and 7.0 are the same, 007 is another."""
    if isinstance(value, str):
        return value.strip()
    return "" if is_missing(value) else level_of(value)


def aligned(part: Any, name: str, ids: Sequence[str] | np.ndarray) -> Any:
    """Return a part with one row per patient, in the order of the patients where it names them.

    Parameters
    ----------
    part : object
    name : str
        For messages.
    ids : sequence of str

    Raises
    ------
    ValueError
        The part has an index that holds other names.
    """
    labels = index_of(part)
    if labels is None or labels == list(ids):
        return part
    positions = {label: i for i, label in enumerate(labels)}
    if len(positions) == len(labels) and positions.keys() == set(ids):
        return part.iloc[[positions[patient] for patient in ids]]
    raise ValueError(
        f"The index of {name} ({listed(labels)}) holds other names than ids ({listed(list(ids))}). "
        "Give it the ids as its index; or, if its rows are in the order of the volumes, "
        "reset_index(drop=True)."
    )


def index_of(part: Any) -> list[str] | None:
    """Return the names in the index of a frame or Series; None if it has none, or only counts."""
    index = getattr(part, "index", None)
    if not isinstance(index, pd.Index) or index.equals(pd.RangeIndex(len(index))):
        return None
    return [_name(label) if types.is_scalar(label) else str(label) for label in index]


def check_channel_names(names: Sequence[str]) -> tuple[str, ...]:
    """Take names of channels as text, all of them different."""
    if len(set(names)) != len(names):
        raise ValueError(
            f"channel_names must be {len(names)} different names, one per channel; got "
            f"{list(names)}."
        )
    return tuple(str(name) for name in names)


def _check_clinical(clinical: Any, ids: np.ndarray) -> pd.DataFrame | None:
    """Take clinical columns as a frame of plain columns with a RangeIndex, in the order of ids."""
    if clinical is None:
        return None
    frame = as_frame(clinical)
    if len(frame) != len(ids):
        raise ValueError(f"clinical has {len(frame)} rows; there are {len(ids)} patients.")
    frame = aligned(frame, "clinical", ids).reset_index(drop=True)
    for name, dtype in frame.dtypes.items():
        if not types.is_numeric_dtype(dtype):
            _refuse_formulas(frame[name], ids)
    return frame


def _refuse_formulas(column: pd.Series, ids: np.ndarray) -> None:
    texts = column.astype(object).drop_duplicates()
    for i, text in zip(texts.index.tolist(), texts, strict=True):
        if isinstance(text, str) and formula(text):
            raise ValueError(
                f"Patient {ids[i]!r}, clinical column {column.name!r}: a spreadsheet would run "
                f"{text!r}, and results are written as CSV; write it without the sign at its "
                "beginning."
            )


def _check_groups(groups: Any, n: int) -> np.ndarray | None:
    """Take groups as text, as files hold them; None where one is missing."""
    if groups is None:
        return None
    values = check_length("groups", groups, n)
    names = [None if is_missing(value) else level_of(value) for value in values.tolist()]
    odd = next((name for name in names if name is not None and formula(name, strict=True)), None)
    if odd is not None:
        raise ValueError(f"{odd!r} is no name of a group: a spreadsheet would run it.")
    result = np.empty(n, dtype=object)
    result[:] = names
    return result


def _check_outcome(outcome: Any, ids: np.ndarray) -> np.ndarray | None:
    """Check the outcome and copy it under the standard field names."""
    if outcome is None:
        return None
    if isinstance(outcome, Mapping):
        outcome = pd.DataFrame(dict(outcome))
    outcome = aligned(outcome, "outcome", ids)
    event, time = check_outcome(outcome, n_patients=len(ids), ids=ids.tolist())
    checked = np.empty(len(ids), dtype=OUTCOME_DTYPE)
    checked["event"], checked["time"] = event, time
    return checked


def _check_spacing(spacing: Any, n: int) -> np.ndarray | None:
    """Broadcast the spacing to one triple (z, y, x) per patient."""
    if spacing is None:
        return None
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
