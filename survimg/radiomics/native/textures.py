"""All features of one image: values in the region in, a vector of features out."""

from __future__ import annotations

import numpy as np

from survimg.radiomics.names import IBSI_IDENTIFIERS, ExtractionSettings
from survimg.radiomics.native.cooccurrence import cooccurrence_features
from survimg.radiomics.native.discretise import grey_levels
from survimg.radiomics.native.firstorder import first_order
from survimg.radiomics.native.geometry import RegionGeometry
from survimg.radiomics.native.neighbours import (
    collect_zones,
    count_pairs,
    neighbour_sums,
    trace_same,
)
from survimg.radiomics.native.ngtdm import tone_difference_features
from survimg.radiomics.native.size_matrices import (
    dependence_features,
    run_features,
    zone_features,
)

__all__ = ["ImageMeasurement"]

# Zones up to this size are counted in a table, larger ones listed.
_SMALL_ZONE = 63

# Run-length order of the 14 dependence features that are defined.
_DEPENDENCE_ORDER = [0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15]


class ImageMeasurement:
    """Measure images of one case; scratch memory is shared by its images.

    Parameters
    ----------
    geometry : RegionGeometry
    voxel_volume : float
        In mm^3.
    settings : ExtractionSettings
    """

    def __init__(
        self, geometry: RegionGeometry, voxel_volume: float, settings: ExtractionSettings
    ) -> None:
        self.geometry = geometry
        self.voxel_volume = voxel_volume
        self.settings = settings
        self.classes = dict(settings.image_features)
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
        values : ndarray of shape (n,), float64
            The image in the region, in the order of `RegionGeometry.in_box`.
        """
        settings, geometry = self.settings, self.geometry
        levels, n_levels = grey_levels(
            values, float(values.min()), float(values.max()), settings.bin_width, settings.bin_count
        )
        level_counts = np.bincount(levels, minlength=n_levels + 1)
        self._grey[geometry.in_block] = levels
        by_class: dict[str, np.ndarray] = {}
        if {"glcm", "glrlm", "glszm", "gldm"} & set(self.classes):
            by_class.update(self._pair_classes(level_counts))
        if "ngtdm" in self.classes:
            by_class["ngtdm"] = self._tone_differences(level_counts)
        found: list[float] = []
        for feature_class, names in settings.image_features:
            if feature_class == "firstorder":
                statistics = first_order(values, level_counts, self.voxel_volume)
                found.extend(statistics[name] for name in names)
            else:
                order = {name: k for k, name in enumerate(IBSI_IDENTIFIERS[feature_class])}
                found.extend(by_class[feature_class][order[name]] for name in names)
        return np.array(found, dtype=np.float64), n_levels

    def _pair_classes(self, level_counts: np.ndarray) -> dict[str, np.ndarray]:
        geometry, width = self.geometry, level_counts.size
        pairs = np.zeros((13, width, width), dtype=np.int32)
        count_pairs(self._grey, geometry.in_block, geometry.offsets, pairs, self._same)
        found = {}
        if "glcm" in self.classes:
            n_present = int(np.count_nonzero(level_counts))
            found["glcm"] = cooccurrence_features(pairs, n_present, "MCC" in self.classes["glcm"])
        if self._position.size == 0:
            return found
        # No run is longer than the longest side of the bounding box.
        reached = np.zeros((13, max(geometry.block_shape) + 1, width), dtype=np.int32)
        self._dependence[geometry.in_block] = 0
        longest = trace_same(
            self._same,
            self._grey,
            geometry.in_block,
            geometry.offsets,
            self._position,
            reached,
            self._root,
            self._dependence,
        )
        if "glrlm" in self.classes:
            found["glrlm"] = run_features(level_counts, pairs, reached, longest, geometry.has_runs)
        if "glszm" in self.classes:
            found["glszm"] = self._zones(width)
        if "gldm" in self.classes:
            found["gldm"] = dependence_features(
                self._dependence, self._grey, geometry.in_block, width - 1
            )[_DEPENDENCE_ORDER]
        return found

    def _zones(self, width: int) -> np.ndarray:
        geometry = self.geometry
        self._sizes[geometry.in_block] = 0
        small = np.zeros((_SMALL_ZONE + 1, width), dtype=np.int32)
        large = np.empty(geometry.in_block.size // (_SMALL_ZONE + 1) + 1, dtype=np.int64)
        n_large = collect_zones(
            self._root, self._grey, geometry.in_block, self._sizes, small, large
        )
        # Sorted by size, then level, as the cells of a size matrix are.
        cells, counts = np.unique(large[:n_large], return_counts=True)
        sizes, levels = np.divmod(cells, 65536)
        return zone_features(small, np.column_stack([levels, sizes, counts]))

    def _tone_differences(self, level_counts: np.ndarray) -> np.ndarray:
        geometry = self.geometry
        _, ny, nx = geometry.block_shape
        differences = np.zeros(level_counts.size, dtype=np.float64)
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
