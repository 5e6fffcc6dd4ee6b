"""Settings of a whole run, and how they are passed to models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ModelSettings", "make_network", "set_on_network", "share_work"]


@dataclass(frozen=True)
class ModelSettings:
    """Settings of the command line for all models.

    Attributes
    ----------
    n_iterations : int or None
        Training steps of networks over volumes; None leaves each network's own number.
    published : bool
        Whether networks train as their papers say (their ``published()``), which takes days on a
        CPU, instead of with their defaults.
    device : str
        Of networks, as torch names them, or ``"auto"``.
    n_threads : int or None
        Threads of a network's training; None leaves torch's setting.
    cache : Path or None
        Folder for radiomic features and for the networks behind deep features, shared by models,
        folds and runs.
    verbose : bool
        Show the progress of each fit.
    clinical : bool
        Whether the cohort has clinical columns; models that join them leave them out otherwise.
    inner_folds : int
        Folds for the out-of-fold deep features of the training patients.
    """

    n_iterations: int | None = None
    published: bool = False
    device: str = "auto"
    n_threads: int | None = None
    cache: Path | None = None
    verbose: bool = False
    clinical: bool = True
    inner_folds: int = 5

    @property
    def clinical_columns(self) -> list[str] | None:
        """Value for estimators: None for all columns, an empty list for none."""
        return None if self.clinical else []


def make_network(kind: Any, settings: ModelSettings, **parameters: Any) -> Any:
    """Make a network over volumes with its defaults, or as published, and the run's settings.

    Parameters
    ----------
    kind : type
        With a constructor ``published`` beside its own.
    settings : ModelSettings
    **parameters
        Of the network.

    Returns
    -------
    estimator
    """
    build = kind.published if settings.published else kind
    return set_on_network(build(**parameters), settings)


def set_on_network(network: Any, settings: ModelSettings) -> Any:
    """Give a network over volumes the number of steps, the device and the threads of a run.

    Parameters
    ----------
    network : estimator
        With `survimg.training.TrainingParameters`.
    settings : ModelSettings

    Returns
    -------
    estimator
        The same one.
    """
    network.set_params(
        device=settings.device, n_threads=settings.n_threads, verbose=int(settings.verbose)
    )
    if settings.n_iterations is not None:
        network.set_params(n_iterations=settings.n_iterations)
    return network


def share_work(model: Any, settings: ModelSettings) -> Any:
    """Set the cache folder for results that several models of a run share.

    Parameters
    ----------
    model : estimator
    settings : ModelSettings

    Returns
    -------
    estimator
        The same one.
    """
    from survimg.estimators.compose.fit_once import FitOnce
    from survimg.radiomics import RadiomicsFeatures

    if settings.cache is None:
        return model
    parts = model.get_params(deep=True)
    names = [name for name, part in parts.items() if isinstance(part, RadiomicsFeatures | FitOnce)]
    return model.set_params(**{f"{name}__memory": str(settings.cache) for name in names})
