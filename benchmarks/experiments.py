"""Experiments on phantoms whose truth is known: can the papers' claims be true there?

    python benchmarks/experiments.py E1 --out runs/E1               # prints the commands it runs
    python benchmarks/experiments.py E1 --out runs/E1 --dry-run     # prints them only
    python benchmarks/experiments.py E1 --out runs/smoke --smoke    # 24 phantoms, 2 steps
    python benchmarks/experiments.py E1 --out runs/E1 --only mask-600 --seed 0 1
    python benchmarks/experiments.py E1 --out runs/E1 --table benchmarks/results/e1.csv

Every experiment is a list of calls, each with a name, and with a folder for each seed below --out:
of ``survimg benchmark``, in E3 of ``survimg mtdlr``, in E2 of this file. Each seed draws its own
phantoms, the same in all calls of one truth: 160 to train on unless said, and 400 others to test
on. A call computes only the records that are missing, so that an experiment that was cut goes on
where it was, and one that is finished renders its tables again; a call of E3 that has ended is not
repeated. Networks train in float32 with one thread, but for those of E3, in the precision that
`survimg mtdlr` chooses.

--only runs the calls of these names, --seed takes other seeds. --table FILE writes C, Dice and
seconds of every model, call and seed that is there, from the runs of ``survimg benchmark``, and
FILE_pairs with the differences of C between pairs of models on the same patients. Rows that the
files hold of other calls and seeds stay, so that machines can take turns.

E1  order of Table II, and whether masking hurts: both truths, 600 steps, 3 seeds; Sur-HS and
    DeepMTS with 1600 (of Sur-HS they take the time of 600 of DeepMTS), Sur-HS with 1000; clinical
    weights that start at a Cox model's coefficients; radiomics also without wavelets
E2  overfitting of Table III and Fig. 5: 40, 80 and 160 training patients, 1000 steps at one rate
E3  MTDLR against its parts: 240 training and 200 other test patients, 400 steps, 3 seeds
E4  backbones of Table IV: segmentation alone, residual and U-net
E5  1x1x1 convolutions of Table V, 60 training patients
E7  DeepMTS at 48 voxels, where the cascade has room

E6 (what may help) and E8 (how the clinical weights start) compare recipes, and are in recipes.py.
"""

from __future__ import annotations

import argparse
import math
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

SEEDS = ("0", "1", "2")
REFERENCES = ("clinical-volume-cox", "radiomics-lasso-cox", "radiomics-icare")
#: The paper's regularisation and augmentation, at one rate: what overfits shows.
CONSTANT = {
    "schedule": "constant", "learning_rate": 1e-3, "l2": 0.1, "dropout": 0.5,
    "augmentation": "uniform",
}  # fmt: skip
#: The claims that pairs of models decide.
PAIRS = (
    ("sur-hs", "radiomics-lasso-cox"), ("deepmts", "radiomics-lasso-cox"),
    ("sur-hs", "sur-hs-masked"), ("mt-hs", "sur-hs"), ("mt-hs", "mt-hs-baseline"),
    ("deepmts", "mt-hs"), ("deepmts", "sur-hs"), ("radiomics-lasso-cox", "clinical-volume-cox"),
    ("radiomics-icare", "radiomics-lasso-cox"),
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One call of ``survimg benchmark`` for each seed: phantoms to train on, and others to test."""

    name: str
    models: tuple[str, ...]
    truth: str = "outside"
    patients: int = 160
    size: int = 32
    steps: int = 600
    seeds: tuple[str, ...] = SEEDS
    set_: dict[str, str] = field(default_factory=dict)  # MODEL.PARAMETER: VALUE

    def run(self, out: Path, options: argparse.Namespace) -> int:
        """Print each command and, unless it is a dry run, run it; return the first exit status."""
        for seed in self.seeds:
            command = self.command(self.folder(out, seed), seed, options.smoke)
            if status := run_command(command, dry_run=options.dry_run):
                return status
        return 0

    def folder(self, out: Path, seed: str) -> Path:
        return out / f"{self.name}-seed{seed}"

    def command(self, folder: Path, seed: str, smoke: bool) -> list[str]:
        """Return the command; of a smoke test the same on few small phantoms."""
        networks = [name for name in self.models if name not in REFERENCES]
        settings = {f"{name}.precision": "float32" for name in networks} | self.set_
        patients, external, size, steps = self.patients, 400, self.size, self.steps
        if smoke:
            patients, external, size, steps = 24, 24, 16, 2
        line = ["survimg", "benchmark", "--cohort", "phantom", "--truth", self.truth]
        line += ["--patients", str(patients), "--shape", *[str(size)] * 3, "--shift", "0"]
        line += ["--protocol", "external", "--external", f"phantom:{external}"]
        line += ["--inner-folds", "1", "--models", ",".join(self.models)]
        line += ["--iterations", str(steps), "--threads", "1"] if networks else []
        line += ["--seed", seed, "--no-progress", "--out", str(folder)]
        for parameter, value in settings.items():
            line += ["--set", f"{parameter}={value}"]
        return line

    def pair_rows(self, out: Path) -> Iterator[dict[str, Any]]:
        """Yield the differences of C on the test patients of each seed that is there."""
        import pandas as pd

        from survimg.evaluation import compare_concordance
        from survimg.target import make_outcome

        for seed in self.seeds:
            file = self.folder(out, seed) / "predictions.parquet"
            if not file.is_file():
                continue
            table = pd.read_parquet(file)
            risks = table.pivot_table("risk", index="patient_id", columns="model")
            patients = table.drop_duplicates("patient_id").set_index("patient_id").loc[risks.index]
            y = make_outcome(patients.event, patients.time)
            for first, second in PAIRS:
                if {first, second} <= set(risks):
                    compared = compare_concordance(y, risks[first], risks[second])
                    values = ("difference", "lower", "upper", "p_value")
                    yield {
                        "call": self.name, "seed": seed, "first": first, "second": second,
                        "events": int(patients.event.sum()),
                        **{name: round(getattr(compared, name), 4) for name in values},
                    }  # fmt: skip

    def rows(self, out: Path) -> Iterator[dict[str, Any]]:
        """Yield what each model reached with each seed that is there."""
        import pandas as pd

        for seed in self.seeds:
            folder = self.folder(out, seed)
            if not (folder / "scores.csv").is_file():
                continue
            scores = pd.read_csv(folder / "scores.csv", index_col="model")
            folds = pd.read_csv(folder / "folds.csv", index_col="model")
            for model in scores.index:
                yield {
                    "call": self.name, "truth": self.truth, "seed": seed, "model": model,
                    "concordance": round(scores.c_mean[model], 4),
                    "dice": round(scores.dice_mean[model], 4),
                    "fit_seconds": round(folds.fit_seconds.get(model, math.nan), 1),
                }  # fmt: skip


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
    learners = ("sur-hs", "mt-hs", "deepmts")
    original = {"radiomics-lasso-cox.features__radiomics__extract__image_types": '["original"]'}
    for truth in ("outside", "mask"):
        yield Call(f"{truth}-600", (*REFERENCES, *networks), truth=truth)
        yield Call(f"{truth}-1000", ("sur-hs",), truth=truth, steps=1000)
        yield Call(f"{truth}-1600", (*REFERENCES, "sur-hs", "deepmts"), truth=truth, steps=1600)
        from_cox = {f"{name}.clinical_start": "cox" for name in learners}
        yield Call(f"{truth}-600-cox", learners, truth=truth, set_=from_cox)
        yield Call(f"{truth}-no-wavelets", ("radiomics-lasso-cox",), truth=truth, set_=original)


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
        yield Call(f"{truth}-60", models, truth=truth, patients=60, steps=400)


def e7() -> Iterator[Call]:
    for truth in ("outside", "mask"):
        yield Call(f"{truth}-48", ("sur-hs", "mt-hs", "deepmts"), truth=truth, size=48)


EXPERIMENTS = {
    "E1": e1, "E2": e2, "E3": e3, "E4": e4, "E5": e5, "E7": e7,
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
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="run nothing, write this table (not E2, E3)"
    )
    options = parser.parse_args()
    calls = {call.name: call for call in EXPERIMENTS[options.experiment]()}
    if unknown := set(options.only or ()) - set(calls):
        parser.error(f"--only {min(unknown)}: the calls are {', '.join(calls)}")
    chosen = [calls[name] for name in options.only or calls]
    if options.seed is not None:
        chosen = [replace(call, seeds=tuple(map(str, options.seed))) for call in chosen]
    if options.table is not None:
        if not all(isinstance(call, Call) for call in chosen):
            parser.error(f"--table: the reports of {options.experiment} hold its tables")
        return write_table(chosen, options)
    for call in chosen:
        if status := call.run(options.out, options):
            return status
    return 0


def write_table(calls: Sequence[Any], options: argparse.Namespace) -> int:
    """Write a row for each model, call and seed; return 1 if nothing is there."""
    rows = [row for call in calls for row in call.rows(options.out)]
    if not rows:
        print(f"{options.out}: holds no run of {options.experiment}", file=sys.stderr)
        return 1
    runs = {(row["call"], int(row["seed"])) for row in rows}
    update(options.table, rows, runs)
    pairs = [pair for call in calls for pair in call.pair_rows(options.out)]
    of_pairs = options.table.with_stem(f"{options.table.stem}_pairs")
    if pairs or of_pairs.exists():
        update(of_pairs, pairs, runs)
    return 0


def update(file: Path, rows: Sequence[dict[str, Any]], runs: set[tuple[str, int]]) -> None:
    """Write the rows to a table, in place of all that it holds of the same runs (call, seed)."""
    import pandas as pd

    table = pd.DataFrame([{**row, "seed": int(row["seed"])} for row in rows])
    if file.exists():
        old = pd.read_csv(file)
        others = [run not in runs for run in zip(old.call, old.seed, strict=True)]
        table = pd.concat([old[others], table])
    table.sort_values(["call", "seed"], kind="stable").to_csv(file, index=False)


if __name__ == "__main__":
    sys.exit(main())
