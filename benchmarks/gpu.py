"""Everything of survimg that needs a GPU, in under ten minutes: tests, speed, precision.

    python benchmarks/gpu.py [--minutes 9.5] [--json benchmarks/speed/results/gpu.json]
    python benchmarks/gpu.py --device cpu --smoke --json FILE     # the same path without a GPU

Each step is a command with what is left of the minutes as its limit. The record is kept by card and
versions, and is written after every step: one that fails or is cut leaves its last lines there, and
what other cards have measured stays. The status is 1 if a step failed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"
RECORD = HERE / "speed" / "results" / "gpu.json"
#: Tests that use a GPU where there is one.
GPU_TESTS = (
    "nets/test_cuda.py", "evaluation/test_torch_predictions.py", "compute/test_devices.py",
    "training/test_memory.py", "training/test_batch_norm.py",
)  # fmt: skip


def steps(device: str, smoke: bool) -> dict[str, list[str]]:
    """Return the arguments for Python of every step, the most wanted first."""
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0"]
    speed = HERE / "speed"
    training = [str(speed / "training.py"), "--device", device]
    inference = [str(speed / "inference.py"), "--device", device]
    trial = [str(speed / "bfloat16_on_trial.py"), "--device", device]
    if smoke:
        size = ["--size", "16", "--repeats", "1"]
        return {
            "tests": [*tests, str(TESTS / GPU_TESTS[0])],
            "training, 16": [*training, *size, "--batch", "2", "--variants", "plain", "engine"],
            "inference, 16": [*inference, *size, "--patients", "2", "--batches", "1"],
            "bfloat16": [*trial, "--size", "16", "--cases", "16", "--test", "8", "--steps", "1",
                         "--every", "1", "--seeds", "0"],
        }  # fmt: skip
    real_size = ["--size", "128", "128", "112"]
    return {
        "tests": [*tests, *[str(TESTS / name) for name in GPU_TESTS]],
        "training, 48": [*training, "--repeats", "15", "--workers", "8"],
        "training, 128 x 128 x 112": [*training, *real_size, "--workers", "8"],
        "inference, 128 x 128 x 112": [*inference, *real_size],
        "bfloat16": [*trial, "--steps", "400", "--seeds", "0", "1", "2"],
    }


def hardware(device: str) -> str:
    """Name the card and the versions."""
    if device != "cuda":
        return f"{device}, torch {torch.__version__}"
    return f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}"


def run(arguments: list[str], seconds: float) -> dict[str, Any]:
    """Run a step, and return its figures, or how it ended."""
    with tempfile.TemporaryDirectory() as name:
        figures = Path(name) / "figures.json"
        writes = [] if arguments[0] == "-m" else ["--json", str(figures)]
        start = time.perf_counter()
        status: int | str
        try:
            done = subprocess.run(
                [sys.executable, *arguments, *writes], capture_output=True, text=True,
                timeout=seconds, check=False,
            )  # fmt: skip
            status, output = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired as error:
            status, output = "cut", bytes(error.stdout or b"").decode(errors="replace")
        row: dict[str, Any] = {
            "command": shlex.join(["python", *(_relative(part) for part in arguments)]),
            "status": status, "seconds": round(time.perf_counter() - start, 1),
        }  # fmt: skip
        if figures.exists():
            return row | {"figures": json.loads(figures.read_text(encoding="utf-8"))}
        return row | {"last_lines": [_relative(line) for line in output.splitlines()[-12:]]}


def _relative(argument: str) -> str:
    return argument.replace(f"{HERE.parent}/", "")


def main() -> int:
    """Run the steps, and write the record after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--minutes", type=float, default=9.5)
    parser.add_argument("--smoke", action="store_true", help="seconds on a processor")
    parser.add_argument("--json", type=Path, default=RECORD)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here: --device cpu --smoke tries the same path without.")
    record = json.loads(options.json.read_text(encoding="utf-8")) if options.json.exists() else {}
    end = time.monotonic() + 60 * options.minutes
    rows = record[hardware(options.device)] = {}
    for name, arguments in steps(options.device, options.smoke).items():
        rows[name] = run(arguments, max(1.0, end - time.monotonic()))
        sys.stdout.write(f"{name}: status {rows[name]['status']}, {rows[name]['seconds']} s\n")
        sys.stdout.flush()
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(any(row["status"] != 0 for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
