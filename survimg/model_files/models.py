"""`save` and `load`."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from survimg.model_files.arrays import pack_arrays, pack_tensors, unpack_arrays, unpack_tensors
from survimg.model_files.classes import Classes
from survimg.model_files.decoding import Decoder
from survimg.model_files.encoding import Encoder
from survimg.model_files.errors import ModelFileError
from survimg.model_files.folder import parse_json, read_folder, write_folder

__all__ = ["load", "read_manifest", "save"]

_MODEL, _ARRAYS, _WEIGHTS = "model.json", "arrays.npz", "weights.safetensors"
_LIBRARIES = (
    "survimg", "numpy", "pandas", "scikit-learn", "scikit-survival", "skorch", "torch",
)  # fmt: skip


def save(
    estimator: Any,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    trusted: Iterable[type] = (),
) -> None:
    """Write an estimator to a folder that holds data only.

    Parameters
    ----------
    estimator : estimator
        Any estimator of survimg, fitted or not, alone or in pipelines, ensembles and wrappers, and
        the estimators of scikit-learn and scikit-survival that
        `survimg.model_files.classes` lists. Of a search, give ``search.best_estimator_``.
    folder : path-like
        Does not exist yet, or is empty.
    overwrite : bool, default=False
        Replace the model that is at `folder`. Anything else is never replaced.
    trusted : iterable of type, default=()
        Classes of your own that the estimator is made of. Their state must be plain data, too.

    Raises
    ------
    ModelFileError
        The estimator holds something that is no data (a function, a generator), or an object of a
        class that is not known; the message says where.
    FileExistsError
        Something else is at `folder`.

    Notes
    -----
    The parameters ``memory`` and ``checkpoint_folder`` are written as None: they name folders of
    this machine. Of skorch's net the weights are kept; its history is in ``history_``.

    Examples
    --------
    >>> import tempfile
    >>> import survimg
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import ClinicalVolumeCox
    >>> X = make_phantom_cohort(n=20, shape=(16, 16, 16), random_state=0).cohort
    >>> model = ClinicalVolumeCox().fit(X, X.outcome)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     survimg.save(model, folder)
    ...     again = survimg.load(folder)
    >>> bool((again.predict(X) == model.predict(X)).all())
    True
    """
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise ModelFileError(
            f"survimg.save writes estimators; got {estimator!r}. Fitted models, pipelines and "
            "ensembles are estimators; a class, a cohort or an array is none."
        )
    classes = Classes(trusted)
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
    write_folder(_path(folder), manifest, files, overwrite=overwrite)


def load(
    folder: str | os.PathLike[str], *, device: str | None = None, trusted: Iterable[type] = ()
) -> Any:
    """Read an estimator that `save` wrote; no code in the folder is run, because there is none.

    Parameters
    ----------
    folder : path-like
    device : str, optional
        Device of the networks from now on; by default what their parameter ``device`` says.
    trusted : iterable of type, default=()
        As in `save`.

    Returns
    -------
    estimator
        Its predictions equal those of the one that was saved, to the bit on the same machine.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ModelFileError
        It is no model file, of a newer format, incomplete, damaged or changed, holds foreign files,
        or a class that is not known.

    Warns
    -----
    UserWarning
        scikit-learn or scikit-survival have another version than when the model was written:
        what they keep in their estimators is private to them and may change.

    Notes
    -----
    Checksums find damage. They are no signature: whoever writes a folder writes its checksums too.
    A file from a stranger can hold a bad model, but no code.
    """
    path = _path(folder)
    manifest, files = read_folder(path)
    if _MODEL not in files:
        raise ModelFileError(f"{path} lacks {_MODEL}. Copy the whole folder.")
    if foreign := sorted(set(files) - {_MODEL, _ARRAYS, _WEIGHTS}):
        raise ModelFileError(f"{path} holds {foreign[0]!r}, which is no part of a model file.")
    arrays = unpack_arrays(files[_ARRAYS]) if _ARRAYS in files else {}
    tensors = unpack_tensors(files[_WEIGHTS]) if _WEIGHTS in files else {}
    content = parse_json(files[_MODEL], str(path / _MODEL))
    _warn_of_versions(path, manifest)
    return Decoder(Classes(trusted), arrays, tensors, device).decode(content)


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a model file says of itself, without loading the model.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    dict
        ``estimator``, ``versions``, ``classes``, and ``trained_on``: ``channels``,
        ``clinical_columns``, ``preparation`` and ``volume_shape``, as far as the model knows them.

    Raises
    ------
    FileNotFoundError, ModelFileError
        As `load`.
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
                stacklevel=3,
            )
