"""Grey-level co-occurrence matrices (Haralick, 1973) and run lengths (Galloway, 1975), aggregated.

The matrices of the four directions in a slice are counted once: those of a slice, their sums over
slices (2.5D) and, with the nine directions between slices, those in space (3D) all follow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from survimg.jit import kernel
from survimg.radiomics.ibsi.block import IN_PLANE, Block
from survimg.radiomics.ibsi.names import FAMILIES
from survimg.radiomics.ibsi.size_matrices import table_features
from survimg.radiomics.names import IBSI_IDENTIFIERS
from survimg.radiomics.native.cooccurrence import cooccurrence_features
from survimg.radiomics.native.neighbours import count_pairs

__all__ = ["cooccurrence_by_aggregation", "runs_by_aggregation"]

# IBSI defines two features twice: for a symmetric matrix the sum variance is the cluster tendency
# and the dissimilarity the difference average.
_TWINS = {"OEEB": "DG8W", "8S9J": "TF7R"}
_NATIVE_CODES = list(IBSI_IDENTIFIERS["glcm"].values())
_PAIR_ORDER = [_NATIVE_CODES.index(_TWINS.get(code, code)) for code in FAMILIES["glcm"].values()]

# Matrices of a slice (or of space) and its number of voxels -> features of each matrix.
_Measure = Callable[[np.ndarray, int], np.ndarray]
# Positions of voxels and offsets of directions -> their matrices, (direction, ...).
_Count = Callable[[np.ndarray, np.ndarray], np.ndarray]


def cooccurrence_by_aggregation(
    block: Block, aggregations: Collection[str]
) -> dict[str, np.ndarray]:
    """Return the 25 co-occurrence features by aggregation.

    Parameters
    ----------
    block : Block
    aggregations : collection of str
        Of `MERGED_AGGREGATIONS`.

    Returns
    -------
    dict of ndarray of shape (25,)
        Directions and slices without a pair are left out of averages; NaN when none is left.
    """
    width = block.n_levels + 1
    same = np.zeros(block.grey.size, dtype=np.uint16)

    def count(in_block: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        pairs = np.zeros((offsets.size, width, width), dtype=np.int32)
        count_pairs(block.grey, in_block, offsets, pairs, same)
        # Column 0 holds neighbours outside the region.
        pairs[:, :, 0] = 0
        return pairs

    def measure(matrices: np.ndarray, n_voxels: int) -> np.ndarray:  # noqa: ARG001
        rows = [cooccurrence_features(m[np.newaxis], 0, False) for m in matrices]
        return np.array(rows)[:, _PAIR_ORDER]

    return _aggregate(block, aggregations, count, measure)


def runs_by_aggregation(block: Block, aggregations: Collection[str]) -> dict[str, np.ndarray]:
    """Return the 16 run-length features by aggregation.

    Parameters
    ----------
    block : Block
    aggregations : collection of str
        Of `MERGED_AGGREGATIONS`.

    Returns
    -------
    dict of ndarray of shape (16,)
    """

    def count(in_block: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        runs = np.zeros((offsets.size, block.longest + 1, block.n_levels + 1), dtype=np.int32)
        count_runs(block.grey, in_block, offsets, runs)
        return runs

    def measure(matrices: np.ndarray, n_voxels: int) -> np.ndarray:
        return np.array([table_features(m, n_voxels) for m in matrices])

    return _aggregate(block, aggregations, count, measure)


def _aggregate(
    block: Block, aggregations: Collection[str], count: _Count, measure: _Measure
) -> dict[str, np.ndarray]:
    per_slice: dict[str, list[np.ndarray]] = {"2D_avg": [], "2D_comb": []}
    in_plane: np.ndarray | int = 0
    for part in block.slices:
        voxels = block.in_block[part]
        matrices = count(voxels, block.offsets[:IN_PLANE])
        in_plane = in_plane + matrices
        if "2D_avg" in aggregations:
            per_slice["2D_avg"].append(measure(matrices, voxels.size))
        if "2D_comb" in aggregations:
            per_slice["2D_comb"].append(_merged(matrices, voxels.size, measure))
    features = {name: _mean(np.concatenate(rows)) for name, rows in per_slice.items() if rows}
    n = block.in_block.size
    summed = np.asarray(in_plane)
    if "2_5D_avg" in aggregations:
        features["2_5D_avg"] = _mean(measure(summed, n))
    if "2_5D_comb" in aggregations:
        features["2_5D_comb"] = _mean(_merged(summed, n, measure))
    if {"3D_avg", "3D_comb"} & set(aggregations):
        between = count(block.in_block, block.offsets[IN_PLANE:])
        everywhere = np.concatenate([summed, between])
        if "3D_avg" in aggregations:
            features["3D_avg"] = _mean(measure(everywhere, n))
        if "3D_comb" in aggregations:
            features["3D_comb"] = _mean(_merged(everywhere, n, measure))
    return features


def _merged(matrices: np.ndarray, n_voxels: int, measure: _Measure) -> np.ndarray:
    total = matrices.sum(axis=0, keepdims=True, dtype=matrices.dtype)
    return measure(total, n_voxels * len(matrices))


def _mean(rows: np.ndarray) -> np.ndarray:
    defined = rows[~np.isnan(rows).all(axis=1)]
    return defined.mean(axis=0) if len(defined) else np.full(rows.shape[1], np.nan)


@kernel
def count_runs(
    grey: np.ndarray, in_block: np.ndarray, offsets: np.ndarray, runs: np.ndarray
) -> None:
    """Count runs of one level by direction, length and level.

    Parameters
    ----------
    grey : ndarray of shape (block,), uint16
    in_block : ndarray of shape (n,), int32
    offsets : ndarray of shape (directions,), int64
    runs : ndarray of shape (directions, longest + 1, levels + 1), int32
        Zeros; receives the counts.
    """
    for n in range(in_block.size):
        i = np.int64(in_block[n])
        level = grey[i]
        for a in range(offsets.size):
            step = offsets[a]
            if grey[i - step] == level:
                continue
            length = 1
            j = i + step
            while grey[j] == level:
                length += 1
                j += step
            runs[a, length, level] += 1
