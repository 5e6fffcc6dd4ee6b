"""The Laplacian of Gaussian against SimpleITK's, and against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from survimg.radiomics.native.laplacian import laplacian_of_gaussian


def by_simpleitk(volume: np.ndarray, spacing: tuple[float, ...], sigma: float) -> np.ndarray:
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(spacing[::-1])
    return sitk.GetArrayFromImage(
        sitk.LaplacianRecursiveGaussian(image, sigma, normalizeAcrossScale=True)
    )


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.7])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((9, 41, 37), (3.0, 1.3, 0.7)), ((36, 5, 70), (1.0, 1.0, 1.0)), ((33, 32, 4), (0.5, 2, 1))],
)
def test_it_is_simpleitk_s(
    kind: str, sigma: float, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    if any(size < sigma / step + 1 for size, step in zip(shape, spacing, strict=True)):
        pytest.skip("the image is too small for the filter")
    volume = np.random.default_rng(0).normal(90, 30, shape).clip(0, 250).astype(kind)
    expected = by_simpleitk(volume, spacing, sigma)
    box = tuple(slice(size // 3, size - size // 3) for size in shape)
    for window in (tuple(slice(0, size) for size in shape), box):
        filtered = laplacian_of_gaussian(volume, window, np.array(spacing), sigma)
        assert filtered.dtype == expected.dtype == np.float32
        # The last digit of float32.
        atol = 2e-7 * np.abs(expected).max()
        np.testing.assert_allclose(filtered, expected[window], rtol=0, atol=atol)


@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_what_is_beyond_the_reach_does_not_matter(sigma: float) -> None:
    volume = np.random.default_rng(1).normal(size=(150, 12, 8)).astype(np.float32)
    window = (slice(70, 80), slice(2, 9), slice(1, 8))
    filtered = laplacian_of_gaussian(volume, window, np.ones(3), sigma)
    expected = by_simpleitk(volume, (1.0, 1.0, 1.0), sigma)[window]
    np.testing.assert_allclose(filtered, expected, rtol=0, atol=2e-7 * np.abs(expected).max())


def test_a_parabola_has_its_curvature() -> None:
    spacing = np.array([2.0, 1.0, 0.5])
    z, y, x = np.meshgrid(*(s * np.arange(-60, 61) for s in spacing), indexing="ij", sparse=True)
    volume = 3.0 * z**2 - 2.0 * y**2 + 0.5 * x**2 + 7 + 0 * (x + y)
    window = (slice(58, 63),) * 3
    filtered = laplacian_of_gaussian(volume, window, spacing, 1.5)
    np.testing.assert_allclose(filtered, 1.5**2 * (6 - 4 + 1), rtol=1e-4)


def test_an_image_that_is_too_small_is_refused() -> None:
    volume = np.zeros((9, 6, 20))
    window = (slice(0, 9), slice(0, 6), slice(0, 20))
    with pytest.raises(ValueError, match=r"needs at least \[4, 7, 7\] voxels"):
        laplacian_of_gaussian(volume, window, np.array([2.0, 1.0, 1.0]), 6.0)
