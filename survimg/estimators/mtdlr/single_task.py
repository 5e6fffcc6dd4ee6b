"""Comparator of MTDLR: a single-task network, with clinical columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.model_selection import PredefinedSplit
from sklearn.utils._param_validation import HasMethods

from survimg.cohort import Cohort
from survimg.estimators.deep.single_task_survival import SingleTaskSurvival
from survimg.estimators.mtdlr.score_cox import ScoreCox

__all__ = ["SingleTaskCox"]


class SingleTaskCox(ScoreCox):
    """Cox model on clinical columns and the risk of one network.

    The comparator "SingleTask + TNM" of the MTDLR study, and, with another `estimator`, the same
    for any survival estimator over volumes.

    Parameters
    ----------
    estimator : survival estimator, optional
        By default `SingleTaskSurvival` without clinical columns.

    Attributes
    ----------
    cox_, training_scores_, training_covariates_, training_risk_, training_flags_, selection_
        As in `MTDLR`.
    estimator_ : estimator
        Fitted on all training patients.

    References
    ----------
    Gu B, Meng M, Xu M, et al. Eur J Nucl Med Mol Imaging 2023.
    """

    score_names: ClassVar[tuple[str, ...]] = ("SingleTask-Score",)

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ScoreCox._parameter_constraints,
        "estimator": [HasMethods(["fit", "predict"]), None],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        clinical_columns: Sequence[str] | None = None,
        scores: str = "out-of-fold",
        cv: int | Any = 5,
        significance: float | None = None,
        alpha: float = 0.0,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.clinical_columns = clinical_columns
        self.scores = scores
        self.cv = cv
        self.significance = significance
        self.alpha = alpha
        self.random_state = random_state
        self.n_jobs = n_jobs

    @property
    def estimator_(self) -> Any:
        """The network that serves new patients."""
        return self._deep.estimator_

    def _fit_scores(
        self, cohort: Cohort, y: np.ndarray, folds: PredefinedSplit, seed: int
    ) -> pd.DataFrame:
        estimator = self.estimator
        if estimator is None:
            estimator = SingleTaskSurvival(clinical_columns=[], random_state=seed)
        self._deep, risk = self._features_for_training(estimator, "predict", cohort, y, folds)
        return risk.set_axis(list(self.score_names), axis=1)

    def _scores(self, cohort: Cohort) -> pd.DataFrame:
        return self._deep.transform(cohort).set_axis(list(self.score_names), axis=1)
