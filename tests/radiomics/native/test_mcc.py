"""The maximal correlation coefficient of windows is the eigenvalue of its definition."""

from __future__ import annotations

import numpy as np
import pytest

from survimg.radiomics.native.mcc import windowed_maximal_correlation

STRIDES = np.array([25, 5, 1])


def by_definition(block: np.ndarray, offset: int, n_levels: int) -> float | None:
    counts = np.zeros((n_levels, n_levels))
    for i in np.flatnonzero(block):
        if block[i - offset] > 0:
            counts[block[i] - 1, block[i - offset] - 1] += 1
    counts += counts.T
    if not counts.any():
        return None
    counts = counts[counts.any(axis=1)][:, counts.any(axis=0)]
    if len(counts) < 2:
        return 0.0
    p = counts / counts.sum()
    q = p / np.outer(p.sum(axis=1), p.sum(axis=0)) @ p.T
    return float(np.sqrt(max(np.sort(np.linalg.eigvals(q).real)[-2], 0.0)))


@pytest.mark.parametrize("n_levels", [2, 3, 8, 70])
@pytest.mark.parametrize("density", [0.3, 1.0])
def test_windows_are_the_definition(n_levels: int, density: float) -> None:
    # Few levels are connected by their pairs; many fall apart, or into two halves.
    rng = np.random.default_rng(n_levels)
    blocks = np.zeros((40, 5, 5, 5), dtype=np.uint16)
    inner = rng.integers(1, n_levels + 1, size=(40, 3, 3, 3))
    blocks[:, 1:4, 1:4, 1:4] = inner * (rng.random(inner.shape) < density)
    blocks = blocks.reshape(40, -1)
    offsets = np.array([[0, 0, 1], [0, 1, -1], [1, 1, 1], [1, 0, 0]]) @ STRIDES
    found = np.empty(40)
    windowed_maximal_correlation(blocks, offsets, n_levels, n_levels, found)
    for block, value in zip(blocks, found, strict=True):
        directions = [by_definition(block, offset, n_levels) for offset in offsets]
        used = [each for each in directions if each is not None]
        expected = np.mean(used) if used else np.nan
        assert value == pytest.approx(expected, abs=1e-7, nan_ok=True)
