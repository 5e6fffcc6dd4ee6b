"""Saving and loading of model files, for `survimg.save` and `survimg.load`."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from survimg.model_files.arrays import pack_arrays, pack_tensors, unpack_arrays, unpack_tensors
from survimg.model_files.classes import Classes
from survimg.model_files.decoding import Decoder
from survimg.model_files.encoding import Encoder
from survimg.model_files.errors import ModelFileError
from survimg.model_files.folder import parse_json, read_folder, write_folder

__all__ = ["read_manifest", "read_model", "write_model"]

_MODEL, _ARRAYS, _WEIGHTS = "model.json", "arrays.npz", "weights.safetensors"
_LIBRARIES = (
    "survimg", "numpy", "pandas", "scikit-learn", "scikit-survival", "skorch", "torch",
)  # fmt: skip


def write_model(
    estimator: Any,
    folder: str | os.PathLike[str],
    classes: Classes,
    *,
    overwrite: bool = False,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write an estimator; `survimg.save` describes it.

    Parameters
    ----------
    estimator : estimator
    folder : path-like
    classes : Classes
        Classes that the estimator may be made of.
    overwrite : bool, default=False
    notes : mapping of str to str, optional

    Raises
    ------
    ModelFileError, FileExistsError
        As `survimg.save`.
    """
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise ModelFileError(
            f"survimg.save writes estimators; got {estimator!r}. Fitted models, pipelines and "
            "ensembles are estimators; classes, cohorts and arrays are not."
        )
    remarks = dict(notes or {})
    if not all(isinstance(text, str) for pair in remarks.items() for text in pair):
        raise ModelFileError(f"notes are texts by name, such as {{'label': 'M1'}}; got {notes!r}.")
    encoder = Encoder(classes)
    model = encoder.encode(estimator, type(estimator).__name__)
    content = {"objects": encoder.objects, "model": model}
    files = {_MODEL: json.dumps(content, allow_nan=False).encode()}
    if encoder.arrays:
        files[_ARRAYS] = pack_arrays(encoder.arrays)
    if encoder.tensors:
        files[_WEIGHTS] = pack_tensors(encoder.tensors)
    manifest = {
        "estimator": classes.label_of(type(estimator)),
        "versions": {"python": platform.python_version(), **_versions()},
        "trained_on": encoder.trained_on,
        "classes": sorted(encoder.labels),
    }
    if remarks:
        manifest["notes"] = remarks
    write_folder(_path(folder), manifest, files, overwrite=overwrite)


def read_model(
    folder: str | os.PathLike[str], classes: Classes, *, device: str | None = None
) -> Any:
    """Read an estimator; `survimg.load` describes it.

    Parameters
    ----------
    folder : path-like
    classes : Classes
        Classes that the file may hold.
    device : str, optional

    Raises
    ------
    FileNotFoundError, ModelFileError
        As `survimg.load`.
    """
    path = _path(folder)
    manifest, files = read_folder(path)
    if _MODEL not in files:
        raise ModelFileError(f"{path} lacks {_MODEL}. Copy the whole folder.")
    if foreign := sorted(set(files) - {_MODEL, _ARRAYS, _WEIGHTS}):
        raise ModelFileError(f"{path} holds {foreign[0]!r}, which is not part of a model file.")
    arrays = unpack_arrays(files[_ARRAYS]) if _ARRAYS in files else {}
    tensors = unpack_tensors(files[_WEIGHTS]) if _WEIGHTS in files else {}
    content = parse_json(files[_MODEL], str(path / _MODEL))
    _warn_of_versions(path, manifest)
    return Decoder(classes, arrays, tensors, device).decode(content)


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the manifest of a model file, without loading the model.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    dict
        ``estimator``, ``versions``, ``classes``, and ``trained_on``: ``channels``,
        ``clinical_columns``, ``preparation`` and ``volume_shape``, as far as the model knows them;
        ``notes`` if `survimg.save` was given some.

    Raises
    ------
    FileNotFoundError, ModelFileError
        As `survimg.load`.
    """
    return read_folder(_path(folder))[0]


def _path(folder: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(folder))


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _LIBRARIES}


def _warn_of_versions(path: Path, manifest: Mapping[str, Any]) -> None:
    """Warn if libraries whose private attributes the file holds are of another minor version."""
    written, labels = manifest.get("versions"), manifest.get("classes")
    if not isinstance(written, dict) or not isinstance(labels, list):
        raise ModelFileError(f"{path} has a manifest without versions; the file is damaged.")
    for package, library in (("sklearn", "scikit-learn"), ("sksurv", "scikit-survival")):
        before, now = str(written.get(library)), metadata.version(library)
        in_it = any(str(label).startswith(f"{package}.") for label in labels)
        if in_it and before.split(".")[:2] != now.split(".")[:2]:
            warnings.warn(
                f"The model at {path} was written with {library} {before}, and {now} is installed. "
                "Compare a few predictions before you rely on it, or install the versions in "
                "manifest.json.",
                UserWarning,
                stacklevel=4,
            )
