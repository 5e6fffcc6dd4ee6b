"""Shape features of a region: mesh, diameters and principal axes."""

from __future__ import annotations

import math

import numpy as np

from survimg.radiomics.case import UnmeasurableRegionError
from survimg.radiomics.native.diameters import largest_diameters
from survimg.radiomics.native.geometry import RegionGeometry
from survimg.radiomics.native.mesh import mesh_measures

__all__ = ["shape_features"]


def shape_features(geometry: RegionGeometry, spacing: np.ndarray) -> dict[str, float]:
    """Compute all shape features of a region.

    Parameters
    ----------
    geometry : RegionGeometry
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).

    Returns
    -------
    dict
        Feature name -> value, in mm, mm^2, mm^3 or without unit.

    Raises
    ------
    UnmeasurableRegionError
        A few voxels that touch at edges or corners at most: their surface encloses no volume.
    """
    padded = np.zeros(geometry.block_shape, dtype=np.uint8)
    padded.reshape(-1)[geometry.in_block] = 1
    area, volume = mesh_measures(padded, spacing)
    if volume <= 0:
        raise UnmeasurableRegionError(
            f"The surface of the region encloses {volume:g} mm^3: its {geometry.in_block.size} "
            "voxels touch at edges or corners at most."
        )
    slice_, column, row, space = largest_diameters(padded, spacing)
    least, minor, major = _principal_variances(geometry, spacing)
    sphere_area = (36 * math.pi * volume**2) ** (1 / 3)
    return {
        "MeshVolume": volume,
        "VoxelVolume": geometry.in_block.size * float(np.prod(spacing)),
        "SurfaceArea": area,
        "SurfaceVolumeRatio": area / volume,
        "Sphericity": sphere_area / area,
        "Compactness1": volume / (area**1.5 * math.sqrt(math.pi)),
        "Compactness2": 36 * math.pi * volume**2 / area**3,
        "SphericalDisproportion": area / sphere_area,
        "Maximum3DDiameter": space,
        "Maximum2DDiameterSlice": slice_,
        "Maximum2DDiameterColumn": column,
        "Maximum2DDiameterRow": row,
        "MajorAxisLength": 4 * math.sqrt(major),
        "MinorAxisLength": 4 * math.sqrt(minor),
        "LeastAxisLength": 4 * math.sqrt(least),
        "Elongation": math.sqrt(minor / major),
        "Flatness": math.sqrt(least / major),
    }


def _principal_variances(geometry: RegionGeometry, spacing: np.ndarray) -> np.ndarray:
    positions = np.array(np.unravel_index(geometry.in_block, geometry.block_shape), np.float64)
    # Sums of whole numbers, which float64 holds exactly.
    n, sums = positions.shape[1], positions.sum(axis=1)
    covariance = (positions @ positions.T - np.outer(sums, sums) / n) / n
    covariance *= np.outer(spacing, spacing)
    # A region of one plane has a zero variance, which rounding may make negative.
    return np.maximum(np.linalg.eigvalsh(covariance), 0.0)
