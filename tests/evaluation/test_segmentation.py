from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import survimg.evaluation as ev


@pytest.fixture
def masks() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a, b = np.zeros((2, 9, 10, 11), dtype=bool)
    a[2:6, 2:7, 3:8] = True
    b[3:8, 1:6, 3:9] = True
    return a ^ (rng.random(a.shape) < 0.03), b


def surface(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    inner = np.ones_like(mask)
    for axis in range(mask.ndim):
        for shift in (-1, 1):
            inner &= np.roll(padded, shift, axis)[(slice(1, -1),) * mask.ndim]
    return np.argwhere(mask & ~inner)


@pytest.mark.parametrize("percentile", [95, 100, 50])
def test_hausdorff_by_all_pairs(masks, percentile):
    spacing = np.array([3.0, 1.0, 1.5])
    distances = cdist(surface(masks[0]) * spacing, surface(masks[1]) * spacing)
    expected = max(np.percentile(distances.min(axis=k), percentile) for k in (0, 1))
    value = ev.hausdorff_distance_95(*masks, spacing, percentile=percentile)
    assert value == pytest.approx(expected, rel=1e-12)
    assert ev.hausdorff_distance_95(*masks[::-1], spacing, percentile=percentile) == value


def test_dice_and_volume(masks):
    a, b = masks
    both, total = (a & b).sum(), a.sum() + b.sum()
    assert ev.dice(a, b) == pytest.approx(2 * both / total)
    assert ev.dice(a.astype(np.uint8), b.astype(float)) == ev.dice(b, a)
    assert ev.dice(a, a) == 1
    assert ev.dice(a, ~a) == 0
    assert ev.volume_difference(a, b, (3, 1, 1.5)) == pytest.approx(
        (a.sum() - b.sum()) * 4.5 / 1000
    )
    relative = ev.volume_difference(a, b, (3, 1, 1.5), relative=True)
    assert relative == pytest.approx(a.sum() / b.sum() - 1)


def test_aggregated_dice_pools_voxels_and_takes_empty_patients(masks):
    a, b = masks
    empty = np.zeros_like(a)
    value = ev.aggregated_dice([a, empty, a], [b, empty, empty])
    assert value == pytest.approx(2 * (a & b).sum() / (2 * a.sum() + b.sum()))
    assert ev.aggregated_dice((m for m in [a]), [b]) == ev.dice(a, b)


def test_undefined_agreement_raises(masks):
    a, b = masks
    empty = np.zeros_like(a)
    with pytest.raises(ValueError, match="two empty masks"):
        ev.dice(empty, empty)
    with pytest.raises(ValueError, match="all masks of the cohort are empty"):
        ev.aggregated_dice([empty], [empty])
    with pytest.raises(ValueError, match="mask is empty"):
        ev.hausdorff_distance_95(a, empty, (1, 1, 1))
    with pytest.raises(ValueError, match="empty reference"):
        ev.volume_difference(a, empty, (1, 1, 1), relative=True)
    with pytest.raises(ValueError, match="threshold"):
        ev.dice(a * 0.4, b)
    with pytest.raises(ValueError, match="one shape"):
        ev.dice(a, b[1:])
    with pytest.raises(ValueError, match="3 positive voxel sizes"):
        ev.hausdorff_distance_95(a, b, (1, 1))
    with pytest.raises(ValueError, match="shorter"):
        ev.aggregated_dice([a, a], [b])
