"""Mutate valid image files and read them, in processes with limits of memory and time.

    python tests/chaos/fuzz.py [NUMBER] [FORMAT ...]

Of every file that is read, voxels and geometry must be those of an independent reader (see
`independent`); everything else must be a refusal that names the file. What is counted: crashes of
the process, files that took too long, silent differences, voxels of a file outside the folder,
files left behind.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813
from fault import PATIENT, manifest
from forked import forked_decoder
from independent import compare, compare_regions, compare_segments
from mutations import FORMATS, SECRET, Format, grid, mutate

from survimg.io import read_image, write_image
from survimg.io.images.masks import read_mask_image
from survimg.preprocessing import Preparation, prepare

__all__ = ["OUTCOMES", "main", "run", "trial"]

_RESULTS = Path(__file__).parent / "results" / "mutations.csv"
#: CPU time of one file, wall time (a busy machine lets a decoder's process wait), files of a
#: process, and its memory.
_SECONDS, _WALL, _BATCH, _MEMORY = 10, 120, 1000, 3 << 30
OUTCOMES = ("equal", "refused", "unchecked", "WRONG", "LEAK", "UNNAMED", "LEFT", "HANG", "CRASH")
#: Seed of the first file; another one for every run that is recorded, so that none is a replay.
_FIRST_SEED = 6_000_000
#: Every so many files go the whole road of `prepare`, whose refusal must name the patient.
_WHOLE_ROAD = 50


class _TooLong(BaseException):
    """A file took too long."""


def trial(kind: Format, seed: int, folder: Path) -> tuple[str, str]:
    """Make, damage and read one file; return what happened and the details."""
    rng = np.random.default_rng(seed)
    data = folder / "data" / PATIENT
    data.mkdir(parents=True)
    secret = np.full(4096, SECRET, "<i2").tobytes()
    (folder / "data" / "secret.raw").write_bytes(secret)
    (data / "link.raw").symlink_to(folder / "data" / "secret.raw")
    path, files = kind.write(data, rng)
    how = mutate(kind, files, data, rng)
    before = sorted(map(str, folder.rglob("*")))
    try:
        if seed % _WHOLE_ROAD == 0:
            _whole_road(folder, path, kind.mask)
        image = read_mask_image(path, grid()) if kind.mask else read_image(path)
    except (ValueError, FileNotFoundError) as error:
        named = PATIENT in str(error)
        left = sorted(map(str, folder.rglob("*"))) != before
        return "LEFT" if left else "refused" if named else "UNNAMED", f"{how}: {error}"
    if kind.mask == "RTSTRUCT":
        return compare_regions(path, image.array, grid(), how)
    if kind.mask == "SEG":
        return compare_segments(path, image, how)
    if (image.array == SECRET).any():
        return "LEAK", how
    if path.is_dir():  # the independent reader knows no SUV
        image = read_image(path, pet_units="stored")
    return compare(path, image, how)


def _whole_road(folder: Path, path: Path, mask: str) -> None:
    road = folder.parent / f"{folder.name}-road"
    road.mkdir()
    try:
        shutil.copytree(folder / "data", road, symlinks=True, dirs_exist_ok=True)
        csv = manifest(road, f"{PATIENT}/{path.name}")
        if mask:
            write_image(road / "grid.nrrd", grid().array, grid())
            csv = manifest(road, "grid.nrrd", f"{PATIENT}/{path.name}")
        settings = Preparation(shape=(4, 4, 4), crop="whole", normalise="none")
        prepare(csv, settings, road / "out", progress=False)
    except ValueError as error:
        if f"Patient {PATIENT!r}" not in str(error):
            raise AssertionError(f"no patient in {error}") from None
    finally:
        shutil.rmtree(road)


def _work(name: str, start: int, stop: int, log: Path) -> None:
    """Run trials in this process, and note each before and after it."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    kind = next(kind for kind in FORMATS if kind.name == name)

    def too_long(*_: object) -> None:
        raise _TooLong

    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGPROF, too_long)
    with open(log, "a", encoding="utf-8") as file, forked_decoder():
        for seed in range(start, stop):
            file.write(json.dumps([seed, "begun", ""]) + "\n")
            file.flush()
            with tempfile.TemporaryDirectory() as temporary:
                tempfile.tempdir = temporary
                folder = Path(temporary) / "case"
                signal.alarm(_WALL)
                signal.setitimer(signal.ITIMER_PROF, _SECONDS)
                try:
                    what, details = trial(kind, seed, folder)
                except _TooLong:
                    what, details = "HANG", ""
                except Exception as error:
                    what, details = "UNNAMED", f"{type(error).__name__}: {error}"
                finally:
                    signal.alarm(0)
                    signal.setitimer(signal.ITIMER_PROF, 0)
                if sorted(path.name for path in Path(temporary).iterdir()) not in ([], ["case"]):
                    what = "LEFT"
                tempfile.tempdir = None
            file.write(json.dumps([seed, what, details[:500]]) + "\n")
            file.flush()


def run(kind: Format, number: int, seed: int = 0) -> dict[str, object]:
    """Run trials of one format in other processes; return how often each outcome was seen."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "log"
        at = seed
        while at < seed + number:
            stop = min(at + _BATCH, seed + number)
            log.write_text("")
            command = [sys.executable, __file__, "--work", kind.name, str(at), str(stop), str(log)]
            try:
                subprocess.run(
                    command, check=False, timeout=_WALL * 360, stderr=subprocess.DEVNULL
                )
                died = "CRASH"
            except subprocess.TimeoutExpired:
                died = "HANG"
            last = {}
            for line in log.read_text("utf-8").splitlines():
                case, what, details = json.loads(line)
                last[case] = (what, details)
            for case, (what, details) in last.items():
                outcome = died if what == "begun" else what
                counts[outcome] += 1
                if outcome not in ("equal", "refused"):
                    sys.stderr.write(f"{kind.name}, {case}: {outcome} {details}\n")
            at = max(last, default=at - 1) + 1 if last else stop
    return {"format": kind.name, "files": sum(counts.values())} | {
        what: counts[what] for what in OUTCOMES
    }


def main(number: int, names: list[str]) -> int:
    """Run all formats, and write the table."""
    kinds = [kind for kind in FORMATS if not names or kind.name in names]
    shares = [kind.share for kind in kinds]
    rows = []
    for kind, share in zip(kinds, shares, strict=True):
        rows.append(run(kind, -(-number * share // sum(shares)), _FIRST_SEED))
        table = _written(rows)  # as soon as it is known: all of them take an hour
    sys.stdout.write(f"{table.to_string(index=False)}\n")
    return int(table[list(OUTCOMES[3:])].to_numpy().sum())


def _written(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Put the rows in the place of those of earlier runs, in the order of the formats."""
    table = pd.DataFrame(rows)
    if _RESULTS.is_file():
        before = pd.read_csv(_RESULTS)
        table = pd.concat([before[~before["format"].isin(table["format"])], table])
    order = {kind.name: i for i, kind in enumerate(FORMATS)}
    table = table.sort_values("format", key=lambda names: names.map(order))
    _RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(_RESULTS, index=False)
    return table


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        _work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        sys.exit(bool(main(int((sys.argv[1:] or ["50000"])[0]), sys.argv[2:])))
