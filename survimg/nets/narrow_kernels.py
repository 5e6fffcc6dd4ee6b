"""Convolutions 3x3x3 to few channels, compiled for the CPU.

oneDNN fills half a vector register of AVX-512 with eight output channels, and with AVX2 unfolds the
volume for the gradient of the weights. Here eight channels are one register of AVX2, and eight such
registers hold sums while one of the factors streams through: see `_add_products`.

Maps are flat float32 arrays, voxel after voxel with the channels of a voxel side by side. A *plane*
is all voxels of one case and one place along the first axis. It is computed from three planes
with a rim of zeros, which are copied once each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from survimg.jit import kernel

__all__ = ["LANES", "convolve_planes", "weight_sums"]

#: Channels of an output that are computed at once.
LANES = 8
#: Rows of sums that are held at once: enough to hide how long a sum takes, on 16 registers.
ROWS = 8
#: Lines of a plane that stay in the cache while all weights go over them.
LINES = 4
_BYTES = 4


@intrinsic
def _add_products(  # type: ignore[no-untyped-def]
    typing, start, start_row, a, a_row, a_line, a_step, b, b_step, c, c_row, n_lines, n  # noqa: ARG001
):
    """Add products of single values and of LANES values to ROWS sums, in order, fused.

    ``c[i * c_row + k] = start[i * start_row + k] + sum over l < n_lines and j < n of
    a[i * a_row + l * a_line + j * a_step] * b[(l * n + j) * b_step + k]`` for i < ROWS, k < LANES.
    `start`, `a`, `b` and `c` are addresses of float32; steps are counted in values.
    """
    signature = types.void(*[types.int64] * 12)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        start, start_row, a, a_row, a_line, a_step, b, b_step, c, c_row, n_lines, n = arguments
        value, lanes = ir.FloatType(), ir.VectorType(ir.FloatType(), LANES)
        nothing = ir.Constant(lanes, ir.Undefined)
        firsts = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(lanes, [lanes] * 3), f"llvm.fma.v{LANES}f32"
        )
        start, a, b, c = (
            builder.inttoptr(address, value.as_pointer()) for address in (start, a, b, c)
        )
        rows = [ir.Constant(n.type, i) for i in range(ROWS)]

        def at(pointer: Any, index: Any, step: Any) -> Any:
            return builder.gep(pointer, [builder.mul(index, step)])

        def vector(pointer: Any) -> Any:
            loaded = builder.load(builder.bitcast(pointer, lanes.as_pointer()))
            loaded.align = _BYTES
            return loaded

        sums = [cgutils.alloca_once_value(builder, vector(at(start, i, start_row))) for i in rows]
        with cgutils.for_range(builder, n_lines) as outer:
            line = at(a, outer.index, a_line)
            factors = at(b, builder.mul(outer.index, n), b_step)
            with cgutils.for_range(builder, n) as inner:
                factor = vector(at(factors, inner.index, b_step))
                here = at(line, inner.index, a_step)
                for i, total in zip(rows, sums, strict=True):
                    single = builder.load(at(here, i, a_row))
                    single = builder.insert_element(nothing, single, ir.Constant(ir.IntType(32), 0))
                    repeated = builder.shuffle_vector(single, nothing, firsts)
                    product = builder.call(fused, [repeated, factor, builder.load(total)])
                    builder.store(product, total)
        for i, total in zip(rows, sums, strict=True):
            place = builder.bitcast(at(c, i, c_row), lanes.as_pointer())
            builder.store(builder.load(total), place).align = _BYTES
        return context.get_dummy_value()

    return signature, generate


@kernel
def _load_planes(x, part, depth, height, width, n, planes, held):  # type: ignore[no-untyped-def]
    """Put the planes before, at and after `part` into their places, unless they are there."""
    row = (width + 2) * n
    z = part % depth
    for dz in range(3):
        slot, wanted = (z + dz) % 3, part + dz - 1
        if not 0 <= z + dz - 1 < depth:
            wanted = -1  # zeros, beyond the end
        if held[slot] == wanted:
            continue
        held[slot] = wanted
        plane = planes[slot]
        if wanted < 0:
            plane[:] = 0
            continue
        for h in range(height):
            begin, source = (h + 1) * row + n, (wanted * height + h) * width * n
            plane[begin : begin + width * n] = x[source : source + width * n]


@kernel
def convolve_planes(  # type: ignore[no-untyped-def]
    first, stop, x, depth, height, width, n_in, weights, bias, out
):
    """Compute planes of a convolution 3x3x3 with a rim of zeros.

    `weights` are ``(9, 3 * n_in, n_out)``: first and second axis, third axis and input channel.
    `n_out` is a multiple of LANES, and `width` is at least ROWS.
    """
    n_out = bias.shape[0]
    row = (width + 2) * n_in
    planes = np.zeros((3, (height + 2) * row), np.float32)
    held = np.full(3, -2)
    for part in range(first, stop):
        _load_planes(x, part, depth, height, width, n_in, planes, held)
        for h in range(height):
            for block in range(0, width, ROWS):
                v = min(block, width - ROWS)  # the last block may overlap the one before
                for k in range(0, n_out, LANES):
                    begin = ((part * height + h) * width + v) * n_out + k
                    target = out.ctypes.data + _BYTES * begin
                    start, start_row = bias.ctypes.data + _BYTES * k, 0
                    for dz in range(3):
                        plane = planes[(part % depth + dz) % 3]
                        _add_products(
                            start, start_row,
                            plane.ctypes.data + _BYTES * (h * row + v * n_in), n_in, row, 1,
                            weights.ctypes.data + _BYTES * (dz * 9 * n_in * n_out + k), n_out,
                            target, n_out, 3, 3 * n_in,
                        )  # fmt: skip
                        start, start_row = target, n_out


@kernel
def weight_sums(  # type: ignore[no-untyped-def]
    first, stop, x, depth, height, width, n_in, gradient, n_out, sums
):
    """Compute the gradient of the weights, ``(9, 3 * n_in, n_out)``, from each plane of outputs.

    `n_in` and `n_out` are multiples of LANES; ``sums[part]`` are zero before.
    """
    row = (width + 2) * n_in
    planes = np.zeros((3, (height + 2) * row), np.float32)
    held = np.full(3, -2)
    for part in range(first, stop):
        _load_planes(x, part, depth, height, width, n_in, planes, held)
        for h in range(0, height, LINES):
            n_lines = min(LINES, height - h)
            begin = gradient.ctypes.data + _BYTES * (part * height + h) * width * n_out
            for tap in range(9):
                plane = planes[(part % depth + tap // 3) % 3]
                source = plane.ctypes.data + _BYTES * (h + tap % 3) * row
                for j in range(0, 3 * n_in, ROWS):
                    for k in range(0, n_out, LANES):
                        place = ((part * 9 + tap) * 3 * n_in + j) * n_out + k
                        target = sums.ctypes.data + _BYTES * place
                        _add_products(
                            target, n_out, source + _BYTES * j, 1, row, n_in,
                            begin + _BYTES * k, n_out, target, n_out, n_lines, width,
                        )  # fmt: skip
