"""Means over spheres, for SUVpeak."""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel

__all__ = ["sphere_means"]


def sphere_means(
    volume: np.ndarray, mask: np.ndarray, spacing: np.ndarray, radius: float
) -> np.ndarray:
    """Return the mean of the voxels within `radius` of each voxel of a mask.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x), float64
    mask : ndarray of shape (z, y, x), bool
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).
    radius : float
        In mm; a voxel belongs to the sphere when its centre does. At the border of the volume the
        mean is over what is inside.

    Returns
    -------
    ndarray of shape (n,)
        In the order of ``np.argwhere(mask)``.
    """
    reach = np.floor(radius / np.asarray(spacing)).astype(int)
    dz, dy = np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1].reshape(2, -1)
    left = radius**2 - (dz * spacing[0]) ** 2 - (dy * spacing[1]) ** 2
    # The sphere as rows along x, each the difference of two running sums.
    inside = left >= 0
    half = np.floor(np.sqrt(left[inside]) / spacing[2]).astype(np.int64)
    rows = np.stack([dz[inside], dy[inside], half], axis=1).astype(np.int64)
    running = np.concatenate([np.zeros((*volume.shape[:2], 1)), volume.cumsum(axis=2)], axis=2)
    return _means(running, np.argwhere(mask), rows)


@kernel
def _means(running: np.ndarray, centres: np.ndarray, rows: np.ndarray) -> np.ndarray:
    nz, ny, nx = running.shape[0], running.shape[1], running.shape[2] - 1
    means = np.empty(centres.shape[0], dtype=np.float64)
    for n in range(centres.shape[0]):
        total = 0.0
        count = 0
        for k in range(rows.shape[0]):
            z = centres[n, 0] + rows[k, 0]
            y = centres[n, 1] + rows[k, 1]
            if 0 <= z < nz and 0 <= y < ny:
                first = max(centres[n, 2] - rows[k, 2], 0)
                end = min(centres[n, 2] + rows[k, 2] + 1, nx)
                total += running[z, y, end] - running[z, y, first]
                count += end - first
        means[n] = total / count
    return means
