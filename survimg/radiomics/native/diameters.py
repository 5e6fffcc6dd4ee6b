"""Largest distances between points of the surface, without comparing all pairs.

The points are the middles of edges between a voxel inside and one outside. In doubled index
coordinates they are integers, so hulls are exact whatever the voxel size; and a point can end a
largest distance only if it is a corner of the convex hull of its plane, for each of the three
families of planes.
"""

from __future__ import annotations

import numpy as np

from survimg.jit import kernel

__all__ = ["largest_diameters"]


def largest_diameters(padded: np.ndarray, spacing: np.ndarray) -> tuple[float, float, float, float]:
    """Return the largest distance in planes of constant z, y and x, and in space.

    Parameters
    ----------
    padded : ndarray of shape (z, y, x), uint8
        Region of ones with a margin of at least one zero.
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).

    Returns
    -------
    tuple of 4 floats
        In mm: slice, column, row, space.
    """
    points = surface_points(padded)
    corner_in = np.zeros(len(points), dtype=np.int64)
    largest = []
    for axis in range(3):
        u_axis, v_axis = (k for k in range(3) if k != axis)
        plane, u, v = points[:, axis], points[:, u_axis], points[:, v_axis]
        # For each plane and u, the points with the lowest and the highest v.
        ends = np.full((2 * padded.shape[axis], 2 * padded.shape[u_axis], 2), -1, dtype=np.int64)
        largest.append(
            _largest_in_planes(plane, u, v, ends, spacing[u_axis], spacing[v_axis], corner_in)
        )
    candidates = points[corner_in == 3] * (spacing / 2)
    radius = ((candidates - candidates.mean(axis=0)) ** 2).sum(axis=1)
    candidates = np.ascontiguousarray(candidates[np.argsort(-radius)])
    return (*(float(np.sqrt(d)) for d in largest), float(np.sqrt(_largest_distance(candidates))))  # type: ignore[return-value]


@kernel
def surface_points(padded: np.ndarray) -> np.ndarray:
    """Return the surface points in doubled index coordinates, shape (n, 3), int64."""
    nz, ny, nx = padded.shape
    flat = padded.reshape(-1)
    n_points = 0
    # The margin makes all last planes, rows and columns zero.
    for step in (1, nx, ny * nx):
        n_points += int(np.count_nonzero(flat[step:] != flat[:-step]))
    points = np.empty((n_points, 3), dtype=np.int64)
    n = 0
    for z in range(nz - 1):
        for y in range(ny - 1):
            for x in range(nx - 1):
                here = padded[z, y, x]
                if padded[z + 1, y, x] != here:
                    points[n] = 2 * z + 1, 2 * y, 2 * x
                    n += 1
                if padded[z, y + 1, x] != here:
                    points[n] = 2 * z, 2 * y + 1, 2 * x
                    n += 1
                if padded[z, y, x + 1] != here:
                    points[n] = 2 * z, 2 * y, 2 * x + 1
                    n += 1
    return points


@kernel
def _largest_in_planes(
    plane: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    ends: np.ndarray,
    u_size: float,
    v_size: float,
    corner_in: np.ndarray,
) -> float:
    # Returns the largest squared distance of hull corners of a plane.
    for i in range(plane.size):
        first, last = ends[plane[i], u[i], 0], ends[plane[i], u[i], 1]
        if first < 0 or v[i] < v[first]:
            ends[plane[i], u[i], 0] = i
        if last < 0 or v[i] > v[last]:
            ends[plane[i], u[i], 1] = i
    hull = np.empty(4 * ends.shape[1] + 1, dtype=np.int64)
    largest = 0.0
    for of_plane in ends:
        size = _hull(u, v, of_plane, hull)
        for a in range(size):
            corner_in[hull[a]] += 1
            for b in range(a):
                du = (u[hull[a]] - u[hull[b]]) * 0.5 * u_size
                dv = (v[hull[a]] - v[hull[b]]) * 0.5 * v_size
                largest = max(largest, du * du + dv * dv)
    return largest


@kernel
def _hull(u: np.ndarray, v: np.ndarray, ends: np.ndarray, hull: np.ndarray) -> int:
    # Andrew's monotone chain through the ends of all columns; returns the number of corners.
    order = np.empty(ends.size, dtype=np.int64)
    n = 0
    for first, last in ends:
        if first >= 0:
            order[n] = first
            n += 1
        if last != first:
            order[n] = last
            n += 1
    size = 0
    for k in range(n):
        while size >= 2 and _turn(u, v, hull[size - 2], hull[size - 1], order[k]) <= 0:
            size -= 1
        hull[size] = order[k]
        size += 1
    lower = size + 1
    for k in range(n - 2, -1, -1):
        while size >= lower and _turn(u, v, hull[size - 2], hull[size - 1], order[k]) <= 0:
            size -= 1
        hull[size] = order[k]
        size += 1
    return size - 1 if n > 1 else size


@kernel
def _turn(u: np.ndarray, v: np.ndarray, a: int, b: int, c: int) -> int:
    return (u[b] - u[a]) * (v[c] - v[a]) - (v[b] - v[a]) * (u[c] - u[a])


@kernel
def _largest_distance(points: np.ndarray) -> float:
    # Points come ordered by distance from their centre, which bounds what is still possible.
    n = points.shape[0]
    radius = np.empty(n, dtype=np.float64)
    cz, cy, cx = points[:, 0].mean(), points[:, 1].mean(), points[:, 2].mean()
    for i in range(n):
        radius[i] = np.sqrt(
            (points[i, 0] - cz) ** 2 + (points[i, 1] - cy) ** 2 + (points[i, 2] - cx) ** 2
        )
    largest = 0.0
    for i in range(n):
        if (2.0 * radius[i]) ** 2 < largest:
            break
        for j in range(i + 1, n):
            if (radius[i] + radius[j]) ** 2 < largest:
                break
            dz = points[i, 0] - points[j, 0]
            dy = points[i, 1] - points[j, 1]
            dx = points[i, 2] - points[j, 2]
            largest = max(largest, dz * dz + dy * dy + dx * dx)
    return largest
