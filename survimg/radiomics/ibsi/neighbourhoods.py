"""Differences to the neighbours' mean (NGTDM) and numbers of equal neighbours (NGLDM), in one pass.

Sources: Amadasun and King (1989), Sun and Wee (1983).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from survimg.jit import kernel
from survimg.radiomics.ibsi.block import IN_PLANE, Block
from survimg.radiomics.ibsi.size_matrices import table_features
from survimg.radiomics.native.ngtdm import tone_difference_features

__all__ = ["neighbourhoods_by_aggregation"]


class _Matrices:
    """Both matrices of one slice, of the sum of all, or of the region in space."""

    def __init__(self, n_levels: int, n_neighbours: int) -> None:
        self.n_voxels = 0
        # Voxels with a neighbour, and sums of absolute differences, by level.
        self.with_neighbour = np.zeros(n_levels + 1, dtype=np.int64)
        self.differences = np.zeros(n_levels + 1, dtype=np.float64)
        # Voxels by number of equal neighbours, themselves included, and level.
        self.dependences = np.zeros((n_neighbours + 2, n_levels + 1), dtype=np.int32)

    def count(self, block: Block, part: slice, offsets: np.ndarray) -> _Matrices:
        voxels = block.in_block[part]
        self.n_voxels = voxels.size
        _count(block.grey, voxels, offsets, self.with_neighbour, self.differences, self.dependences)
        return self

    def add(self, other: _Matrices) -> None:
        self.n_voxels += other.n_voxels
        self.with_neighbour += other.with_neighbour
        self.differences += other.differences
        self.dependences += other.dependences

    def features(self) -> tuple[np.ndarray, np.ndarray]:
        tone = tone_difference_features(self.with_neighbour, self.differences)
        if not self.with_neighbour.any():
            tone = np.full(5, np.nan)
        energy = np.square(self.dependences, dtype=np.float64).sum() / self.n_voxels**2
        return tone, np.append(table_features(self.dependences, self.n_voxels), energy)


def neighbourhoods_by_aggregation(
    block: Block, aggregations: Collection[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the 5 tone difference features and the 17 dependence features, by aggregation.

    Neighbours are the 26 around a voxel, by slice the 8; equal is of the same level (IBSI's
    distance 1 and coarseness 0).

    Parameters
    ----------
    block : Block
    aggregations : collection of str
        Of `VALUE_AGGREGATIONS`.

    Returns
    -------
    tone_differences, dependences : dict of ndarray of shape (5,) and of shape (17,)
        Tone differences of a region without two neighbouring voxels are NaN.
    """
    features: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if {"2D", "2_5D"} & set(aggregations):
        total = _Matrices(block.n_levels, 2 * IN_PLANE)
        slices = []
        for part in block.slices:
            matrices = _Matrices(block.n_levels, 2 * IN_PLANE)
            total.add(matrices.count(block, part, block.offsets[:IN_PLANE]))
            if "2D" in aggregations:
                slices.append(matrices.features())
        if "2D" in aggregations:
            features["2D"] = _mean([tone for tone, _ in slices]), _mean([d for _, d in slices])
        if "2_5D" in aggregations:
            features["2_5D"] = total.features()
    if "3D" in aggregations:
        space = _Matrices(block.n_levels, 2 * block.offsets.size)
        features["3D"] = space.count(block, slice(None), block.offsets).features()
    return {k: tone for k, (tone, _) in features.items()}, {k: d for k, (_, d) in features.items()}


def _mean(rows: list[np.ndarray]) -> np.ndarray:
    defined = [row for row in rows if not np.isnan(row).all()]
    return np.mean(defined, axis=0) if defined else np.full(rows[0].size, np.nan)


@kernel
def _count(
    grey: np.ndarray,
    in_block: np.ndarray,
    offsets: np.ndarray,
    with_neighbour: np.ndarray,
    differences: np.ndarray,
    dependences: np.ndarray,
) -> None:
    for n in range(in_block.size):
        i = np.int64(in_block[n])
        level = int(grey[i])
        total = 0
        neighbours = 0
        equal = 0
        for a in range(offsets.size):
            before = int(grey[i - offsets[a]])
            after = int(grey[i + offsets[a]])
            total += before + after
            neighbours += (before > 0) + (after > 0)
            equal += (before == level) + (after == level)
        dependences[equal + 1, level] += 1
        if neighbours > 0:
            with_neighbour[level] += 1
            differences[level] += abs(level - total / neighbours)
