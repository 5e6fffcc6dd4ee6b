"""The four commands that are interrupted, on data small enough for many deaths."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pandas as pd
from kills import Command, digest, json_of, rows_of
from sklearn.base import BaseEstimator
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg import Cohort
from survimg.benchmark import run_benchmark, write_tables
from survimg.benchmark.records import read_record
from survimg.cli import main
from survimg.datasets import make_phantom_cohort
from survimg.io import Image, write_image
from survimg.model_selection import EventStratifiedKFold

__all__ = [
    "benchmark_command", "prepare_command", "radiomics_command", "store_digest", "training_command",
]  # fmt: skip


def store_digest(out: Path) -> str | None:
    """Digest of a prepared cohort, without the records that are deleted after it has its name."""
    if not (out / "cohort.json").is_file():
        if out.exists():
            raise RuntimeError(f"{out} is there, but not complete")
        return None
    Cohort.load(out)
    names = ("volumes.npy", "masks.npy", "table.csv", "cohort.json")
    return digest(*((out / name).read_bytes() for name in names))


def prepare_command(inputs: Path) -> Command:
    """``survimg prepare``: 12 patients with PET and mask."""
    inputs.mkdir()
    rows = ["patient_id,PET,mask,time,event"]
    for i in range(12):
        rng = np.random.default_rng(i)
        image = Image(rng.gamma(2.0, size=(20, 24, 28)).astype(np.float32), (4.0, 3.0, 3.0))
        image.array[8:12, 10:14, 12:16] += 20
        mask = (image.array > 15).astype(np.uint8)
        write_image(inputs / f"{i}.nrrd", image.array, image)
        write_image(inputs / f"{i}_mask.nrrd", mask, image)
        rows.append(f"p{i},{i}.nrrd,{i}_mask.nrrd,{i + 1},{i % 2}")
    (inputs / "manifest.csv").write_text("\n".join(rows))

    def run(folder: Path) -> int:
        return main(["prepare", str(inputs / "manifest.csv"), "--out", str(folder / "out"),
                     "--shape", "16", "16", "16", "--spacing", "4"])

    def parts(folder: Path) -> dict[str, str]:
        partial = folder / "out.partial"
        found = {}
        for path in sorted((partial / "done").glob("*.json")):
            i = int(path.stem)
            found[path.stem] = digest(
                rows_of(partial, "volumes.npy")[i].tobytes(),
                rows_of(partial, "masks.npy")[i].tobytes(), repr(json_of(path)).encode(),
            )
        return found

    return Command(
        "survimg prepare", run, lambda folder: store_digest(folder / "out"), parts,
        "out.partial/lock",
    )  # fmt: skip


def radiomics_command(inputs: Path) -> Command:
    """``survimg radiomics``: 10 patients, compiled code warm."""
    make_phantom_cohort(n=10, shape=(16, 16, 16), random_state=0).cohort.save(inputs)

    def run(folder: Path) -> int:
        return main(["radiomics", str(inputs), "--out", str(folder / "features.csv"),
                     "--images", "original"])

    def whole(folder: Path) -> str | None:
        path = folder / "features.csv"
        return digest(path.read_bytes()) if path.exists() else None

    def parts(folder: Path) -> dict[str, str]:
        found = {}
        for path in sorted((folder / "features.csv.partial").rglob("*.npz")):
            with np.load(path, allow_pickle=False) as record:
                found[path.name] = digest(*(record[name].tobytes() for name in record.files))
        return found

    return Command("survimg radiomics", run, whole, parts, "features.csv.partial/lock")


class StageCox(BaseEstimator):
    """Cox regression on the clinical columns."""

    def fit(self, X: Cohort, y: np.ndarray) -> StageCox:
        self.cox_ = CoxPHSurvivalAnalysis(alpha=0.1).fit(X.clinical, y)
        return self

    def predict(self, X: Cohort) -> np.ndarray:
        return self.cox_.predict(X.clinical)


class Brightest(BaseEstimator):
    """A quantile of the first channel; takes its time."""

    def __init__(self, quantile: float = 0.9, random_state: int | None = None) -> None:
        self.quantile, self.random_state = quantile, random_state

    def fit(self, X: Cohort, y: np.ndarray) -> Brightest:
        time.sleep(0.02)
        self.fitted_ = True
        return self

    def predict(self, X: Cohort) -> np.ndarray:
        return np.array([np.quantile(volume[0], self.quantile) for volume in X])


def benchmark_command(inputs: Path) -> Command:
    """A benchmark of two models on four folds with two seeds: sixteen records and the tables."""
    X = make_phantom_cohort(n=32, shape=(16, 16, 16), random_state=0).cohort
    splits = list(EventStratifiedKFold(4, shuffle=True, random_state=0).split(X, X.outcome))

    def run(folder: Path) -> int:
        try:
            finished = run_benchmark(
                {"stage-cox": StageCox(), "brightest": Brightest()}, X, X.outcome, splits=splits,
                out=folder / "out", seeds=(0, 1), reference="stage-cox", progress=False,
            )
            write_tables(finished)
        except OSError as error:  # as the command line does
            print(error)  # noqa: T201
            return 2
        return 0

    def whole(folder: Path) -> str | None:
        out = folder / "out"
        if not (out / "folds.csv").exists() or not (out / "scores.csv").exists():
            return None
        if not (out / "predictions.parquet").exists():
            return None
        folds = pd.read_csv(io.BytesIO((out / "folds.csv").read_bytes()), dtype=str)
        costs = ["fit_seconds", "predict_seconds", "memory_increase_bytes"]
        return digest(
            (out / "scores.csv").read_bytes(), (out / "predictions.parquet").read_bytes(),
            folds.drop(columns=costs, errors="ignore").to_csv(index=False).encode(),
        )

    def parts(folder: Path) -> dict[str, str]:
        found = {}
        for path in sorted((folder / "out").glob("records/*/*.json")):
            told = json_of(path)
            names = ("model", "fold", "seed", "key")
            record = read_record(folder / "out", **{name: told[name] for name in names})
            if record is None:
                raise RuntimeError(f"{path} is torn")
            found[f"{record.model} {path.name}"] = digest(
                path.read_bytes(), path.with_suffix(".npz").read_bytes()
            )
        return found

    return Command("benchmark", run, whole, parts, "out/lock")


def training_command(inputs: Path) -> Command:
    """A small network with a checkpoint after every epoch; its risks are the result."""
    import torch

    from survimg.estimators import CNNSurvival

    torch.set_num_threads(1)
    X = make_phantom_cohort(n=12, shape=(16, 20, 20), random_state=0).cohort

    def run(folder: Path) -> int:
        model = CNNSurvival(
            n_iterations=12, iterations_per_epoch=2, batch_size=4, batch_norm_batches=1, width=4,
            hidden=8, learning_rate=1e-2, n_threads=1, random_state=0,
            checkpoint_folder=folder / "checkpoints", checkpoint_every=1, verbose=0,
            precision="float32",
        ).fit(X, X.outcome)
        temporary = folder / f"risk.{time.monotonic_ns()}.npy"
        np.save(temporary, model.predict(X))
        temporary.replace(folder / "risk.npy")
        return 0

    def whole(folder: Path) -> str | None:
        path = folder / "risk.npy"
        return digest(np.load(path).tobytes()) if path.exists() else None

    def parts(folder: Path) -> dict[str, str]:
        from survimg.training.checkpoints import Checkpoint

        for path in folder.glob("checkpoints/*.pt"):
            if Checkpoint(path).seed is None:
                raise RuntimeError(f"{path} is empty")
        return {}

    return Command("training with checkpoints", run, whole, parts)
