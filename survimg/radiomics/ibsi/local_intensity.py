"""Local intensity peaks: means over spheres of 1 ml around voxels of the region."""

from __future__ import annotations

import math

import numpy as np

from survimg.radiomics.native.peak import sphere_means

__all__ = ["PEAK_RADIUS", "local_intensity"]

#: Radius of a sphere of 1 ml, in mm.
PEAK_RADIUS = 10 * (3 / (4 * math.pi)) ** (1 / 3)


def local_intensity(image: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the local and the global intensity peak.

    Parameters
    ----------
    image : ndarray of shape (z, y, x), float64
        The region and what lies around it within `PEAK_RADIUS`, as far as the image goes.
    mask : ndarray of shape (z, y, x), bool
        The intensity mask.
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).

    Returns
    -------
    ndarray of shape (2,)
        Mean of the sphere around the brightest voxel (of equally bright ones, the largest mean),
        and the largest mean. A sphere holds the voxels with centres within its radius, inside the
        region or not.
    """
    means = sphere_means(image, mask, spacing, PEAK_RADIUS)
    values = image[mask]
    return np.array([means[values == values.max()].max(), means.max()])
