"""Shape features of a region: mesh, diameters and principal axes."""

from __future__ import annotations

import math

import numpy as np

from survimg.jit import kernel
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
    least, minor, major = _principal_variances(padded, spacing)
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


def _principal_variances(padded: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    # Sums of whole numbers, which float64 holds exactly.
    n, sums, products = _sums_of_positions(padded)
    covariance = (products - np.outer(sums, sums) / n) / n
    covariance *= np.outer(spacing, spacing)
    # A region of one plane has a zero variance, which rounding may make negative.
    return np.maximum(np.linalg.eigvalsh(covariance), 0.0)


@kernel
def _sums_of_positions(padded: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    # Number of voxels, sums of z, y and x, and sums of their products.
    nz, ny, nx = padded.shape
    total = 0
    sums = np.zeros(3, dtype=np.float64)
    products = np.zeros((3, 3), dtype=np.float64)
    for z in range(nz):
        for y in range(ny):
            n, along, square = np.int64(0), np.int64(0), np.int64(0)
            for x in range(nx):
                inside = np.int64(padded[z, y, x])
                n += inside
                along += inside * x
                square += inside * x * x
            total += int(n)
            sums += np.array([z * n, y * n, along])
            products += np.array(
                [
                    [z * z * n, z * y * n, z * along],
                    [z * y * n, y * y * n, y * along],
                    [z * along, y * along, square],
                ]
            )
    return total, sums, products
