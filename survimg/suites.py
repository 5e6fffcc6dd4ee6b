"""Which models stand behind which name on the command line.

The only room, with `survimg.cli`, that knows both the contestants and the judge.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["MODELS", "REFERENCE", "ModelSettings", "build_models", "parameter_names"]

#: Model that every table carries and that the others are compared with.
REFERENCE = "clinical-volume-cox"


@dataclass(frozen=True)
class ModelSettings:
    """What the command line says about all models at once.

    Attributes
    ----------
    n_iterations : int or None
        Training steps of networks; None leaves each network's own recipe. A number trains with a
        larger learning rate on a cosine schedule instead.
    device : str
        Of networks, as torch names them, or ``"auto"``.
    n_threads : int or None
        Threads of a network's training; None leaves torch's setting.
    cache : Path or None
        Folder for radiomic features, shared by folds and runs.
    verbose : bool
        Show the progress of each fit.
    """

    n_iterations: int | None = None
    device: str = "auto"
    n_threads: int | None = None
    cache: Path | None = None
    verbose: bool = False


def _deepmts(settings: ModelSettings) -> Any:
    from survimg.estimators import DeepMTS

    model = DeepMTS(
        device=settings.device, n_threads=settings.n_threads, verbose=int(settings.verbose)
    )
    if settings.n_iterations is not None:
        # The published rates are made for 15,000 steps; in hundreds they learn nothing. An epoch is
        # shortened too, or the history would have two or three points.
        epoch = min(model.iterations_per_epoch, max(1, settings.n_iterations // 20))
        model.set_params(
            n_iterations=settings.n_iterations,
            iterations_per_epoch=epoch,
            learning_rate=2e-3,
            schedule="cosine",
        )
    return model


def _radiomics_lasso_cox(settings: ModelSettings) -> Any:
    from survimg.estimators.pipelines import radiomics_lasso_cox
    from survimg.radiomics import RadiomicsFeatures

    model = radiomics_lasso_cox()
    return _with_cache(model, RadiomicsFeatures, settings)


def _clinical_volume_cox(settings: ModelSettings) -> Any:  # noqa: ARG001  # takes none of them
    from survimg.estimators.clinical_volume_cox import ClinicalVolumeCox

    return ClinicalVolumeCox()


#: Name on the command line to the function that builds the unfitted estimator.
MODELS: Mapping[str, Callable[[ModelSettings], Any]] = {
    "deepmts": _deepmts,
    "radiomics-lasso-cox": _radiomics_lasso_cox,
    REFERENCE: _clinical_volume_cox,
}


def build_models(names: Sequence[str], settings: ModelSettings) -> dict[str, Any]:
    """Build unfitted estimators.

    Parameters
    ----------
    names : sequence of str
        Keys of `MODELS`, or ``module:callable`` for a user's own: the callable (a class or a
        function without arguments) returns an unfitted estimator.
    settings : ModelSettings

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
    return {name: _build(name, settings) for name in names}


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


def _build(name: str, settings: ModelSettings) -> Any:
    if name in MODELS:
        return MODELS[name](settings)
    if ":" not in name:
        raise ValueError(
            f"Unknown model {name!r}. Known are {', '.join(MODELS)}; your own is given as "
            "module:callable."
        )
    module_name, _, attribute = name.partition(":")
    try:
        build = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"Model {name!r} cannot be imported: {error}.") from error
    try:
        model = build()
    except Exception as error:  # a user's own function may raise anything
        raise ValueError(
            f"Model {name!r} must be callable without arguments; that gave "
            f"{type(error).__name__}: {error}."
        ) from error
    needed = ("fit", "predict", "get_params", "set_params")
    if isinstance(model, type) or not all(hasattr(model, method) for method in needed):
        raise ValueError(
            f"Model {name!r} gives {model!r}, which is no estimator with {', '.join(needed)}."
        )
    return model


def _with_cache(model: Any, extractor: type, settings: ModelSettings) -> Any:
    """Set the cache folder of every feature extractor inside a pipeline."""
    if settings.cache is None:
        return model
    parts = model.get_params(deep=True)
    names = [name for name, part in parts.items() if isinstance(part, extractor)]
    return model.set_params(**{f"{name}__memory": str(settings.cache) for name in names})
