"""Contours of one slice to pixels: holes, doubled contours, contours that cross."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Filled", "enclosed", "filled"]

#: Pixels by which two contours may differ and still be one, stored twice.
_SAME = 0.1
#: Part of a contour that lies in another one whose hole it may be.
_NESTED = 0.9
#: Part of a contour from which on one within it may be no hole, but the same one drawn again, and
#: pixels that are no wall between the two.
_ALIKE, _WALL = 0.5, 0.5
#: Edges of a polygon that are filled at a time.
_EDGES = 1024
#: Points of a contour whose edges are compared with each other, and of one for comparisons.
_MAX_POINTS, _SAMPLE = 5000, 250
#: Pairs of contours of a slice that lie over each other; drawn ones are some hundred. A pair whose
#: outlines are compared counts more.
_MAX_PAIRS = 20_000
#: Square pixels of a parallelogram of two edges that lie on one line but for rounding.
_FLAT = 1e-6


@dataclass(frozen=True)
class Filled:
    """The pixels of one slice.

    Attributes
    ----------
    mask : ndarray of shape (rows, columns), bool
    area : float
        In pixels, of the polygons themselves.
    crossing : bool
        Some contours cross each other, neither lying within the other, or themselves.
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
        contours that cross are united. Likewise the loops of a contour that crosses itself.

    Returns
    -------
    Filled

    Raises
    ------
    ValueError
        More contours lie over each other than anybody draws.
    """
    mask = np.zeros(shape, dtype=bool)
    if exclusive:
        for contour in contours:
            mask ^= enclosed(contour, shape)
        return Filled(mask, float(mask.sum()), False)
    single = sorted(_without_copies(contours), key=_area, reverse=True)
    parts = [_part(contour, shape) for contour in single]
    boxes = np.array([part.box for part in parts])
    area, crossing, n_pairs = 0.0, any(part.crossing for part in parts), 0
    for i, part in enumerate(parts):
        n_pixels, depth = part.pixels.sum(), 0
        meet = (boxes[:i, 0] < part.box[1]) & (boxes[:i, 1] > part.box[0])
        others = np.flatnonzero(meet.all(axis=1))
        n_pairs = _counted(n_pairs + others.size)
        for j in others:
            common = _common(part, parts[j])
            inside = bool(n_pixels and common >= _NESTED * n_pixels)
            if inside and (common < n_pixels or common >= _ALIKE * parts[j].pixels.sum()):
                n_pairs = _counted(n_pairs + _cost(single[j]))
                inside = not _drawn_again(single[i], single[j])
            depth += inside
            crossing |= bool(common and not inside)
        (y0, x0), (y1, x1) = part.box
        mask[y0:y1, x0:x1][part.pixels] = depth % 2 == 0
        area += part.area * (1 if depth % 2 == 0 else -1)
    return Filled(mask, area, crossing)


@dataclass(frozen=True)
class _Part:
    """The pixels of one contour: box (first and last + 1, row and column), and those within it."""

    box: np.ndarray
    pixels: np.ndarray
    area: float
    crossing: bool


def _part(polygon: np.ndarray, shape: tuple[int, int]) -> _Part:
    ends = np.array([np.floor(polygon.min(axis=0)), np.ceil(polygon.max(axis=0)) + 1])
    (y0, x0), (y1, x1) = box = np.clip(ends, 0, shape).astype(int)
    rows, columns = (int(y0), int(y1)), (int(x0), int(x1))
    turns = _turns(polygon, rows, columns)
    pixels = turns % 2 == 1
    # a line that does not cross itself goes round its pixels in one sense, and once
    crossing = bool((turns > 0).any() and (turns < 0).any())
    if crossing or not np.array_equal(pixels, turns != 0):
        traced_twice = not pixels.any()
        crossing = crossing or not (traced_twice or _touches_itself(polygon))
        if crossing or traced_twice:  # else it is a keyhole
            pixels = turns != 0
            return _Part(box, pixels, float(pixels.sum()), crossing)
    return _Part(box, pixels, _area(polygon), crossing)


def _touches_itself(polygon: np.ndarray) -> bool:
    """Tell whether no two edges cross, but for those that touch or run along each other."""
    ends = np.roll(polygon, -1, axis=0)
    if len(polygon) > _MAX_POINTS:  # pairs of edges would take minutes
        return False
    for start, end in zip(polygon, ends, strict=True):
        one = [_side(end - start, points - start) for points in (polygon, ends)]
        other = [_side(ends - polygon, point - polygon) for point in (start, end)]
        if (_opposite(*one) & _opposite(*other)).any():
            return False
    return True


def _side(edge: np.ndarray, points: np.ndarray) -> np.ndarray:
    return edge[..., 0] * points[..., 1] - edge[..., 1] * points[..., 0]


def _opposite(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (np.minimum(first, second) < -_FLAT) & (np.maximum(first, second) > _FLAT)


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
    n_pairs = 0
    for i, contour in enumerate(contours):
        near = np.abs(ends[numbers] - ends[i]).max(axis=(1, 2), initial=0) <= _SAME
        n_pairs = _counted(n_pairs + int(near.sum()) * _cost(contour))
        if not any(_same(contour, single[j]) for j in np.flatnonzero(near)):
            single.append(contour)
            numbers.append(i)
    return single


def _cost(contour: np.ndarray) -> int:
    return 20 + len(contour) // 20


def _counted(n_pairs: int) -> int:
    if n_pairs > _MAX_PAIRS:
        raise ValueError("has more contours over each other in one plane than anybody draws")
    return n_pairs


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
    return _turns(polygon, (0, shape[0]), (0, shape[1])) % 2 == 1


def _turns(polygon: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """Count how often a polygon goes round each pixel of a box, less how often the other way."""
    crossings = np.zeros((rows[1] - rows[0], columns[1] - columns[0] + 1), dtype=np.int64)
    ends = np.roll(polygon, -1, axis=0)
    # rows low <= y < high: a vertex on a row is counted once, not by both its edges
    limits = np.ceil(np.stack([np.minimum(polygon, ends)[:, 0], np.maximum(polygon, ends)[:, 0]]))
    low, high = np.clip(limits, *rows).astype(np.int64)
    crossing = np.flatnonzero(high > low)
    for edges in np.split(crossing, range(_EDGES, crossing.size, _EDGES)):
        number = high[edges] - low[edges]
        edge = np.repeat(edges, number)
        met = np.arange(edge.size) - np.repeat(np.cumsum(number) - number - low[edges], number)
        y, x = polygon[edge].T
        run, along = (ends[edge] - polygon[edge]).T
        first = np.clip(np.ceil(x + (met - y) * along / run), *columns).astype(np.int64)
        np.add.at(crossings, (met - rows[0], first - columns[0]), np.where(run > 0, 1, -1))
    return np.cumsum(crossings[:, :-1], axis=1)


def _area(polygon: np.ndarray) -> float:
    y, x = (polygon - polygon[0]).T
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    """Tell whether two contours run along each other, wherever they begin and whichever way."""
    return _apart(first, second) <= _SAME and _apart(second, first) <= _SAME


def _drawn_again(inner: np.ndarray, outer: np.ndarray) -> bool:
    """Tell whether a contour crosses the one that it lies in, or runs along it all the way."""
    beyond = [point for point in _sample(inner) if not _holds(outer, point)]
    if _apart(np.reshape(beyond, (-1, 2)), outer) > _SAME:
        return True
    return max(_apart(inner, outer), _apart(outer, inner)) < _WALL


def _holds(polygon: np.ndarray, point: np.ndarray) -> bool:
    ends = np.roll(polygon, -1, axis=0)
    met = (polygon[:, 0] <= point[0]) != (ends[:, 0] <= point[0])
    start, end = polygon[met], ends[met]
    part = (point[0] - start[:, 0]) / (end[:, 0] - start[:, 0])
    return int((point[1] < start[:, 1] + part * (end[:, 1] - start[:, 1])).sum()) % 2 == 1


def _sample(points: np.ndarray) -> np.ndarray:
    return points[:: 1 + len(points) // _SAMPLE]


def _apart(points: np.ndarray, polygon: np.ndarray) -> float:
    """Largest distance of points, of a sample of them, from the outline of a polygon."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.maximum((edges**2).sum(axis=1), np.finfo(float).tiny)
    apart = 0.0
    for point in _sample(points):
        along = np.clip(((point - polygon) * edges).sum(axis=1) / lengths, 0, 1)
        gaps = ((polygon + along[:, None] * edges - point) ** 2).sum(axis=1)
        apart = max(apart, float(np.sqrt(gaps.min())))
    return apart
