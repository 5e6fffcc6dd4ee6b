"""Names of models on the command line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from survimg.suites.deepmts_models import DEEPMTS_MODELS
from survimg.suites.label_models import LABEL_MODELS
from survimg.suites.mtdlr import MTDLR_MODELS
from survimg.suites.settings import ModelSettings

__all__ = [
    "DEFAULT_MODELS",
    "MASK_READERS",
    "MODELS",
    "REFERENCE",
    "build_models",
    "import_named",
    "parameter_names",
]

Models = Mapping[str, Callable[[ModelSettings], Any]]

#: Model that every table carries and that the others are compared with.
REFERENCE = "clinical-volume-cox"


def _clinical_volume_cox(settings: ModelSettings) -> Any:
    from survimg.estimators import ClinicalVolumeCox

    return ClinicalVolumeCox(clinical_columns=settings.clinical_columns)


#: Name on the command line to the function that builds the unfitted estimator.
MODELS: Models = {
    **DEEPMTS_MODELS,
    **MTDLR_MODELS,
    REFERENCE: _clinical_volume_cox,
}

#: Models of a run that names neither models nor a suite.
DEFAULT_MODELS = (
    "deepmts",
    "radiomics-lasso-cox",
    "radiomics-rsf",
    "radiomics-deepsurv",
    REFERENCE,
)

#: Models that read the mask of a patient whose risk they predict.
MASK_READERS = frozenset(
    {
        "cnn-survival",
        "manual-radiomics",
        "manual-radiomics-clinical",
        "radiomics-icare",
        "radiomics-icare-single",
        "radiomics-lasso-cox",
        "radiomics-rsf",
        "radiomics-deepsurv",
        "sur-hs-masked",
        "sur-casnet-masked",
        REFERENCE,
    }
)


def build_models(
    names: Sequence[str], settings: ModelSettings, *, classifiers: bool = False
) -> dict[str, Any]:
    """Build unfitted estimators.

    Parameters
    ----------
    names : sequence of str
        Keys of `MODELS`, or ``module:callable`` for a user's own: the callable (a class or a
        function without arguments) returns an unfitted estimator.
    settings : ModelSettings
    classifiers : bool, default=False
        The names are those of `survimg.suites.LABEL_MODELS`, for labels instead of times.

    Returns
    -------
    dict of str to estimator
        In the order given.

    Raises
    ------
    ValueError
        An unknown or repeated name, or a ``module:callable`` that cannot be imported or called, or
        gives no estimator.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"A model is named twice: {', '.join(names)}.")
    models, others = (LABEL_MODELS, MODELS) if classifiers else (MODELS, LABEL_MODELS)
    return {name: _build(name, settings, models, others) for name in names}


def parameter_names(model: Any, parameter: str) -> list[str]:
    """Find a parameter in an estimator and, under its long name, in the steps inside it.

    Parameters
    ----------
    model : estimator
    parameter : str
        Such as ``"n_iterations"``, which networks have.

    Returns
    -------
    list of str
        Names for ``set_params``; empty where nothing has such a parameter.
    """
    return [name for name in model.get_params(deep=True) if name.split("__")[-1] == parameter]


def import_named(name: str) -> Any:
    """Import what a user has named on the command line, which runs its module.

    Modules of the working directory are found too, after all others: a ``json.py`` that lies there
    does not take the place of Python's own.

    Parameters
    ----------
    name : str
        ``module:name``.

    Raises
    ------
    ValueError
        There is no such module, or nothing of this name in it.
    """
    module_name, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name!r} cannot be imported: {error}.") from error


def _build(name: str, settings: ModelSettings, known: Models, others: Models) -> Any:
    if name in known:
        return known[name](settings)
    if name in others:
        reason = "needs labels: give --label or --label-at"
        if others is MODELS:
            reason = f"learns times, not labels; classifiers are {', '.join(known)}"
        raise ValueError(f"Model {name!r} {reason}.")
    if ":" not in name:
        raise ValueError(
            f"Unknown model {name!r}{_nearest(name, known)} Known are {', '.join(known)}; your own "
            "is given as module:callable."
        )
    build = import_named(name)
    try:
        model = build()
    except Exception as error:  # a user's own function may raise anything
        raise ValueError(
            f"Model {name!r} must be callable without arguments; that gave "
            f"{type(error).__name__}: {error}."
        ) from error
    methods = ("fit", "predict", "get_params", "set_params")
    if isinstance(model, type) or not all(hasattr(model, method) for method in methods):
        raise ValueError(
            f"Model {name!r} gives {model!r}, which is no estimator with {', '.join(methods)}."
        )
    return model


def _nearest(name: str, known: Models) -> str:
    near = get_close_matches(name.lower().replace("_", "-"), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else "."
