"""Small models to damage, and ways to damage them."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from survimg.model_files.folder import own_checksum
from survimg.target import make_outcome


class Bomb:
    """A pickle that leaves a file behind when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def bomb(mark: Path) -> bytes:
    # The protocol that torch reads without a warning.
    return pickle.dumps(Bomb(mark), protocol=2)


def object_array(mark: Path) -> np.ndarray:
    array = np.empty(1, dtype=object)
    array[0] = Bomb(mark)
    return array


def table(n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    return X, make_outcome(rng.random(n) < 0.8, rng.exponential(np.exp(-X[:, 0])))


def vouch(folder: Path) -> None:
    """Rewrite the manifest's list of files, as somebody does who tampers with a model."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"] = {
        file.name: {
            "bytes": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in folder.iterdir()
        if file != path
    }
    path.write_text(json.dumps({**manifest, "manifest_sha256": own_checksum(manifest)}))


def edit(folder: Path, change: Callable[[dict[str, Any]], None], name: str = "model.json") -> None:
    """Change a JSON file of a model, and vouch for it."""
    content = json.loads((folder / name).read_text())
    change(content)
    if name == "manifest.json":
        content["manifest_sha256"] = own_checksum(content)
    (folder / name).write_text(json.dumps(content))
    if name == "model.json":
        vouch(folder)
