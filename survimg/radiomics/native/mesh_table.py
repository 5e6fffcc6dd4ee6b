"""Triangles of the marching-cubes surface: corners, edges, and which edges each triangle cuts.

Case analysis of Lorensen and Cline (Computer Graphics 21:163-169, 1987) with the triangulation of
the table in the public domain by P. Bourke ("Polygonising a scalar field", 1994), which PyRadiomics
uses too. Derived, not copied: ``tests/radiomics/references/make_mesh_table.py`` enumerates the
polygons and triangulations of every configuration and keeps the one with the right area and volume.
"""

from __future__ import annotations

import numpy as np

__all__ = ["CONFIGURATION", "CORNERS", "TRIANGLES"]

#: Corners of a cube (z, y, x), in the order of the bits of a configuration.
CORNERS = np.array(
    [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0)]
)

_EDGES = [
    (a, b) for a in range(8) for b in range(a + 1, 8) if abs(CORNERS[a] - CORNERS[b]).sum() == 1
]

# Middles of the 12 edges, named a to l in the table.
_EDGE_MIDDLES = np.array([(CORNERS[a] + CORNERS[b]) / 2 for a, b in _EDGES])

# Configurations 1 to 127 (corner 7 outside), three edges per triangle. The normals, in the
# left-handed axes (z, y, x), point out of the region; complements have them reversed.
_TABLE = """
cba ade bdcdec dfg cbadfg afefge bfcfgcgec hfb chahfa adehfb hfefdehec hgbgdb chgcgagda
abebhehge hgcgec cij ijajba adecij bdjdejeij cijdfg ijajbadfg afefgecij bfjfgefejeij hfbcij
ijfjhfifa adehfbcij eidijdjhdhfd hgbgdbcij ijajhgjgagda abebhehgecij eihijhehg kie cbakie
adidki bdkbkckic dfgkie cbadfgkie afifgigki bfcfgcgkckic hfbkie chahfakie adidkihfb
hfcfdkfkckic hgbgdbkie chgcgagdakie abibhgbgigki hgcgkckic cejekj ekakjbkba adcdkjdjc bdjdkj
cejekjdfg ekakjbkbadfg afcfgcgkckjc bfkfgkbkj hfbcejekj ekakjhkhahfa adcdkjdjchfb kjdjhdhfd
hgbgdbcejekj ekakjajhahgagda abhahgagkakjajc kjgjhg glk cbaglk adeglk bdcdecglk dfkflk
cbadfkflk aflalelke bfcflkfkckec hfbglk chahfaglk adehfbglk hfefdehecglk hlblkbkdb
chahlalkakda abebhehlelke hlelkehec cijglk ijajbaglk adecijglk bdjdejeijglk cijdfkflk
ijajbadfkflk aflalelkecij bfeflelkebejeij hfbcijglk ijfjhfifaglk adehfbcijglk eidijdjhdhfdglk
hlblkbkdbcij ijhihahlkhkdhda abebhehlelkecij eihijhehkhlk glelie cbaglelie adldglali
bdcdgcglclic dfeflifie cbadfeflifie afifli bfcflific hfbglelie chahfaglelie adldglalihfb
hfdhdcdgldlidic hlblielebedb chdhldlidiedcda ablbhlali hlclic cegcgjglj egaglaljajba
adcdgcglcljc bdjdgjglj cejedjdfjflj edfefleljejbeba aflalcljc bfjflj hfbcegcgjglj
egjgljejajhfjfa adcdgcglcljchfb gldljdjhdhfd hlbljclceledldb edahlj ablbhlalcljc hlj
""".split()  # noqa: SIM905


def _triangles(configuration: int) -> np.ndarray:
    if configuration in (0, 255):
        return np.empty((0, 3, 3))
    row = _TABLE[min(configuration, 255 - configuration) - 1]
    edges = np.array(["abcdefghijkl".index(letter) for letter in row]).reshape(-1, 3)
    corners = _EDGE_MIDDLES[edges]
    return corners if configuration < 128 else corners[:, ::-1]


_CORNERS_OF = [_triangles(configuration) for configuration in range(256)]

#: Configuration of every triangle, shape (n,).
CONFIGURATION = np.repeat(np.arange(256), [len(corners) for corners in _CORNERS_OF])

#: Corners of every triangle in units of the voxel size, shape (n, 3, 3): corner, (z, y, x).
TRIANGLES = np.concatenate(_CORNERS_OF)
