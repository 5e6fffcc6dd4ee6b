"""The finer voxels of a prepared cohort: blocks around the tumours in SUV and HU, for features."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from survimg.cohort.stores import check_stamp, digest_of, file_stamp
from survimg.io.patients import PatientTable
from survimg.npz import unpack_arrays

__all__ = ["BlockStore", "finer_settings", "finer_table"]


class BlockStore:
    """Blocks of different sizes, one ``.npz`` file per case, read when they are asked for.

    Parameters
    ----------
    folder : Path
        Holds ``0.npz`` and so on, with ``volume`` (channels, z, y, x) and ``mask`` (z, y, x).
    shapes : sequence of (tuple of int, or None)
        ``(channels, z, y, x)`` of every block; None where a patient has none.
    masks : bool
        Whether this is the store of the masks.
    """

    def __init__(
        self, folder: Path, shapes: Sequence[Sequence[int] | None], *, masks: bool
    ) -> None:
        self._folder = folder.resolve()
        self._shapes = [None if shape is None else tuple(shape) for shape in shapes]
        self._masks = masks
        self._stamps = [
            None if shape is None else file_stamp(self._path(i))
            for i, shape in enumerate(self._shapes)
        ]

    def __len__(self) -> int:
        return len(self._shapes)

    @property
    def case_shape(self) -> tuple[int | None, ...]:
        """Shape of one case; None for axes that differ between cases."""
        channels = next(shape[0] for shape in self._shapes if shape is not None)
        return (None, None, None) if self._masks else (channels, None, None, None)

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that travel when the store is pickled."""
        return 0

    def read(self, position: int) -> np.ndarray:
        """Return the array of one case; without voxels where the patient has no block.

        Raises
        ------
        ValueError
            The file is damaged.
        """
        shape, stamp = self._shapes[position], self._stamps[position]
        if shape is None or stamp is None:
            return np.zeros((0, 0, 0) if self._masks else (self.case_shape[0] or 1, 0, 0, 0))
        path = self._path(position)
        check_stamp(path, stamp)
        n_voxels = math.prod(shape[1:])
        try:
            arrays = unpack_arrays(path.read_bytes(), largest=(4 * shape[0] + 1) * n_voxels + 4096)
            block = arrays["mask" if self._masks else "volume"]
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{path} is damaged ({error}).") from None
        if block.shape != (shape[1:] if self._masks else shape):
            raise ValueError(f"{path} is damaged: its shape is {block.shape}, not {shape}.")
        return block

    def case_key(self, position: int) -> str:
        """Path, size and modification time of the file."""
        return digest_of(self._path(position), self._stamps[position], self._masks)

    def _path(self, position: int) -> Path:
        return self._folder / f"{position}.npz"


def finer_table(
    table: PatientTable, places: Sequence[Mapping[str, Any] | None]
) -> PatientTable:
    """Return the patients' table with where the finer blocks lie.

    Parameters
    ----------
    table : PatientTable
        Of the prepared cohort.
    places : sequence of (mapping or None)
        Per patient ``spacing``, ``origin`` and ``direction``; None without a mask, and so a block.
    """
    spacing = np.ones((len(table), 3)) if table.spacing is None else table.spacing
    return replace(
        table,
        has_mask=np.array([place is not None for place in places]),
        spacing=np.array(
            [spacing[i] if place is None else place["spacing"] for i, place in enumerate(places)]
        ),
        geometry=tuple(
            {**_image(table, i), **({} if place is None else place)}
            for i, place in enumerate(places)
        ),
    )


def _image(table: PatientTable, i: int) -> dict[str, Any]:
    place = {} if table.geometry is None else table.geometry[i]
    return {"image": place["image"]} if "image" in place else {}


def finer_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the finer blocks of a cohort were prepared: in the patient's pose and units."""
    spacing = settings["features_spacing"]
    return {
        **{name: settings[name] for name in ("interpolation", "antialias", "mask_interpolation")},
        "shape": None,
        "spacing": spacing,
        "crop": f"tumour with {settings['features_margin']:g} mm around it",
        "normalise": "none",
        "features_margin": settings["features_margin"],
    }
