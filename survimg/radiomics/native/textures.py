"""All features of one image: values in the region in, a vector of features out."""

from __future__ import annotations

import numpy as np

from survimg.radiomics.names import IBSI_IDENTIFIERS, ExtractionSettings
from survimg.radiomics.native.cooccurrence import cooccurrence_features
from survimg.radiomics.native.discretise import grey_levels, place_levels
from survimg.radiomics.native.distant import (
    count_dependences,
    count_distant_pairs,
    distant_tone_differences,
)
from survimg.radiomics.native.firstorder import first_order
from survimg.radiomics.native.geometry import RegionGeometry
from survimg.radiomics.native.joint import joint_features
from survimg.radiomics.native.neighbours import (
    collect_zones,
    count_pairs,
    neighbour_sums,
    neighbour_tables,
    trace_same,
)
from survimg.radiomics.native.ngtdm import tone_difference_features
from survimg.radiomics.native.size_matrices import (
    count_equal_neighbours,
    run_features,
    zone_features,
)

__all__ = ["DEPENDENCE_ORDER", "ImageMeasurement"]

# Zones up to this size are counted in a table, larger ones listed.
_SMALL_ZONE = 63

#: Run-length order of the 14 dependence features that are defined.
DEPENDENCE_ORDER = [0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15]

_NO_LARGE_ZONES = np.empty((0, 3), dtype=np.int64)


class ImageMeasurement:
    """Measure images of one case; scratch memory is shared by its images.

    Parameters
    ----------
    geometry : RegionGeometry
        Made for the texture definition of the settings.
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).
    settings : ExtractionSettings
    """

    def __init__(
        self, geometry: RegionGeometry, spacing: np.ndarray, settings: ExtractionSettings
    ) -> None:
        self.geometry = geometry
        self.spacing = spacing
        self.settings = settings
        texture = settings.texture
        # The quick pass over 3 x 3 x 3 boxes knows no other neighbourhoods.
        self._in_boxes = geometry.far_offsets is None and texture.flat_axis is None
        self._exact_dependence = (
            geometry.far_offsets is None and texture.dependence_tolerance == 0
        )
        self._run_weights = (
            np.empty(0)
            if texture.weighting is None
            else texture.run_weights(geometry.directions, spacing)
        )
        self.classes = dict(settings.image_features)
        self._columns = {
            feature_class: [list(IBSI_IDENTIFIERS[feature_class]).index(name) for name in names]
            for feature_class, names in settings.image_features
        }
        size = int(np.prod(geometry.block_shape))
        self._grey = np.zeros(size, dtype=np.uint16)
        self._same = np.zeros(size, dtype=np.uint16)
        self._dependence = np.zeros(size, dtype=np.uint8)
        self._root = np.zeros(size, dtype=np.int32)
        self._sizes = np.zeros(size, dtype=np.int32)
        self._sums = np.zeros((2, size), dtype=np.uint16)
        self._position = (
            np.empty((size, 16), dtype=np.uint16)
            if {"glrlm", "glszm", "gldm"} & set(self.classes)
            else np.empty((0, 16), dtype=np.uint16)
        )

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the features, in the order of the settings, and the number of grey levels.

        Parameters
        ----------
        values : ndarray of shape (n,)
            The image in the region, in the order of `RegionGeometry.in_box`. Edges of bins are
            computed in their type, as PyRadiomics does; statistics in float64.
        """
        settings, geometry = self.settings, self.geometry
        levels, n_levels = grey_levels(values, settings.bin_width, settings.bin_count)
        values = values.astype(np.float64, copy=False)
        level_counts = np.zeros(n_levels + 1, dtype=np.int64)
        place_levels(levels, geometry.in_block, self._grey, level_counts)
        by_class: dict[str, np.ndarray] = {}
        if {"glcm", "glrlm", "glszm", "gldm"} & set(self.classes):
            by_class.update(self._pair_classes(level_counts))
        if "ngtdm" in self.classes:
            by_class["ngtdm"] = self._tone_differences(level_counts)
        if "firstorder" in self.classes:
            by_class["firstorder"] = first_order(
                values, level_counts, float(np.prod(self.spacing)), settings.texture.array_shift
            )
        features = [by_class[name][columns] for name, columns in self._columns.items()]
        return np.concatenate(features), n_levels

    def _pair_classes(self, level_counts: np.ndarray) -> dict[str, np.ndarray]:
        geometry, width = self.geometry, level_counts.size
        n_directions = geometry.offsets.size
        pairs = np.zeros((n_directions, width, width), dtype=np.int32)
        count_pairs(self._grey, geometry.in_block, geometry.offsets, pairs, self._same)
        features = {}
        if "glcm" in self.classes:
            features["glcm"] = self._cooccurrence(pairs, int(np.count_nonzero(level_counts)))
        if self._position.size == 0:
            return features
        # No run is longer than the longest side of the bounding box.
        reached = np.zeros((n_directions, max(geometry.block_shape) + 1, width), dtype=np.int32)
        self._dependence.fill(0)
        longest = trace_same(
            self._same,
            self._grey,
            geometry.in_block,
            geometry.offsets,
            *neighbour_tables(self.settings.texture.flat_axis),
            self._position,
            reached,
            self._root,
            self._dependence,
        )
        if "glrlm" in self.classes:
            features["glrlm"] = run_features(
                level_counts, pairs, reached, longest, geometry.has_runs, self._run_weights
            )
        if "glszm" in self.classes:
            features["glszm"] = self._zones(width)
        if "gldm" in self.classes:
            features["gldm"] = self._dependences(width)
        return features

    def _cooccurrence(self, pairs: np.ndarray, n_present: int) -> np.ndarray:
        geometry, texture = self.geometry, self.settings.texture
        if geometry.far_offsets is not None:
            pairs = np.zeros((geometry.far_offsets.size, *pairs.shape[1:]), dtype=np.int32)
            count_distant_pairs(self._grey, geometry.in_block, geometry.far_offsets, pairs)
        with_mcc = "MCC" in self.classes["glcm"]
        if texture.weighting is None and texture.symmetrical:
            return cooccurrence_features(pairs, n_present, with_mcc)
        matrices = texture.matrices(pairs, geometry.steps, self.spacing)
        return joint_features(matrices, n_present, with_mcc)

    def _dependences(self, width: int) -> np.ndarray:
        geometry = self.geometry
        table = np.zeros((2 * len(geometry.steps) + 2, width), dtype=np.int32)
        if self._exact_dependence:
            count_equal_neighbours(self._dependence, self._grey, geometry.in_block, table)
        else:
            offsets = geometry.offsets if geometry.far_offsets is None else geometry.far_offsets
            tolerance = self.settings.texture.dependence_tolerance
            count_dependences(self._grey, geometry.in_block, offsets, tolerance, table)
        return zone_features(table, _NO_LARGE_ZONES)[DEPENDENCE_ORDER]

    def _zones(self, width: int) -> np.ndarray:
        geometry = self.geometry
        self._sizes.fill(0)
        small = np.zeros((_SMALL_ZONE + 1, width), dtype=np.int32)
        large = np.empty(geometry.in_block.size // (_SMALL_ZONE + 1) + 1, dtype=np.int64)
        n_large = collect_zones(
            self._root, self._grey, geometry.in_block, self._sizes, small, large
        )
        if n_large == 0:
            return zone_features(small, _NO_LARGE_ZONES)
        # Sorted by size, then level, as the cells of a size matrix are.
        cells, counts = np.unique(large[:n_large], return_counts=True)
        sizes, levels = np.divmod(cells, 65536)
        return zone_features(small, np.column_stack([levels, sizes, counts]))

    def _tone_differences(self, level_counts: np.ndarray) -> np.ndarray:
        geometry = self.geometry
        _, ny, nx = geometry.block_shape
        differences = np.zeros(level_counts.size, dtype=np.float64)
        if not self._in_boxes:
            offsets = geometry.offsets if geometry.far_offsets is None else geometry.far_offsets
            distant_tone_differences(self._grey, geometry.in_block, offsets, differences)
            return tone_difference_features(level_counts, differences)
        neighbour_sums(
            self._grey,
            geometry.in_block,
            nx,
            ny * nx,
            geometry.n_neighbours,
            self._sums[0],
            self._sums[1],
            differences,
        )
        return tone_difference_features(level_counts, differences)
