"""Survival estimators over volumes whose objective is a parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone

from survimg.cohort import Cohort
from survimg.estimators.deep.volume_survival_estimator import VolumeSurvivalEstimator
from survimg.training.objective import SurvivalObjective
from survimg.training.objectives import Cox, IntervalObjective

__all__ = ["ObjectiveSurvival"]


@dataclass(kw_only=True, eq=False, repr=False)
class ObjectiveSurvival(VolumeSurvivalEstimator):
    """Base of the networks that are trained for any survival objective.

    Parameters
    ----------
    objective : SurvivalObjective, optional
        `Cox`, `DiscreteTime`, `MTLR` or `DeepHit` of `survimg.training`; None is the Cox loss.

    Attributes
    ----------
    objective_ : SurvivalObjective
        With the cuts and the horizon that the fit has chosen.
    time_cuts_, risk_horizon_ : ndarray of shape (n_intervals,), float
        Of an objective with intervals.
    """

    objective: SurvivalObjective | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "objective": [SurvivalObjective, None],
    }

    @property
    def _objective(self) -> SurvivalObjective:
        return self.objective_

    @property
    def _n_outputs(self) -> int | None:
        """Outputs of the network; None for one number per patient."""
        return self._objective.n_outputs

    def _cox(self) -> SurvivalObjective:
        """Return the objective that None stands for."""
        return Cox()

    def _check_objective(self, objective: SurvivalObjective) -> None:
        """Refuse an objective that the network cannot be trained for."""

    def _encode_training(
        self, cohort: Cohort, event: np.ndarray, time: np.ndarray, train: np.ndarray, seed: int
    ) -> np.ndarray:
        objective = self._cox() if self.objective is None else clone(self.objective)
        objective._validate_params()
        self._check_objective(objective)
        for name in ("time_cuts_", "risk_horizon_"):
            self.__dict__.pop(name, None)
        self.objective_ = objective.learned(event, time, train, cohort.time_unit)
        if isinstance(self.objective_, IntervalObjective):
            self.time_cuts_ = self.objective_.bounds[1:]
            self.risk_horizon_ = self.objective_.horizon
        return super()._encode_training(cohort, event, time, train, seed)
