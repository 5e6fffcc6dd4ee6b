"""Undecimated coif1 decomposition of the neighbourhood of a region, one band at a time.

The stationary wavelet transform of PyWavelets (`pywt.swtn`, level 1), computed for the bounding box
only: an output voxel depends on 2 voxels before and 3 after it along each axis, with periodic
continuation of the volume (made even by repeating its first plane), so that the values are those of
the transform of the whole volume, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pywt

from survimg.jit import kernel

__all__ = ["filter_support", "wavelet_bands"]

_BEFORE, _AFTER = 2, 3
_COIF1 = pywt.Wavelet("coif1")
_LOW_PASS = np.array(_COIF1.dec_lo, dtype=np.float64)
_HIGH_PASS = np.array(_COIF1.dec_hi, dtype=np.float64)


def filter_support(volume: np.ndarray, window: tuple[slice, slice, slice]) -> np.ndarray:
    """Cut out the box and what the filters reach around it, in float64.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
    window : tuple of slice
        Bounding box in the volume.

    Returns
    -------
    ndarray of shape (z + 5, y + 5, x + 5), float64
    """
    positions = []
    for size, extent in zip(volume.shape, window, strict=True):
        wrapped = np.arange(extent.start - _BEFORE, extent.stop + _AFTER) % (size + size % 2)
        # The plane that makes an odd size even repeats the first one.
        positions.append(np.where(wrapped == size, 0, wrapped))
    return np.ascontiguousarray(volume[np.ix_(*positions)], dtype=np.float64)


def wavelet_bands(
    support: np.ndarray, shape: tuple[int, ...], window: tuple[slice, slice, slice]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the 8 bands in the bounding box.

    Parameters
    ----------
    support : ndarray of shape (z + 5, y + 5, x + 5), float64
        From `filter_support`.
    shape : tuple of int
        Shape of the whole volume.
    window : tuple of slice
        Bounding box in the volume.

    Yields
    ------
    name : str
        Low or high pass along x, y and z, for example ``"LLH"``.
    band : ndarray of shape (z, y, x), float64
        Overwritten when the next band is asked for.
    """
    # Whether the box ends on the last plane of the (even) volume, where PyWavelets adds the first
    # three products in the opposite order.
    last = [
        extent.stop == size and size % 2 == 0 for extent, size in zip(window, shape, strict=True)
    ]
    nz, ny, nx = (size - _BEFORE - _AFTER for size in support.shape)
    along_x = np.empty((nz + 5, ny + 5, nx))
    along_y = np.empty((nz + 5, ny, nx))
    band = np.empty((nz, ny, nx))
    for x_name, x_filter in (("L", _LOW_PASS), ("H", _HIGH_PASS)):
        _filter_rows(support, x_filter, last[2], along_x)
        for y_name, y_filter in (("L", _LOW_PASS), ("H", _HIGH_PASS)):
            _filter_planes(along_x, y_filter, last[1], along_y)
            for z_name, z_filter in (("L", _LOW_PASS), ("H", _HIGH_PASS)):
                as_rows = along_y.reshape(1, nz + 5, ny * nx)
                _filter_planes(as_rows, z_filter, last[0], band.reshape(1, nz, ny * nx))
                yield x_name + y_name + z_name, band


@kernel
def _filter_rows(source: np.ndarray, taps: np.ndarray, last: bool, target: np.ndarray) -> None:
    t0, t1, t2, t3, t4, t5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    n = target.shape[2]
    for z in range(target.shape[0]):
        for y in range(target.shape[1]):
            row = source[z, y]
            out = target[z, y]
            for x in range(n):
                out[x] = (
                    ((((t0 * row[x + 5] + t1 * row[x + 4]) + t2 * row[x + 3]) + t3 * row[x + 2])
                     + t4 * row[x + 1]) + t5 * row[x]
                )
            if last:
                x = n - 1
                out[x] = (
                    ((((t2 * row[x + 3] + t1 * row[x + 4]) + t0 * row[x + 5]) + t3 * row[x + 2])
                     + t4 * row[x + 1]) + t5 * row[x]
                )


@kernel
def _filter_planes(source: np.ndarray, taps: np.ndarray, last: bool, target: np.ndarray) -> None:
    t0, t1, t2, t3, t4, t5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    rows = target.shape[1]
    for z in range(target.shape[0]):
        for y in range(rows):
            out = target[z, y]
            a, b, c = source[z, y + 5], source[z, y + 4], source[z, y + 3]
            d, e, f = source[z, y + 2], source[z, y + 1], source[z, y]
            if last and y == rows - 1:
                for x in range(out.size):
                    out[x] = (
                        ((((t2 * c[x] + t1 * b[x]) + t0 * a[x]) + t3 * d[x]) + t4 * e[x])
                        + t5 * f[x]
                    )
            else:
                for x in range(out.size):
                    out[x] = (
                        ((((t0 * a[x] + t1 * b[x]) + t2 * c[x]) + t3 * d[x]) + t4 * e[x])
                        + t5 * f[x]
                    )
