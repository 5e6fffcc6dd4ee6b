"""Passes over the memory of channels-last maps, compiled for the CPU.

Maps are flat arrays, voxel after voxel with the channels of a voxel side by side; bfloat16 comes as
its bits (uint16) and is computed in float32. A *tile* is a whole number of voxels of about 256
values, a *block* a whole number of tiles: parameters per channel are repeated over a tile, so that
the innermost loops run over contiguous memory. Sums are kept per block: what comes out does not
depend on how many threads share the blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

from survimg.jit import REORDERED, reducing_kernel

__all__ = [
    "BLOCK",
    "TILE",
    "add_upsampled",
    "apply",
    "apply_and_add",
    "drop",
    "gradient",
    "gradient_sums",
    "moments",
    "pool_gradient",
]

#: Values per tile, at most.
TILE = 256
#: Values per block, at most: what the second pass of `moments` reads is still in the cache.
BLOCK = 1 << 15


def _load(values: Any, i: int) -> Any:
    """Read a value as float32."""
    raise NotImplementedError("compiled only")


def _store(values: Any, i: int, value: Any) -> None:
    """Write a float32, rounded to the nearest (ties to even) for bfloat16."""
    raise NotImplementedError("compiled only")


@overload(_load, jit_options={"fastmath": REORDERED})
def _load_of(values, i):  # type: ignore[no-untyped-def] # noqa: ARG001
    if values.dtype == types.uint16:
        return lambda values, i: np.uint32(np.uint32(values[i]) << np.uint32(16)).view(np.float32)
    return lambda values, i: values[i]


@overload(_store, jit_options={"fastmath": REORDERED})
def _store_in(values, i, value):  # type: ignore[no-untyped-def] # noqa: ARG001
    if values.dtype == types.uint16:

        def store(values, i, value):  # type: ignore[no-untyped-def]
            bits = np.float32(value).view(np.uint32)
            odd = (bits >> np.uint32(16)) & np.uint32(1)
            values[i] = np.uint16(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

        return store

    def keep(values, i, value):  # type: ignore[no-untyped-def]
        values[i] = value

    return keep


@reducing_kernel
def moments(first, stop, x, tile, block, means, squares):  # type: ignore[no-untyped-def]
    """Mean of each channel in each block, and the sum of squares of what differs from it."""
    n_channels = means.shape[1]
    total = np.empty(tile, np.float32)
    centre = np.empty(tile, np.float32)
    for part in range(first, stop):
        values = x[part * block : min((part + 1) * block, len(x))]
        n = len(values) // n_channels
        total[:] = 0
        for start in range(0, len(values), tile):
            row = values[start : min(start + tile, len(values))]
            for i in range(len(row)):
                total[i] += _load(row, i)
        for i in range(tile):
            means[part, i % n_channels] += total[i]
        for j in range(n_channels):
            means[part, j] /= n
        for i in range(tile):
            centre[i] = means[part, i % n_channels]
        total[:] = 0
        for start in range(0, len(values), tile):
            row = values[start : min(start + tile, len(values))]
            for i in range(len(row)):
                difference = _load(row, i) - centre[i]
                total[i] += difference * difference
        for i in range(tile):
            squares[part, i % n_channels] += total[i]


@reducing_kernel
def apply(first, stop, x, scale, shift, floor, block, out):  # type: ignore[no-untyped-def]
    """``out = max(floor, x * scale + shift)``."""
    tile = len(scale)
    for start in range(first * block, min(stop * block, len(x)), tile):
        row = x[start : min(start + tile, len(x))]
        to = out[start : min(start + tile, len(x))]
        for i in range(len(row)):
            value = _load(row, i) * scale[i] + shift[i]
            _store(to, i, floor if value < floor else value)


@reducing_kernel
def apply_and_add(first, stop, x, scale, shift, floor, added, block, out):  # type: ignore[no-untyped-def]
    """``out = max(floor, x * scale + shift) + added``."""
    tile = len(scale)
    for start in range(first * block, min(stop * block, len(x)), tile):
        row = x[start : min(start + tile, len(x))]
        more = added[start : min(start + tile, len(x))]
        to = out[start : min(start + tile, len(x))]
        for i in range(len(row)):
            value = _load(row, i) * scale[i] + shift[i]
            _store(to, i, (floor if value < floor else value) + _load(more, i))


@reducing_kernel
def gradient_sums(first, stop, x, g, scale, shift, floor, mean, block, sums):  # type: ignore[no-untyped-def]
    """Per block and channel: sums of the gradient g behind the ReLU, and of g (x - mean)."""
    tile = len(scale)
    one = np.empty(tile, np.float32)
    two = np.empty(tile, np.float32)
    n_channels = sums.shape[2]
    for part in range(first, stop):
        end = min((part + 1) * block, len(x))
        one[:] = 0
        two[:] = 0
        for start in range(part * block, end, tile):
            row = x[start : min(start + tile, end)]
            grad = g[start : min(start + tile, end)]
            for i in range(len(row)):
                value = _load(row, i)
                passed = _load(grad, i) if value * scale[i] + shift[i] > floor else np.float32(0)
                one[i] += passed
                two[i] += passed * (value - mean[i])
        for i in range(tile):
            sums[part, 0, i % n_channels] += one[i]
            sums[part, 1, i % n_channels] += two[i]


@reducing_kernel
def gradient(first, stop, x, g, scale, shift, floor, by_x, constant, block, out):  # type: ignore[no-untyped-def]
    """Gradient of x, from that behind the ReLU and the two sums that it enters."""
    tile = len(scale)
    for start in range(first * block, min(stop * block, len(x)), tile):
        row = x[start : min(start + tile, len(x))]
        grad = g[start : min(start + tile, len(x))]
        to = out[start : min(start + tile, len(x))]
        for i in range(len(row)):
            value = _load(row, i)
            passed = _load(grad, i) if value * scale[i] + shift[i] > floor else np.float32(0)
            _store(to, i, scale[i] * passed + by_x[i] * value + constant[i])


@reducing_kernel
def _mix(bits):  # type: ignore[no-untyped-def]
    bits = np.uint32(np.uint32(bits ^ np.uint32(bits >> np.uint32(16))) * np.uint32(0x7FEB352D))
    bits = np.uint32(np.uint32(bits ^ np.uint32(bits >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(bits ^ np.uint32(bits >> np.uint32(16)))


@reducing_kernel
def drop(first, stop, x, seed, key, limit, scale, block, out):  # type: ignore[no-untyped-def]
    """Scale values, and set those to zero whose 32 random bits lie below `limit`.

    The bits are a function of two seeds and the place: C. Wellons' integer mixer "lowbias32"
    (https://nullprogram.com/blog/2018/07/31/), once per seed. With the seeds in one XOR before a
    single mixing, two seeds would give the same bits at permuted places.
    """
    for start in range(first * block, min(stop * block, len(x)), TILE):
        row = x[start : min(start + TILE, len(x))]
        to = out[start : min(start + TILE, len(x))]
        origin = np.uint32(np.uint32(start) + seed)
        for i in range(len(row)):
            bits = _mix(np.uint32(_mix(np.uint32(origin + np.uint32(i))) ^ key))
            _store(to, i, _load(row, i) * scale if bits >= limit else np.float32(0))


@reducing_kernel
def add_upsampled(first, stop, coarse, n_rows, length, n_channels, out):  # type: ignore[no-untyped-def]
    """Add to each 2 x 2 x 2 voxels of `out` the voxel of `coarse` that they came from.

    `first` and `stop` count slices of all cases; a coarse slice has `n_rows` rows of `length`
    voxels.
    """
    short = length * n_channels
    for a in range(2 * first, 2 * stop):
        for b in range(2 * n_rows):
            to = out[(a * 2 * n_rows + b) * 2 * short :][: 2 * short]
            row = coarse[((a // 2) * n_rows + b // 2) * short :][:short]
            for k in range(length):
                for i in range(n_channels):
                    value = _load(row, k * n_channels + i)
                    j = 2 * k * n_channels + i
                    _store(to, j, _load(to, j) + value)
                    j += n_channels
                    _store(to, j, _load(to, j) + value)


@reducing_kernel
def pool_gradient(first, stop, g, n_rows, length, n_channels, out):  # type: ignore[no-untyped-def]
    """Sum 2 x 2 x 2 voxels of `g`; the sizes are those of the result, as in `add_upsampled`."""
    short = length * n_channels
    for a in range(first, stop):
        for b in range(n_rows):
            to = out[(a * n_rows + b) * short :][:short]
            near = (2 * a * 2 * n_rows + 2 * b) * 2 * short
            far = near + 2 * n_rows * 2 * short
            r0 = g[near:][: 2 * short]
            r1 = g[near + 2 * short :][: 2 * short]
            r2 = g[far:][: 2 * short]
            r3 = g[far + 2 * short :][: 2 * short]
            for k in range(length):
                for i in range(n_channels):
                    j = 2 * k * n_channels + i
                    m = j + n_channels
                    total = (_load(r0, j) + _load(r1, j)) + (_load(r2, j) + _load(r3, j))
                    total += (_load(r0, m) + _load(r1, m)) + (_load(r2, m) + _load(r3, m))
                    _store(to, k * n_channels + i, total)
