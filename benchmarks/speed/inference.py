r"""Risk and tumour mask of a cohort by DeepMTS: patients per second.

    python benchmarks/speed/inference.py [--size 48] [--patients 8] [--threads 1] [--repeats 5]
        [--batches 1 2 4 8] [--device cpu] [--json FILE]
    python benchmarks/speed/inference.py --device cuda --size 128 128 112 --patients 32 \
        --json inference_h200.json

The variants alternate, on the same patients of a cohort that is memory-mapped from disk:

* plain: stock convolutions, contiguous layout, one patient after the other without gradients;
* predict: the risks alone;
* predict, then predict_mask; and both in one pass, `predict_risk_and_mask`;
* batches of several patients through the fitted network, as `predict` does not do it (a patient's
  risk would depend in its last digits on who else is predicted, docs/decisions/0004): what that
  costs, in contiguous and channels-last layout, and in bfloat16 where the hardware has it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import nn

from survimg import Cohort
from survimg.compute.devices import choose_precision
from survimg.estimators import DeepMTS
from survimg.nets import DeepMTSNet
from survimg.nets.pointwise import PointwiseConv3d
from survimg.target import make_outcome


def make_cohort(n: int, size: tuple[int, ...], folder: Path) -> Cohort:
    """Random volumes with a ball as the tumour, on disk: the values do not matter for the time."""
    rng = np.random.default_rng(0)
    grid = np.indices(size) - np.array(size).reshape(3, 1, 1, 1) / 2
    ball = ((grid**2).sum(axis=0) < (min(size) / 5) ** 2).astype(np.uint8)
    outcome = make_outcome(np.arange(n) % 2 == 0, rng.uniform(1, 60, n))
    volumes = rng.normal(size=(n, 2, *size)).astype(np.float32)
    return Cohort(volumes, masks=np.repeat(ball[None], n, axis=0), outcome=outcome).save(folder)


def plain(model: DeepMTS, cohort: Cohort) -> Any:
    """A loop as one writes it first."""
    device = next(model.net_.module_.parameters()).device
    net = DeepMTSNet(2, 0).eval()
    net.load_state_dict(model.net_.module_.state_dict())
    for layer in net.modules():
        if isinstance(layer, PointwiseConv3d):
            layer.__class__ = nn.Conv3d
    net = net.to(device)

    def run() -> np.ndarray:
        risks = []
        with torch.no_grad():
            for i in range(len(cohort)):
                output = net(torch.from_numpy(cohort.volume(i).copy())[None].to(device))
                (output.segmentation > 0.5).to(torch.uint8).cpu()
                risks.append(output.risk.item())
        return np.array(risks)

    return run


def in_batches(
    model: DeepMTS, cohort: Cohort, size: int, layout: torch.memory_format, precision: str
) -> np.ndarray:
    """Several patients at a time through the fitted network."""
    module = model.net_.module_.eval()
    device = next(module.parameters()).device
    risks = []
    low = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with torch.inference_mode(), low:
        for start in range(0, len(cohort), size):
            part = range(start, min(start + size, len(cohort)))
            volumes = torch.from_numpy(np.stack([cohort.volume(i) for i in part])).to(device)
            output = module(volumes.contiguous(memory_format=layout))
            (output.segmentation > 0.5).to(torch.uint8).cpu()
            risks.append(output.risk.float().cpu().numpy())
    return np.concatenate(risks)


def variants(
    model: DeepMTS, cohort: Cohort, options: argparse.Namespace
) -> dict[str, Callable[[], np.ndarray]]:
    def two_passes() -> np.ndarray:
        model.predict_mask(cohort)
        return model.predict(cohort)

    found: dict[str, Callable[[], np.ndarray]] = {
        "plain": plain(model, cohort),
        "predict": lambda: model.predict(cohort),
        "predict, then predict_mask": two_passes,
        "predict_risk_and_mask": lambda: model.predict_risk_and_mask(cohort)[0],
    }
    layouts = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last_3d}
    precision = choose_precision("auto", torch.device(options.device))
    for size in options.batches:
        for name, layout in layouts.items():
            found[f"batches of {size}, {name}"] = partial(
                in_batches, model, cohort, size, layout, "float32"
            )
        if precision == "bfloat16":
            found[f"batches of {size}, channels last, bfloat16"] = partial(
                in_batches, model, cohort, size, layouts["channels last"], precision
            )
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time all variants alternately, and compare their risks."""
    with tempfile.TemporaryDirectory(prefix="inference-") as folder:
        cohort = make_cohort(options.patients, tuple(options.size), Path(folder) / "cohort")
        model = DeepMTS(
            n_iterations=1, batch_size=4, batch_norm_batches=1, random_state=0,
            n_threads=options.threads, device=options.device,
        ).fit(cohort, cohort.outcome)  # fmt: skip
        calls = variants(model, cohort, options)
        risks = {name: call() for name, call in calls.items()}  # and allocations
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        # Other work on the machine stretches the processor's seconds less than the clock's.
        one_core = options.threads == 1 and options.device == "cpu"
        clock = time.process_time if one_core else time.perf_counter
        for _ in range(options.repeats):
            for name, call in calls.items():
                started = clock()
                call()
                seconds[name].append(clock() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    scale = float(np.std(risks["plain"]))
    on_cuda = options.device.startswith("cuda")
    return {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, {options.threads} threads",
        "clock": clock.__name__,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if on_cuda else "cpu",
        "patients": options.patients, "size": options.size,
        "patients_per_second": {n: round(options.patients / v, 3) for n, v in medians.items()},
        "times_as_fast_as_plain": {n: round(medians["plain"] / v, 2) for n, v in medians.items()},
        "largest_difference_of_risk_over_its_sd": {
            name: float(f"{np.abs(found - risks['predict']).max() / scale:.1e}")
            for name, found in risks.items()
        },
        "seconds": {name: [round(v, 3) for v in values] for name, values in seconds.items()},
    }  # fmt: skip


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[48], help="one length or three")
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.size = options.size * 3 if len(options.size) == 1 else options.size
    torch.set_num_threads(options.threads)
    text = json.dumps(run(options), indent=1)
    sys.stdout.write(text + "\n")
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
