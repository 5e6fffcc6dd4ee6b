"""Training steps of DeepMTS: a plain PyTorch loop, MONAI's usual recipe, and survimg's engine.

    python benchmarks/speed/training.py [--size 48] [--batch 8] [--threads 2] [--repeats 7]
        [--device cpu] [--json FILE]
    python benchmarks/speed/training.py --device cuda --size 128 128 112 --json h200.json

Every variant trains the same network with the same losses on the same random patients, in a
process of its own; their steps alternate, and the medians are compared. Variants:

* plain: contiguous layout, float32, stock layers and Adam, one fixed batch: MONAI's recipe without
  its loading;
* plain, channels last; plain, bfloat16 (autocast): the same loop, one thing changed;
* engine: survimg's training step on the same batch, in float32;
* engine, bfloat16: the same, where the hardware computes it;
* compiled; graphs: the same, its network compiled by torch.compile, and replayed as CUDA graphs
  (by default on CUDA only);
* monai (if it is installed): patients read and moved by MONAI's CPU transforms (affine, flip) in a
  DataLoader, then the plain loop;
* engine, whole: survimg's batches, drawn, read and moved on the device, and its training step, in
  the precision that a fit has by default.

The time of a step is also compared with the roofline: for every convolution the larger of FLOPs /
peak rate and bytes / bandwidth, forward and backward. On CUDA both rates are options, by default
those of an H200; on the CPU they are measured, as the best of large matrix products and of copies
with as many threads, by the clock. oneDNN's convolutions can be faster than those products: ratios
below 1 are possible.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # who waits for its turn must not spin

import numpy as np
import torch
from llvmlite.binding import get_host_cpu_name
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset

from survimg import Cohort
from survimg.compute.autocast import bfloat16_autocast
from survimg.compute.devices import (
    Precision,
    RandomStreams,
    choose_precision,
    has_bfloat16,
    isolated_torch,
)
from survimg.estimators import DeepMTS
from survimg.losses import cox_loss, dice_loss
from survimg.nets import DeepMTSNet, backbone, channels_last
from survimg.nets.layers import ConvUnit
from survimg.nets.pointwise import PointwiseConv3d
from survimg.target import make_outcome
from survimg.training.batches import BatchSampler, PatientBatches, Patients
from survimg.training.engine import make_training_net


def make_cohort(n: int, size: tuple[int, ...]) -> Cohort:
    """Random volumes with a ball as the tumour: the values do not matter for the time."""
    rng = np.random.default_rng(0)
    grid = np.indices(size) - np.array(size).reshape(3, 1, 1, 1) / 2
    ball = ((grid**2).sum(axis=0) < (min(size) / 5) ** 2).astype(np.uint8)
    volumes = rng.normal(size=(n, 2, *size)).astype(np.float32)
    outcome = make_outcome(np.arange(n) % 2 == 0, rng.uniform(1, 60, n))
    return Cohort(volumes, masks=np.repeat(ball[None], n, axis=0), outcome=outcome)


class PlainUnit(ConvUnit):
    """Convolution with a bias that is trained, batch normalisation, ReLU; the sum after it."""

    def forward(
        self, features: Tensor, added: Tensor | None = None, coarse: Tensor | None = None
    ) -> Tensor:
        assert coarse is None
        convolution, norm = self
        result = norm(convolution(features))
        return result if added is None else result + added


def plain_network(device: torch.device) -> DeepMTSNet:
    """Return the network with torch's own layers, contiguous: none of the compiled ones."""
    interpolate = partial(functional.interpolate, scale_factor=2, mode="nearest")
    backbone.DoubledNearest = SimpleNamespace(apply=interpolate)
    channels_last.SMALLEST = math.inf
    net = DeepMTSNet(2, 0, generator=torch.Generator().manual_seed(0)).train().to(device)
    for layer in net.modules():
        if isinstance(layer, PointwiseConv3d):
            layer.__class__ = nn.Conv3d
        elif isinstance(layer, ConvUnit):
            layer.__class__ = PlainUnit
    return net


def plain_step(
    net: DeepMTSNet, optimiser: torch.optim.Optimizer, batch: Any, bfloat16: bool = False
) -> None:
    """Forward, losses, backward, step."""
    volumes, masks, event, times = batch
    with bfloat16_autocast(volumes.device, bfloat16):
        output = net(volumes)
    loss = dice_loss(output.segmentation, masks) + cox_loss(output.risk, times, event)
    loss = loss + 0.1 * net.l2_penalty()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def fixed_batch(cohort: Cohort, size: int, device: torch.device) -> Any:
    """Return the first patients, on the device."""
    volumes = torch.from_numpy(np.stack([cohort.volume(i) for i in range(size)]))
    masks = torch.from_numpy(np.stack([cohort.mask(i) for i in range(size)])).float()
    event = torch.from_numpy(cohort.outcome["event"][:size].copy())
    times = torch.from_numpy(cohort.outcome["time"][:size].astype(np.float32))
    return tuple(part.to(device) for part in (volumes, masks, event, times))


def plain(
    cohort: Cohort, options: argparse.Namespace, *, bfloat16: bool = False,
    layout: torch.memory_format = torch.contiguous_format,
) -> Callable[[], None]:
    """Return the step of the plain loop."""
    net = plain_network(options.device).to(memory_format=layout)
    optimiser = torch.optim.Adam(net.parameters(), 1e-4)
    volumes, *targets = fixed_batch(cohort, options.batch, options.device)
    batch = volumes.contiguous(memory_format=layout), *targets
    return lambda: plain_step(net, optimiser, batch, bfloat16)


class MonaiPatients(Dataset):
    """Patients through MONAI's dictionary transforms."""

    def __init__(self, cohort: Cohort, n_steps: int) -> None:
        from monai import transforms

        self.cohort, self.n_steps = cohort, n_steps
        keys = ("image", "mask")
        shift = [round(0.08 * length) for length in cohort.shape[2:]]
        turn = [np.pi / 36] * 3
        modes = ("bilinear", "nearest")
        self.transform = transforms.Compose([
            transforms.RandAffined(
                keys, prob=1.0, rotate_range=turn, translate_range=shift, mode=modes,
                padding_mode="zeros",
            ),
            transforms.RandFlipd(keys, prob=0.5, spatial_axis=2),
        ])  # fmt: skip

    def __len__(self) -> int:
        return self.n_steps

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        i = i % len(self.cohort)
        moved = self.transform({"image": self.cohort.volume(i), "mask": self.cohort.mask(i)[None]})
        event, times = self.cohort.outcome["event"][i], self.cohort.outcome["time"][i]
        image = moved["image"].as_tensor()
        return image, moved["mask"].as_tensor()[0].float(), bool(event), np.float32(times)


def monai(cohort: Cohort, options: argparse.Namespace) -> Callable[[], None]:
    """Return the step of MONAI's recipe: transforms in workers, then the plain loop."""
    net = plain_network(options.device)
    optimiser = torch.optim.Adam(net.parameters(), 1e-4)
    steps = options.repeats + 3
    loader = DataLoader(
        MonaiPatients(cohort, steps * options.batch), options.batch, num_workers=options.workers,
        pin_memory=options.device.type == "cuda",
    )  # fmt: skip
    batches: Iterator[Any] = iter(loader)

    def step() -> None:
        plain_step(net, optimiser, [part.to(options.device) for part in next(batches)])

    return step


def engine(
    cohort: Cohort, options: argparse.Namespace, *, precision: Precision = "auto",
    whole: bool = False, compiled: str | None = None,
) -> Callable[[], None]:
    """Return the step of survimg's engine, on one batch or with its own batches."""
    model = DeepMTS(
        clinical_columns=[], batch_size=options.batch, n_iterations=10**6, precision=precision,
        augmentation="uniform",  # as in MONAI's recipe
    )
    model.volume_shape_in_ = cohort.shape[2:]
    streams = RandomStreams.from_seed(0)
    event = cohort.outcome["event"]
    none = np.zeros((len(cohort), 0), np.float32)
    patients = Patients(cohort, none, cohort.outcome["time"], event, with_masks=True)
    sampler = BatchSampler(event, options.batch, True, streams.batches)
    augment = model._make_augment(streams.augmentation) if whole else None
    batches = PatientBatches(patients, options.device, sampler, 10**6, 50, augment)
    module = DeepMTSNet(2, 0, generator=streams.weights)
    net = make_training_net(module, model._make_objective(cohort), model, options.device)
    net.history.new_epoch()
    if compiled is not None:
        net.module_.compile(dynamic=False, mode=compiled)
    batch = batches.draw()

    def step() -> None:
        net.history.new_batch()
        net.train_step(batches.draw() if whole else batch)

    return step


class ConvolutionCost(TorchDispatchMode):
    """Seconds that each convolution takes at least, from its FLOPs and bytes."""

    def __init__(
        self, flops_per_second: float, bytes_per_second: float, precision: torch.dtype
    ) -> None:
        super().__init__()
        self.rates = flops_per_second, bytes_per_second
        self.precision = precision
        self.flops = self.bytes = self.seconds = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        aten = torch.ops.aten
        backward = func is aten.convolution_backward.default
        if backward or func is aten.convolution.default:
            result, weight = (args[0], args[2]) if backward else (output, args[1])
            image = args[1] if backward else args[0]
            # one product and one sum per weight and output voxel; twice that backward
            flops = 2 * weight[0].numel() * result.numel() * (2 if backward else 1)
            # image and result are read or written once forward, twice backward
            elements = (image.numel() + weight.numel() + result.numel()) * (2 if backward else 1)
            moved = self.precision.itemsize * elements
            self.flops += flops
            self.bytes += moved
            self.seconds += max(flops / self.rates[0], moved / self.rates[1])
        return output


def measured_rates(precision: torch.dtype) -> tuple[float, float]:
    """Return the FLOPs and the bytes per second of this processor: the best of 20 trials."""
    square = torch.ones(2048, 2048, dtype=precision)
    product = torch.empty_like(square)
    block = torch.ones(2**26)
    copied = torch.empty_like(block)
    cpu = torch.device("cpu")
    multiply, copy = partial(torch.mm, square, square, out=product), partial(copied.copy_, block)
    products = min(measure(multiply, cpu, time.perf_counter) for _ in range(20))
    copies = min(measure(copy, cpu, time.perf_counter) for _ in range(20))
    return 2 * 2048**3 / products, 2 * block.nbytes / copies


def rooflines(options: argparse.Namespace, medians: dict[str, float]) -> dict[str, Any]:
    """Return the least seconds of a step's convolutions, and how many times that a step takes."""
    on_cuda = options.device.type == "cuda"
    found: dict[str, Any] = {}
    torch.set_num_threads(options.threads)
    for name, precision in PRECISIONS.items():
        if name not in medians or (on_cuda and precision != torch.bfloat16):
            continue  # the peak rate that is given is that of bfloat16
        given = options.peak_tflops * 1e12, options.bandwidth * 1e9
        flops, bandwidth = given if on_cuda else measured_rates(precision)
        with ConvolutionCost(flops, bandwidth, precision) as cost:
            plain(random_cohort(options), options)()
        found[name] = {
            "tflop_per_second": flops / 1e12, "gigabytes_per_second": bandwidth / 1e9,
            "tflop_per_step": cost.flops / 1e12, "gigabytes": cost.bytes / 1e9,
            "seconds": cost.seconds, "engine_over_roofline": medians[name] / cost.seconds,
        }  # fmt: skip
    return found


def measure(step: Callable[[], None], device: torch.device, clock: Callable[[], float]) -> float:
    """Return the seconds of one step."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = clock()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


VARIANTS: dict[str, Callable[[Cohort, argparse.Namespace], Callable[[], None]]] = {
    "plain": plain,
    "plain, channels last": partial(plain, layout=torch.channels_last_3d),
    "plain, bfloat16": partial(plain, bfloat16=True),
    "engine": partial(engine, precision="float32"),
    "engine, bfloat16": partial(engine, precision="bfloat16"),
    "compiled": partial(engine, compiled="default"),
    "graphs": partial(engine, compiled="reduce-overhead"),
    "monai": monai,
    "engine, whole": partial(engine, whole=True),
}


#: Of the variants that are compared with the roofline.
PRECISIONS = {"engine": torch.float32, "engine, bfloat16": torch.bfloat16}


def default_variants(device: torch.device) -> list[str]:
    """Return all that this machine can compute in minutes."""
    without = set() if device.type == "cuda" else {"compiled", "graphs"}
    if find_spec("monai") is None:  # survimg does not need it: pip install monai
        without.add("monai")
    if not has_bfloat16(device):
        without |= {name for name in VARIANTS if "bfloat16" in name}
    return [name for name in VARIANTS if name not in without]


def serve(name: str, options: argparse.Namespace, pipe: Connection) -> None:
    """Compute a step of one variant whenever asked to, in a process of its own."""
    torch.set_num_threads(options.threads)
    # Other work on the machine stretches the processor's seconds less than the clock's.
    clock = time.process_time if one_core(options) else time.perf_counter
    device = options.device if name not in ("plain", "monai") else torch.device("meta")
    with isolated_torch(device, options.threads):
        step = VARIANTS[name](random_cohort(options), options)
        while pipe.recv():
            pipe.send(measure(step, options.device, clock))
    if options.device.type == "cuda":
        pipe.send(torch.cuda.max_memory_allocated() / 2**30)
    else:
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def one_core(options: argparse.Namespace) -> bool:
    return options.threads == 1 and options.workers == 0 and options.device.type == "cpu"


def random_cohort(options: argparse.Namespace) -> Cohort:
    return make_cohort(max(16, options.batch), tuple(options.size))


def alternate(options: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds of every variant's steps, and its peak memory in GiB."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in options.variants:
        pipes[name], end = context.Pipe()
        processes.append(context.Process(target=serve, args=(name, options, end)))
        processes[-1].start()
        end.close()  # so that a variant that fails is noticed: EOFError

    def step(name: str) -> float:
        pipes[name].send(True)
        return pipes[name].recv()

    for name in pipes:
        for _ in range(2):
            step(name)  # allocations, algorithm choice
    turns = [{name: step(name) for name in pipes} for _ in range(options.repeats)]
    for pipe in pipes.values():
        pipe.send(False)
    memory = {name: pipe.recv() for name, pipe in pipes.items()}
    for process in processes:
        process.join()
    return {name: [turn[name] for turn in turns] for name in pipes}, memory


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time all variants alternately, and compare them."""
    seconds, memory = alternate(options)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    on_cuda = options.device.type == "cuda"
    found: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, {get_host_cpu_name()}, "
        f"{torch.backends.cpu.get_cpu_capability()}, {options.threads} threads",
        "native_bfloat16": has_bfloat16(options.device),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(options.device) if on_cuda else "cpu",
        "default_precision": choose_precision("auto", options.device),
        "clock": "process_time" if one_core(options) else "perf_counter",
        "seconds": {name: [round(v, 4) for v in values] for name, values in seconds.items()},
        "median": {name: round(value, 4) for name, value in medians.items()},
        "samples_per_second": {n: round(options.batch / value, 2) for n, value in medians.items()},
        "peak_memory_gib": {name: round(value, 2) for name, value in memory.items()},
    }
    compared = [
        ("plain, channels last", "plain"), ("plain, bfloat16", "plain"), ("engine", "plain"),
        ("engine, bfloat16", "plain"), ("engine, bfloat16", "engine"), ("compiled", "engine"),
        ("graphs", "engine"), ("engine, whole", "monai"),
    ]  # fmt: skip
    found["times_as_fast"] = {
        f"{name} / {other}": round(medians[other] / medians[name], 2)
        for name, other in compared
        if name in medians and other in medians
    }
    return found


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[48], help="one length or three")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--workers", type=int, default=0, help="of MONAI's DataLoader")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS))
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="CUDA, bfloat16")
    parser.add_argument("--bandwidth", type=float, default=4800.0, help="CUDA, GB/s")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.size = options.size * 3 if len(options.size) == 1 else options.size
    if options.variants is None:
        options.variants = default_variants(options.device)
    found = run(options)
    found["roofline"] = rooflines(options, found["median"])
    tell(found, options.json)


def tell(found: dict[str, Any], file: Path | None) -> None:
    """Print the figures, and write them to a file if one is given."""
    text = json.dumps(found, indent=1) + "\n"
    sys.stdout.write(text)
    if file is not None:
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
