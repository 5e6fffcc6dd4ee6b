"""Undecimated wavelet decomposition of a box, with any wavelet, over any number of levels.

What repeated calls of `pywt.swtn` with one level give, each on the approximation of the one before
(so PyRadiomics decomposes: the filters are not dilated from level to level), computed for a box and
what the filters reach around it only. The order of every sum is that of PyWavelets.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
import pywt

from survimg.jit import kernel
from survimg.radiomics.native.geometry import Box

__all__ = ["decomposed"]

# Values that are filtered together, across the direction of the filter.
_TOGETHER = 1024


def decomposed(
    volume: np.ndarray, window: Box, wavelet: str, start: int, levels: int, axes: tuple[int, ...]
) -> Iterator[tuple[int, str, np.ndarray]]:
    """Yield the bands of a volume in a box.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
        Filtered in float32 if it is float32, in float64 otherwise.
    window : tuple of slice
        The box.
    wavelet : str
        Name of a discrete wavelet of PyWavelets.
    start : int
        Number of levels to leave out.
    levels : int
        Number of levels after those.
    axes : tuple of int
        Axes to filter along; letters of the bands are in this order.

    Yields
    ------
    level : int
        From 1.
    band : str
        For example ``"LLH"``; the approximation, only of letters L, comes last.
    values : ndarray of shape (z, y, x)
        The band in the box.
    """
    low, high = _taps(wavelet, _kind(volume))
    filters = {"L": low, "H": high}
    approximation = _Support(volume, window, axes, low.size, start + levels)
    names = ["".join(letters) for letters in product("LH", repeat=len(axes))][1:]
    for level in range(1, start + levels + 1):
        if level > start:
            for name, band in approximation.bands(names, filters, approximation.n_levels - 1):
                yield level - start, name, band
        approximation = approximation.lower(filters["L"])
    yield levels, "L" * len(axes), approximation.values


def _kind(volume: np.ndarray) -> type:
    return np.float32 if volume.dtype == np.float32 else np.float64


@lru_cache(maxsize=64)
def _taps(wavelet: str, kind: type) -> tuple[np.ndarray, np.ndarray]:
    # From the response to an impulse, because those of float32 are not the rounded ones of float64.
    n_taps = pywt.Wavelet(wavelet).dec_len
    impulse = np.zeros(2 * n_taps, dtype=kind)
    impulse[n_taps] = 1
    responses = pywt.swt(impulse, wavelet, level=1)[0]
    taps = slice(n_taps // 2, n_taps // 2 + n_taps)
    return responses[0][taps].copy(), responses[1][taps].copy()


class _Support:
    """A box of the volume and what further levels reach around it, along some axes."""

    def __init__(
        self,
        volume: np.ndarray,
        window: Box,
        axes: tuple[int, ...],
        n_taps: int,
        n_levels: int,
        values: np.ndarray | None = None,
    ) -> None:
        self.shape = volume.shape
        self.volume, self.window, self.axes = volume, window, axes
        self.n_taps, self.n_levels = n_taps, n_levels
        if values is None:
            positions = [self.positions(axis, n_levels) for axis in range(3)]
            # The plane that makes an odd size even repeats the first one.
            inside = [np.where(p == n, 0, p) for p, n in zip(positions, volume.shape, strict=True)]
            values = np.ascontiguousarray(volume[np.ix_(*inside)], dtype=_kind(volume))
        self.values = values

    def positions(self, axis: int, n_levels: int) -> np.ndarray:
        """Return the positions along an axis, which wrap around at its even size."""
        size, extent = self.shape[axis], self.window[axis]
        if axis not in self.axes:
            return np.arange(extent.start, extent.stop)
        before, after = n_levels * (self.n_taps // 2 - 1), n_levels * (self.n_taps // 2)
        return np.arange(extent.start - before, extent.stop + after) % (size + size % 2)

    def filtered(self, values: np.ndarray, axis: int, taps: np.ndarray) -> np.ndarray:
        """Filter along one axis, which gets shorter by the length of the filter less one."""
        size = self.shape[axis] + self.shape[axis] % 2
        n_out = values.shape[axis] - taps.size + 1
        shortened = (values.shape[axis] - self.window[axis].stop + self.window[axis].start) // (
            self.n_taps - 1
        )
        # Of position p the sum starts with the products that wrap around, in the opposite order.
        over = self.positions(axis, shortened - 1) + self.n_taps // 2 - size
        before, after = prod(values.shape[:axis]), prod(values.shape[axis + 1 :])
        target = np.empty((before, n_out, after), dtype=values.dtype)
        source = values.reshape(before, -1, after)
        if after > 1:
            _filter_planes(source, taps, over, target)
        else:
            _filter_rows(source[:, :, 0], taps, over, target[:, :, 0])
        return target.reshape(*values.shape[:axis], n_out, *values.shape[axis + 1 :])

    def bands(
        self, names: list[str], filters: dict[str, np.ndarray], rest: int
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the bands of the next level in the box; `rest` levels of reach are cut off."""
        before, after = rest * (self.n_taps // 2 - 1), rest * (self.n_taps // 2)
        cut = [
            slice(before, -after or None) if axis in self.axes else slice(None)
            for axis in range(3)
        ]
        partial = {"": self.values[tuple(cut)]}
        for name in names:
            for end in range(1, len(name) + 1):
                prefix = name[:end]
                if prefix not in partial:
                    axis, taps = self.axes[end - 1], filters[prefix[-1]]
                    partial[prefix] = self.filtered(partial[prefix[:-1]], axis, taps)
            yield name, partial.pop(name)
            # Partial results that no later name begins with are not needed again.
            later = names[names.index(name) + 1 :]
            partial = {
                prefix: values
                for prefix, values in partial.items()
                if any(other.startswith(prefix) for other in later)
            }

    def lower(self, taps: np.ndarray) -> _Support:
        """Return the approximation of the next level."""
        values = self.values
        for axis in self.axes:
            values = self.filtered(values, axis, taps)
        return _Support(
            self.volume, self.window, self.axes, self.n_taps, self.n_levels - 1, values
        )


@kernel
def _filter_planes(
    source: np.ndarray, taps: np.ndarray, over: np.ndarray, target: np.ndarray
) -> None:
    # Along the second axis.
    n_taps = taps.size
    for z in range(target.shape[0]):
        for p in range(target.shape[1]):
            wrapped = max(min(over[p] + 1, n_taps), 0)
            # In parts that stay in the nearest memory; two products at a time, in their order.
            for start in range(0, target.shape[2], _TOGETHER):
                out = target[z, p, start : start + _TOGETHER]
                for k in range(0, n_taps, 2):
                    i = over[p] - k if k < wrapped else k
                    j = over[p] - k - 1 if k + 1 < wrapped else k + 1
                    a = source[z, p + n_taps - 1 - i, start : start + _TOGETHER]
                    b = source[z, p + n_taps - 1 - j, start : start + _TOGETHER]
                    _add_two(k == 0, taps[i], a, taps[j], b, out)


@kernel
def _filter_rows(
    source: np.ndarray, taps: np.ndarray, over: np.ndarray, target: np.ndarray
) -> None:
    # Along the last axis; all positions in the usual order first, then those that wrap around.
    n_taps, n_out = taps.size, target.shape[1]
    for y in range(target.shape[0]):
        row, out = source[y], target[y]
        for k in range(0, n_taps, 2):
            a, b = row[n_taps - 1 - k :], row[n_taps - 2 - k :]
            _add_two(k == 0, taps[k], a, taps[k + 1], b, out)
        for p in range(n_out):
            if over[p] >= 0:
                out[p] = 0.0
                for k in range(n_taps):
                    j = over[p] - k if k < min(over[p] + 1, n_taps) else k
                    out[p] += taps[j] * row[p + n_taps - 1 - j]


@kernel
def _add_two(
    first: bool, tap_a: float, a: np.ndarray, tap_b: float, b: np.ndarray, out: np.ndarray
) -> None:
    # The first two products are written, and further ones added.
    if first:
        for x in range(out.size):
            out[x] = tap_a * a[x] + tap_b * b[x]
    else:
        for x in range(out.size):
            out[x] = (out[x] + tap_a * a[x]) + tap_b * b[x]
