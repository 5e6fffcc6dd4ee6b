"""Local binary patterns in planes (Ojala et al., 2002) and in space (Banerjee et al., 2013)."""

from __future__ import annotations

from collections.abc import Iterator
from math import factorial, pi, sqrt

import numpy as np
from scipy import ndimage, special, stats
from scipy.spatial import ConvexHull

__all__ = ["patterns_in_planes", "patterns_in_space"]

_NEEDS_SKIMAGE = (
    "The image type LBP2D needs scikit-image, which cannot be imported here ({reason}): "
    "pip install scikit-image, or leave LBP2D out of imageType."
)


def patterns_in_planes(
    volume: np.ndarray, axis: int, samples: int, radius: float, method: str
) -> np.ndarray:
    """Return the local binary patterns of all planes across an axis, with scikit-image.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
        The result is of its type, which a pattern that is no whole number does not survive in
        a type of whole numbers; PyRadiomics stores it so.
    axis : int
    samples : int
        Neighbours around each pixel.
    radius : float
        Their distance in pixels.
    method : {"default", "ror", "uniform", "var"}

    Raises
    ------
    ImportError
        scikit-image is not installed.
    """
    try:
        from skimage.feature import local_binary_pattern
    except ImportError as error:
        raise ImportError(_NEEDS_SKIMAGE.format(reason=error)) from error
    planes = volume.swapaxes(0, axis).copy()
    for plane in planes:
        plane[...] = local_binary_pattern(plane, P=samples, R=radius, method=method)
    return np.asarray(planes.swapaxes(0, axis))


def patterns_in_space(
    volume: np.ndarray, positions: np.ndarray, levels: int, radius: float, subdivisions: int
) -> Iterator[np.ndarray]:
    """Yield rotation-invariant local binary patterns in space, and the kurtosis around voxels.

    Which points of a sphere around the voxel are at least as bright as the voxel is written as
    spherical harmonics; the norm of each degree does not change when the image is turned.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
        Interpolated by cubic splines, in its own type.
    positions : ndarray of shape (n, 3), int
        Voxels to look at, (z, y, x).
    levels : int
        Number of degrees of the harmonics.
    radius : float
        Of the sphere, in voxels.
    subdivisions : int
        Of the triangles of the icosahedron whose corners are the points.

    Yields
    ------
    ndarray of shape (n,), float64
        One for each degree, then the kurtosis.
    """
    points = sphere_points(subdivisions) * radius
    harmonics = _harmonics(points / radius, levels)
    samples = positions[:, np.newaxis, :] + points
    around = ndimage.map_coordinates(
        volume, samples.reshape(-1, 3).T, order=3
    ).reshape(samples.shape[:2])
    brighter = (around >= volume[tuple(positions.T)][:, np.newaxis]).astype(np.float64)
    for degree in harmonics:
        projected = (brighter @ degree) @ degree.T
        # PyRadiomics squares complex numbers here instead of their magnitudes.
        yield np.real(np.sqrt((projected**2).sum(axis=1) + 0j))
    yield stats.kurtosis(around, axis=1)


def sphere_points(subdivisions: int) -> np.ndarray:
    """Return the corners of an icosahedron whose triangles are divided, on the unit sphere.

    Parameters
    ----------
    subdivisions : int
        How often each triangle is divided into four.

    Returns
    -------
    ndarray of shape (10 * 4**subdivisions + 2, 3), float64
    """
    golden = (1 + sqrt(5)) / 2
    points = np.array(
        [
            np.roll((first, second, 0.0), turn)
            for turn in range(3)
            for first in (-1.0, 1.0)
            for second in (-golden, golden)
        ]
    ) / sqrt(1 + golden**2)
    for _ in range(subdivisions):
        triangles = ConvexHull(points).simplices
        edges = np.unique(np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)), axis=0)
        middles = points[edges].mean(axis=1)
        middles /= np.linalg.norm(middles, axis=1, keepdims=True)
        points = np.concatenate([points, middles])
    return points


def _harmonics(points: np.ndarray, levels: int) -> list[np.ndarray]:
    # One array of shape (points, 2 n + 1) for each degree n. PyRadiomics exchanges the two angles
    # that scipy's function asked for; the values are its.
    azimuth = np.arccos(np.clip(points[:, 2], -1, 1))
    polar = np.arctan2(points[:, 1], points[:, 0])
    degrees = []
    for n in range(levels):
        columns = []
        for m in range(-n, n + 1):
            order = abs(m)
            scale = sqrt((2 * n + 1) / (4 * pi) * factorial(n - order) / factorial(n + order))
            value = scale * special.lpmv(order, n, np.cos(polar)) * np.exp(1j * order * azimuth)
            columns.append(value if m >= 0 else (-1) ** order * np.conj(value))
        degrees.append(np.stack(columns, axis=1))
    return degrees
