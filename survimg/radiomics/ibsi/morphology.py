"""Morphology: the shape of the morphological mask, and the intensities in it."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import ConvexHull

from survimg.radiomics.ibsi.autocorrelation import moran_and_geary
from survimg.radiomics.native.diameters import surface_points
from survimg.radiomics.native.geometry import region_geometry
from survimg.radiomics.native.shape import shape_features

__all__ = ["intensity_morphology", "shape_morphology"]

# Terms of the series for the area of an ellipsoid, as IBSI prescribes.
_ELLIPSOID_TERMS = 20

_AS_SHAPE = {
    "morph_volume": "MeshVolume",
    "morph_vol_approx": "VoxelVolume",
    "morph_area_mesh": "SurfaceArea",
    "morph_av": "SurfaceVolumeRatio",
    "morph_comp_1": "Compactness1",
    "morph_comp_2": "Compactness2",
    "morph_sph_dispr": "SphericalDisproportion",
    "morph_sphericity": "Sphericity",
    "morph_diam": "Maximum3DDiameter",
    "morph_pca_elongation": "Elongation",
    "morph_pca_flatness": "Flatness",
}
_AXES = {
    "morph_pca_maj_axis": "MajorAxisLength",
    "morph_pca_min_axis": "MinorAxisLength",
    "morph_pca_least_axis": "LeastAxisLength",
}


def shape_morphology(mask: np.ndarray, spacing: np.ndarray) -> dict[str, float]:
    """Return the features that depend on the mask alone.

    Parameters
    ----------
    mask : ndarray of shape (z, y, x), bool
        The morphological mask; not empty.
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).

    Returns
    -------
    dict
        Tag -> value, in mm, mm^2, mm^3 or without unit. Densities in an ellipsoid are NaN where the
        region has no extent along an axis.

    Raises
    ------
    UnmeasurableRegionError
        The surface of the region encloses no volume.
    """
    geometry = region_geometry(mask)
    shape = shape_features(geometry, spacing)
    features = {tag: shape[name] for tag, name in _AS_SHAPE.items()}
    # IBSI's covariance divides by n - 1, PyRadiomics' by n.
    n = geometry.in_block.size
    axes = [shape[name] * math.sqrt(n / (n - 1)) for name in _AXES.values()]
    features |= dict(zip(_AXES, axes, strict=True))
    volume, area = features["morph_volume"], features["morph_area_mesh"]
    features["morph_asphericity"] = (area**3 / (36 * math.pi * volume**2)) ** (1 / 3) - 1
    padded = np.pad(mask[geometry.window], 1).astype(np.uint8)
    points = surface_points(padded) * (spacing / 2)
    hull = ConvexHull(points)
    sides = np.ptp(points, axis=0)
    bodies = {
        "aabb": (float(np.prod(sides)), _box_area(sides)),
        "aee": (math.pi / 6 * math.prod(axes), ellipsoid_area(*(axis / 2 for axis in axes))),
        "conv_hull": (float(hull.volume), float(hull.area)),
    }
    for name, (body_volume, body_area) in bodies.items():
        features[f"morph_vol_dens_{name}"] = volume / body_volume if body_volume > 0 else math.nan
        features[f"morph_area_dens_{name}"] = area / body_area
    return features


def _box_area(sides: np.ndarray) -> float:
    a, b, c = sides
    return float(2 * (a * b + b * c + c * a))


def ellipsoid_area(a: float, b: float, c: float) -> float:
    """Return IBSI's area of an ellipsoid with semi-axes ``a >= b >= c``: a series of 20 terms.

    ``4 pi a b sum_v (alpha beta)^v P_v((alpha^2 + beta^2) / (2 alpha beta)) / (1 - 4 v^2)``, with
    ``alpha^2 = 1 - b^2/a^2``, ``beta^2 = 1 - c^2/a^2`` and Legendre polynomials P. The products
    follow Legendre's recurrence, which needs no division where two axes are equal. This is the
    manual's definition, to which its reference values hold; the exact area has
    ``alpha^2 = 1 - c^2/b^2``.

    Parameters
    ----------
    a, b, c : float
        In mm.
    """
    alpha2, beta2 = 1 - (b / a) ** 2, 1 - (c / a) ** 2
    before, term = 0.0, 1.0
    total = 1.0
    for v in range(1, _ELLIPSOID_TERMS + 1):
        following = (2 * v - 1) * (alpha2 + beta2) / 2 * term - (v - 1) * alpha2 * beta2 * before
        before, term = term, following / v
        total += term / (1 - 4 * v**2)
    return 4 * math.pi * a * b * total


def intensity_morphology(
    mask: np.ndarray,
    intensity_mask: np.ndarray,
    values: np.ndarray,
    spacing: np.ndarray,
    volume: float,
) -> dict[str, float]:
    """Return the features that depend on the intensities as well.

    Parameters
    ----------
    mask, intensity_mask : ndarray of shape (z, y, x), bool
        On the same grid.
    values : ndarray of shape (n,), float64
        Intensities in the intensity mask.
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).
    volume : float
        Of the mesh, in mm^3.

    Returns
    -------
    dict
        Tag -> value: shift of the centre of mass in mm (NaN where the intensities sum to 0),
        integrated intensity in units of the image times mm^3, Moran's I and Geary's C.
    """
    positions = np.argwhere(intensity_mask) * spacing
    total = values.sum()
    shift = math.nan
    if total != 0:
        centre = (np.argwhere(mask) * spacing).mean(axis=0)
        shift = float(np.linalg.norm(centre - values @ positions / total))
    box = tuple(slice(int(p.min()), int(p.max()) + 1) for p in np.nonzero(intensity_mask))
    moran, geary = moran_and_geary(values, intensity_mask[box], spacing)
    return {
        "morph_com": shift,
        "morph_integ_int": float(values.mean()) * volume,
        "morph_moran_i": moran,
        "morph_geary_c": geary,
    }
