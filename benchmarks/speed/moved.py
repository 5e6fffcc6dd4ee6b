"""Has anything become slower? Compares ratios of today with the committed ones, never seconds.

    python benchmarks/speed/moved.py [--update] [--repeats 9] [--threads 1]
    make speed

Each ratio is that of two ways to do the same work in turn on this machine, such as the plain loop
and survimg's training step, so that other work on it and its clock matter little. Ratios differ
between kinds of processors: they are kept by the name that compilers have for this one (znver4,
sapphirerapids, ...). A kind without committed ratios is told so, and `--update` adds it. The status
is 1 if a ratio has fallen by more than 15 %.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from llvmlite.binding import get_host_cpu_name
from training import run

RATIOS = Path(__file__).parent / "ratios.json"
MOVED = 0.15


def measured(options: argparse.Namespace) -> dict[str, float]:
    """Return how many times as fast survimg is, by comparison."""
    training = argparse.Namespace(
        size=[32] * 3, batch=8, threads=options.threads, repeats=options.repeats, workers=0,
        device=torch.device("cpu"), variants=["plain", "engine"],
    )  # fmt: skip
    result = run(training)
    ratios = {f"training, {name}": ratio for name, ratio in result["times_as_fast"].items()}
    memory = result["peak_memory_gib"]
    ratios["training, memory of plain / engine"] = round(memory["plain"] / memory["engine"], 2)
    return ratios


def compare(now: dict[str, float], committed: dict[str, float]) -> tuple[list[str], bool]:
    """Return a line for each ratio, and whether one has fallen by more than 15 %.

    Parameters
    ----------
    now, committed : dict
        Ratios by name; larger is better.
    """
    lines, fell = [], False
    for name, ratio in now.items():
        before = committed.get(name)
        if before is None:
            lines.append(f"{name}: {ratio:.2f}, not committed yet (--update)")
            continue
        change = ratio / before - 1
        moved = "MOVED" if abs(change) > MOVED else "as before"
        lines.append(f"{name}: {ratio:.2f}, was {before:.2f} ({change:+.0%}), {moved}")
        fell = fell or change < -MOVED
    lines += [f"{name}: not measured any more" for name in committed if name not in now]
    return lines, fell


def main() -> int:
    """Measure, compare, print; with --update, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the ratios of this machine")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    kind = f"{get_host_cpu_name()}, {options.threads} thread(s)"
    everything = json.loads(RATIOS.read_text("utf-8"))
    now = measured(options)
    lines, fell = compare(now, everything.get(kind, {}))
    sys.stdout.write("\n".join([f"{kind}:", *lines, ""]))
    if options.update:
        everything[kind] = now
        RATIOS.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
        return 0
    return int(fell)


if __name__ == "__main__":
    sys.exit(main())
