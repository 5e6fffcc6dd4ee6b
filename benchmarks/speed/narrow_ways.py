"""Which way to compute convolutions to few channels is the fastest on this processor?

    python benchmarks/speed/narrow_ways.py [--threads 1] [--repeats 15] [--json FILE]

Rates: GFLOP/s of the convolution, of the gradient of its map and of that of its weights, by each
way of `survimg.nets.narrow_ways` and by torch (oneDNN), best of 12; products with zeros are not
counted. Steps: one process trains DeepMTS on one batch by what survimg chooses and by each of the
other ways in turn; the median of the paired ratios of time says what the choice is worth (below 1:
the choice is faster).
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from llvmlite.binding import get_host_cpu_name
from torch import Tensor
from training import engine, measure, random_cohort, tell

from survimg.compute.devices import has_bfloat16, isolated_torch
from survimg.nets import narrow
from survimg.nets.narrow_ways import LOOPS, PAIRS, SUMS, Way, convolution, convolution_gradients

CPU = torch.device("cpu")
#: Channels in, channels out, length of an axis; batches of eight.
LAYERS = (8, 8, 48), (24, 8, 48), (8, 8, 32), (16, 16, 24), (48, 16, 24), (64, 16, 11)


def torchs_weight_gradient(gradient: Tensor, features: Tensor) -> Any:
    shaped = gradient.new_empty(gradient.shape[1], features.shape[1], 3, 3, 3)
    return convolution_gradients(gradient, features, shaped, [False, True, False])[1]


def ways(n_out: int, precision: torch.dtype) -> dict[str, Way]:
    """Return the ways that compute such layers."""
    able = {"torch": Way(convolution, SUMS.map_gradient, torchs_weight_gradient)}
    if precision == torch.float32:
        able |= {"sums": SUMS} if n_out == 16 else {"loops": LOOPS}
    return able | ({"pairs": PAIRS} if n_out == 8 else {})


def rates(n_in: int, n_out: int, size: int, precision: torch.dtype) -> dict[str, list[int]]:
    """Return GFLOP/s: forward, gradient of the map, gradient of the weights."""
    layout = torch.channels_last_3d
    volume = torch.randn(8, n_in, size, size, size).to(precision, memory_format=layout)
    gradient = torch.randn(8, n_out, size, size, size).to(precision, memory_format=layout)
    weight = torch.randn(n_out, n_in, 3, 3, 3).to(precision)
    products = 2 * 27 * n_in * n_out * size**3 * 8
    found = {}
    for name, way in ways(n_out, precision).items():
        parts = (
            partial(way.convolve, volume, weight, None),
            partial(way.map_gradient, gradient, volume, weight),
            partial(way.weight_gradient, gradient, volume),
        )
        found[name] = [round(products / best(part) / 1e9) for part in parts]
    return found


def best(compute: Callable[[], Any]) -> float:
    """Return the shortest seconds of twelve calls, after one that compiles."""
    compute()
    return min(measure(compute, CPU, time.perf_counter) for _ in range(12))


def steps(size: int, precision: Any, options: argparse.Namespace) -> dict[str, float]:
    """Return the time of a step by survimg's choice, over that by each other way."""
    chosen = narrow._fastest
    settings = argparse.Namespace(size=[size] * 3, batch=8, repeats=1, device=CPU)
    clock = time.process_time if options.threads == 1 else time.perf_counter

    def choose(way: Way | None) -> Callable[..., Way | None]:
        return lambda *inputs: way if chosen(*inputs) is not None else None

    others = {"torch": None, "pairs": PAIRS} | ({"loops": LOOPS} if precision == "float32" else {})
    choices = {"chosen": chosen} | {name: choose(way) for name, way in others.items()}
    seconds: dict[str, list[float]] = {name: [] for name in choices}
    with isolated_torch(CPU, options.threads):
        step = engine(random_cohort(settings), settings, precision=precision)
        for turn in range(options.repeats + 2):
            for name, choice in choices.items():
                narrow._fastest = choice
                took = measure(step, CPU, clock)
                if turn >= 2:  # compilation, allocations, oneDNN's choice of algorithms
                    seconds[name].append(took)
    narrow._fastest = chosen
    pairs = {n: zip(seconds["chosen"], seconds[n], strict=True) for n in others}
    return {n: round(statistics.median(a / b for a, b in pair), 3) for n, pair in pairs.items()}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    precisions = ["float32", *(["bfloat16"] if has_bfloat16(CPU) else [])]
    with torch.no_grad():
        by_layer = {
            f"{n_in} to {n_out}, {size}^3, {p}": rates(n_in, n_out, size, getattr(torch, p))
            for n_in, n_out, size in LAYERS for p in precisions
        }  # fmt: skip
    found = {
        "command": shlex.join(["python", *sys.argv]), "processor": get_host_cpu_name(),
        "torch": torch.__version__, "threads": options.threads, "gflop_per_second": by_layer,
        "step_over_other_way": {
            f"8 x 2 x {n}^3, {p}": steps(n, p, options) for n in (48, 32) for p in precisions
        },
    }  # fmt: skip
    tell(found, options.json)


if __name__ == "__main__":
    main()
