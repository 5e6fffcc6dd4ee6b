"""Bad manifests, prepared cohorts, outcomes and arrays."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fault import PATIENT, Fault, blob

from survimg import Cohort
from survimg.files import read_json, write_json
from survimg.io import read_manifest, write_image
from survimg.target import check_outcome, event_quantiles, make_outcome

__all__ = ["FAULTS", "Bomb", "stored"]

_MANIFEST, _STORE, _OUTCOME, _ARRAYS = "Manifest", "Prepared cohort", "Outcome", "Arrays"


def _table(folder: Path) -> Path:
    data = folder / "data"
    data.mkdir()
    for name in ("a", "b"):
        image = blob()
        write_image(data / f"{name}.nrrd", image.array, image)
    (data / "manifest.csv").write_text(
        f"patient_id,PT,mask,time,event,age\npatient-1,a.nrrd,,3,1,60\n{PATIENT},b.nrrd,,5,0,70\n"
    )
    return data / "manifest.csv"


def _cell(name: str, old: str, new: str, *named: str) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        path = _table(folder)
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        read_manifest(path)

    return Fault(_MANIFEST, name, run, named)


def _bytes(name: str, content: bytes, *named: str) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        _table(folder).write_bytes(content)
        read_manifest(folder / "data" / "manifest.csv")

    return Fault(_MANIFEST, name, run, ("manifest.csv", *named))


def _outside(name: str, how: Callable[[Path], str]) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        path = _table(folder)
        image = blob()
        write_image(folder / "secret.nrrd", image.array, image)
        path.write_text(path.read_text().replace("b.nrrd", how(folder)))
        read_manifest(path)

    return Fault(_MANIFEST, name, run, (PATIENT, "outside"))


def _link(folder: Path) -> str:
    (folder / "data" / "link.nrrd").symlink_to(folder / "secret.nrrd")
    return "link.nrrd"


def _linked_folder(folder: Path) -> str:
    (folder / "data" / "there").symlink_to(folder)
    return "there/secret.nrrd"


def _loop(folder: Path, rng: np.random.Generator) -> None:
    path = _table(folder)
    (folder / "data" / "loop.nrrd").symlink_to(folder / "data" / "loop.nrrd")
    path.write_text(path.read_text().replace("b.nrrd", "loop.nrrd"))
    read_manifest(path)


def _named_outside(folder: Path, rng: np.random.Generator) -> None:
    """The option that allows it does allow it."""
    path = _table(folder)
    image = blob()
    write_image(folder / "other.nrrd", image.array, image)
    path.write_text(path.read_text().replace("b.nrrd", "../other.nrrd"))
    assert len(read_manifest(path, allow_outside=True)) == 2


def _random_table(folder: Path, rng: np.random.Generator) -> None:
    path = _table(folder)
    content = bytearray(path.read_bytes())
    for place in rng.integers(len(content), size=4):
        content[int(place)] = int(rng.integers(256))
    path.write_bytes(bytes(content))
    assert len(read_manifest(path)) in (1, 2)


_MANIFESTS = [
    _outside("an absolute path", lambda folder: str(folder / "secret.nrrd")),
    _outside("a path with ..", lambda _: "../secret.nrrd"),
    _outside("a path that goes in and out", lambda _: "x/../../secret.nrrd"),
    _outside("a link to a file outside", _link),
    _outside("a link to a folder outside", _linked_folder),
    Fault(_MANIFEST, "a link to itself", _loop, (PATIENT,)),
    _cell("a file inside a zip", "b.nrrd", "b.zip/b.nrrd", PATIENT, "b.zip"),
    _cell("a file that is not there", "b.nrrd", "c.nrrd", PATIENT, "c.nrrd"),
    _cell("no image for a patient", "b.nrrd", "", PATIENT, "no image"),
    _cell("no path in a column of paths", "b.nrrd", "none yet", PATIENT, "none yet"),
    _cell("a patient twice", PATIENT, "patient-1", "patient-1", "more than once"),
    _cell("a patient without a name", PATIENT, "", "position 2"),
    _cell("a name with control characters", PATIENT, "p\x1b[31m7", "position 2"),
    _cell("a negative time", ",5,0,", ",-5,0,", PATIENT, "time"),
    _cell("time NaN", ",5,0,", ",nan,0,", PATIENT, "time"),
    _cell("no time", ",5,0,", ",,0,", PATIENT, "time"),
    _cell("event 2", ",5,0,", ",5,2,", PATIENT, "event"),
    _cell("no events", ",3,1,", ",3,0,", "none of the 2 patients"),
    _cell("an infinite clinical value", ",70", ",inf", PATIENT, "age"),
    _cell("a row too short", ",5,0,70", ",5", PATIENT, "cells"),
    _cell("a column twice", "age", "time", "time"),
    _cell("semicolons", ",", ";", "semicolons"),
    _cell("a decimal comma", ",5,0,", ',"5,5",0,', PATIENT, "time", "5.5"),
    _cell("another endpoint beside it", "age", "OS", "OS", "outcome"),
    _bytes("not UTF-8", "patient_id,PT\nJosé,a.nrrd\n".encode("latin-1"), "UTF-8"),
    _bytes("zero bytes", b"patient_id,PT\n\x00,a.nrrd\n"),
    _bytes("an open quote", b'patient_id,PT\n"p1,a.nrrd\n'),
    _bytes("empty", b""),
    _bytes("a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    Fault(_MANIFEST, "random bytes", _random_table, (), 200, either=True),
    Fault(_MANIFEST, "outside, with --allow-outside", _named_outside),
]


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, int]]:
        return os.open, (str(self.path), os.O_CREAT | os.O_WRONLY)


def stored(folder: Path, n: int = 4) -> Path:
    """Write a small prepared cohort."""
    rng = np.random.default_rng(0)
    masks = np.zeros((n, 6, 6, 6), np.uint8)
    masks[:, 2:5, 2:5, 2:4] = 1
    Cohort(
        rng.normal(size=(n, 1, 6, 6, 6)).astype(np.float32),
        masks=masks,
        clinical=np.arange(n, dtype=float),
        outcome=make_outcome(np.arange(n) % 2 == 0, np.arange(n) + 1.0),
        ids=[f"patient-{i}" for i in range(n)],
        spacing=2.0,
        channel_names=("PT",),
    ).save(folder / "store")
    return folder / "store"


def _damaged(name: str, damage: Callable[[Path], None], *named: str) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        store = stored(folder)
        damage(store)
        cohort = Cohort.load(store)
        for i in range(len(cohort)):
            cohort.volume(i)
            cohort.mask(i)

    return Fault(_STORE, name, run, named)


def _header(**changes: object) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        write_json(store / "cohort.json", {**read_json(store / "cohort.json"), **changes})

    return damage


def _cut(name: str, lost: int) -> Callable[[Path], None]:
    return lambda store: (store / name).write_bytes((store / name).read_bytes()[:-lost]) and None


def _poke(name: str, at: int, value: bytes) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        content = bytearray((store / name).read_bytes())
        content[at : at + len(value)] = value
        (store / name).write_bytes(bytes(content))

    return damage


def _pickled(store: Path) -> None:
    np.save(store / "volumes.npy", np.array([Bomb(store / "ran")], dtype=object))


def _pickle(store: Path) -> None:
    (store / "volumes.npy").write_bytes(pickle.dumps(Bomb(store / "ran")))


def _safely(fault: Fault) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        try:
            fault.run(folder, rng)
        finally:
            assert not list(folder.rglob("ran")), "code from the file ran"

    return Fault(fault.group, fault.name, run, fault.named)


def _swap_rows(store: Path) -> None:
    lines = (store / "table.csv").read_text().splitlines()
    (store / "table.csv").write_text("\n".join(lines[:-1]))


def _random_store(folder: Path, rng: np.random.Generator) -> None:
    store = stored(folder)
    name = ("cohort.json", "table.csv", "volumes.npy")[int(rng.integers(3))]
    last = 128 if name == "volumes.npy" else (store / name).stat().st_size
    for _ in range(3):
        _poke(name, int(rng.integers(last)), bytes([int(rng.integers(256))]))(store)
    cohort = Cohort.load(store)
    assert len(cohort) == 4
    assert np.isfinite(cohort.to_numpy()).all()


_STORES = [
    _damaged("volumes truncated", _cut("volumes.npy", 100), "volumes.npy"),
    _damaged("masks truncated", _cut("masks.npy", 1), "masks.npy"),
    _damaged("volumes missing", lambda s: (s / "volumes.npy").unlink(), "volumes.npy"),
    _damaged("volumes of another type",
             lambda s: np.save(s / "volumes.npy", np.zeros((4, 1, 6, 6, 6))), "volumes.npy"),
    _damaged("NaN in the volumes", _poke("volumes.npy", 128 + 4 * 216, b"\x00\x00\xc0\x7f"),
             "patient-1"),
    _damaged("a mask of 255", _poke("masks.npy", 128 + 2 * 216, b"\xff"), "patient-2"),
    _safely(_damaged("a pickled array in volumes.npy", _pickled, "volumes.npy")),
    _safely(_damaged("a pickle named volumes.npy", _pickle, "volumes.npy")),
    _damaged("the table is a row short", _swap_rows, "table.csv"),
    _damaged("the table is binary", lambda s: (s / "table.csv").write_bytes(b"\xff\xfe\x00") and
             None, "table.csv"),
    _damaged("no table", lambda s: (s / "table.csv").unlink(), "table.csv"),
    _damaged("the header is cut", _cut("cohort.json", 40), "cohort.json"),
    _damaged("the header is another program's", _header(format="other"), "cohort.json"),
    _damaged("a newer version", _header(version=99), "version"),
    _damaged("a claim of 10^12 patients", _header(shape=[10**12, 1, 6, 6, 6]), "cohort.json"),
    _damaged("negative sizes", _header(shape=[4, 1, -6, -6, 6]), "cohort.json"),
    _damaged("other channels", _header(channel_names=["PT", "CT"]), "cohort.json"),
    _damaged("nested ten thousand deep", lambda s: (s / "cohort.json").write_text(
        "[" * 10_000 + "]" * 10_000) and None, "cohort.json"),
    _damaged("half-written", lambda s: (s / "cohort.json").rename(s / "begun.json") and None,
             "half-written"),
    Fault(_STORE, "random bytes", _random_store, (), 100, either=True),
]


def _y(name: str, make: Callable[[], object], *named: str) -> Fault:
    return Fault(_OUTCOME, name, lambda folder, rng: make(), named)


_IDS = ["patient-1", PATIENT]


def _outcome(event: object, time: object) -> object:
    y = np.empty(2, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return check_outcome(y, ids=_IDS, n_patients=2, require_event=True)


_OUTCOMES = [
    _y("time NaN", lambda: _outcome([1, 0], [1, np.nan]), PATIENT),
    _y("time infinite", lambda: _outcome([1, 0], [1, np.inf]), PATIENT),
    _y("time negative", lambda: _outcome([1, 0], [1, -2]), PATIENT),
    _y("every patient censored", lambda: _outcome([0, 0], [1, 2]), "censored"),
    _y("event 2", lambda: make_outcome([1, 2], [1, 2]), "[2]"),
    _y("event in words", lambda: make_outcome(["relapse", "no"], [1, 2]), "relapse"),
    _y("event NaN", lambda: make_outcome([1, np.nan], [1, 2]), "nan"),
    _y("unequal lengths", lambda: make_outcome([1, 0, 1], [1, 2]), "(3,)"),
    _y("a plain array", lambda: check_outcome(np.zeros((4, 2))), "structured"),
    _y("time before event", lambda: check_outcome(np.zeros(3, [("t", float), ("e", bool)])),
       "structured"),
    _y("another number of patients", lambda: check_outcome(make_outcome([1], [1]), n_patients=2),
       "2 patients"),
    _y("all times 0", lambda: event_quantiles(np.ones(3, bool), np.zeros(3), 2), "All times are 0"),
]


def _cohort(name: str, make: Callable[[], object], *named: str) -> Fault:
    return Fault(_ARRAYS, name, lambda folder, rng: make(), named)


def _volumes(value: float | None = None) -> np.ndarray:
    volumes = np.ones((2, 1, 4, 4, 4), np.float64)
    if value is not None:
        volumes[1, 0, 1, 2, 3] = value
    return volumes


def _filled() -> None:
    volumes = _volumes(np.nan).astype(np.float32)
    volumes[1, 0, 0, 0, 0] = -5.0
    cohort = Cohort(volumes, on_invalid="fill")
    assert cohort.volume(1)[0, 1, 2, 3] == -5.0


def _constant() -> None:
    assert Cohort(_volumes()).volume(0).std() == 0


_COHORTS = [
    _cohort("NaN", lambda: Cohort(_volumes(np.nan), ids=_IDS), PATIENT, "1 NaN or infinite"),
    _cohort("infinity", lambda: Cohort(_volumes(np.inf), ids=_IDS), PATIENT),
    _cohort("beyond float32", lambda: Cohort(_volumes(1e300), ids=_IDS), PATIENT),
    _cohort("masks of 0 and 255", lambda: Cohort(_volumes(), _volumes(255.0)[:, 0] - 1, ids=_IDS),
            PATIENT, "254"),
    _cohort("masks of another shape", lambda: Cohort(_volumes(), np.zeros((2, 4, 4, 5))), "masks"),
    _cohort("an identifier twice", lambda: Cohort(_volumes(), ids=["a", "a"]), "Duplicate", "a"),
    _cohort("an empty identifier", lambda: Cohort(_volumes(), ids=["a", ""]), "empty"),
    _cohort("too few clinical rows", lambda: Cohort(_volumes(), clinical=[[1.0]]), "clinical"),
    _cohort("a voxel size of 0", lambda: Cohort(_volumes(), spacing=0.0), "spacing"),
    _cohort("a channel twice", lambda: Cohort(np.ones((2, 2, 4, 4, 4)), channel_names=["a", "a"]),
            "channel_names"),
    _cohort("two axes", lambda: Cohort(np.ones((2, 3))), "axes"),
    _cohort("NaN, with on_invalid='fill'", _filled),
    _cohort("a constant volume", _constant),
]

FAULTS = [*_MANIFESTS, *_STORES, *_OUTCOMES, *_COHORTS]
