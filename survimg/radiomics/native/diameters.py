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
        plane, u, v = (points[:, k] for k in (axis, *(k for k in range(3) if k != axis)))
        span = 2 * max(padded.shape) + 2
        order = np.argsort((plane * span + u) * span + v)
        u_axis, v_axis = (k for k in range(3) if k != axis)
        largest.append(
            _largest_in_planes(plane, u, v, order, spacing[u_axis], spacing[v_axis], corner_in)
        )
    candidates = points[corner_in == 3] * (spacing / 2)
    radius = ((candidates - candidates.mean(axis=0)) ** 2).sum(axis=1)
    candidates = np.ascontiguousarray(candidates[np.argsort(-radius)])
    return (*(float(np.sqrt(d)) for d in largest), float(np.sqrt(_largest_distance(candidates))))  # type: ignore[return-value]


def surface_points(padded: np.ndarray) -> np.ndarray:
    """Return the surface points in doubled index coordinates, shape (n, 3), int64."""
    points = []
    for axis in range(3):
        positions = np.argwhere(np.diff(padded.view(np.int8), axis=axis)) * 2
        positions[:, axis] += 1
        points.append(positions)
    return np.concatenate(points)


@kernel
def _largest_in_planes(
    plane: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    order: np.ndarray,
    u_size: float,
    v_size: float,
    corner_in: np.ndarray,
) -> float:
    # Andrew's monotone chain in each plane; returns the largest squared distance of hull corners.
    n = order.size
    hull = np.empty(2 * n + 1, dtype=np.int64)
    largest = 0.0
    first = 0
    while first < n:
        end = first
        while end < n and plane[order[end]] == plane[order[first]]:
            end += 1
        size = 0
        for k in range(first, end):
            p = order[k]
            while size >= 2 and _turn(u, v, hull[size - 2], hull[size - 1], p) <= 0:
                size -= 1
            hull[size] = p
            size += 1
        lower = size + 1
        for k in range(end - 2, first - 1, -1):
            p = order[k]
            while size >= lower and _turn(u, v, hull[size - 2], hull[size - 1], p) <= 0:
                size -= 1
            hull[size] = p
            size += 1
        if end - first > 1:
            size -= 1
        for a in range(size):
            corner_in[hull[a]] += 1
            for b in range(a):
                du = (u[hull[a]] - u[hull[b]]) * 0.5 * u_size
                dv = (v[hull[a]] - v[hull[b]]) * 0.5 * v_size
                largest = max(largest, du * du + dv * dv)
        first = end
    return largest


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
