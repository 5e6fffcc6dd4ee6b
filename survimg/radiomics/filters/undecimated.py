"""Undecimated wavelet decomposition of a box, with any wavelet, over any number of levels.

What repeated calls of `pywt.swtn` with one level give, each on the approximation of the one before
(so PyRadiomics decomposes: the filters are not dilated from level to level), computed for a box and
what the filters reach around it only. The order of every sum is that of PyWavelets.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pywt

from survimg.jit import kernel
from survimg.radiomics.native.geometry import Box

__all__ = ["decomposed"]


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
    kind = np.float32 if volume.dtype == np.float32 else np.float64
    low, high = _taps(wavelet, kind)
    filters = {"L": low, "H": high}
    volume = volume.astype(kind, copy=False)
    approximation = _Support(volume, window, axes, low.size, start + levels)
    names = ["".join(letters) for letters in product("LH", repeat=len(axes))][1:]
    for level in range(1, start + levels + 1):
        if level > start:
            for name, band in approximation.bands(names, filters, approximation.n_levels - 1):
                yield level - start, name, band
        approximation = approximation.lower(filters["L"])
    yield levels, "L" * len(axes), approximation.values


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
            values = np.ascontiguousarray(volume[np.ix_(*inside)])
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
        rows = np.ascontiguousarray(np.moveaxis(values, axis, 0))
        target = np.empty((n_out, *rows.shape[1:]), dtype=values.dtype)
        _filter(rows.reshape(rows.shape[0], -1), taps, over, target.reshape(n_out, -1))
        return np.moveaxis(target, 0, axis)

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
def _filter(source: np.ndarray, taps: np.ndarray, over: np.ndarray, target: np.ndarray) -> None:
    n_taps = taps.size
    for p in range(target.shape[0]):
        out = target[p]
        out[:] = 0.0
        wrapped = min(over[p] + 1, n_taps)
        for k in range(wrapped):
            j = over[p] - k
            tap = taps[j]
            row = source[p + n_taps - 1 - j]
            for x in range(out.size):
                out[x] += tap * row[x]
        for j in range(max(wrapped, 0), n_taps):
            tap = taps[j]
            row = source[p + n_taps - 1 - j]
            for x in range(out.size):
                out[x] += tap * row[x]
