"""Surface area and volume of the marching-cubes mesh around a region."""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel
from survimg.radiomics.native.mesh_table import CONFIGURATION, CORNERS, TRIANGLES

__all__ = ["mesh_measures"]

# Area vectors of the triangles, and their flux of the position vector, for voxels of size 1.
_NORMALS = np.cross(TRIANGLES[:, 1] - TRIANGLES[:, 0], TRIANGLES[:, 2] - TRIANGLES[:, 0]) / 2
_OWN_FLUX = (TRIANGLES.mean(axis=1) * _NORMALS).sum(axis=1)


def mesh_measures(padded: np.ndarray, spacing: np.ndarray) -> tuple[float, float]:
    """Measure the surface half way between voxels inside and outside.

    Cubes of the same configuration have the same triangles up to a shift, so that counts and summed
    positions of the 256 configurations determine both measures.

    Parameters
    ----------
    padded : ndarray of shape (z, y, x), uint8
        Region of ones with a margin of at least one zero.
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).

    Returns
    -------
    area : float
        In mm^2.
    volume : float
        In mm^3, by the divergence theorem.
    """
    _, ny, nx = padded.shape
    strides = CORNERS @ np.array([ny * nx, nx, 1])
    counts = np.zeros(256, dtype=np.int64)
    positions = np.zeros((256, 3), dtype=np.int64)
    _count_configurations(padded.reshape(-1), padded.shape, strides, counts, positions)
    voxel = float(np.prod(spacing))
    # A normal is a product of two lengths, so it scales by the other two voxel sizes.
    lengths = np.sqrt(((_NORMALS * (voxel / spacing)) ** 2).sum(axis=1))
    area = float(counts[CONFIGURATION] @ lengths)
    # Divergence of the position vector is 3; a shift moves every corner of a triangle alike.
    shifts = (positions[CONFIGURATION] * _NORMALS).sum(axis=1)
    volume = voxel / 3 * float(counts[CONFIGURATION] @ _OWN_FLUX + shifts.sum())
    return area, volume


@kernel
def _count_configurations(
    padded: np.ndarray,
    shape: tuple[int, int, int],
    strides: np.ndarray,
    counts: np.ndarray,
    positions: np.ndarray,
) -> None:
    nz, ny, nx = shape
    s1, s2, s3, s4 = strides[1], strides[2], strides[3], strides[4]
    s5, s6, s7 = strides[5], strides[6], strides[7]
    codes = np.empty(nx, dtype=np.uint8)
    for z in range(nz - 1):
        for y in range(ny - 1):
            start = (z * ny + y) * nx
            for x in range(nx - 1):
                i = start + x
                codes[x] = (
                    padded[i]
                    | padded[i + s1] << 1
                    | padded[i + s2] << 2
                    | padded[i + s3] << 3
                    | padded[i + s4] << 4
                    | padded[i + s5] << 5
                    | padded[i + s6] << 6
                    | padded[i + s7] << 7
                )
            for x in range(nx - 1):
                code = codes[x]
                if 0 < code < 255:
                    counts[code] += 1
                    positions[code, 0] += z
                    positions[code, 1] += y
                    positions[code, 2] += x
