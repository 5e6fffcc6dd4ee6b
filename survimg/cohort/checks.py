"""Checks of what a cohort is made of; each raises naming what was given and what is allowed."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from survimg.cohort.stores import Store, as_store, is_whole_npy
from survimg.columns import as_frame, declare
from survimg.io.patients import check_length, index_of

_MOST_CHANNELS = 4  # a last axis as short as this is rather channels than voxels


def check_on_invalid(on_invalid: str) -> Literal["raise", "fill"]:
    """Check what is to be done with voxels that are not finite."""
    if on_invalid == "raise":
        return "raise"
    if on_invalid == "fill":
        return "fill"
    raise ValueError(f"on_invalid must be 'raise' or 'fill'; got {on_invalid!r}.")


def check_voxels(volumes: Store, ids: np.ndarray) -> None:
    """Refuse arrays in memory with voxels that are not finite, one patient after the other."""
    for i, patient in enumerate(ids):
        finite_voxels(volumes.read(i), patient, "raise")


def finite_voxels(
    values: np.ndarray, patient: str, on_invalid: Literal["raise", "fill"]
) -> np.ndarray:
    """Return one patient's voxels, all of them finite.

    Parameters
    ----------
    values : ndarray of shape (channels, z, y, x)
    patient : str
        For messages.
    on_invalid : {"raise", "fill"}

    Returns
    -------
    ndarray
        `values` itself where nothing had to be filled.

    Raises
    ------
    ValueError
        Voxels that are not finite; with ``"fill"``, a channel without any that is.
    """
    finite = np.isfinite(values)
    if finite.all():
        return values
    n_wrong = int(finite.size - finite.sum())
    what = f"The volume of patient {patient!r} holds {n_wrong} NaN or infinite voxels"
    if on_invalid == "raise":
        raise ValueError(
            f"{what}. Correct the file, or give Cohort(on_invalid='fill') to replace them by the "
            "lowest value of their channel."
        )
    if not finite.reshape(len(values), -1).any(axis=1).all():
        raise ValueError(f"{what}, and a channel has no other voxel to fill them from.")
    warnings.warn(f"{what}; each becomes the lowest of its channel.", UserWarning, stacklevel=3)
    lowest = np.where(finite, values, np.inf).min(axis=(1, 2, 3), keepdims=True)
    return np.where(finite, values, lowest)


def name_patients(n: int, parts: tuple[Any, ...]) -> tuple[Sequence[str], tuple[Any, ...]]:
    """Name patients by the index of the first part that holds names; else number them.

    Returns
    -------
    ids : sequence of str
    parts : tuple
        Where patients are numbered, without indexes: they only say where rows stood in a table.

    Raises
    ------
    ValueError
        Parts whose rows stood in another order in that table.
    """
    numbers = [str(i) for i in range(n)]
    indexes = [index_of(part) or numbers for part in parts if hasattr(part, "iloc")]
    for part in parts:
        labels = index_of(part)
        if labels is not None and part.index.dtype.kind not in "iu":
            return labels, parts
    for first, second in itertools.pairwise(indexes):
        if first != second and set(first) == set(second):
            raise ValueError(
                "The indexes of clinical, outcome or groups hold the same numbers in another "
                "order. Give ids=, or reset_index(drop=True) if all are in the order of the "
                "volumes."
            )
    plain = (p.reset_index(drop=True) if hasattr(p, "iloc") else p for p in parts)
    return [f"case-{i:04d}" for i in range(n)], tuple(plain)


def clinical_columns(clinical: Any, kinds: Mapping[str, str] | None) -> pd.DataFrame | None:
    """Take clinical columns as a frame, with the kinds that they are declared to have."""
    if clinical is None and kinds:
        raise ValueError("kinds= is of clinical columns, but clinical= is not given.")
    return None if clinical is None else declare(as_frame(clinical), kinds)


def name_channels(
    names: Sequence[str] | None, shape: Sequence[int | None]
) -> tuple[str, ...]:
    """Name the channels of volumes of this shape, or check the number of the names given."""
    n_channels = shape[0]
    if n_channels is None:
        raise ValueError("All cases of a cohort must have the same number of channels.")
    if names is None:
        return tuple(f"channel{c}" for c in range(n_channels))
    if len(names) != n_channels:
        raise ValueError(
            f"channel_names must be {n_channels} different names, one per channel; got "
            f"{list(names)}.{axes_hint(shape)}"
        )
    return tuple(names)


def check_mask_shapes(volumes: Store, masks: Store, available: np.ndarray, ids: np.ndarray) -> None:
    """Refuse masks on another grid than their volumes, as far as shapes in memory tell."""
    shape, mask_shape = volumes.case_shape[1:], masks.case_shape
    if None not in shape and None not in mask_shape and shape != mask_shape:
        hint = axes_hint(volumes.case_shape)
        raise ValueError(f"masks have shape {mask_shape} per case but volumes have {shape}.{hint}")
    if volumes.nbytes_in_memory and (None in shape or None in mask_shape):
        for i in np.flatnonzero(available).tolist():
            image_size, mask_size = volumes.read(i).shape[1:], masks.read(i).shape
            if image_size != mask_size:
                raise ValueError(
                    f"The mask of patient {ids[i]!r} has shape {mask_size} but the volume has "
                    f"{image_size}."
                )


def check_binary(masks: Sequence[Any] | np.ndarray, ids: np.ndarray) -> None:
    """Refuse masks that a cast to uint8 would change: probabilities, labels, 0/255."""
    for i, mask in enumerate(masks):
        values = np.asarray(mask) if mask is not None else np.zeros(0)
        if values.dtype != np.bool_ and not np.isin(values, (0, 1)).all():
            name = repr(ids[i]) if i < len(ids) else f"at position {i}"
            raise ValueError(
                f"The mask of patient {name} holds values other than 0 and 1 (from {values.min()} "
                f"to {values.max()}); give a binary mask, for example mask == label."
            )


def take_masks(
    masks: Any, has_mask: npt.ArrayLike | None, volumes: Store, ids: np.ndarray
) -> tuple[Store | None, np.ndarray]:
    """Make a store of masks and say which patients have one."""
    n = len(volumes)
    if masks is None:
        if has_mask is not None:
            raise ValueError("has_mask says which patients have a mask, but masks= is not given.")
        return None, np.zeros(n, dtype=bool)
    if isinstance(masks, list | tuple):
        masks = [None if mask is None else _without_channel(np.asarray(mask), 4) for mask in masks]
    elif isinstance(masks, np.ndarray):
        masks = _without_channel(masks, 5)
    if isinstance(masks, np.ndarray | list) and not is_whole_npy(masks, np.uint8):
        check_binary(masks, ids)
    if isinstance(masks, list):
        has_mask = [mask is not None for mask in masks] if has_mask is None else has_mask
        # A patient without a mask gets a placeholder that no caller can reach.
        size = tuple(1 if length is None else length for length in volumes.case_shape[1:])
        masks = [np.zeros(size, np.uint8) if mask is None else mask for mask in masks]
    store = as_store(masks, ndim=3, dtype=np.uint8)
    if len(store) != n:
        raise ValueError(f"masks holds {len(store)} cases but volumes holds {n}.")
    available = np.ones(n, bool) if has_mask is None else np.asarray(has_mask, dtype=bool)
    available = check_length("has_mask", available, n)
    check_mask_shapes(volumes, store, available, ids)
    return store, available


def _without_channel(mask: np.ndarray, ndim: int) -> np.ndarray:
    """Take the axis of a single channel off a mask, as networks and MONAI have it."""
    one = mask.ndim == ndim and mask.shape[ndim - 4] == 1
    return mask[(slice(None),) * (ndim - 4) + (0,)] if one else mask


def axes_hint(shape: Sequence[int | None]) -> str:
    """Return a hint for volumes that look as if their channels came last, else nothing.

    Parameters
    ----------
    shape : sequence of (int or None)
        ``(channels, z, y, x)``, as it was taken.
    """
    sizes = [size for size in shape if size is not None]
    if len(sizes) == 4 and sizes[-1] <= _MOST_CHANNELS < min(sizes[:-1]):
        return (
            f" The axes look like (z, y, x, channels); survimg takes (channels, z, y, x): "
            f"np.moveaxis(volumes, -1, 1), for volumes of shape (n, {', '.join(map(str, sizes))})."
        )
    return ""


def as_positions(key: Any, n: int) -> slice | np.ndarray:
    """Turn the key of an indexing expression into a slice or an array of positions."""
    if isinstance(key, slice):
        return key
    positions = np.asarray(key)
    if positions.size == 0:
        return np.zeros(0, dtype=np.intp)
    if positions.ndim != 1 or positions.dtype.kind not in "iub":
        raise IndexError(
            "A cohort is indexed by an int, a slice, or a one-dimensional integer or boolean "
            f"array; got {type(key).__name__} of dtype {positions.dtype}, shape {positions.shape}."
        )
    if positions.dtype.kind == "b" and len(positions) != n:
        raise IndexError(f"Boolean index of length {len(positions)} for a cohort of {n} patients.")
    return positions
