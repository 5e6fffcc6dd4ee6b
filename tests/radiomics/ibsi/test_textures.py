"""Texture matrices against counting by hand, and what must hold between aggregations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from survimg.radiomics.ibsi.block import IN_PLANE, make_block
from survimg.radiomics.ibsi.cooccurrence import (
    cooccurrence_by_aggregation,
    count_runs,
    runs_by_aggregation,
)
from survimg.radiomics.ibsi.names import (
    FAMILIES,
    MERGED_AGGREGATIONS,
    VALUE_AGGREGATIONS,
)
from survimg.radiomics.ibsi.neighbourhoods import neighbourhoods_by_aggregation
from survimg.radiomics.ibsi.zones import border_distances, find_zones
from survimg.radiomics.native.geometry import DIRECTIONS

N_LEVELS = 4


def case(
    shape: tuple[int, int, int] = (5, 6, 7), part: float = 0.8
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    region = rng.random(shape) < part
    return rng.integers(1, N_LEVELS + 1, size=shape) * region, region


def at(tag: str) -> int:
    return list(FAMILIES["glcm"]).index(tag)


def test_runs_add_up_to_the_voxels_in_every_direction() -> None:
    grey, region = case()
    block = make_block(grey[region], region, N_LEVELS)
    runs = np.zeros((13, block.longest + 1, N_LEVELS + 1), dtype=np.int32)
    count_runs(block.grey, block.in_block, block.offsets, runs)
    lengths = np.arange(block.longest + 1)
    for direction in runs:
        np.testing.assert_array_equal(
            lengths @ direction, np.bincount(grey[region], minlength=N_LEVELS + 1)
        )


@pytest.mark.parametrize("by_slice", [True, False])
def test_zones_are_the_connected_components(by_slice: bool) -> None:
    grey, region = case()
    block = make_block(grey[region], region, N_LEVELS)
    distances = border_distances(region, by_slice=by_slice)
    zones = find_zones(block, distances[region], by_slice=by_slice)
    structure = np.ones((3, 3, 3), dtype=bool)
    if by_slice:
        structure[[0, 2]] = False
    expected = []
    for level in range(1, N_LEVELS + 1):
        labels, n = ndimage.label(grey == level, structure)
        for k in range(1, n + 1):
            expected.append((level, int((labels == k).sum()), int(distances[labels == k].min())))
    columns = np.column_stack([zones.level, zones.size, zones.distance])
    assert sorted(map(tuple, columns.tolist())) == sorted(expected)
    assert (np.diff(zones.first) > 0).all()


@pytest.mark.parametrize("by_slice", [True, False])
def test_distances_are_steps_to_the_nearest_voxel_outside(by_slice: bool) -> None:
    _, region = case((4, 7, 9), part=0.97)
    outside = np.argwhere(np.pad(~region, 1, constant_values=True)) - 1
    distances = border_distances(region, by_slice=by_slice)
    for voxel in np.argwhere(region):
        there = outside[outside[:, 0] == voxel[0]] if by_slice else outside
        assert distances[tuple(voxel)] == np.abs(there - voxel).sum(axis=1).min()
    assert (distances[~region] == 0).all()


def test_neighbourhoods_against_loops() -> None:
    grey, region = case((4, 5, 4))
    block = make_block(grey[region], region, N_LEVELS)
    tone, dependence = neighbourhoods_by_aggregation(block, tuple(VALUE_AGGREGATIONS))
    padded = np.pad(grey, 1)
    offsets = [o for o in itertools.product((-1, 0, 1), repeat=3) if any(o)]
    sums, counts, equal = np.zeros(N_LEVELS + 1), np.zeros(N_LEVELS + 1), []
    for voxel in np.argwhere(region) + 1:
        level = padded[tuple(voxel)]
        around = np.array([padded[tuple(voxel + o)] for o in offsets])
        equal.append(1 + (around == level).sum())
        if around.any():
            counts[level] += 1
            sums[level] += abs(level - around[around > 0].mean())
    assert tone["3D"][0] == pytest.approx(counts.sum() / (counts @ sums))
    high = list(FAMILIES["ngldm"]).index("ngl_hde")
    assert dependence["3D"][high] == pytest.approx(np.mean(np.square(equal)))


def test_a_region_of_one_slice_has_one_value_per_merging() -> None:
    grey, region = case((1, 8, 9))
    block = make_block(grey[region], region, N_LEVELS)
    for measure in cooccurrence_by_aggregation, runs_by_aggregation:
        found = measure(block, tuple(MERGED_AGGREGATIONS))
        np.testing.assert_allclose(found["2D_avg"], found["2_5D_avg"], rtol=1e-12)
        np.testing.assert_allclose(found["2D_comb"], found["2_5D_comb"], rtol=1e-12)
    for found in neighbourhoods_by_aggregation(block, tuple(VALUE_AGGREGATIONS)):
        np.testing.assert_allclose(found["2D"], found["2_5D"], rtol=1e-12)
        np.testing.assert_allclose(found["2D"], found["3D"], rtol=1e-12)


def test_slices_that_are_alike_do_not_change_what_is_measured_in_them() -> None:
    grey, region = case((1, 8, 9))
    once, thrice = (
        make_block(
            np.repeat(grey, n, 0)[np.repeat(region, n, 0)], np.repeat(region, n, 0), N_LEVELS
        )
        for n in (1, 3)
    )
    names = [name for name in MERGED_AGGREGATIONS if not name.startswith("3D")]
    one, three = (cooccurrence_by_aggregation(block, names) for block in (once, thrice))
    for name in names:
        np.testing.assert_allclose(one[name], three[name], rtol=1e-12)


def test_only_what_is_asked_for_is_returned() -> None:
    grey, region = case()
    block = make_block(grey[region], region, N_LEVELS)
    everything = cooccurrence_by_aggregation(block, tuple(MERGED_AGGREGATIONS))
    for name in MERGED_AGGREGATIONS:
        found = cooccurrence_by_aggregation(block, (name,))
        assert list(found) == [name]
        np.testing.assert_array_equal(found[name], everything[name])


def test_slices_without_a_pair_are_left_out_of_averages() -> None:
    grey, region = case((2, 8, 9))
    grey = np.concatenate([grey, np.zeros_like(grey)])
    grey[3, 0, 0] = 2
    with_lonely = make_block(grey[grey > 0], grey > 0, N_LEVELS)
    without = make_block(grey[:2][region], region, N_LEVELS)
    for name in "2D_avg", "2D_comb":
        np.testing.assert_allclose(
            cooccurrence_by_aggregation(with_lonely, (name,))[name],
            cooccurrence_by_aggregation(without, (name,))[name],
        )


def test_features_of_pairs_are_undefined_without_pairs() -> None:
    region = np.zeros((3, 5, 5), dtype=bool)
    region[0, 0, 0] = region[0, 4, 4] = region[2, 2, 2] = True
    block = make_block(np.array([1, 2, 3]), region, 3)
    for values in cooccurrence_by_aggregation(block, tuple(MERGED_AGGREGATIONS)).values():
        assert np.isnan(values).all()
    tone, _ = neighbourhoods_by_aggregation(block, tuple(VALUE_AGGREGATIONS))
    assert all(np.isnan(values).all() for values in tone.values())


def test_merged_directions_are_weighted_by_their_pairs() -> None:
    grey, region = case((1, 2, 12), part=1.1)
    block = make_block(grey[region], region, N_LEVELS)
    found = cooccurrence_by_aggregation(block, ("2D_comb",))["2D_comb"]
    padded = np.pad(grey, 1)
    contrast = [
        (int(padded[tuple(v + 1)]) - int(padded[tuple(v + 1 + d)])) ** 2
        for d in DIRECTIONS[:IN_PLANE]
        for v in np.argwhere(region)
        if padded[tuple(v + 1 + d)]
    ]
    assert found[at("cm_contrast")] == pytest.approx(np.mean(contrast))
