"""Experiments on phantoms whose truth is known: can the papers' claims be true there?

    python benchmarks/experiments.py E1 --out runs/E1               # prints the commands it runs
    python benchmarks/experiments.py E1 --out runs/E1 --dry-run     # prints them only
    python benchmarks/experiments.py E1 --out runs/smoke --smoke    # 24 phantoms, 2 steps

Every experiment but E2, which has splits of its own, is a list of ``survimg benchmark`` calls, each
with a folder of its own below --out.
A call computes only the records (model, fold, seed) that are missing, so that an experiment that
was cut goes on where it was, and one that is finished renders its tables again. Networks train in
float32 with one thread.

E1  order of Table II, and whether masking hurts: both truths, 600 and 1600 steps, 3 seeds
E2  overfitting of Table III and Fig. 5: 40, 80 and 160 training patients, 1000 steps at one rate
E3  MTDLR against its parts: by `survimg mtdlr`, whose command is printed
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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from survimg.benchmark import run_benchmark
from survimg.datasets import make_phantom_cohort
from survimg.estimators import deepmts_variant
from survimg.report import render

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

    def command(self, out: Path, smoke: bool) -> list[str]:
        """Return the command; of a smoke test the same on few small phantoms."""
        networks = [name for name in self.models if name not in REFERENCES]
        settings = {f"{name}.precision": "float32" for name in networks} | self.set_
        patients, size, steps, seeds = self.patients, self.size, self.steps, self.seeds
        if smoke:
            patients, size, steps, seeds = 24, 16, 2, seeds[:1]
        line = ["survimg", "benchmark", "--cohort", "phantom", "--truth", self.truth]
        line += ["--patients", str(patients), "--shape", *[str(size)] * 3]
        line += ["--models", ",".join(self.models), "--iterations", str(steps), "--threads", "1"]
        line += ["--seed", *seeds, "--no-progress", "--out", str(out / self.name)]
        line += ["--folds", "2" if smoke else str(self.folds)]
        for parameter, value in settings.items():
            line += ["--set", f"{parameter}={value}"]
        return line


def e1() -> Iterator[Call]:
    networks = ("sur-hs", "sur-hs-masked", "mt-hs", "deepmts")
    for truth in ("outside", "mask"):
        for steps in (600, 1600):
            yield Call(f"{truth}-{steps}", (*REFERENCES, *networks), truth=truth, steps=steps)


def e2(out: Path, smoke: bool) -> None:
    """Train on 40, 80 and 160 phantoms, and test on 300 others: the same for every number."""
    sizes, n_test, size, steps, seeds = (40, 80, 160), 300, 32, 1000, range(5)
    if smoke:
        sizes, n_test, size, steps, seeds = (12, 16), 12, 16, 2, range(1)
    models = {
        name: deepmts_variant(name).set_params(
            **CONSTANT, n_iterations=steps, validation_fraction=0.25, n_threads=1,
            precision="float32",
        )
        for name in ("sur-hs", "mt-hs")
    }  # fmt: skip
    for seed in seeds:
        phantom = make_phantom_cohort(max(sizes) + n_test, (size,) * 3, random_state=seed)
        test = np.arange(max(sizes), max(sizes) + n_test)
        for n in sizes:
            result = run_benchmark(
                models, phantom.cohort, phantom.cohort.outcome, splits=[(np.arange(n), test)],
                seeds=[seed], out=out / f"n{n}-seed{seed}", reference="sur-hs",
                oracle_risk=phantom.oracle_risk, command=shlex.join(sys.argv),
            )  # fmt: skip
            render(result.folder)
            print(f"n = {n}, seed {seed}\n{result}", flush=True)


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


EXPERIMENTS = {"E1": e1, "E4": e4, "E5": e5, "E6": e6, "E7": e7, "E8": e8}
MTDLR = (
    "survimg mtdlr --cohort phantom --patients 240 --internal 0 --external phantom:200 --shift 0 "
    "--iterations 400 --seed 0 --out {out}"
)


def main() -> int:
    """Run the calls of an experiment one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=sorted([*EXPERIMENTS, "E2", "E3"]))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    if options.experiment == "E3":
        print(MTDLR.format(out=options.out))
        return 0
    if options.experiment == "E2":
        if not options.dry_run:
            e2(options.out, options.smoke)
        return 0
    for call in EXPERIMENTS[options.experiment]():
        command = call.command(options.out, options.smoke)
        print(shlex.join(command), flush=True)
        if not options.dry_run:
            done = subprocess.run([sys.executable, "-m", *command], check=False)
            if done.returncode:
                return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
