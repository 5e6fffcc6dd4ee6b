"""Is bfloat16 good enough to train DeepMTS with? docs/decisions/0003 tells what came of it.

    python benchmarks/speed/bfloat16_on_trial.py [--size 32] [--cases 160] [--test 200]
        [--truth mask] [--steps 800] [--every 100] [--seeds 0 1 2] [--device cpu] [--json FILE]

1. *Gradients.* Along a training in float32, the gradient of the real loss of a batch in float32 and
   under bfloat16 autocast, each against float64: the cosine of the whole network's gradient, and
   that of every convolution. Without dropout, whose masks would differ.
2. *Results.* The C-index and the Dice of other patients after trainings in both precisions, for
   each seed, with the CPU seconds. Skipped, and said so, where a processor only emulates bfloat16.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from survimg import Cohort
from survimg.compute.autocast import bfloat16_autocast
from survimg.compute.devices import RandomStreams, has_bfloat16, isolated_torch
from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS
from survimg.nets import DeepMTSNet
from survimg.training import Objective
from survimg.training.batches import BatchSampler, PatientBatches, Patients
from survimg.training.engine import make_training_net


def gradients(
    net: nn.Module, objective: Objective, batch: Any, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Return the gradient of the loss of a batch by parameter, in float64."""
    net = copy.deepcopy(net)
    net.zero_grad()
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    inputs, targets = batch
    if dtype == torch.float64:
        net = net.double()
        inputs = {name: values.double() for name, values in inputs.items()}
    volumes = inputs["volumes"].contiguous(memory_format=torch.channels_last_3d)
    with bfloat16_autocast(volumes.device, dtype == torch.bfloat16):
        output = net(volumes, inputs["clinical"])
    torch.stack(list(objective(net, output, targets).values())).sum().backward()
    return {name: p.grad.double() for name, p in net.named_parameters() if p.grad is not None}


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one.flatten() @ other.flatten() / (one.norm() * other.norm()))


def agreement(net: nn.Module, objective: Objective, batch: Any) -> dict[str, Any]:
    """Compare both precisions with float64, for the whole network and for each kernel."""
    exact = gradients(net, objective, batch, torch.float64)
    kernels = [name for name, values in exact.items() if values.ndim == 5]
    whole = torch.cat([values.flatten() for values in exact.values()])
    row: dict[str, Any] = {}
    for dtype in (torch.float32, torch.bfloat16):
        found = gradients(net, objective, batch, dtype)
        together = torch.cat([found[name].flatten() for name in exact])
        row[str(dtype).removeprefix("torch.")] = {
            "whole": round(cosine(together, whole), 6),
            "kernels": {name: round(cosine(found[name], exact[name]), 4) for name in kernels},
        }
    return row


def along_a_training(cohort: Cohort, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train in float32, and compare the gradients every so many steps."""
    device = options.device
    model = DeepMTS(clinical_columns=[], n_iterations=options.steps, precision="float32")
    model.volume_shape_in_ = cohort.shape[2:]
    streams = RandomStreams.from_seed(options.seeds[0])
    event = cohort.outcome["event"]
    none = np.zeros((len(cohort), 0), np.float32)
    patients = Patients(cohort, none, cohort.outcome["time"], event, with_masks=True)
    sampler = BatchSampler(event, model.batch_size, True, streams.batches)
    augment = model._make_augment(streams.augmentation)
    batches = PatientBatches(patients, device, sampler, options.steps, 50, augment)
    objective = model._make_objective(cohort)
    module = DeepMTSNet(cohort.shape[1], 0, generator=streams.weights)
    net = make_training_net(module, objective, model, device)
    net.history.new_epoch()
    with isolated_torch(device, options.threads, streams.dropout_seed):
        for step in range(options.steps + 1):
            batch = batches.draw()
            if step % options.every == 0:
                yield {"step": step, **agreement(net.module_, objective, batch)}
            net.history.new_batch()
            net.train_step(batch)


def results(
    cohort: Cohort, test: Cohort, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Fit in both precisions, and score patients that were not trained with."""
    truth = np.stack([test.mask(i) for i in range(len(test))]) > 0
    for seed in options.seeds:
        for precision in ("float32", "bfloat16"):
            model = DeepMTS(
                clinical_columns=[], n_iterations=options.steps, precision=precision,
                n_threads=options.threads, random_state=seed, device=options.device.type,
            )  # fmt: skip
            start = time.process_time()
            model.fit(cohort, cohort.outcome)
            seconds = time.process_time() - start
            masks = np.stack(list(model.predict_mask(test))) > 0.5
            dice = 2 * (masks & truth).sum() / (masks.sum() + truth.sum())
            yield {
                "seed": seed, "precision": precision, "cpu_seconds": round(seconds, 1),
                "c_index": round(float(model.score(test, test.outcome)), 4),
                "dice": round(float(dice), 4),
            }  # fmt: skip


def main() -> None:
    """Parse, run, and write after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--cases", type=int, default=160)
    parser.add_argument("--test", type=int, default=200, help="patients that both are scored on")
    parser.add_argument("--truth", default="mask", choices=["mask", "outside"])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    phantom = make_phantom_cohort(
        options.cases + options.test, (options.size,) * 3, truth=options.truth, random_state=0
    )
    cohort, test = phantom.cohort[: options.cases], phantom.cohort[options.cases :]
    native = has_bfloat16(options.device)
    record: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]), "device": str(options.device),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "torch": torch.__version__, "native_bfloat16": native, "gradients": [], "results": [],
    }  # fmt: skip
    parts = {"gradients": along_a_training(cohort, options)}
    if native:
        parts["results"] = results(cohort, test, options)
    else:
        sys.stderr.write("bfloat16 is only emulated here: gradients alone.\n")
    for part, rows in parts.items():
        for row in rows:
            record[part].append(row)
            sys.stdout.write(f"{json.dumps(row)}\n")
            sys.stdout.flush()
            if options.json is not None:
                options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
