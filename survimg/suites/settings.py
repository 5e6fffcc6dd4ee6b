"""What the command line says about all models at once, and how models take it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "SHORT_DEEPMTS",
    "SHORT_HEAD",
    "SHORT_RATE",
    "ModelSettings",
    "share_work",
    "train_as_told",
]


@dataclass(frozen=True)
class ModelSettings:
    """What the command line says about all models at once.

    Attributes
    ----------
    n_iterations : int or None
        Training steps of networks over volumes; None leaves each network's own recipe. A number
        trains with a larger learning rate on a cosine schedule instead (`train_as_told`).
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
    device: str = "auto"
    n_threads: int | None = None
    cache: Path | None = None
    verbose: bool = False
    clinical: bool = True
    inner_folds: int = 5

    @property
    def clinical_columns(self) -> list[str] | None:
        """What estimators take: None for all columns, an empty list for none."""
        return None if self.clinical else []


#: Initial learning rate of shortened trainings. Tried with DeepMTS on 160 phantoms of 32^3 voxels
#: (seed 99; 80 others tested, oracle C 0.80), 500 to 600 steps: 5e-4 had not learned to segment
#: (Dice 0.10), 2e-3 and 5e-3 agreed (0.89 and 0.91; C 0.71 and 0.70), 1e-2 lost the ranking (0.55).
SHORT_RATE = 3e-3
#: Regularisation of the heads of DeepMTS, its variants and SingleTaskSurvival in shortened
#: trainings; the papers have 0.1 and 0.5. On the same phantoms 300 steps reached C 0.72 with these,
#: and 0.60 with dropout 0.5.
SHORT_HEAD = {"l2": 0.01, "dropout": 0.2}
#: What shortened trainings of DeepMTS and its variants change besides. With the gradient through
#: the tumour map, one of three seeds never left a flat map at this learning rate (Dice 0.01, C
#: 0.615 after 150 steps on the same phantoms); without it the same seed reached Dice 0.91 and C
#: 0.724 in 250. A Dice weight of 100 instead gave Dice 0.53 and C 0.556.
SHORT_DEEPMTS = {**SHORT_HEAD, "map_gradient": False}


def train_as_told(network: Any, settings: ModelSettings, **short_recipe: Any) -> Any:
    """Give a network over volumes the settings of the command line.

    The default recipe starts at 1e-4, made for 15,000 steps; in hundreds of steps that learns
    nothing. A number of iterations therefore brings `SHORT_RATE` on a cosine schedule with it. An
    epoch is shortened too, or the history would have two or three points.

    Parameters
    ----------
    network : estimator
        With `survimg.training.parameters.TrainingParameters`.
    settings : ModelSettings
    **short_recipe
        What else a shortened training changes in this network, such as `SHORT_HEAD`.

    Returns
    -------
    estimator
        The same one.
    """
    network.set_params(
        device=settings.device, n_threads=settings.n_threads, verbose=int(settings.verbose)
    )
    if settings.n_iterations is not None:
        epoch = min(network.iterations_per_epoch, max(1, settings.n_iterations // 20))
        network.set_params(
            n_iterations=settings.n_iterations,
            iterations_per_epoch=epoch,
            learning_rate=SHORT_RATE,
            schedule="cosine",
            **short_recipe,
        )
    return network


def share_work(model: Any, settings: ModelSettings) -> Any:
    """Set the cache folder of what several models of a run have in common.

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
