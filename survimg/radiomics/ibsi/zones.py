"""Zones of equal grey level: their sizes (Thibault et al., 2014) and distances to the border."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from survimg.jit import kernel
from survimg.radiomics.ibsi.block import IN_PLANE, Block
from survimg.radiomics.ibsi.size_matrices import cell_features

__all__ = ["Zones", "border_distances", "find_zones", "zones_by_aggregation"]

# One slice: distances are counted to its outline, not to slices above and below.
_WITHIN_SLICE = ndimage.generate_binary_structure(3, 1) & (
    np.arange(3)[:, np.newaxis, np.newaxis] == 1
)


@dataclass(frozen=True)
class Zones:
    """Connected voxels of one grey level.

    Parameters
    ----------
    level, size, distance, first : ndarray of shape (zones,), int64
        Grey level, voxels, smallest distance to the border, and position in `Block.in_block` of
        the first voxel; ordered by the last.
    """

    level: np.ndarray
    size: np.ndarray
    distance: np.ndarray
    first: np.ndarray


def border_distances(mask: np.ndarray, *, by_slice: bool) -> np.ndarray:
    """Return the smallest number of steps over faces that leaves the mask.

    Parameters
    ----------
    mask : ndarray of shape (z, y, x), bool
        The morphological mask, whole: what lies beyond the array is outside.
    by_slice : bool
        Whether steps stay in the slice.

    Returns
    -------
    ndarray of shape (z, y, x), int
        1 at the border, 0 outside.
    """
    padded = np.pad(mask, 1)
    metric = _WITHIN_SLICE if by_slice else "taxicab"
    return np.asarray(ndimage.distance_transform_cdt(padded, metric))[1:-1, 1:-1, 1:-1]


def find_zones(block: Block, distances: np.ndarray, *, by_slice: bool) -> Zones:
    """Find the zones of a region: neighbours are the 26 around a voxel, by slice the 8.

    Parameters
    ----------
    block : Block
    distances : ndarray of shape (n,), int
        From `border_distances`, of the region's voxels.
    by_slice : bool
    """
    offsets = block.offsets[:IN_PLANE] if by_slice else block.offsets
    number = np.empty(block.grey.size, dtype=np.int32)
    root = np.empty(block.in_block.size, dtype=np.int32)
    table = np.empty((block.in_block.size, 4), dtype=np.int64)
    n_zones = _find(block.grey, block.in_block, offsets, distances, number, root, table)
    return Zones(*(np.ascontiguousarray(column) for column in table[:n_zones].T))


def zones_by_aggregation(
    block: Block, of_zones: np.ndarray, zones: Zones, aggregations: Collection[str]
) -> dict[str, np.ndarray]:
    """Return the 16 features of zone sizes, or of zone distances, by aggregation.

    Parameters
    ----------
    block : Block
    of_zones : ndarray of shape (zones,)
        Size or distance of each zone.
    zones : Zones
        Found by slice for "2D" and "2_5D", in space for "3D".
    aggregations : collection of str
        Of `VALUE_AGGREGATIONS` that fit the zones.
    """
    features = {}
    for name in aggregations:
        if name != "2D":
            features[name] = _features(zones.level, of_zones, block.n_levels, block.in_block.size)
            continue
        rows = []
        for part in block.slices:
            inside = slice(*np.searchsorted(zones.first, [part.start, part.stop]))
            n = part.stop - part.start
            rows.append(_features(zones.level[inside], of_zones[inside], block.n_levels, n))
        features[name] = np.mean(rows, axis=0)
    return features


def _features(level: np.ndarray, of_zones: np.ndarray, n_levels: int, n: int) -> np.ndarray:
    cells, counts = np.unique(of_zones * (n_levels + 1) + level, return_counts=True)
    sizes, levels = np.divmod(cells, n_levels + 1)
    return cell_features(np.column_stack([levels, sizes, counts]), n_levels, n)


@kernel
def _find(
    grey: np.ndarray,
    in_block: np.ndarray,
    offsets: np.ndarray,
    distances: np.ndarray,
    number: np.ndarray,
    root: np.ndarray,
    table: np.ndarray,
) -> int:
    # Union-find over voxel numbers; the smaller number is always the root, so roots come first.
    for n in range(in_block.size):
        i = np.int64(in_block[n])
        number[i] = n
        root[n] = n
        mine = n
        for a in range(offsets.size):
            j = i - offsets[a]
            if grey[j] != grey[i]:
                continue
            other = int(number[j])
            while root[other] != other:
                root[other] = root[root[other]]
                other = int(root[other])
            if other != mine:
                if other < mine:
                    root[mine] = other
                    mine = other
                else:
                    root[other] = mine
    n_zones = 0
    for n in range(in_block.size):
        top = np.int64(root[root[n]])
        if top == n:
            # From here on `number` of a root's voxel is the number of its zone.
            number[np.int64(in_block[n])] = n_zones
            table[n_zones, 0] = grey[np.int64(in_block[n])]
            table[n_zones, 1] = 1
            table[n_zones, 2] = distances[n]
            table[n_zones, 3] = n
            n_zones += 1
            continue
        root[n] = top
        zone = np.int64(number[np.int64(in_block[top])])
        table[zone, 1] += 1
        table[zone, 2] = min(table[zone, 2], distances[n])
    return n_zones
