"""Parts of the native engine against independent libraries, and properties of its features."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numba
import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import pdist

from survimg import Cohort
from survimg.jit import kernel
from survimg.radiomics import RadiomicsFeatures
from survimg.radiomics.names import IBSI_IDENTIFIERS
from survimg.radiomics.native.cooccurrence import cooccurrence_features
from survimg.radiomics.native.diameters import largest_diameters, surface_points
from survimg.radiomics.native.discretise import grey_levels
from survimg.radiomics.native.geometry import DIRECTIONS, region_geometry
from survimg.radiomics.native.mcc import mean_maximal_correlation
from survimg.radiomics.native.mesh import mesh_measures
from survimg.radiomics.native.textures import ImageMeasurement
from survimg.radiomics.native.wavelet import filter_support, wavelet_bands

REFERENCES = Path(__file__).parent / "references"


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REFERENCES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_stored_values_of_pyradiomics() -> None:
    expected = json.loads((REFERENCES / "pyradiomics_values.json").read_text())
    script = load_script("make_pyradiomics_values")
    volume, mask = script.make_case()
    cohort = Cohort(
        volume[None, None], masks=mask[None], spacing=script.SPACING, channel_names=("image",)
    )
    found = RadiomicsFeatures(**script.SETTINGS).fit_transform(cohort).iloc[0]
    assert set(found.index) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-7), name


@pytest.mark.parametrize("shape", [(12, 14, 16), (13, 9, 15)])
@pytest.mark.parametrize("window", ["inside", "first corner", "last corner", "everything"])
def test_wavelet_bands_are_those_of_the_whole_volume(
    shape: tuple[int, int, int], window: str
) -> None:
    volume = np.random.default_rng(1).normal(size=shape)
    extents = {
        "inside": [slice(4, 7)] * 3,
        "first corner": [slice(0, 5)] * 3,
        "last corner": [slice(n - 4, n) for n in shape],
        "everything": [slice(0, n) for n in shape],
    }[window]
    box = (extents[0], extents[1], extents[2])
    even = np.pad(volume, [(0, n % 2) for n in shape], "wrap")
    expected = pywt.swtn(even, "coif1", level=1, axes=(2, 1, 0))[0]
    names = set()
    for name, band in wavelet_bands(filter_support(volume, box), shape, box):
        names.add(name)
        whole = expected[name.replace("L", "a").replace("H", "d")]
        # Bit for bit: a voxel on an edge between two grey levels must not change sides.
        np.testing.assert_array_equal(band, whole[box])
    assert len(names) == 8


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.04, 0.3, 0.9]))
@settings(max_examples=20, deadline=None)
def test_diameters_are_those_of_all_pairs(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    padded = np.pad((rng.random((4, 6, 5)) < density).astype(np.uint8), 1)
    padded[2, 2, 2] = 1
    spacing = rng.uniform(0.5, 3, size=3)
    points = surface_points(padded) * spacing / 2
    found = largest_diameters(padded, spacing)
    assert found[3] == pytest.approx(pdist(points).max())
    for axis in range(3):
        planes = [points[points[:, axis] == p] for p in np.unique(points[:, axis])]
        largest = max(pdist(plane).max() for plane in planes if len(plane) > 1)
        assert found[axis] == pytest.approx(largest)


def test_mesh_of_a_ball_approaches_the_ball() -> None:
    radius, spacing = 12.0, np.array([2.0, 1.0, 0.5])
    grid = np.indices((17, 33, 65)) - np.array([8, 16, 32])[:, None, None, None]
    distance = np.sqrt(((grid * spacing[:, None, None, None]) ** 2).sum(axis=0))
    area, volume = mesh_measures(np.pad((distance <= radius).astype(np.uint8), 1), spacing)
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
    # Steps of half a voxel make the surface rougher than the ball.
    assert 1.0 < area / (4 * np.pi * radius**2) < 1.2


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
@settings(max_examples=30, deadline=None)
def test_mcc_is_the_second_eigenvalue(seed: int, n_levels: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = np.zeros((13, n_levels + 1, n_levels + 1), dtype=np.int32)
    shape = (13, n_levels, n_levels)
    pairs[:, 1:, 1:] = rng.poisson(rng.choice([0.05, 0.5, 20.0]), size=shape)
    pairs[:, 1, 2] += 1
    expected = []
    for counts in pairs[:, 1:, 1:] + pairs[:, 1:, 1:].transpose(0, 2, 1):
        p = counts / counts.sum()
        marginal = p.sum(axis=0)
        product = np.outer(marginal, marginal) + np.spacing(1)
        q = np.einsum("ik,jk,ik->ij", p, p, 1 / product)
        expected.append(np.sqrt(max(np.sort(np.linalg.eigvals(q).real)[-2], 0)))
    found = mean_maximal_correlation(pairs, n_levels)
    assert found == pytest.approx(np.mean(expected), rel=1e-6, abs=1e-7)
    assert cooccurrence_features(pairs, n_levels, True)[15] == found


@given(st.integers(0, 2**32 - 1), st.sampled_from([(None, 7), (0.5, None), (1.0, None)]))
@settings(max_examples=30, deadline=None)
def test_levels_are_those_of_numpy(seed: int, binning: tuple[float | None, int | None]) -> None:
    rng = np.random.default_rng(seed)
    # Rounded values fall on the edges themselves.
    values = np.round(rng.normal(size=50) * 4, int(rng.integers(0, 3)))
    width, count = binning
    low, high = float(values.min()), float(values.max())
    levels, n_levels = grey_levels(values, width, count)
    if count is None:
        edges = np.arange(low - low % width, high + 2 * width, width)
    else:
        edges = np.histogram_bin_edges(values, count)
        edges[-1] += 1
    np.testing.assert_array_equal(levels, np.digitize(values, edges))
    assert n_levels == levels.max()


def test_pairs_that_are_all_alike_have_no_information() -> None:
    names = list(IBSI_IDENTIFIERS["glcm"])
    for n_pairs in range(1, 3000):
        pairs = np.zeros((2, 4, 4), dtype=np.int32)
        pairs[:, 2, 2] = n_pairs
        features = dict(zip(names, cooccurrence_features(pairs, 1, False), strict=True))
        assert features["Imc1"] == features["Imc2"] == features["JointEntropy"] == 0, n_pairs


def test_zones_are_the_components_of_scipy(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(only="hollow")
    mask, image = cohort.mask(0) > 0, np.round(cohort.volume(0)[0])
    sizes = []
    for value in np.unique(image[mask]):
        labels, n = ndimage.label(mask & (image == value), structure=np.ones((3, 3, 3)))
        sizes += np.bincount(labels.ravel())[1 : n + 1].tolist()
    found = RadiomicsFeatures(features=("glszm",), image_types=("original",), bin_width=1)
    values = found.fit_transform(
        Cohort(image[None, None], masks=mask[None].astype(np.uint8))
    ).iloc[0]
    prefix = "channel0_original_glszm_"
    assert values[f"{prefix}ZonePercentage"] == pytest.approx(len(sizes) / mask.sum())
    assert values[f"{prefix}LargeAreaEmphasis"] == pytest.approx(np.mean(np.square(sizes)))
    assert values[f"{prefix}ZoneVariance"] == pytest.approx(np.var(sizes))


@given(st.integers(0, 2**32 - 1), st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
@settings(max_examples=15, deadline=None)
def test_turning_the_patient_changes_nothing_but_names_of_planes(
    seed: int, axes: list[int], flips: tuple[bool, bool, bool]
) -> None:
    rng = np.random.default_rng(seed)
    volume = ndimage.gaussian_filter(rng.normal(size=(7, 8, 9)), 1).astype(np.float32)
    mask = (rng.random(volume.shape) < 0.6).astype(np.uint8)
    spacing = rng.uniform(0.5, 2, size=3)

    def measured(v: np.ndarray, m: np.ndarray, s: np.ndarray) -> np.ndarray:
        table = RadiomicsFeatures(
            features="pyradiomics", image_types=("original",), bin_count=6
        ).fit_transform(Cohort(v[None, None], masks=m[None], spacing=s))
        # The triangulation of the mesh, as everybody's, has no symmetry where it is ambiguous.
        left_out = ("2DDiameter", "Mesh", "Surface", "Sphericity")
        kept = [name for name in table if not any(part in name for part in left_out)]
        return table[kept].to_numpy()

    step = tuple(slice(None, None, -1 if flip else None) for flip in flips)
    turned = [np.ascontiguousarray(a.transpose(axes)[step]) for a in (volume, mask)]
    np.testing.assert_allclose(
        measured(*turned, spacing[axes]), measured(volume, mask, spacing), rtol=1e-9, atol=1e-9
    )


def test_geometry_of_a_slice_has_no_runs_out_of_it() -> None:
    region = np.zeros((5, 6, 7), dtype=bool)
    region[2, 1:4, 2:6] = True
    geometry = region_geometry(region)
    assert geometry.block_shape == (3, 5, 6)
    np.testing.assert_array_equal(geometry.has_runs, DIRECTIONS[:, 0] == 0)
    assert geometry.n_neighbours.max() == 8


def test_memory_of_images_is_shared(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(only="blob")
    extractor = RadiomicsFeatures()
    measure = ImageMeasurement(
        region_geometry(cohort.mask(0) > 0), np.ones(3), extractor._settings(cohort.channel_names)
    )
    values = cohort.volume(0)[0][cohort.mask(0) > 0].astype(np.float64)
    first, _ = measure(values)
    measure(np.sin(values) * 50)
    again, _ = measure(values)
    np.testing.assert_array_equal(first, again)


def test_kernels_compile_where_no_folder_is_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = numba.njit

    def without_folder(*args: object, **options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return compiled(*args, **options)

    monkeypatch.setattr(numba, "njit", without_folder)

    @kernel
    def twice(x: float) -> float:
        return 2 * x

    assert twice(1.5) == 3.0
