"""Features in the window around each voxel of a region: what maps of features are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from survimg.jit import kernel
from survimg.radiomics.names import IBSI_IDENTIFIERS, ExtractionSettings
from survimg.radiomics.native.cooccurrence import windowed_cooccurrence
from survimg.radiomics.native.discretise import grey_levels
from survimg.radiomics.native.distant import count_distant_pairs
from survimg.radiomics.native.firstorder import windowed_statistics
from survimg.radiomics.native.geometry import half_of_the_steps
from survimg.radiomics.native.joint import joint_features
from survimg.radiomics.native.mcc import windowed_maximal_correlation
from survimg.radiomics.native.ngtdm import windowed_tone_differences
from survimg.radiomics.native.size_matrices import (
    windowed_dependences,
    windowed_runs,
    windowed_zones,
)
from survimg.radiomics.native.textures import DEPENDENCE_ORDER

__all__ = ["WindowMeasurement"]

# Voxels whose windows are in memory at a time.
_BATCH = 4096


@dataclass(frozen=True)
class _Windows:
    """Windows of some voxels, flattened, with a margin of grey level 0."""

    values: np.ndarray
    blocks: np.ndarray
    strides: np.ndarray
    n_levels: int
    n_present: int


class WindowMeasurement:
    """Measure the window around each voxel of a region.

    Parameters
    ----------
    radius : int
        Of the window, in voxels.
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).
    settings : ExtractionSettings
    """

    def __init__(self, radius: int, spacing: np.ndarray, settings: ExtractionSettings) -> None:
        texture = settings.texture
        self.settings, self.spacing = settings, spacing
        self.classes = dict(settings.image_features)
        self.radii = np.array([0 if axis == texture.flat_axis else radius for axis in range(3)])
        self.margin = max(texture.distances)
        self.directions = half_of_the_steps((1,), texture.flat_axis)
        self.steps = half_of_the_steps(texture.distances, texture.flat_axis)
        shape = tuple(int(size) for size in 2 * (self.radii + self.margin) + 1)
        self.lines = np.stack([_lines(shape, direction) for direction in self.directions])

    def __call__(
        self, values: np.ndarray, inside: np.ndarray, positions: np.ndarray
    ) -> np.ndarray:
        """Return the features of all windows, in the order of the settings.

        Parameters
        ----------
        values : ndarray of shape (z, y, x)
            The image in a box that holds all windows, as far as the image reaches.
        inside : ndarray of shape (z, y, x), bool
            Voxels that belong to a window; grey levels are those of all of them.
        positions : ndarray of shape (n, 3), int
            Centres of the windows.

        Returns
        -------
        ndarray of shape (n, n_features)
        """
        levels, n_levels = grey_levels(
            values[inside], self.settings.bin_width, self.settings.bin_count
        )
        reach = self.radii + self.margin
        padding = [(int(size), int(size)) for size in reach]
        grey = np.zeros(values.shape, dtype=np.uint16)
        grey[inside] = levels
        grey = np.pad(grey, padding)
        values = np.pad(values.astype(np.float64), padding)
        shape = tuple(int(size) for size in 2 * reach + 1)
        strides = np.array([shape[1] * shape[2], shape[2], 1])
        n_present, parts = np.unique(levels).size, []
        for start in range(0, len(positions), _BATCH):
            centres = positions[start : start + _BATCH]
            blocks = np.zeros((len(centres), *shape), dtype=np.uint16)
            boxes = np.zeros((len(centres), *shape), dtype=np.float64)
            gather_windows(grey, values, centres + reach, self.radii, self.margin, blocks, boxes)
            flat = len(centres), int(np.prod(shape))
            windows = _Windows(
                boxes.reshape(flat), blocks.reshape(flat), strides, n_levels, n_present
            )
            parts.append(self._measure(windows))
        return np.concatenate(parts)

    def _measure(self, windows: _Windows) -> np.ndarray:
        by_class = {name: self._of_class(name, windows) for name in self.classes}
        columns = [_columns(by_class, name, names) for name, names in self.settings.image_features]
        return np.concatenate(columns, axis=1)

    def _of_class(self, feature_class: str, windows: _Windows) -> np.ndarray:
        blocks, n_levels = windows.blocks, windows.n_levels
        directions, steps = self.directions @ windows.strides, self.steps @ windows.strides
        texture = self.settings.texture
        out = np.zeros((len(blocks), 16), dtype=np.float64)
        if feature_class == "firstorder":
            out = np.zeros((len(blocks), 19), dtype=np.float64)
            volume = float(np.prod(self.spacing))
            windowed_statistics(windows.values, blocks, n_levels, volume, texture.array_shift, out)
        elif feature_class == "glcm":
            out = self._cooccurrence(windows, steps)
        elif feature_class == "ngtdm":
            out = np.zeros((len(blocks), 5), dtype=np.float64)
            windowed_tone_differences(blocks, steps, n_levels, out)
        elif feature_class == "glrlm":
            weights = (
                np.empty(0)
                if texture.weighting is None
                else texture.run_weights(self.directions, self.spacing)
            )
            longest = int(2 * self.radii.max() + 1)
            windowed_runs(blocks, directions, self.lines, longest, n_levels, weights, out)
        elif feature_class == "glszm":
            largest = int(np.prod(2 * self.radii + 1))
            windowed_zones(blocks, directions, largest, n_levels, out)
        else:
            windowed_dependences(blocks, steps, texture.dependence_tolerance, n_levels, out)
            out = out[:, DEPENDENCE_ORDER]
        return out

    def _cooccurrence(self, windows: _Windows, steps: np.ndarray) -> np.ndarray:
        texture, with_mcc = self.settings.texture, "MCC" in self.classes["glcm"]
        if texture.weighting is not None or not texture.symmetrical:
            return self._general_cooccurrence(windows, steps, with_mcc)
        out = windowed_cooccurrence(windows.blocks, steps, windows.n_levels)
        if with_mcc:
            windowed_maximal_correlation(
                windows.blocks, steps, windows.n_levels, windows.n_present, out[:, 15]
            )
        return out

    def _general_cooccurrence(
        self, windows: _Windows, steps: np.ndarray, with_mcc: bool
    ) -> np.ndarray:
        # Weighted or asymmetric matrices are rare: one window after the other.
        texture, width = self.settings.texture, windows.n_levels + 1
        rows, used = [], []
        for block in windows.blocks:
            pairs = np.zeros((steps.size, width, width), dtype=np.int32)
            count_distant_pairs(block, np.flatnonzero(block).astype(np.int32), steps, pairs)
            matrices = texture.matrices(pairs, self.steps, self.spacing)
            used.append(matrices.sum(axis=(1, 2)) > 0)
            rows.append(joint_features(matrices, windows.n_present, with_mcc))
        out, some = np.array(rows), np.array(used)
        out[(some < some.any(axis=0)).any(axis=1), 1] = np.nan  # as in windowed_cooccurrence
        return out


def _lines(shape: tuple[int, ...], direction: np.ndarray) -> np.ndarray:
    # Numbers the lines along a direction: two positions on one differ by a multiple of it, so that
    # they have one position in common where they cross the first plane, inside the block or not.
    positions = np.indices(shape).reshape(3, -1)
    axis = int(np.flatnonzero(direction)[0])
    start = positions - direction[:, np.newaxis] * positions[axis] * direction[axis]
    start -= start.min(axis=1, keepdims=True)
    return np.ravel_multi_index(tuple(start), tuple(start.max(axis=1) + 1)).astype(np.int64)


def _columns(
    by_class: Mapping[str, np.ndarray], feature_class: str, names: tuple[str, ...]
) -> np.ndarray:
    order = {name: k for k, name in enumerate(IBSI_IDENTIFIERS[feature_class])}
    return by_class[feature_class][:, [order[name] for name in names]]


@kernel
def gather_windows(
    grey: np.ndarray,
    values: np.ndarray,
    centres: np.ndarray,
    radii: np.ndarray,
    margin: int,
    blocks: np.ndarray,
    boxes: np.ndarray,
) -> None:
    """Copy the window around each voxel.

    Parameters
    ----------
    grey : ndarray of shape (z, y, x), uint16
        Grey levels, 0 where nothing is measured; holds every window with its margin.
    values : ndarray of shape (z, y, x), float64
    centres : ndarray of shape (n, 3), int64
    radii : ndarray of shape (3,), int64
        Of the window, (z, y, x).
    margin : int
    blocks : ndarray of shape (n, z, y, x), uint16
        Zeros; receives the grey levels of the window, and keeps the margin.
    boxes : ndarray of shape (n, z, y, x), float64
        Zeros; receives the values of the window.
    """
    for n in range(centres.shape[0]):
        for z in range(-radii[0], radii[0] + 1):
            for y in range(-radii[1], radii[1] + 1):
                for x in range(-radii[2], radii[2] + 1):
                    place = (
                        n, z + radii[0] + margin, y + radii[1] + margin, x + radii[2] + margin
                    )
                    here = (centres[n, 0] + z, centres[n, 1] + y, centres[n, 2] + x)
                    blocks[place] = grey[here]
                    boxes[place] = values[here]
