"""What attributes of survimg's classes must agree on, in a model that comes from a file.

Each check takes the restored object and the lengths of its forms, and raises ValueError
(`survimg.model_files.validators.Validator`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from survimg.radiomics.regions import check_shell_hu
from survimg.training.objectives.intervals import IntervalObjective

__all__ = [
    "check_baseline",
    "check_classes",
    "check_combat",
    "check_few_covariates",
    "check_objective",
    "check_radiomics",
]


def check_objective(model: Any, _lengths: Mapping[str, int]) -> None:
    """Demand the intervals of the objective, which the network was trained for."""
    objective = model._objective
    if not isinstance(objective, IntervalObjective):
        return
    objective.check_learned()
    if not np.array_equal(objective.bounds[1:], model.time_cuts_):
        raise ValueError("time_cuts_ are not the cuts of objective_")
    if objective.horizon != model.risk_horizon_:
        raise ValueError("risk_horizon_ is not the horizon of objective_")


def check_classes(model: Any, _lengths: Mapping[str, int]) -> None:
    """Demand classes in order, and their shares: of the second one, or of each of several."""
    classes, shares = model.classes_, np.asarray(model.prevalence_)
    if len(classes) < 2 or not np.array_equal(np.unique(classes), classes):
        raise ValueError("classes_ are not sorted, or fewer than two")
    if shares.shape != (() if len(classes) == 2 else classes.shape):
        raise ValueError("prevalence_ is of another number of classes_")
    if not ((shares > 0) & (shares < 1)).all():
        raise ValueError("prevalence_ is not between 0 and 1")


def check_baseline(baseline: Any, _lengths: Mapping[str, int]) -> None:
    """Demand times that rise, and a hazard that does not fall."""
    _check_hazard(baseline.unique_times_, baseline.log_cumulative_hazard_)


def check_few_covariates(model: Any, _lengths: Mapping[str, int]) -> None:
    """Demand the same of its baseline."""
    _check_hazard(model.event_times, model.cumulative_baseline_hazard)


def _check_hazard(times: np.ndarray, hazard: np.ndarray) -> None:
    if not (np.diff(times) > 0).all():
        raise ValueError("its times do not rise")
    if np.isnan(hazard).any() or not (hazard[1:] >= hazard[:-1]).all():
        raise ValueError("its cumulative hazard falls")


def check_combat(model: Any, lengths: Mapping[str, int]) -> None:
    """Demand a coefficient for each column of `preserve`."""
    n_columns = len(model._encoder.get_feature_names_out()) if model.preserve else 0
    if lengths["q"] != n_columns:
        raise ValueError(f"coef_ has {lengths['q']} rows for {n_columns} columns of preserve")


def check_radiomics(extractor: Any, _lengths: Mapping[str, int]) -> None:
    """Demand as many features as have an identifier."""
    check_shell_hu(extractor.shell_hu)
    if extractor.n_features_out_ != len(extractor.ibsi_identifiers_):
        raise ValueError(
            f"n_features_out_ is {extractor.n_features_out_}, and ibsi_identifiers_ has "
            f"{len(extractor.ibsi_identifiers_)}"
        )
