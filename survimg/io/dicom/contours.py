"""Contours of one slice to pixels: holes, doubled contours, contours that cross."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Filled", "enclosed", "filled"]

#: Pixels by which two contours may differ and still be one, stored twice.
_SAME = 0.1
#: Part of a contour that lies in another one whose hole it is.
_NESTED = 0.9


@dataclass(frozen=True)
class Filled:
    """The pixels of one slice.

    Attributes
    ----------
    mask : ndarray of shape (rows, columns), bool
    area : float
        In pixels, of the polygons themselves.
    crossing : bool
        Some contours cross: neither lies within the other.
    """

    mask: np.ndarray
    area: float
    crossing: bool


def filled(contours: Sequence[np.ndarray], shape: tuple[int, int], exclusive: bool) -> Filled:
    """Fill the contours of a slice.

    Parameters
    ----------
    contours : sequence of ndarray of shape (n, 2)
        Points (y, x) in pixels.
    shape : tuple of int
        Rows and columns.
    exclusive : bool
        Combine all by exclusive or, as CLOSEDPLANAR_XOR asks for. Otherwise a contour that is
        stored twice counts once, one within another one is a hole (one within that, an island), and
        contours that cross are united.

    Returns
    -------
    Filled
    """
    mask = np.zeros(shape, dtype=bool)
    if exclusive:
        for contour in contours:
            mask ^= enclosed(contour, shape)
        return Filled(mask, float(mask.sum()), False)
    single: list[np.ndarray] = []
    for contour in contours:
        if not any(_same(contour, other) for other in single):
            single.append(contour)
    single.sort(key=_area, reverse=True)
    parts = [enclosed(contour, shape) for contour in single]
    area, crossing = 0.0, False
    for i, (contour, part) in enumerate(zip(single, parts, strict=True)):
        n_pixels, depth = part.sum(), 0
        for larger in parts[:i]:
            common = (part & larger).sum()
            depth += bool(n_pixels and common >= _NESTED * n_pixels)
            crossing |= bool(0 < common < n_pixels)
        mask[part] = depth % 2 == 0
        area += _area(contour) * (1 if depth % 2 == 0 else -1)
    return Filled(mask, area, crossing)


def enclosed(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Tell which pixels have their centre within a polygon, by the even-odd rule.

    Parameters
    ----------
    polygon : ndarray of shape (n, 2)
        Points (y, x) in pixels.
    shape : tuple of int

    Returns
    -------
    ndarray of shape (rows, columns), bool
    """
    following = np.roll(polygon, -1, axis=0)
    crossings = np.zeros((shape[0], shape[1] + 1), dtype=np.int64)
    for (y0, x0), (y1, x1) in zip(polygon, following, strict=True):
        low, high = min(y0, y1), max(y0, y1)
        # rows low <= y < high: a vertex on a row is counted once, not by both its edges
        rows = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), shape[0]))
        if rows.size:
            x = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            first = np.clip(np.ceil(x), 0, shape[1]).astype(np.int64)
            np.add.at(crossings, (rows, first), 1)
    return np.cumsum(crossings[:, :-1], axis=1) % 2 == 1


def _area(polygon: np.ndarray) -> float:
    y, x = (polygon - polygon[0]).T
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    """Tell whether two contours run along each other, wherever they begin and whichever way."""
    ends = [np.array([polygon.min(axis=0), polygon.max(axis=0)]) for polygon in (first, second)]
    if np.abs(ends[0] - ends[1]).max() > _SAME:
        return False
    return _apart(first, second) <= _SAME and _apart(second, first) <= _SAME


def _apart(points: np.ndarray, polygon: np.ndarray) -> float:
    """Largest distance of points from the outline of a polygon."""
    nearest = np.full(len(points), np.inf)
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        edge = end - start
        length = float(edge @ edge)
        along = np.clip((points - start) @ edge / length, 0, 1) if length else np.zeros(len(points))
        gap = np.linalg.norm(points - start - along[:, None] * edge, axis=1)
        np.minimum(nearest, gap, out=nearest)
    return float(nearest.max())
