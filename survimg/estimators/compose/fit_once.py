"""Train a network once and share it among models."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from numbers import Integral
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import joblib
import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from survimg.estimators.saved_classes import SAVED_CLASSES
from survimg.files import file_digest, lock_file, package_digest, source_digest, unlock
from survimg.model_files import ModelFileError
from survimg.model_files.classes import Classes
from survimg.model_files.encoding import LEFT_OUT
from survimg.model_files.models import read_model, write_model

__all__ = ["FitOnce"]

# They change how a fit runs or where it is kept, not what is trained.
_IRRELEVANT = frozenset({"checkpoint_every", "checkpoint_folder", "memory", "n_jobs", "verbose"})
_PACKAGE = Path(__file__).resolve().parents[2]
# Parts of survimg on which no network depends.
_OTHER_PARTS = frozenset({"benchmark", "cli", "report", "suites", "testing.py"})


class FitOnce(TransformerMixin, MetaEstimatorMixin, BaseEstimator):
    """Fit an estimator, or load it from a folder if the same fit was done before.

    Models on the same deep features (Lasso-Cox, a forest, DeepSurv) need the same networks, whose
    training is nearly all of their cost. Wrapped in `FitOnce` with a common folder, each
    network is trained by the first model and loaded by the others.

    Two fits are the same if class, parameters (except ``verbose``, ``n_jobs``, ``memory`` and
    checkpoints), patients, outcome, survimg's source and the versions of torch and
    scikit-learn are the same.

    If several processes need the same fit, one trains and the others wait. Fits are stored as model
    files (see `survimg.save`): they appear complete or not at all, and reading one runs no code. A
    damaged file is trained again, with a warning.

    Parameters
    ----------
    estimator : estimator with `transform`
        Cloned before it is fitted. With `memory`, every ``random_state`` in it must be an integer.
    memory : path-like, joblib.Memory or None
        Folder of the fitted estimators (of a `joblib.Memory`, its location); None fits each time.
        Your own estimators are stored if their fitted attributes are plain data (numbers,
        text, arrays, tables, estimators); others are fitted each time, with a warning.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone. Its other methods and attributes (`predict`, `predict_mask`, ``history_``)
        are available on this object too.
    reused_ : bool
        Whether it was loaded from the folder.
    seconds_ : float
        Duration of the training.

    Notes
    -----
    A stored fit has the size of its weights: 15 MB for DeepMTS. Warnings of a training are not
    repeated when its result is loaded.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "transform"])],
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
    }

    def __init__(self, estimator: Any, *, memory: Any = None) -> None:
        self.estimator = estimator
        self.memory = memory

    def fit(self, X: Any, y: np.ndarray | None = None) -> FitOnce:
        """Fit the estimator, unless the folder holds this fit.

        Parameters
        ----------
        X : Cohort or array-like
        y : structured array of shape (n,), optional
            (event, time).

        Raises
        ------
        ValueError
            Invalid parameters, or `memory` with a ``random_state`` that is not an integer.
        """
        self._validate_params()
        folder = self._folder()
        if folder is None:
            self._train(X, y)
            return self
        _check_seeds(self.estimator)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{type(self.estimator).__name__}-{_key(self.estimator, X, y)}"
        if path.exists() and self._read(path):  # finished: it needs no lock of another user
            return self
        try:
            lock = lock_file(path.with_name(f"{path.name}.lock"), wait=True)
        except PermissionError as error:
            _warn_of_storing(path, error)
            self._train(X, y)
            return self
        try:
            if not self._read(path, repair=True):
                self._train(X, y)
                self._write(path)
        finally:
            unlock(lock)
        return self

    def transform(self, X: Any) -> np.ndarray | pd.DataFrame:
        """Return the features of the fitted estimator.

        Parameters
        ----------
        X : Cohort or array-like

        Returns
        -------
        ndarray or DataFrame of shape (n, n_features)
        """
        check_is_fitted(self, "estimator_")
        return self.estimator_.transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.get_feature_names_out(input_features)

    def __getattr__(self, name: str) -> Any:
        # Called for missing attributes only. Private names, asked for by Python and scikit-learn,
        # are about this object, not about the estimator.
        if name.startswith("_") or name == "estimator_" or "estimator" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(vars(self).get("estimator_", self.estimator), name)

    def _folder(self) -> Path | None:
        location = self.memory
        if location is not None and not isinstance(location, str | os.PathLike):
            location = location.location
        return None if location is None else Path(str(location)) / "survimg-fits"

    def _train(self, X: Any, y: np.ndarray | None) -> None:
        started = perf_counter()
        self.estimator_ = clone(self.estimator).fit(X, y)
        self.seconds_: float = perf_counter() - started
        self.reused_ = False

    def _read(self, path: Path, *, repair: bool = False) -> bool:
        """Load the fit at `path`; return whether there is one. A damaged one may be removed."""
        try:
            stored = read_model(path, _classes(self.estimator))
        except FileNotFoundError:
            return False
        except (ModelFileError, PermissionError) as error:
            if repair:
                warnings.warn(f"{error} The fit is done again.", UserWarning, stacklevel=3)
                shutil.rmtree(path, ignore_errors=True)
            return False
        self.estimator_, self.seconds_ = stored.estimator_, stored.seconds_
        self.estimator_.set_params(**_places(self.estimator))
        self.reused_ = True
        return True

    def _write(self, path: Path) -> None:
        stored = FitOnce(self.estimator)
        stored.estimator_, stored.seconds_ = self.estimator_, self.seconds_
        try:
            write_model(stored, path, _classes(self.estimator))
        except (ModelFileError, OSError) as error:  # a full disk must not cost the training
            _warn_of_storing(path, error)


def _warn_of_storing(path: Path, error: Exception) -> None:
    warnings.warn(
        f"This fit cannot be stored in {path.parent}, so other models repeat it. {error}",
        UserWarning,
        stacklevel=4,
    )


def _classes(estimator: Any) -> Classes:
    """Classes that a stored fit may contain, including those of the caller's own estimator."""
    parts = [estimator, *estimator.get_params(deep=True).values()]
    trusted = {type(part) for part in parts if hasattr(part, "get_params")} - {type}
    return Classes(SAVED_CLASSES, {FitOnce, *trusted})


def _places(estimator: Any) -> dict[str, Any]:
    """Parameters that model files omit."""
    parameters = estimator.get_params(deep=True).items()
    return {name: value for name, value in parameters if name.split("__")[-1] in LEFT_OUT}


def _check_seeds(estimator: Any) -> None:
    for name, value in estimator.get_params(deep=True).items():
        if name.split("__")[-1] == "random_state" and not isinstance(value, Integral):
            raise ValueError(
                f"FitOnce(memory=...) shares one fit among models, so {type(estimator).__name__} "
                f"needs an integer {name}; got {value!r}. Set it, e.g. to 0, or leave memory=None."
            )


def _key(estimator: Any, X: Any, y: np.ndarray | None) -> str:
    source = package_digest(_PACKAGE, _OTHER_PARTS)
    versions = (torch.__version__, sklearn.__version__, np.__version__, source)
    parts = [versions, _identity(estimator), joblib.hash(X), joblib.hash(y)]
    return hashlib.sha256(joblib.hash(parts).encode()).hexdigest()[:32]


def _identity(value: Any) -> Any:
    """Describe a parameter by values whose `joblib.hash` differs if results may differ."""
    if isinstance(value, list | tuple):
        return [_identity(item) for item in value]
    if isinstance(value, str | os.PathLike) and Path(value).is_file():
        # Initial weights: the file may change under its name, and keep its size and even its time.
        return [str(value), file_digest(value)]
    if not hasattr(value, "get_params") or isinstance(value, type):
        return value
    parameters = {
        name: _identity(item)
        for name, item in value.get_params(deep=False).items()
        if name not in _IRRELEVANT
    }
    cls = type(value)
    return [f"{cls.__module__}.{cls.__qualname__}", source_digest(cls), parameters]
