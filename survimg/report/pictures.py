"""Slices of patients with contours of masks, as PNG inside a page."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

__all__ = ["contoured"]

_GREEN, _VERMILION = (0, 158, 115), (213, 94, 0)
_GAP = 6  # pixels between channels


def contoured(
    channels: Sequence[np.ndarray], truth: np.ndarray, predicted: np.ndarray, *, width: int,
    aspect: float = 1,
) -> Markup:  # fmt: skip
    """Draw the channels of a slice side by side, the true mask solid, the predicted one dashed.

    Parameters
    ----------
    channels : sequence of ndarray of shape (height, width), uint8
    truth, predicted : ndarray of shape (height, width), bool
    width : int
        Of a channel, in pixels.
    aspect : float, default=1
        Height of a voxel by its width.

    Returns
    -------
    Markup
        Source of an HTML image (PNG in a data URI).
    """
    rows, columns = truth.shape
    height = max(1, round(width * aspect * rows / columns))
    place = np.ix_(np.arange(height) * rows // height, np.arange(width) * columns // width)
    dashes = np.add.outer(np.arange(height), np.arange(width)) // 4 % 2 == 0
    lines = ((_edge(truth[place]), _GREEN), (_edge(predicted[place]) & dashes, _VERMILION))
    panels = []
    for channel in channels:
        panel = np.repeat(channel[place][..., np.newaxis], 4, axis=2)
        panel[..., 3] = 255
        for line, colour in lines:
            panel[line, :3] = colour
        panels += [panel, np.zeros((height, _GAP, 4), dtype=np.uint8)]
    image = _png(np.concatenate(panels[:-1], axis=1))
    return Markup("data:image/png;base64,") + base64.b64encode(image).decode()


def _edge(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask within two of its edge."""
    padded = np.pad(mask, 2, mode="edge")
    height, width = mask.shape
    places = ((0, 2), (4, 2), (2, 0), (2, 4))  # above, below, left, right
    neighbours = [padded[i : i + height, j : j + width] for i, j in places]
    return mask & ~np.logical_and.reduce(neighbours)


def _png(pixels: np.ndarray) -> bytes:
    """Encode 8-bit RGBA pixels (PNG, ISO/IEC 15948)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, _ = pixels.shape
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (1, 0)))  # before each row: no filter
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
    )  # fmt: skip
