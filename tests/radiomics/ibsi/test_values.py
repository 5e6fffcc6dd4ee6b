"""Statistics, histograms, morphology and interpolation against definitions and libraries."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage, special, stats

from survimg.radiomics.ibsi.autocorrelation import moran_and_geary
from survimg.radiomics.ibsi.discretise import ibsi_grey_levels
from survimg.radiomics.ibsi.local_intensity import local_intensity
from survimg.radiomics.ibsi.morphology import ellipsoid_area
from survimg.radiomics.ibsi.names import FAMILIES
from survimg.radiomics.ibsi.resample import resampled_grid
from survimg.radiomics.ibsi.statistics import histogram_features, intensity_statistics
from survimg.radiomics.ibsi.volume_histogram import volume_histogram_features

WHOLE = (slice(None),) * 3


def named(family: str, values: np.ndarray) -> dict[str, float]:
    return dict(zip(FAMILIES[family], values, strict=True))


def test_statistics_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=200)
    found = named("statistics", intensity_statistics(values))
    assert found["stat_skew"] == pytest.approx(stats.skew(values))
    assert found["stat_kurt"] == pytest.approx(stats.kurtosis(values))
    assert found["stat_iqr"] == pytest.approx(stats.iqr(values))
    assert found["stat_cov"] == pytest.approx(stats.variation(values))
    assert found["stat_rms"] ** 2 == pytest.approx(found["stat_energy"] / values.size)


def test_coefficients_without_a_denominator_are_undefined() -> None:
    found = named("statistics", intensity_statistics(np.array([-1.0, -1.0, 1.0, 1.0])))
    assert math.isnan(found["stat_cov"])
    assert math.isnan(found["stat_qcod"])
    flat = named("statistics", intensity_statistics(np.full(5, 2.0)))
    assert flat["stat_skew"] == flat["stat_kurt"] == 0


def test_mode_of_equally_frequent_levels_is_nearest_to_the_mean() -> None:
    levels = np.array([1, 1, 2, 5, 5, 5, 1, 7])
    found = named("intensity_histogram", histogram_features(levels, 7))
    assert found["ih_mode"] == 5
    assert found["ih_max_grad_g"] == 4
    assert found["ih_min_grad"] == -2


def test_volume_histogram_by_definition() -> None:
    values = np.array([1.0, 1, 1, 1, 2, 2, 3, 3, 3, 11])
    found = named("intensity_volume_histogram", volume_histogram_features(values, None, None, None))
    assert found["ivh_v10"] == pytest.approx(0.6)
    assert found["ivh_v90"] == pytest.approx(0.1)
    assert found["ivh_i10"] == 4
    assert found["ivh_i90"] == 2
    wider = volume_histogram_features(values, (-9, 11), None, None)
    assert named("intensity_volume_histogram", wider)["ivh_v10"] == 1


def test_volume_histogram_takes_bins_where_intensities_are_no_whole_numbers() -> None:
    values = np.random.default_rng(1).normal(size=300)
    np.testing.assert_array_equal(
        volume_histogram_features(values, None, None, None),
        volume_histogram_features(values, None, None, 1000),
    )
    by_width = volume_histogram_features(values, (-5.0, 5.0), 0.01, None)
    assert by_width[2] == pytest.approx(np.quantile(values, 0.9), abs=0.02)
    with pytest.raises(ValueError, match="steps"):
        volume_histogram_features(values, None, 1e-9, None)


def test_fixed_number_of_bins_splits_the_range_evenly() -> None:
    values = np.array([0.0, 0.9, 1.0, 1.9, 3.0, 4.0])
    levels, n_levels = ibsi_grey_levels(values, None, 4, None)
    assert levels.tolist() == [1, 1, 2, 2, 4, 4]
    assert n_levels == 4


def test_fixed_width_begins_at_the_edge() -> None:
    values = np.array([-5.0, 0.0, 24.9, 25.0])
    assert ibsi_grey_levels(values, 25, None, -1000)[0].tolist() == [40, 41, 41, 42]
    assert ibsi_grey_levels(values, 25, None, None)[0].tolist() == [1, 1, 2, 2]
    with pytest.raises(ValueError, match="below the first edge"):
        ibsi_grey_levels(values, 25, None, 0.0)
    with pytest.raises(ValueError, match="grey levels"):
        ibsi_grey_levels(values, 1e-3, None, None)


def test_moran_and_geary_against_all_pairs() -> None:
    rng = np.random.default_rng(2)
    mask = rng.random((4, 5, 6)) < 0.6
    values, spacing = rng.normal(loc=100, size=mask.sum()), np.array([3.0, 1.2, 0.8])
    points = np.argwhere(mask) * spacing
    n, total, products, squares = len(points), 0.0, 0.0, 0.0
    for i, j in itertools.permutations(range(n), 2):
        weight = 1 / np.linalg.norm(points[i] - points[j])
        total += weight
        products += weight * (values[i] - values.mean()) * (values[j] - values.mean())
        squares += weight * (values[i] - values[j]) ** 2
    variation = ((values - values.mean()) ** 2).sum()
    moran, geary = moran_and_geary(values, mask, spacing)
    assert moran == pytest.approx(n / total * products / variation, rel=1e-9)
    assert geary == pytest.approx((n - 1) / (2 * total) * squares / variation, rel=1e-9)


def test_area_of_ellipsoids() -> None:
    assert ellipsoid_area(3.0, 3.0, 3.0) == pytest.approx(4 * math.pi * 9)
    # The manual's series as it is printed, which is not the exact area of other ellipsoids.
    a, b, c = 5.0, 4.0, 3.0
    alpha, beta = math.sqrt(1 - (b / a) ** 2), math.sqrt(1 - (c / a) ** 2)
    x = (alpha**2 + beta**2) / (2 * alpha * beta)
    terms = [(alpha * beta) ** v / (1 - 4 * v**2) * special.eval_legendre(v, x) for v in range(21)]
    assert ellipsoid_area(a, b, c) == pytest.approx(4 * math.pi * a * b * sum(terms), rel=1e-12)


def test_local_peak_is_the_best_of_equally_bright_voxels() -> None:
    image = np.zeros((30, 16, 16))
    image[7, 8, 8] = image[22, 8, 8] = 9.0
    image[22, 8, 9] = 1.0
    mask = image > 0
    in_sphere = (np.indices((13, 13, 13)) - 6).transpose(1, 2, 3, 0)
    n = ((in_sphere**2).sum(axis=-1) <= 6.2035**2).sum()
    local, overall = local_intensity(image, mask, np.ones(3))
    assert local == overall == pytest.approx(10 / n)
    image[7, 8, 8] = 9.5
    local, overall = local_intensity(image, mask, np.ones(3))
    assert local == pytest.approx(9.5 / n)
    assert overall == pytest.approx(10 / n)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_grids_share_their_centre_and_keep_what_is_linear(order: int) -> None:
    shape, spacing = (20, 21, 22), np.array([3.0, 1.1, 0.9])
    grid = resampled_grid(shape, spacing, np.array([2.0, 2.0, 2.0]))
    assert grid.shape.tolist() == [30, 12, 10]
    centre = grid.first + (grid.shape - 1) / 2 * grid.step
    np.testing.assert_allclose(centre, (np.array(shape) - 1) / 2)
    z = np.indices(shape)[0] * spacing[0]
    window = (slice(10, 20), slice(4, 8), slice(3, 7))
    sampled = grid.sample(z, window, order)
    expected = (grid.first[0] + np.arange(10, 20) * grid.step[0]) * spacing[0]
    error = np.abs(sampled - expected[:, None, None]).max()
    # A cubic spline bends a little at the borders of the image.
    assert error < {0: 1.51, 1: 1e-12, 3: 1e-3}[order]


@pytest.mark.parametrize("order", [1, 3])
def test_a_part_of_the_grid_is_a_part_of_the_whole(order: int) -> None:
    image = np.random.default_rng(4).normal(size=(70, 60, 64))
    grid = resampled_grid(image.shape, np.array([1.0, 1.3, 0.7]), np.array([1.7, 0.0, 1.1]))
    everything = grid.sample(image, tuple(slice(0, int(n)) for n in grid.shape), order)
    assert everything.shape == (42, 60, 41)
    window = (slice(18, 24), slice(0, 9), slice(19, 21))
    np.testing.assert_allclose(grid.sample(image, window, order), everything[window], atol=1e-12)
    # An axis that keeps its size keeps its voxels.
    kept = resampled_grid(image.shape, np.ones(3), np.array([0.0, 2.0, 0.0]))
    assert kept.step.tolist() == [1, 2, 1]


def test_grid_covers_the_region() -> None:
    region = np.zeros((30, 30, 30))
    region[11:19, 3:8, 20:30] = 1
    grid = resampled_grid(region.shape, np.ones(3), np.full(3, 1.7))
    everywhere = tuple(slice(0, int(n)) for n in grid.shape)
    weights = grid.sample(region, everywhere, 1)
    inside = np.zeros(weights.shape, dtype=bool)
    inside[grid.around(region > 0)] = True
    assert not weights[~inside].any()


def test_rounding_of_sizes_gives_no_further_voxel() -> None:
    assert resampled_grid((10, 10, 10), np.full(3, 0.30000001), np.full(3, 0.1)).shape.tolist() == [
        30, 30, 30
    ]  # fmt: skip


def test_interpolation_refuses_what_is_not_finite() -> None:
    image = np.zeros((9, 9, 9))
    image[0, 0, 0] = np.nan
    grid = resampled_grid(image.shape, np.ones(3), np.full(3, 2.0))
    with pytest.raises(ValueError, match="not finite"):
        grid.sample(image, tuple(slice(0, int(n)) for n in grid.shape), 1)


def test_nearest_neighbours_are_values_of_the_image() -> None:
    image = np.random.default_rng(5).integers(0, 9, size=(9, 8, 7))
    grid = resampled_grid(image.shape, np.ones(3), np.array([0.7, 1.6, 0.9]))
    sampled = grid.sample(image, tuple(slice(0, int(n)) for n in grid.shape), 0)
    assert set(np.unique(sampled)) <= set(np.unique(image))
    assert ndimage.sum(sampled) > 0
