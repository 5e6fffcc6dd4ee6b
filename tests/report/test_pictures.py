"""Contours of masks on slices."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from survimg.report.pictures import contoured

GREEN, VERMILION = (0, 158, 115), (213, 94, 0)


def pixels_of(source):
    kind, _, data = source.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def places(pixels, colour):
    return np.argwhere((pixels[..., :3] == colour).all(axis=-1))


def test_contours_follow_the_masks_on_each_channel():
    channel = np.arange(64, dtype=np.uint8).reshape(8, 8)
    truth, predicted = np.zeros((2, 8, 8), dtype=bool)
    truth[2:6, 2:6] = predicted[0:3, 5:8] = True
    pixels = pixels_of(contoured([channel, channel], truth, predicted, width=80, aspect=0.5))
    assert pixels.shape == (40, 80 + 6 + 80, 4)
    assert (pixels[:, 80:86, 3] == 0).all()  # the gap is transparent
    first, second = pixels[:, :80], pixels[:, 86:]
    np.testing.assert_array_equal(first, second)
    solid, dashed = places(first, GREEN), places(first, VERMILION)
    assert solid.min(axis=0).tolist() == [10, 20]
    assert solid.max(axis=0).tolist() == [29, 59]
    assert not [at for at in solid if 12 <= at[0] < 28 and 22 <= at[1] < 58]  # only the edge
    assert 0 < len(dashed) < len(solid)
    assert first[0, 0, 0] == channel[0, 0]
    assert first[-1, -1, 0] == channel[-1, -1]


def test_an_absent_mask_has_no_contour():
    nothing = np.zeros((4, 4), dtype=bool)
    pixels = pixels_of(contoured([np.full((4, 4), 9, np.uint8)], nothing, nothing, width=20))
    assert (pixels == (9, 9, 9, 255)).all()
