"""How cost grows: training with voxels, batch, patients; radiomics with the mask; metrics with n.

    OMP_NUM_THREADS=1 python benchmarks/speed/cost_curves.py [--repeats 3] [--out FOLDER]

Times are processor seconds of one thread, medians, which other work on the machine stretches less
than the clock. The exponent k of time ~ x^k is the slope of log time over log x at the three
largest x of each curve (least squares); constant costs flatten the curves below. Writes
cost_curves.csv (every point), cost_curves.json (exponents) and cost_curves.png.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from survimg import Cohort
from survimg.evaluation import compare_concordance, concordance_index, integrated_brier_score
from survimg.radiomics import RadiomicsFeatures
from survimg.target import make_outcome

# beside this file
from training import engine, make_cohort  # isort: skip

HERE = Path(__file__).parent
Point = tuple[str, str, float, Callable[[], object]]
UNITS = {
    "training step, 4 patients": "voxels of a channel",
    "training step, 32^3": "patients of a batch",
    "training step, 4 patients of 16^3": "patients of the cohort, on disk",
    "radiomics, 2 x 728 features": "voxels of the mask",
    "concordance index": "patients",
    "bootstrap interval, 200 resamples": "patients",
    "bootstrap test, 200 resamples": "patients",
    "integrated Brier score, 20 times": "patients",
}


def training_points(folder: Path) -> Iterator[Point]:
    """Steps of DeepMTS: read, augment, forward, backward, Adam."""

    def step(cohort: Cohort, batch: int) -> Callable[[], None]:
        options = SimpleNamespace(batch=batch, device=torch.device("cpu"))
        return engine(cohort, options, whole=True)

    names = iter(UNITS)
    name = next(names)
    for size in (16, 24, 32, 40, 48):
        yield name, UNITS[name], size**3, step(make_cohort(8, (size,) * 3), 4)
    name = next(names)
    for batch in (2, 4, 8, 16):
        yield name, UNITS[name], batch, step(make_cohort(16, (32,) * 3), batch)
    name = next(names)
    for n in (64, 256, 1024, 4096):
        cohort = make_cohort(n, (16,) * 3).save(folder / str(n))
        yield name, UNITS[name], n, step(cohort, 4)


def radiomics_points() -> Iterator[Point]:
    """All features of PET and CT: noise inside a ball."""
    name = "radiomics, 2 x 728 features"
    rng = np.random.default_rng(0)
    shape = (64, 64, 64)
    distance = ((np.indices(shape) - 31.5) ** 2).sum(axis=0)
    volume = rng.gamma(4, size=(1, 2, *shape)).astype(np.float32)
    for n_voxels in (500, 2_000, 8_000, 32_000, 64_000):
        mask = distance <= np.partition(distance.ravel(), n_voxels)[n_voxels]
        cohort = Cohort(
            volume, masks=mask[None].astype(np.uint8), spacing=1.0, channel_names=("PET", "CT")
        )
        extractor = RadiomicsFeatures().fit(cohort)
        yield name, UNITS[name], int(mask.sum()), partial(extractor.transform, cohort)


def evaluation_points() -> Iterator[Point]:
    """Metrics of two risks; survival curves at 20 times."""
    for n in (250, 1_000, 4_000, 16_000, 64_000):
        rng = np.random.default_rng(n)
        risk, other = rng.normal(size=(2, n))
        event_time, censoring = rng.exponential(size=(2, n))
        event_time = event_time * np.exp(-risk)
        y = make_outcome(event_time <= censoring, np.minimum(event_time, censoring))
        times = np.quantile(y["time"], np.linspace(0.1, 0.8, 20))
        survival = np.exp(-np.outer(np.exp(risk), times))
        calls: dict[str, Callable[[], object]] = {
            "concordance index": partial(concordance_index, y, risk),
            "integrated Brier score, 20 times": partial(
                integrated_brier_score, y, y, survival, times
            ),
        }
        if n <= 16_000:
            drawn = {"n_resamples": 200, "random_state": 0}
            calls |= {
                "bootstrap interval, 200 resamples": partial(
                    concordance_index, y, risk, confidence_interval="percentile", **drawn
                ),
                "bootstrap test, 200 resamples": partial(
                    compare_concordance, y, risk, other, method="bootstrap", **drawn
                ),
            }
        for name, call in calls.items():
            yield name, UNITS[name], n, call


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """Processor seconds of a call; short ones are repeated until they can be told."""
    call()
    inner, seconds = 1, 0.0
    while True:
        started = time.process_time()
        for _ in range(inner):
            call()
        seconds = time.process_time() - started
        if seconds > 0.02:
            break
        inner *= 4
    found = [seconds / inner]
    for _ in range(repeats - 1):
        started = time.process_time()
        for _ in range(inner):
            call()
        found.append((time.process_time() - started) / inner)
    return statistics.median(found)


def exponent(curve: pd.DataFrame) -> float:
    """Slope of log time over log x at the three largest x."""
    largest = curve.nlargest(3, "x")
    return float(np.polyfit(np.log(largest["x"]), np.log(largest["seconds"]), 1)[0])


def draw(table: pd.DataFrame, exponents: dict[str, float], path: Path) -> None:
    """Log-log curves, one panel per unit."""
    units = list(dict.fromkeys(table["unit"]))
    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    for unit, axes in zip(units, panels, strict=False):
        for name, curve in table[table["unit"] == unit].groupby("curve", sort=False):
            label = f"{name}: k = {exponents[str(name)]:.2f}"
            axes.loglog(curve["x"], curve["seconds"], "o-", markersize=3, label=label)
        low, high = axes.get_ylim()
        axes.set(xlabel=unit, ylabel="processor seconds", ylim=(low, max(high, 20 * low)))
        for axis, (first, last) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            few = last < 60 * first
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=9))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    for axes in panels[len(units) :]:
        axes.set_axis_off()
    figure.savefig(path, dpi=80)


def main() -> None:
    """Measure, fit, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory(prefix="cost-curves-") as folder:
        for points in (training_points(Path(folder)), radiomics_points(), evaluation_points()):
            for name, unit, x, call in points:
                seconds = median_seconds(call, options.repeats)
                rows.append({"curve": name, "unit": unit, "x": x, "seconds": seconds})
    table = pd.DataFrame(rows)
    exponents = {str(name): exponent(curve) for name, curve in table.groupby("curve", sort=False)}
    found = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, 1 thread",
        "torch": torch.__version__,
        "exponents": {name: round(value, 3) for name, value in exponents.items()},
    }
    options.out.mkdir(exist_ok=True)
    table.to_csv(options.out / "cost_curves.csv", index=False, float_format="%.4g")
    text = json.dumps(found, indent=1)
    (options.out / "cost_curves.json").write_text(text + "\n", encoding="utf-8")
    draw(table, exponents, options.out / "cost_curves.png")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
