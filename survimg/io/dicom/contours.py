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
    single = sorted(_without_copies(contours), key=_area, reverse=True)
    parts = [_part(contour, shape) for contour in single]
    boxes = np.array([part.box for part in parts])
    area, crossing = 0.0, False
    for i, (contour, part) in enumerate(zip(single, parts, strict=True)):
        n_pixels, depth = part.pixels.sum(), 0
        meet = (boxes[:i, 0] < part.box[1]) & (boxes[:i, 1] > part.box[0])
        for j in np.flatnonzero(meet.all(axis=1)):
            common = _common(part, parts[j])
            depth += bool(n_pixels and common >= _NESTED * n_pixels)
            crossing |= bool(0 < common < n_pixels)
        (y0, x0), (y1, x1) = part.box
        mask[y0:y1, x0:x1][part.pixels] = depth % 2 == 0
        area += _area(contour) * (1 if depth % 2 == 0 else -1)
    return Filled(mask, area, crossing)


@dataclass(frozen=True)
class _Part:
    """The pixels of one contour: box (first and last + 1, row and column), and those within it."""

    box: np.ndarray
    pixels: np.ndarray


def _part(polygon: np.ndarray, shape: tuple[int, int]) -> _Part:
    ends = np.array([np.floor(polygon.min(axis=0)), np.ceil(polygon.max(axis=0)) + 1])
    (y0, x0), (y1, x1) = box = np.clip(ends, 0, shape).astype(int)
    rows, columns = (int(y0), int(y1)), (int(x0), int(x1))
    return _Part(box, _enclosed(polygon, rows, columns))


def _common(first: _Part, second: _Part) -> int:
    low = np.maximum(first.box[0], second.box[0])
    high = np.minimum(first.box[1], second.box[1])
    views = [
        part.pixels[tuple(map(slice, low - part.box[0], high - part.box[0]))]
        for part in (first, second)
    ]
    return int((views[0] & views[1]).sum())


def _without_copies(contours: Sequence[np.ndarray]) -> list[np.ndarray]:
    single: list[np.ndarray] = []
    ends = np.array([[contour.min(axis=0), contour.max(axis=0)] for contour in contours])
    numbers: list[int] = []
    for i, contour in enumerate(contours):
        near = np.abs(ends[numbers] - ends[i]).max(axis=(1, 2), initial=0) <= _SAME
        if not any(_same(contour, single[j]) for j in np.flatnonzero(near)):
            single.append(contour)
            numbers.append(i)
    return single


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
    return _enclosed(polygon, (0, shape[0]), (0, shape[1]))


def _enclosed(
    polygon: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]
) -> np.ndarray:
    """Do the same for a box of rows and columns."""
    crossings = np.zeros((rows[1] - rows[0], columns[1] - columns[0] + 1), dtype=np.int64)
    for (y0, x0), (y1, x1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        low, high = min(y0, y1), max(y0, y1)
        # rows low <= y < high: a vertex on a row is counted once, not by both its edges
        met = np.arange(max(int(np.ceil(low)), rows[0]), min(int(np.ceil(high)), rows[1]))
        if met.size:
            x = x0 + (met - y0) * (x1 - x0) / (y1 - y0)
            first = np.clip(np.ceil(x), *columns).astype(np.int64) - columns[0]
            np.add.at(crossings, (met - rows[0], first), 1)
    return np.cumsum(crossings[:, :-1], axis=1) % 2 == 1


def _area(polygon: np.ndarray) -> float:
    y, x = (polygon - polygon[0]).T
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    """Tell whether two contours run along each other, wherever they begin and whichever way."""
    return _apart(first, second) <= _SAME and _apart(second, first) <= _SAME


def _apart(points: np.ndarray, polygon: np.ndarray) -> float:
    """Largest distance of points, some hundred at most, from the outline of a polygon."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.maximum((edges**2).sum(axis=1), np.finfo(float).tiny)
    apart = 0.0
    for point in points[:: 1 + len(points) // 250]:
        along = np.clip(((point - polygon) * edges).sum(axis=1) / lengths, 0, 1)
        gaps = ((polygon + along[:, None] * edges - point) ** 2).sum(axis=1)
        apart = max(apart, float(np.sqrt(gaps.min())))
    return apart
