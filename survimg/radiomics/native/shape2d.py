"""Shape features of a region in one plane: outline, diameter and principal axes."""

from __future__ import annotations

import math

import numpy as np

from survimg.radiomics.case import UnmeasurableRegionError
from survimg.radiomics.native.diameters import largest_diameters

__all__ = ["planar_shape_features"]


def planar_shape_features(
    region: np.ndarray, spacing: np.ndarray, axis: int
) -> dict[str, float]:
    """Compute the features of class shape2D.

    Parameters
    ----------
    region : ndarray of shape (z, y, x), bool
        With voxels in one plane across `axis`.
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).
    axis : int

    Returns
    -------
    dict
        Feature name -> value, in mm, mm^2 or without unit.

    Raises
    ------
    UnmeasurableRegionError
        The region has voxels in several planes.
    """
    planes = np.flatnonzero(region.any(axis=tuple(k for k in range(3) if k != axis)))
    if planes.size != 1:
        raise UnmeasurableRegionError(
            f"Features of class shape2D are defined in one plane; the region has voxels in "
            f"{planes.size} planes across axis {axis} (force2Ddimension). Leave shape2D out of "
            "featureClass, or give a mask of one slice."
        )
    plane = np.pad(np.take(region, planes[0], axis=axis), 1).astype(np.uint8)
    size = np.delete(spacing, axis)
    perimeter, surface = _outline(plane, size)
    positions = np.argwhere(plane) * size
    covariance = np.cov(positions, rowvar=False, bias=True)
    minor, major = np.maximum(np.linalg.eigvalsh(covariance), 0.0)
    circle = 2 * math.sqrt(math.pi * surface)
    in_space = np.pad(plane[np.newaxis], ((1, 1), (0, 0), (0, 0)))
    diameter = largest_diameters(in_space, np.array([1.0, *size]))[0]
    return {
        "MeshSurface": surface,
        "PixelSurface": len(positions) * float(np.prod(size)),
        "Perimeter": perimeter,
        "PerimeterSurfaceRatio": perimeter / surface,
        "Sphericity": circle / perimeter,
        "SphericalDisproportion": perimeter / circle,
        "MaximumDiameter": diameter,
        "MajorAxisLength": 4 * math.sqrt(major),
        "MinorAxisLength": 4 * math.sqrt(minor),
        "Elongation": math.sqrt(minor / major),
    }


def _outline(plane: np.ndarray, size: np.ndarray) -> tuple[float, float]:
    # Marching squares: lines join the middles of edges between a pixel inside and one outside.
    # Squares of the same configuration have the same line and area, so that counting is enough.
    a, b, c, d = plane[:-1, :-1], plane[:-1, 1:], plane[1:, :-1], plane[1:, 1:]
    counts = np.bincount((a + 2 * b + 4 * c + 8 * d).ravel(), minlength=16)
    corner, whole = math.hypot(*size) / 2, float(np.prod(size))
    one, three = counts[[1, 2, 4, 8]].sum(), counts[[7, 11, 13, 14]].sum()
    across = counts[[3, 12]].sum()  # pixels side by side along the second axis
    along = counts[[5, 10]].sum()
    diagonal = counts[[6, 9]].sum()
    perimeter = (one + three + 2 * diagonal) * corner + across * size[1] + along * size[0]
    # Of two pixels that touch at a corner, each keeps its own outline.
    surface = whole * (one / 8 + 7 * three / 8 + (across + along) / 2 + diagonal / 4 + counts[15])
    return float(perimeter), float(surface)
