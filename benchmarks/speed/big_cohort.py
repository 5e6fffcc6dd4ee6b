r"""A cohort larger than the memory: resident memory, and throughput from disk against memory.

    python benchmarks/speed/big_cohort.py [--patients 192] [--size 48] [--repeats 2] [--json FILE]
    python benchmarks/speed/big_cohort.py --patients 900 --size 128 128 112 --batch 8 \
        --micro-batch 1 --steps 112 --predictions 900 --measured 900 --repeats 0 --mapped-mib 32 \
        --folder /scratch --json big_cohort_900.json

The second command is the real size: 15 GB of voxels and masks, besides as much again for the raw
images, and hours on a CPU. Each stage runs in a process of its own, whose tree's resident memory
(files that are mapped into memory included) is watched by psutil:

* prepare: raw images on disk, resampled and z-scored into a store, with `prepare`;
* read: the batches of one epoch, without a network: the most that training can ask for;
* train: steps of DeepMTS;
* predict: risk and mask of patients by DeepMTS;
* radiomics: the 1456 features.

All but the first run from the store and from arrays in memory in turn, each time after the store
was dropped from the system's file cache (--repeats 0 leaves this out: the arrays must fit into
memory).
Memory is also measured with half of the work: the slope is what a patient adds; for predictions it
cannot be less than the masks that are returned, one byte a voxel.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import psutil

STAGES = ("read", "train", "predict", "radiomics")


def make_raw(folder: Path, n: int, size: tuple[int, ...]) -> None:
    """Write raw volumes and masks of `n` patients: noise, and a ball as the tumour."""
    rng = np.random.default_rng(0)
    grid = np.indices(size) - np.array(size).reshape(3, 1, 1, 1) / 2
    ball = ((grid**2).sum(axis=0) < (min(size) / 6) ** 2).astype(np.uint8)
    noise = rng.normal(size=(4, 2, *size)).astype(np.float32)
    write = np.lib.format.open_memmap
    volumes = write(folder / "volumes.npy", "w+", np.float32, (n, 2, *size))
    masks = write(folder / "masks.npy", "w+", np.uint8, (n, *size))
    for i in range(n):
        volumes[i] = noise[i % 4] * (1 + 0.01 * (i % 50)) + 3 * ball
        masks[i] = ball


def raw_cohort(folder: Path, n: int) -> Any:
    from survimg import Cohort
    from survimg.target import make_outcome

    volumes = np.load(folder / "volumes.npy", mmap_mode="r")
    event = np.arange(len(volumes)) % 2 == 0
    outcome = make_outcome(event, np.random.default_rng(1).uniform(1, 60, len(event)))
    return Cohort(
        volumes,
        masks=np.load(folder / "masks.npy", mmap_mode="r"),
        outcome=outcome, spacing=1.0, channel_names=("PET", "CT"),
    )[:n]  # fmt: skip


def prepared_cohort(folder: Path, n: int, source: str) -> Any:
    """Return the first patients of the store, or arrays with their voxels."""
    from survimg import Cohort

    cohort = Cohort.load(folder / "prepared")[:n]
    if source == "disk":
        return cohort
    return Cohort(
        cohort.to_numpy(), masks=np.stack([cohort.mask(i) for i in range(n)]),
        outcome=cohort.outcome, spacing=cohort.spacing, channel_names=cohort.channel_names,
    )  # fmt: skip


def drop_from_cache(folder: Path) -> None:
    """Let the system forget what it holds of the store's files (Linux)."""
    for path in folder.rglob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# ------------------------------------------------------------------ the stages


def prepare(options: argparse.Namespace, n: int) -> Callable[[], int]:
    from survimg.preprocessing import Preparation
    from survimg.preprocessing import prepare as prepare_cohort

    raw, out = raw_cohort(options.folder / "raw", n), options.folder / "prepared"
    shutil.rmtree(out, ignore_errors=True)

    def run() -> int:
        prepare_cohort(raw, Preparation(shape=raw.shape[2:]), out, progress=False)
        return n

    return run


def read(options: argparse.Namespace, cohort: Any) -> Callable[[], int]:
    import torch

    from survimg.training.batches import BatchSampler, PatientBatches, Patients

    n, event = len(cohort), cohort.outcome["event"]
    none = np.zeros((n, 0), np.float32)
    patients = Patients(cohort, none, cohort.outcome["time"], event, with_masks=True)
    sampler = BatchSampler(event, options.batch, False, np.random.default_rng(0))
    steps = max(1, n // options.batch)
    batches = PatientBatches(patients, torch.device("cpu"), sampler, steps, steps, None)
    return lambda: sum(len(targets.time) for _, targets in batches)


def deepmts(options: argparse.Namespace, steps: int) -> Any:
    from survimg.estimators import DeepMTS

    return DeepMTS(
        n_iterations=steps, iterations_per_epoch=steps, batch_size=options.batch,
        micro_batch_size=options.micro_batch, random_state=0, batch_norm_batches=1,
        n_threads=options.threads, device=options.device,
    )  # fmt: skip


def train(options: argparse.Namespace, cohort: Any) -> Callable[[], int]:
    model = deepmts(options, options.steps)
    # The fit ends with a prediction of all patients for the baseline hazard: another stage.
    model._after_training = lambda *_: None

    def run() -> int:
        model.fit(cohort, cohort.outcome)
        return options.steps * options.batch

    return run


def predict(options: argparse.Namespace, cohort: Any) -> Callable[[], int]:
    model = deepmts(options, 1)
    few = cohort[: max(8, options.batch)]
    model.fit(few, few.outcome)
    asked = cohort[: options.predictions]

    def run() -> int:
        risk, _ = model.predict_risk_and_mask(asked)
        return len(risk)

    return run


def radiomics(options: argparse.Namespace, cohort: Any) -> Callable[[], int]:
    from survimg.radiomics import RadiomicsFeatures

    asked = cohort[: options.measured]
    extractor = RadiomicsFeatures().fit(asked)
    extractor.transform(asked[:1])  # compiled kernels are loaded

    def run() -> int:
        return len(extractor.transform(asked))

    return run


STAGE = {"read": read, "train": train, "predict": predict, "radiomics": radiomics}


def one_run(call: Callable[[], int]) -> dict[str, float]:
    """Time a stage once."""
    started, cpu = time.perf_counter(), time.process_time()
    n = call()
    return {
        "patients": n, "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
    }  # fmt: skip


def from_disk(options: argparse.Namespace) -> dict[str, float]:
    """Compute one stage from disk, in this process."""
    if options.stage == "prepare":
        return one_run(prepare(options, options.patients))
    drop_from_cache(options.folder / "prepared")
    cohort = prepared_cohort(options.folder, options.patients, "disk")
    return one_run(STAGE[options.stage](options, cohort))


def alternating(options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Compute one stage from disk and from memory in turn, in this process."""
    make = STAGE[options.stage]
    runs: dict[str, list[dict[str, float]]] = {"disk": [], "memory": []}
    cohorts = {s: prepared_cohort(options.folder, options.patients, s) for s in runs}
    make(options, cohorts["memory"])()  # imports, allocations
    for _ in range(options.repeats):
        for source, found in runs.items():
            call = make(options, cohorts[source])
            drop_from_cache(options.folder / "prepared")
            found.append(one_run(call))
    return runs


# ------------------------------------------------------------------ the parent


def resident(process: psutil.Process) -> int:
    """Bytes resident in a process and its children."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:  # it ended meanwhile
            continue
    return total


def child(
    options: argparse.Namespace, stage: str, task: str = "memory", share: int = 1
) -> dict[str, Any]:
    """Run one stage in a process of its own, on a share of the work, and watch its memory."""
    command = [
        sys.executable, __file__, "--stage", stage, "--task", task,
        "--folder", str(options.folder), "--device", options.device,
        "--batch", str(options.batch), "--threads", str(options.threads),
        "--repeats", str(options.repeats), "--mapped-mib", str(options.mapped_mib),
    ]  # fmt: skip
    command += ["--steps", str(options.steps)]
    if options.micro_batch is not None:
        command += ["--micro-batch", str(options.micro_batch)]
    for name in ("patients", "predictions", "measured"):
        command += [f"--{name}", str(getattr(options, name) // share)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watched, peak = psutil.Process(process.pid), 0
        while process.poll() is None:
            try:
                peak = max(peak, resident(watched))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.1)
        assert process.stdout is not None
        text = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed.")
    return {**json.loads(text), "peak_mib": peak / 2**20}


def compare(options: argparse.Namespace, stage: str) -> dict[str, Any]:
    """Throughput of a stage from disk and from memory; its memory from disk."""
    found: dict[str, Any] = {}
    if options.repeats:
        runs = child(options, stage, "speed")
        del runs["peak_mib"]
        for kind, clock in (("patients_per_second", "seconds"), ("per_cpu_second", "cpu_seconds")):
            rates = {s: [r["patients"] / r[clock] for r in runs[s]] for s in runs}
            found[kind] = {s: [round(rate, 2) for rate in each] for s, each in rates.items()}
            medians = {s: statistics.median(each) for s, each in rates.items()}
            found[f"{kind}_disk_over_memory"] = round(medians["disk"] / medians["memory"], 3)
    asked = {"predict": options.predictions, "radiomics": options.measured}
    n = min(options.patients, asked.get(stage, options.patients))
    return {**found, **growth(child(options, stage), child(options, stage, share=2), n)}


def growth(whole: dict[str, float], half: dict[str, float], n: int) -> dict[str, float]:
    """Peak memory from disk, of `n` patients and of half of them, and what a patient adds to it."""
    slope = (whole["peak_mib"] - half["peak_mib"]) / (n - n // 2)
    return {
        "peak_mib_disk": round(whole["peak_mib"]),
        "peak_mib_disk_half": round(half["peak_mib"]),
        "mib_per_patient_disk": round(slope, 4),
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Make the cohort, and measure everything."""
    (options.folder / "raw").mkdir()
    make_raw(options.folder / "raw", options.patients, tuple(options.size))
    drop_from_cache(options.folder / "raw")
    half = child(options, "prepare", share=2)
    shutil.rmtree(options.folder / "prepared")
    prepared = child(options, "prepare")
    per_patient = (2 * 4 + 1) * np.prod(options.size) / 2**20
    return {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, {options.threads} threads",
        "patients": options.patients, "size": options.size, "batch": options.batch,
        "micro_batch": options.micro_batch or options.batch, "mapped_mib": options.mapped_mib,
        "mib_on_disk_per_patient": round(float(per_patient), 3),
        "mib_on_disk": round(float(per_patient) * options.patients),
        "prepare": {
            "patients_per_second": round(prepared["patients"] / prepared["seconds"], 2),
            **growth(prepared, half, options.patients),
        },
        **{stage: compare(options, stage) for stage in options.stages},
    }  # fmt: skip


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=192)
    parser.add_argument("--size", type=int, nargs="+", default=[48], help="one length or three")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument(
        "--micro-batch", type=int, help="patients in the network at once; by default the batch"
    )
    parser.add_argument("--steps", type=int, default=2, help="an epoch has patients / batch")
    parser.add_argument("--predictions", type=int, default=12, help="patients to predict")
    parser.add_argument("--measured", type=int, default=24, help="patients for radiomics")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--mapped-mib", type=int, default=8,
        help="of each file, kept mapped; survimg keeps 32, which is more than small cohorts hold",
    )  # fmt: skip
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--folder", type=Path, help="scratch space; by default a temporary folder")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--stage", choices=("prepare", *STAGES), help=argparse.SUPPRESS)
    parser.add_argument("--task", choices=("memory", "speed"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.size = options.size * 3 if len(options.size) == 1 else options.size
    if options.stage is not None:
        import torch

        from survimg.cohort import stores

        torch.set_num_threads(options.threads)
        stores.RESIDENT = options.mapped_mib << 20
        task = {"memory": from_disk, "speed": alternating}[options.task]
        sys.stdout.write(json.dumps(task(options)))
        return
    with tempfile.TemporaryDirectory(prefix="big-cohort-", dir=options.folder) as folder:
        options.folder = Path(folder)
        text = json.dumps(run(options), indent=1)
    sys.stdout.write(text + "\n")
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
