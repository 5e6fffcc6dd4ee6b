"""Derive the triangles of survimg/radiomics/native/mesh_table.py.  Needs PyRadiomics 3.0.1.

Marching cubes (Lorensen and Cline, Computer Graphics 21:163, 1987) cuts each edge of a cube of
eight voxel centres that joins a voxel inside the region to one outside, here at its middle. The
cuts of one cube form closed polygons; what the paper leaves open is how to pair cuts on a face
with two diagonal corners inside, and how to split a polygon into triangles. Both matter for the
area. This script enumerates every pairing and triangulation for the 127 configurations with
corner 7 outside (the others are complements) and keeps the one whose area and volume, at voxel
sizes that tell them all apart, are those of PyRadiomics, which uses the table in the public
domain that P. Bourke published ("Polygonising a scalar field", 1994).

Usage: python make_mesh_table.py > table.txt
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator

import numpy as np
from radiomics import cShape

# Corners (z, y, x) in the order of the bits of a configuration, and edges as pairs of corners.
CORNERS = np.array(
    [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0)]
)
EDGES = [
    (a, b)
    for a, b in itertools.combinations(range(8), 2)
    if np.abs(CORNERS[a] - CORNERS[b]).sum() == 1
]
SPACINGS = [np.array(s) for s in ((1.0, 1.0, 1.0), (1.0, 1.37, 0.71), (2.3, 0.9, 1.61))]
LETTERS = "abcdefghijkl"


def face_edges() -> list[list[int]]:
    faces = []
    for axis in range(3):
        for side in (0, 1):
            corners = {c for c in range(8) if CORNERS[c][axis] == side}
            faces.append([e for e, (a, b) in enumerate(EDGES) if a in corners and b in corners])
    return faces


FACES = face_edges()


def pairings(cuts: list[int], inside: set[int]) -> list[list[tuple[int, int]]]:
    if not cuts:
        return [[]]
    if len(cuts) == 2:
        return [[(cuts[0], cuts[1])]]
    # Two diagonal corners inside: cut off each of them, or each of those outside.
    options = []
    for wanted in (True, False):
        by_corner: dict[int, list[int]] = {}
        for e in cuts:
            corner = next(c for c in EDGES[e] if (c in inside) == wanted)
            by_corner.setdefault(corner, []).append(e)
        options.append([(pair[0], pair[1]) for pair in by_corner.values()])
    return options


def loops(segments: list[tuple[int, int]]) -> list[list[int]]:
    beside: dict[int, list[int]] = {}
    for a, b in segments:
        beside.setdefault(a, []).append(b)
        beside.setdefault(b, []).append(a)
    found, left = [], set(beside)
    while left:
        start = min(left)
        loop, previous, current = [start], None, start
        left.discard(start)
        while True:
            options = [n for n in beside[current] if n != previous]
            following = options[0] if options else start
            if following == start or following not in left:
                break
            loop.append(following)
            left.discard(following)
            previous, current = current, following
        found.append(loop)
    return found


def triangulations(polygon: list[int]) -> Iterator[list[tuple[int, int, int]]]:
    if len(polygon) < 3:
        yield []
        return
    first, last = polygon[0], polygon[-1]
    for k in range(1, len(polygon) - 1):
        for left in triangulations(polygon[: k + 1]):
            for right in triangulations(polygon[k:]):
                yield [*left, (first, polygon[k], last), *right]


def points() -> np.ndarray:
    return np.array([(CORNERS[a] + CORNERS[b]) / 2 for a, b in EDGES])


def area(triangles: list[tuple[int, int, int]], spacing: np.ndarray) -> float:
    corner = points()[np.array(triangles)] * spacing
    normals = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    return 0.5 * float(np.linalg.norm(normals, axis=1).sum())


def volume(triangles: list[tuple[int, int, int]], spacing: np.ndarray) -> float:
    corner = points()[np.array(triangles)] * spacing
    return float(np.linalg.det(corner).sum() / 6)


def oriented(loop: list[int], inside: set[int]) -> list[int]:
    # Seen from outside the region, counter-clockwise: the area vector points away from the corners
    # inside that the loop's edges touch. The axes (z, y, x) are left-handed.
    p = points()[loop]
    normal = sum(np.cross(p[k - 1], p[k]) for k in range(len(loop)))
    outward = sum(
        CORNERS[next(c for c in EDGES[e] if c not in inside)]
        - CORNERS[next(c for c in EDGES[e] if c in inside)]
        for e in loop
    )
    return loop if normal @ outward > 0 else loop[::-1]


def derive(configuration: int) -> list[tuple[int, int, int]]:
    inside = {c for c in range(8) if configuration >> c & 1}
    mask = np.zeros((2, 2, 2), dtype=bool)
    for c in inside:
        mask[tuple(CORNERS[c])] = True
    wanted = [cShape.calculate_coefficients(mask, s)[:2] for s in SPACINGS]
    cuts = [[e for e in f if (EDGES[e][0] in inside) != (EDGES[e][1] in inside)] for f in FACES]
    for choice in itertools.product(*(pairings(c, inside) for c in cuts)):
        polygons = [oriented(loop, inside) for loop in loops(list(itertools.chain(*choice)))]
        for split in itertools.product(*(list(triangulations(loop)) for loop in polygons)):
            triangles = list(itertools.chain(*split))
            found = [(area(triangles, s), volume(triangles, s)) for s in SPACINGS]
            if np.allclose(found, wanted, rtol=0, atol=1e-10):
                return triangles
    raise RuntimeError(f"configuration {configuration}: no triangulation matches {wanted}")


def main() -> None:
    for configuration in range(1, 128):
        triangles = derive(configuration)
        sys.stdout.write("".join(LETTERS[e] for t in triangles for e in t) + "\n")


if __name__ == "__main__":
    main()
