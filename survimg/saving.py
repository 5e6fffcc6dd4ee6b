"""`survimg.save` and `survimg.load`: model files of every class that survimg knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from survimg.estimators.compose.fit_once import FitOnce
from survimg.estimators.saved_classes import SAVED_CLASSES
from survimg.model_files.classes import Classes
from survimg.model_files.models import read_model, write_model
from survimg.model_files.third_party import labelled
from survimg.model_files.validators import Validator

__all__ = ["load", "save"]

_FIT_ONCE = Validator({
    "estimator_": "model", "seconds_": "number", "reused_": "flag",
    "_sklearn_output_config": "dict",
})  # fmt: skip
_LISTED = {**SAVED_CLASSES, **labelled("survimg.estimators", {FitOnce: _FIT_ONCE})}


def save(
    estimator: Any,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    trusted: Iterable[Callable[..., Any]] = (),
    notes: Mapping[str, str] | None = None,
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
    trusted : iterable of type or function, default=()
        Classes of your own that the estimator is made of, whose state must be plain data, too; the
        classes, or functions, of networks in a `survimg.training.Net`, and of optimisers that are
        not torch's.
    notes : mapping of str to str, optional
        What the estimator itself does not know, for the manifest, such as ``{"label": "the event by
        36 months"}``; ``survimg info`` shows them. They change no prediction.

    Raises
    ------
    ModelFileError
        The estimator contains something other than data (a function, a generator), or an object of
        a class that is not listed; the message says where.
    FileExistsError
        Something else is at `folder`.

    Notes
    -----
    The parameters ``memory`` and ``checkpoint_folder`` are written as None: they name folders of
    this machine. An `augmentation`, `schedule` or `callbacks` that are code are left out, with a
    warning: a loaded model predicts the same, and is trained again without them. Only the weights
    of the skorch net are saved; its history is in ``history_``.

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
    classes = Classes(_LISTED, trusted)
    write_model(estimator, folder, classes, overwrite=overwrite, notes=notes)


def load(
    folder: str | os.PathLike[str],
    *,
    device: str | None = None,
    trusted: Iterable[Callable[..., Any]] = (),
) -> Any:
    """Load an estimator that `save` wrote, without running code.

    Parameters
    ----------
    folder : path-like
    device : str, optional
        New device of the networks; by default their parameter ``device``.
    trusted : iterable of type or function, default=()
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
    Checksums find damage, not fraud: whoever writes a folder also writes its checksums. A file from
    a stranger can hold a bad model, but no code.
    """
    return read_model(folder, Classes(_LISTED, trusted), device=device)
