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

import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT), str(ROOT / "tests" / "model_files"), str(ROOT / "tests" / "chaos")]

from mutations import _BYTES  # noqa: E402
from stored_kinds import KINDS, Stored  # noqa: E402

from survimg.npz import pack_arrays, unpack_arrays  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "stored.csv"
#: Of CPU, and of the clock (on a machine with other work): what takes longer hangs.
_SECONDS, _WAITING = 20, 600
_VALUES = [
    None, True, False, 0, 1, -1, 2**31, 0.5, -1e308, "", "text", "1", [], {}, [0], {"ref": 0},
    {"ref": 3}, {"tuple": []}, {"float": "nan"}, {"float": "inf"}, {"dtype": "<i8"}, {"path": "x"},
]  # fmt: skip
_AT_ONCE = 250
_TIMEOUTS = (signal.SIGALRM, signal.SIGPROF)


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
            what = "HANG" if os.WTERMSIG(status) in _TIMEOUTS else "CRASH"
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
                signal.setitimer(signal.ITIMER_PROF, _SECONDS)
                signal.alarm(_WAITING)
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
