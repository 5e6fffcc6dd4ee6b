"""The wavelet transform of a box is that of PyWavelets on the whole volume, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import pywt

from survimg.radiomics.filters.undecimated import decomposed


def whole_volume(
    volume: np.ndarray, wavelet: str, start: int, levels: int, axes: tuple[int, ...]
) -> list[tuple[int, str, np.ndarray]]:
    even = [(0, size % 2) for size in volume.shape]
    inside = tuple(slice(0, size) for size in volume.shape)
    values, bands = np.pad(volume, even, "wrap"), []
    for level in range(1, start + levels + 1):
        parts = pywt.swtn(values, wavelet, level=1, axes=axes)[0]
        values = parts.pop("a" * len(axes))
        if level > start:
            for name, part in parts.items():
                letters = name.replace("a", "L").replace("d", "H")
                bands.append((level - start, letters, part[inside]))
    return [*bands, (levels, "L" * len(axes), values[inside])]


@pytest.mark.parametrize("kind", ["float64", "float32", "int16"])
@pytest.mark.parametrize(
    ("wavelet", "start", "levels", "axes"),
    [
        ("coif1", 0, 1, (2, 1, 0)),
        ("coif1", 1, 2, (2, 1, 0)),
        ("haar", 0, 3, (2, 1, 0)),
        ("db4", 1, 1, (2, 1)),
        ("bior2.4", 0, 2, (2, 0)),
        ("dmey", 0, 1, (2, 1, 0)),  # longer than the volume
    ],
)
@pytest.mark.parametrize("corner", [0, 1], ids=["inside", "at the end"])
def test_bands_are_those_of_the_whole_volume(
    wavelet: str, start: int, levels: int, axes: tuple[int, ...], corner: int, kind: str
) -> None:
    volume = (np.random.default_rng(3).normal(size=(9, 12, 11)) * 100).astype(kind)
    window = tuple(slice(2, size if corner else size - 3) for size in volume.shape)
    found = list(decomposed(volume, window, wavelet, start, levels, axes))
    expected = whole_volume(volume, wavelet, start, levels, axes)
    assert [band[:2] for band in found] == [band[:2] for band in expected]
    for (_, _, band), (_, _, whole) in zip(found, expected, strict=True):
        assert band.dtype == whole.dtype
        np.testing.assert_array_equal(band, whole[window])
