"""Processor seconds and memory of commands that compute little.

    OMP_NUM_THREADS=1 python benchmarks/speed/start_up.py

Each command runs three times in a process of its own; the lowest time counts. The run that they
read holds two models of 60 phantoms. Python keeps the compiled modules, as it does by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

RUN = (
    "benchmark --cohort phantom --patients 60 --models clinical-volume-cox,clinical-cox --folds 3 "
    "--quiet --out"
)
COMMANDS = (
    "--help", "completion bash", "models", "info {run}", "summary {run}", "methods {run}",
    "checklist {run}", "compare {run} {run}", "report {run}",
)  # fmt: skip


def cost(words: list[str]) -> tuple[float, float]:
    """Processor seconds and the largest size in MiB of one call."""
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        [sys.executable, "-m", "survimg", *words], stdout=subprocess.DEVNULL, env=variables
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"survimg {' '.join(words)} failed.")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = os.path.join(folder, "run")
        cost([*RUN.split(), run])
        for command in COMMANDS:
            seconds, size = min(cost(command.format(run=run).split()) for _ in range(3))
            shown = command.format(run="RUN")
            sys.stdout.write(f"survimg {shown:16s} {seconds:5.2f} s {size:4.0f} MiB\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
