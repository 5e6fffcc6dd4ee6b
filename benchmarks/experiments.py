"""Experiments on phantoms whose truth is known: can the papers' claims be true there?

    python benchmarks/experiments.py E1 --out runs/E1               # prints the commands it runs
    python benchmarks/experiments.py E1 --out runs/E1 --dry-run     # prints them only
    python benchmarks/experiments.py E1 --out runs/smoke --smoke    # 24 phantoms, 2 steps
    python benchmarks/experiments.py E1 --out runs/E1 --only mask-600 --seed 0 1

Every experiment is a list of calls, each with a name and a folder of its own below --out: of
``survimg benchmark``, in E3 of ``survimg mtdlr``, in E2, which has splits of its own, of this file.
A call computes only the records (model, fold, seed) that are missing, so that an experiment that
was cut goes on where it was, and one that is finished renders its tables again; a call of E3 that
has ended is not repeated. Networks train in float32 with one thread, but for those of E3, in the
precision that `survimg mtdlr` chooses.

--only runs the calls of these names, --seed takes other seeds: "--seed 0", then "--seed 0 1" add
seed 1 to the records of seed 0. The first seed of a call draws its phantoms and folds, so that a
call whose first seed is not 0 has another folder, such as mask-600-seed1. Every seed of E2 and E3
draws phantoms of its own.

E1  order of Table II, and whether masking hurts: both truths, 600 and 1600 steps, 3 seeds
E2  overfitting of Table III and Fig. 5: 40, 80 and 160 training patients, 1000 steps at one rate
E3  MTDLR against its parts: 240 training and 200 other test patients, 400 steps, 3 seeds
E4  backbones of Table IV: segmentation alone, residual and U-net
E5  1x1x1 convolutions of Table V, 60 patients
E6  what may help MT-HS, one at a time: averaged weights, mirrored predictions, weighted batches
E7  DeepMTS at 48 voxels, where the cascade has room
E8  MT-HS against Sur-HS beside a model of the clinical columns: how much of the stage each uses
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

SEEDS = ("0", "1", "2")
REFERENCES = ("clinical-volume-cox", "radiomics-lasso-cox", "radiomics-icare")
#: The paper's regularisation, at one rate: what overfits shows.
CONSTANT = {"schedule": "constant", "learning_rate": 1e-3, "l2": 0.1, "dropout": 0.5}


@dataclass(frozen=True)
class Call:
    """One call of ``survimg benchmark`` on phantoms."""

    name: str
    models: tuple[str, ...]
    truth: str = "outside"
    patients: int = 240
    size: int = 32
    steps: int = 600
    folds: int = 3
    seeds: tuple[str, ...] = SEEDS
    set_: dict[str, str] = field(default_factory=dict)  # MODEL.PARAMETER: VALUE

    def run(self, out: Path, options: argparse.Namespace) -> int:
        """Print the command and, unless it is a dry run, run it; return its exit status."""
        first = self.seeds[0]
        folder = out / (self.name if first == "0" else f"{self.name}-seed{first}")
        return run_command(self.command(folder, options.smoke), dry_run=options.dry_run)

    def command(self, folder: Path, smoke: bool) -> list[str]:
        """Return the command; of a smoke test the same on few small phantoms."""
        networks = [name for name in self.models if name not in REFERENCES]
        settings = {f"{name}.precision": "float32" for name in networks} | self.set_
        patients, size, steps, seeds = self.patients, self.size, self.steps, self.seeds
        if smoke:
            patients, size, steps, seeds = 24, 16, 2, seeds[:1]
        line = ["survimg", "benchmark", "--cohort", "phantom", "--truth", self.truth]
        line += ["--patients", str(patients), "--shape", *[str(size)] * 3]
        line += ["--models", ",".join(self.models), "--iterations", str(steps), "--threads", "1"]
        line += ["--seed", *seeds, "--no-progress", "--out", str(folder)]
        line += ["--folds", "2" if smoke else str(self.folds)]
        for parameter, value in settings.items():
            line += ["--set", f"{parameter}={value}"]
        return line


@dataclass(frozen=True)
class Nomogram:
    """One call of ``survimg mtdlr`` for each seed."""

    name: str
    truth: str
    seeds: tuple[str, ...] = SEEDS

    def run(self, out: Path, options: argparse.Namespace) -> int:
        """As `Call.run`; a seed whose results are there is not computed again."""
        for seed in self.seeds:
            folder = out / f"{self.name}-seed{seed}"
            done = (folder / "settings.json").is_file() and not options.dry_run
            command = self.command(folder, seed, options.smoke)
            if not done and (status := run_command(command, dry_run=options.dry_run)):
                return status
        return 0

    def command(self, folder: Path, seed: str, smoke: bool) -> list[str]:
        """Return the command; of a smoke test the same on few small phantoms."""
        patients, external, size, steps = (40, 20, 16, 2) if smoke else (240, 200, 32, 400)
        line = ["survimg", "mtdlr", "--cohort", "phantom", "--truth", self.truth]
        line += ["--patients", str(patients), "--shape", *[str(size)] * 3, "--internal", "0"]
        line += ["--external", f"phantom:{external}", "--shift", "0", "--iterations", str(steps)]
        line += ["--threads", "1", "--seed", seed, "--no-progress", "--out", str(folder)]
        if smoke:  # too few events for more folds, and for a Cox model without a penalty
            line += ["--folds", "2", "--lasso-folds", "2", "--alpha", "1"]
        return line


@dataclass(frozen=True)
class FewPatients:
    """Networks trained on `n` phantoms, and tested on 300 others: the same for every n."""

    n: int
    seeds: tuple[str, ...] = ("0", "1", "2", "3", "4")

    @property
    def name(self) -> str:
        return f"n{self.n}"

    def run(self, out: Path, options: argparse.Namespace) -> int:
        """Train and test with each seed; return 1 if a fit failed."""
        import numpy as np  # here, because the other experiments need no more than a command line

        from survimg.benchmark import run_benchmark
        from survimg.datasets import make_phantom_cohort
        from survimg.report import render

        most, n_test, size, steps = (16, 12, 16, 2) if options.smoke else (160, 300, 32, 1000)
        n, seeds = (min(self.n, most), self.seeds[:1] if options.smoke else self.seeds)
        failures = 0
        for seed in map(int, seeds):
            print(f"{self.name}: {n} of {most} phantoms, seed {seed}", flush=True)
            if options.dry_run:
                continue
            phantom = make_phantom_cohort(most + n_test, (size,) * 3, random_state=seed)
            result = run_benchmark(
                overfitting_models(steps), phantom.cohort, phantom.cohort.outcome,
                splits=[(np.arange(n), np.arange(most, most + n_test))],
                seeds=[seed], out=out / f"{self.name}-seed{seed}", reference="sur-hs",
                oracle_risk=phantom.oracle_risk, command=shlex.join(sys.argv),
            )  # fmt: skip
            render(result.folder)
            print(result, flush=True)
            failures += len(result.failures)
        return 1 if failures else 0


def overfitting_models(steps: int) -> dict[str, Any]:
    """Return the networks of E2 with the paper's regularisation, at one rate."""
    from survimg.estimators import deepmts_variant

    return {
        name: deepmts_variant(name).set_params(
            **CONSTANT, n_iterations=steps, validation_fraction=0.25, n_threads=1,
            precision="float32",
        )
        for name in ("sur-hs", "mt-hs")
    }  # fmt: skip


def run_command(command: Sequence[str], *, dry_run: bool) -> int:
    """Print a command and, unless it is a dry run, run it; return its exit status."""
    print(shlex.join(command), flush=True)
    if dry_run:
        return 0
    return subprocess.run([sys.executable, "-m", *command], check=False).returncode


def e1() -> Iterator[Call]:
    networks = ("sur-hs", "sur-hs-masked", "mt-hs", "deepmts")
    for truth in ("outside", "mask"):
        for steps in (600, 1600):
            yield Call(f"{truth}-{steps}", (*REFERENCES, *networks), truth=truth, steps=steps)


def e2() -> Iterator[FewPatients]:
    for n in (40, 80, 160):
        yield FewPatients(n)


def e3() -> Iterator[Nomogram]:
    for truth in ("mask", "outside"):
        yield Nomogram(truth, truth)


def e4() -> Iterator[Call]:
    yield Call("backbones", ("seg-backbone", "seg-backbone-unet"), truth="mask", steps=400)


def e5() -> Iterator[Call]:
    models = ("sur-hs", "mt-hs-baseline", "mt-hs")
    for truth in ("outside", "mask"):
        yield Call(truth, models, truth=truth, patients=60, steps=400)


def e6() -> Iterator[Call]:
    options = {
        "as-is": {},
        "averaged-weights": {"ema_decay": "0.99"},
        "mirrored": {"test_time_flip": "true"},
        "weighted": {"balanced": "weighted"},
        "not-balanced": {"balanced": "false"},
    }
    for name, parameters in options.items():
        for truth in ("outside", "mask"):
            set_ = {f"mt-hs.{key}": value for key, value in parameters.items()}
            yield Call(f"{name}-{truth}", ("mt-hs",), truth=truth, steps=400, set_=set_)


def e7() -> Iterator[Call]:
    models = (*REFERENCES, "sur-hs", "mt-hs", "deepmts")
    yield Call("outside", models, size=48, seeds=SEEDS[:2])


def e8() -> Iterator[Call]:
    yield Call("stage", ("clinical-cox", "sur-hs", "mt-hs"), truth="mask", steps=800)


EXPERIMENTS = {
    "E1": e1, "E2": e2, "E3": e3, "E4": e4, "E5": e5, "E6": e6, "E7": e7, "E8": e8,
}  # fmt: skip


def main() -> int:
    """Run the calls of an experiment one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="calls of these names alone")
    parser.add_argument("--seed", type=int, nargs="+", metavar="SEED", help="other seeds")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    calls = {call.name: call for call in EXPERIMENTS[options.experiment]()}
    if unknown := set(options.only or ()) - set(calls):
        parser.error(f"--only {min(unknown)}: the calls are {', '.join(calls)}")
    for name in options.only or calls:
        call = calls[name]
        if options.seed is not None:
            call = replace(call, seeds=tuple(map(str, options.seed)))
        if status := call.run(options.out, options):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
