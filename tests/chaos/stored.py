"""Random damage to whatever is stored and read again: refused, or equal to the original.

    python tests/chaos/stored.py NUMBER [NAME ...]

These are model folders, caches, checkpoints, runs and prepared cohorts. With names only these kinds
are tried, and their rows put in the place of the old ones.

Half of the damage to model folders and checkpoints is vouched for (checksums are made to fit), as
somebody does who tampers with a file: such a file may be a valid file of another content; it must
not end the process, hang, or raise anything but a documented error, neither when it is read nor
when it is used. Trials run in children; writes tests/chaos/results/stored.csv.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT), str(ROOT / "tests" / "model_files"), str(ROOT / "tests" / "chaos")]

from directed import answers, digest  # noqa: E402
from mutations import _BYTES  # noqa: E402
from tampering import vouch  # noqa: E402
from third_party_examples import EXAMPLES, fitted  # noqa: E402

from survimg.npz import pack_arrays, unpack_arrays  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "stored.csv"
_SECONDS = 20
_VALUES = [
    None, True, False, 0, 1, -1, 2**31, 0.5, -1e308, "", "text", "1", [], {}, [0], {"ref": 0},
    {"ref": 3}, {"tuple": []}, {"float": "nan"}, {"float": "inf"}, {"dtype": "<i8"}, {"path": "x"},
]  # fmt: skip
_AT_ONCE = 250


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


def trial(kind: Stored, whole: Path, expected: str, seed: int, folder: Path) -> tuple[str, str]:
    """Damage one copy; return what came of it, and a message."""
    rng = np.random.default_rng(seed)
    shutil.copytree(whole, folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")
    path = files[int(rng.integers(len(files)))]
    vouched = kind.vouch is not None and bool(rng.integers(2))
    inside = {"model.json": _leaf, "arrays.npz": _array}.get(path.name)
    ways = [*_BYTES, *(5 * [inside] if vouched and inside is not None else [])]
    way = ways[int(rng.integers(len(ways)))]
    path.write_bytes(way(path.read_bytes(), rng))
    try:
        if vouched:
            kind.vouch(folder)  # type: ignore[misc]
    except (ValueError, OSError, KeyError, AttributeError, TypeError):
        vouched = False  # what is to be vouched for is broken beyond that
    try:
        found = kind.read(folder)
    except kind.documented as error:
        return "refused", str(error)[:200]
    except Exception as error:
        text = f"{way.__name__} of {path.name}: {type(error).__name__}: {error}"
        return "OTHER ERROR", text[:300]
    if found is None:
        return "counts as none", ""
    try:
        answer = kind.use(found)
    except Exception as error:
        what = "refused in use" if vouched else "OTHER ERROR"
        return what, f"{way.__name__} of {path.name}: {type(error).__name__}: {error}"[:300]
    if answer == expected:
        return "equal", ""
    return ("another file" if vouched else "DIFFERENT"), f"{way.__name__} of {path.name}"


def _told(
    kind: Stored, whole: Path, expected: str, seed: int, place: Path
) -> tuple[str, str]:
    try:
        return trial(kind, whole, expected, seed, place)
    except BaseException as error:
        return "TRIAL FAILED", f"{type(error).__name__}: {error}"


def _leaf(content: bytes, rng: np.random.Generator) -> bytes:
    """Put another value into one place of a JSON file."""
    whole = json.loads(content)
    node, places = whole, 0
    while isinstance(node, dict | list) and node and (places < 3 or rng.random() < 0.9):
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = keys[int(rng.integers(len(keys)))]
        if not (isinstance(node[key], dict | list) and node[key]):
            node[key] = _VALUES[int(rng.integers(len(_VALUES)))]
            break
        node, places = node[key], places + 1
    return json.dumps(whole).encode()


def _array(content: bytes, rng: np.random.Generator) -> bytes:
    """Put another array into the place of one."""
    arrays = unpack_arrays(content)
    name = list(arrays)[int(rng.integers(len(arrays)))]
    array = arrays[name]
    others = [array[:0], np.zeros(3), array[None], array[::-1] if array.ndim else array[None]]
    if array.dtype.names:  # the nodes of a tree
        changed = array.copy()
        field = array.dtype.names[int(rng.integers(len(array.dtype.names)))]
        changed[field][int(rng.integers(len(array)))] = rng.choice([0, 1, 100])
        others += 4 * [changed]
    else:
        others += [array.astype("U9"), -np.ones(array.shape, int)]
    if array.dtype.kind in "biuf" and array.size:
        changed = array.copy().reshape(-1)
        changed[int(rng.integers(changed.size))] = rng.choice([0, 1, 100])
        others += 3 * [changed.reshape(array.shape)]
    arrays[name] = others[int(rng.integers(len(others)))]
    return pack_arrays(arrays)


def run(name: str, number: int, folder: Path) -> Counter[str]:
    """Run the trials of one kind in children."""
    kind = KINDS[name][1]()
    whole = folder / "whole"
    whole.mkdir()
    kind.make(whole)
    expected = kind.use(kind.read(_copy(whole, folder / "first")))
    told: Counter[str] = Counter()
    seed = 0
    while seed < number:
        stop = min(seed + _AT_ONCE, number)
        lines, status = _children(kind, whole, expected, range(seed, stop), folder)
        for what, message in lines:
            told[what] += 1
            if what.isupper():
                sys.stderr.write(f"{name}, seed {seed}: {what}: {message}\n")
            seed += 1
        if os.WIFSIGNALED(status):
            what = "HANG" if os.WTERMSIG(status) == signal.SIGALRM else "CRASH"
            sys.stderr.write(f"{name}, seed {seed}: {what}\n")
            told[what] += 1
            seed += 1
    return told


def _copy(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def _children(
    kind: Stored, whole: Path, expected: str, seeds: range, folder: Path
) -> tuple[list[list[str]], int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        warnings.simplefilter("ignore")
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        try:
            for seed in seeds:
                signal.alarm(_SECONDS)
                place = folder / f"trial-{seed}"
                told = json.dumps(_told(kind, whole, expected, seed, place)) + "\n"
                shutil.rmtree(place, ignore_errors=True)
                os.write(writing, told.encode())
        finally:  # never on into the parent's code
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = [json.loads(line) for line in pipe.read().splitlines()]
    return lines, os.waitpid(child, 0)[1]


def main(number: int, names: list[str]) -> int:
    """Damage about `number` files; write the table; return how many were not handled."""
    total = sum(weight for weight, _ in KINDS.values())
    columns = ["kind", "trials", "refused", "counts as none", "equal", "another file",
               "refused in use", "OTHER ERROR", "DIFFERENT", "HANG", "CRASH",
               "TRIAL FAILED"]  # fmt: skip
    before = pd.read_csv(RESULTS).to_dict("records") if names and RESULTS.is_file() else []
    rows = {row["kind"]: row for row in before}
    for name, (weight, _) in KINDS.items():
        if names and name not in names:
            continue
        share = -(-number * weight // total)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told = run(name, share, Path(folder))
        rows[name] = {"kind": name, "trials": share, **told}
        sys.stdout.write(f"{name}: {dict(told)}, {sum(os.times()[:4]):.0f} s of CPU so far\n")
        sys.stdout.flush()
        table = pd.DataFrame([rows[kind] for kind in KINDS if kind in rows])
        table = table.reindex(columns=columns).fillna(0)
        table[columns[1:]] = table[columns[1:]].astype(int)
        table.to_csv(RESULTS, index=False)
    return int(table[columns[-5:]].to_numpy().sum())


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]), sys.argv[2:])))
