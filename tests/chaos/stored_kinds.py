"""What is stored and read again: model folders, caches, records, runs, cohorts, checkpoints.

`stored.py` damages it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from directed import answers, digest
from sklearn.base import BaseEstimator
from tampering import vouch
from third_party_examples import EXAMPLES, fitted

__all__ = ["KINDS", "Stored"]


@dataclass
class Stored:
    """Something on disk: how it is made, read and used.

    Attributes
    ----------
    make : callable
        Writes below a folder.
    read : callable
        Reads it again; what is damaged raises one of `documented`, or gives None where a damaged
        record counts as none.
    use : callable
        Digest of everything that was read.
    vouch : callable or None
        Makes checksums fit again.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    use: Callable[[Any], str]
    vouch: Callable[[Path], None] | None = None
    documented: tuple[type[Exception], ...] = (ValueError, FileNotFoundError)


def _model(name: str) -> Stored:
    import survimg

    model, X = fitted(name)
    return Stored(
        lambda folder: survimg.save(model, folder / "model"),
        lambda folder: survimg.load(folder / "model"),
        lambda loaded: digest(answers(loaded, X)),
        lambda folder: vouch(folder / "model"),
    )


def _network() -> Stored:
    import survimg
    from survimg.datasets import make_phantom_cohort
    from survimg.estimators import CNNSurvival

    X = make_phantom_cohort(n=12, shape=(16, 20, 20), random_state=0).cohort
    model = CNNSurvival(n_iterations=1, batch_size=4, batch_norm_batches=1, width=2, hidden=4,
                        n_threads=1, random_state=0, verbose=0, precision="float32")  # fmt: skip
    model.fit(X, X.outcome)
    return Stored(
        lambda folder: survimg.save(model, folder / "model"),
        lambda folder: survimg.load(folder / "model"),
        lambda loaded: digest(loaded.predict(X[:2])),
        lambda folder: vouch(folder / "model"),
    )


def _features() -> Stored:
    from survimg.radiomics.cache import CaseCache
    from survimg.radiomics.cache import digest as key_of
    from survimg.radiomics.case import CaseFeatures

    key = key_of("a case")
    case = CaseFeatures(np.arange(40.0), np.array([[4, 5], [6, 7]]))
    return Stored(
        lambda folder: CaseCache(folder).put(key, case),
        lambda folder: CaseCache(folder).get(key, 40),
        lambda found: digest([found.values, found.n_levels]),
    )


def _cases() -> Stored:
    from survimg.files import write_json
    from survimg.radiomics.extractor.batch import _stored

    rows = [{"label": 1, **{f"feature_{k}": k / 7 for k in range(30)}}]
    return Stored(
        lambda folder: write_json(folder / "case.json", {"rows": rows}),
        lambda folder: _stored(folder / "case.json"),
        json.dumps,
    )


def _registration() -> Stored:
    from survimg.files import write_json
    from survimg.preprocessing import Alignment, WorldMap
    from survimg.preprocessing.registration_runs import _finished

    alignment = Alignment(None, WorldMap.shift(np.arange(3.0)), "there is no CT")
    content = {"key": ["k"], "alignment": alignment.to_dict()}
    return Stored(
        lambda folder: write_json(folder / "0.json", content),
        lambda folder: _finished(folder / "0.json", ["k"]),
        lambda found: json.dumps(found.to_dict()),
    )


def _record() -> Stored:
    from survimg.benchmark import Record
    from survimg.benchmark.records import read_record, write_record

    arrays = {"test_ids": np.array(["a", "b"]), "test_risk": np.arange(2.0),
              "train_ids": np.array(["c"]), "train_risk": np.arange(1.0)}  # fmt: skip
    record = Record("k" * 64, "model", 0, 0, details={"fit_seconds": 1.5}, arrays=arrays)
    return Stored(
        lambda folder: write_record(folder, record),
        lambda folder: read_record(folder, "model", 0, 0, record.key),
        lambda found: digest([*found.arrays.values(), json.dumps(found.details)]),
    )


class _Volume(BaseEstimator):
    """The tumour's volume."""

    def fit(self, X: Any, y: np.ndarray) -> _Volume:
        self.fitted_ = True
        return self

    def predict(self, X: Any) -> np.ndarray:
        return np.array([X.mask(i).sum() for i in range(len(X))], dtype=float)


def _run() -> Stored:
    from survimg.benchmark import read_run, run_benchmark
    from survimg.benchmark.runner import _known_content
    from survimg.datasets import make_phantom_cohort

    X = make_phantom_cohort(n=8, shape=(16, 16, 16), random_state=0).cohort
    splits = [(np.arange(4), np.arange(4, 8)), (np.arange(4, 8), np.arange(4))]
    model = {"volume": _Volume()}

    def read(folder: Path) -> Any:
        run, images = read_run(folder / "run"), _known_content(folder / "run", X.fingerprint())
        return None if run.missing or images is None else (run, images)

    def use(found: Any) -> str:
        run, images = found
        arrays = [run.ids, run.outcome["time"], run.outcome["event"], *np.ravel(run.folds)]
        for record in run.records.values():
            arrays += [*record.arrays.values(), json.dumps([record.error, record.details])]
        names = ("models", "seeds", "records", "protocol", "cohort", "settings", "caveats",
                 "reference", "command", "called", "published")  # fmt: skip
        plan = [run.plan[name] for name in names]
        return digest([*arrays, json.dumps([plan, images, dict(run.clinical)])])

    return Stored(
        lambda folder: run_benchmark(
            model, X, X.outcome, splits=splits, out=folder / "run", progress=False
        ), read, use,
    )  # fmt: skip


def _cohort() -> Stored:
    from survimg import Cohort
    from survimg.datasets import make_phantom_cohort

    X = make_phantom_cohort(n=6, shape=(16, 16, 16), random_state=0).cohort
    return Stored(
        lambda folder: X.save(folder / "cohort"),
        lambda folder: _everything(Cohort.load(folder / "cohort")), digest,
    )


def _everything(X: Any) -> list[Any]:
    """All that a cohort holds."""
    voxels = [[X.volume(i), X.mask(i)] for i in range(len(X))]
    clinical = [X.clinical[name].tolist() for name in X.clinical]
    table = [X.ids, X.outcome["time"], X.outcome["event"], X.spacing, str(clinical)]
    geometry = json.dumps([X.settings, X.table.geometry, X.channel_names, X.time_unit])
    return [voxels, table, geometry]


def _half_cohort() -> Stored:
    from survimg import Cohort
    from survimg.datasets import make_phantom_cohort
    from survimg.io import StoreWriter

    X = make_phantom_cohort(n=4, shape=(16, 16, 16), random_state=0).cohort

    def writer(folder: Path) -> StoreWriter:
        return StoreWriter(
            folder / "cohort", len(X), X.shape[1:], channel_names=X.channel_names, masks=True,
            key={"settings": X.settings}, resume=True,
        )  # fmt: skip

    def make(folder: Path) -> None:
        with writer(folder) as store:
            for i in range(len(X)):
                store.write_case(i, X.volume(i), X.mask(i))
            store.keep_partial = True

    def read(folder: Path) -> Any:
        with writer(folder) as store:
            if len(store.done()) < len(X):
                return None
            store.finish(X.table, settings=X.settings)
        return _everything(Cohort.load(folder / "cohort"))

    return Stored(make, read, digest)


def _fit() -> Stored:
    from survimg.datasets import make_phantom_cohort
    from survimg.estimators import FitOnce
    from survimg.features import TumourVolume

    X = make_phantom_cohort(n=6, shape=(16, 16, 16), random_state=0).cohort

    def read(folder: Path) -> Any:
        found = FitOnce(TumourVolume(), memory=folder).fit(X, X.outcome)
        return found if found.reused_ else None

    return Stored(
        lambda folder: FitOnce(TumourVolume(), memory=folder).fit(X, X.outcome), read,
        lambda found: digest(np.asarray(found.transform(X))),
    )


def _checkpoint() -> Stored:
    import torch
    from skorch.callbacks import Callback

    from survimg.datasets import make_phantom_cohort
    from survimg.estimators import CNNSurvival
    from survimg.training.checkpoints import _MAGIC

    torch.set_num_threads(1)
    X = make_phantom_cohort(n=12, shape=(16, 20, 20), random_state=0).cohort

    class Stop(Callback):
        def on_epoch_begin(self, net: Any, **_: Any) -> None:
            if len(net.history) > 1:
                raise OSError("the disk is full")

    def fit(folder: Path, **parameters: Any) -> Any:
        return CNNSurvival(
            n_iterations=2, iterations_per_epoch=1, batch_size=4, batch_norm_batches=1, width=2,
            hidden=4, n_threads=1, random_state=0, precision="float32", verbose=0,
            checkpoint_folder=folder, checkpoint_every=1, **parameters,
        ).fit(X, X.outcome)  # fmt: skip

    def make(folder: Path) -> None:
        try:
            fit(folder, callbacks=[Stop()])
        except OSError:
            return

    def seal(folder: Path) -> None:
        for path in folder.glob("*.pt"):
            content = path.read_bytes()[len(_MAGIC) + 65 :]
            checksum = hashlib.sha256(content).hexdigest().encode()
            path.write_bytes(_MAGIC + checksum + b"\n" + content)

    return Stored(
        make, fit, lambda model: digest(model.predict(X[:2])), seal,
        (ValueError, FileNotFoundError, FloatingPointError),
    )  # fmt: skip


KINDS: dict[str, tuple[int, Callable[[], Stored]]] = {
    **{
        f"model folder: {name}": (1, lambda name=name: _model(name))
        for name in ("RandomForestClassifier", "OneHotEncoder, infrequent", "Pipeline",
                     "RandomSurvivalForest", "CoxPHSurvivalAnalysis", "PolynomialFeatures")
        if name in EXAMPLES
    },
    "model folder: a network": (1, _network),
    "cache of features": (3, _features),
    "record of a table of cases": (2, _cases),
    "record of a registration": (2, _registration),
    "record of a benchmark": (3, _record),
    "run": (4, _run),
    "prepared cohort": (4, _cohort),
    "half-written cohort": (2, _half_cohort),
    "cache of fits": (1, _fit),
    "checkpoint": (1, _checkpoint),
}  # fmt: skip
